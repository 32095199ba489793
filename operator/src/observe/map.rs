//! Which clusters a changed object may concern.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::runtime::reflector::Store;
use kube::{Resource, ResourceExt};

use crate::contents;
use crate::model::ClusterKey;
use crate::names;

/// The label that names the cluster.
const INSTANCE: &str = "app.kubernetes.io/instance";

/// Whether the labels say that it belongs to this cluster.
pub(super) fn names_cluster(meta: &ObjectMeta, key: &ClusterKey) -> bool {
    let instance = meta.labels.as_ref().and_then(|labels| labels.get(INSTANCE));
    meta.namespace.as_deref() == Some(key.namespace.as_str()) && instance == Some(&key.name)
}

/// The cluster that the labels name, and those that are said to own it: one of both may have been
/// edited.
pub(super) fn by_labels<K: Resource>(object: &K, _gone: bool) -> Vec<ClusterKey> {
    let meta = object.meta();
    let Some(namespace) = &meta.namespace else { return Vec::new() };
    let owners = meta.owner_references.iter().flatten();
    let owners = owners.filter(|owner| owner.kind == "MessagingCluster").map(|owner| &owner.name);
    let instance = meta.labels.as_ref().and_then(|labels| labels.get(INSTANCE));
    let mut keys: Vec<_> = owners
        .chain(instance)
        .map(|name| ClusterKey { namespace: namespace.clone(), name: name.clone() })
        .collect();
    keys.dedup();
    keys
}

/// The cluster whose binding has this name.
pub(super) fn by_binding_name<K: Resource>(object: &K, _gone: bool) -> Vec<ClusterKey> {
    object.meta().name.as_deref().and_then(names::cluster_of_binding).into_iter().collect()
}

/// The clusters that name this Secret, and the one that it was made for.
pub(super) fn by_secret(
    clusters: Store<DynamicObject>,
) -> impl FnMut(&PartialObjectMeta<Secret>, bool) -> Vec<ClusterKey> + Send + 'static {
    move |secret, gone| {
        let mut keys = by_labels(secret, gone);
        let (Some(namespace), Some(name)) = (&secret.metadata.namespace, &secret.metadata.name)
        else {
            return keys;
        };
        let naming = clusters.state_filter(|cluster| {
            cluster.metadata.namespace.as_ref() == Some(namespace)
                && contents::names(&cluster.data).any(|named| named == name)
        });
        keys.extend(naming.iter().filter_map(|cluster| key_of(cluster.as_ref())));
        keys
    }
}

/// The cluster itself, unless only its status changed: that is the operator's own doing.
pub(super) fn changed_cluster()
-> impl FnMut(&DynamicObject, bool) -> Option<ClusterKey> + Send + 'static {
    let mut seen: HashMap<ClusterKey, u64> = HashMap::new();
    move |object, gone| {
        let key = key_of(object)?;
        if gone {
            seen.remove(&key);
            return Some(key);
        }
        let meta = object.meta();
        let mut hasher = DefaultHasher::new();
        (&meta.uid, meta.generation, object.finalizers()).hash(&mut hasher);
        (object.labels(), object.annotations()).hash(&mut hasher);
        meta.deletion_timestamp.is_some().hash(&mut hasher);
        let hash = hasher.finish();
        match seen.entry(key.clone()) {
            Entry::Occupied(entry) if *entry.get() == hash => None,
            entry => {
                entry.insert_entry(hash);
                Some(key)
            }
        }
    }
}

fn key_of<K: Resource>(object: &K) -> Option<ClusterKey> {
    let meta = object.meta();
    Some(ClusterKey { namespace: meta.namespace.clone()?, name: meta.name.clone()? })
}

//! What is there: copies of the watched objects, kept up to date by watches.
//!
//! Owns the watches and the stores. Decides nothing: each change only names the clusters that it
//! may concern ([`ClusterKey`]), and a reconcile reads the stores.
//!
//! Clusters and children are kept as they came (JSON), so that one that cannot be read as what it
//! should be stops no other. Of Secrets only the metadata is watched.

mod feed;
mod map;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use wardlink_operator_api::MessagingCluster;
use wardlink_service::stop::Stop;

use self::feed::{Feed, Synced};
use crate::metrics::Metrics;
use crate::model::{ChildKind, ClusterKey};
use crate::names::MANAGED_BY;

/// Changes that wait for the controller, each a cluster's name. With the full count the watches
/// wait; the controller takes them as fast as it can note them.
pub const CHANGES: usize = 1_024;

/// How long the first lists may take before work begins without those that are still missing
/// (such as of a kind that the operator may not list): what a store does not have is then asked
/// for one by one.
const FIRST_LISTS: Duration = Duration::from_secs(15);

/// Seconds after which the API server ends a watch and it begins anew where it was. Below the
/// read time-out of the client, see `client`.
const WATCH_SECONDS: u32 = 290;

/// The stores.
pub struct World {
    /// The resources.
    pub clusters: Store<DynamicObject>,
    /// Their children by kind, without Secrets.
    children: BTreeMap<ChildKind, Store<DynamicObject>>,
    /// Pods of all clusters.
    pods: Store<Pod>,
    /// Metadata of all Secrets.
    secrets: Store<PartialObjectMeta<Secret>>,
    synced: Vec<Synced>,
}

/// Group, version and kind of the resource.
pub fn cluster_resource() -> ApiResource {
    ApiResource::erase::<MessagingCluster>(&())
}

/// The reference that names a cluster in its store.
pub fn cluster_ref(key: &ClusterKey) -> ObjectRef<DynamicObject> {
    ObjectRef::new_with(&key.name, cluster_resource()).within(&key.namespace)
}

impl World {
    /// Starts the watches in `tasks`; they end with `stop`. `namespaces` empty means all.
    pub fn watch(
        client: &Client,
        namespaces: &[String],
        changes: mpsc::Sender<ClusterKey>,
        metrics: Arc<Metrics>,
        tasks: &mut JoinSet<()>,
        stop: &Stop,
    ) -> Arc<Self> {
        let mut start = Start { client, namespaces, changes, metrics, tasks, stop, synced: vec![] };
        let ours = watcher::Config::default()
            .labels(&format!("app.kubernetes.io/managed-by={MANAGED_BY}"))
            .timeout(WATCH_SECONDS);
        let all = watcher::Config::default().timeout(WATCH_SECONDS);

        let clusters = Feed::new(cluster_resource());
        start.objects("MessagingCluster", &clusters, cluster_resource(), all.clone(), || {
            map::changed_cluster()
        });
        let mut children = BTreeMap::new();
        for kind in ChildKind::ALL.into_iter().filter(|kind| *kind != ChildKind::Secret) {
            let feed = Feed::new(kind.resource());
            children.insert(kind, feed.store());
            let resource = kind.resource();
            if kind.namespaced() {
                start.objects(kind.as_str(), &feed, resource, ours.clone(), || map::by_labels);
            } else {
                let api = Api::all_with(client.clone(), &resource);
                start.one(kind.as_str(), &feed, api, resource, ours.clone(), map::by_binding_name);
            }
        }
        let pods = Feed::new(());
        start.typed("Pod", &pods, ours, || map::by_labels);
        let secrets = Feed::new(());
        let store = clusters.store();
        start.typed("Secret", &secrets, all, || map::by_secret(store.clone()));
        Arc::new(Self {
            clusters: clusters.store(),
            children,
            pods: pods.store(),
            secrets: secrets.store(),
            synced: start.synced,
        })
    }

    /// Waits until all first lists are there or have failed, 15 s at most. Returns false where the
    /// clusters themselves could not be listed: then it is to be waited on. Cancel safe.
    pub async fn wait(&self) -> bool {
        let until = Instant::now() + FIRST_LISTS;
        for synced in &self.synced {
            if timeout_at(until, synced.wait()).await.is_err() || !synced.is() {
                tracing::info!(kind = synced.kind(), "no list of this kind, going on without");
            }
        }
        self.synced.iter().all(|synced| synced.kind() != "MessagingCluster" || synced.is())
    }

    /// A child, where it is known.
    pub fn child(
        &self,
        kind: ChildKind,
        key: &ClusterKey,
        name: &str,
    ) -> Option<Arc<DynamicObject>> {
        let reference = ObjectRef::new_with(name, kind.resource());
        let namespaced = kind.namespaced();
        let reference = if namespaced { reference.within(&key.namespace) } else { reference };
        self.children.get(&kind)?.get(&reference)
    }

    /// A kind that could not be listed yet though decisions rest on it: what its store does not
    /// have may be there. Without it an autoscaled tier would be set back to its fewest pods, and
    /// an index could be changed before the pods that go by it.
    pub fn unlisted(&self) -> Option<&'static str> {
        const NEEDED: [&str; 3] = ["Deployment", "Pod", "Secret"];
        let missing = |synced: &&Synced| NEEDED.contains(&synced.kind()) && !synced.is();
        self.synced.iter().find(missing).map(Synced::kind)
    }

    /// Children of one kind that carry a cluster's labels, whoever owns them.
    pub fn children_of(&self, kind: ChildKind, key: &ClusterKey) -> Vec<Arc<DynamicObject>> {
        let Some(store) = self.children.get(&kind) else { return Vec::new() };
        if kind.namespaced() {
            store.state_filter(|object| map::names_cluster(&object.metadata, key))
        } else {
            store.state_filter(|object| {
                map::by_binding_name(object, false).as_slice() == [key.clone()]
            })
        }
    }

    /// Pods that carry a cluster's labels.
    pub fn pods_of(&self, key: &ClusterKey) -> Vec<Arc<Pod>> {
        self.pods.state_filter(|pod| map::names_cluster(&pod.metadata, key))
    }

    /// Metadata of one Secret, where it is known.
    pub fn secret(&self, namespace: &str, name: &str) -> Option<Arc<PartialObjectMeta<Secret>>> {
        self.secrets.get(&ObjectRef::new(name).within(namespace))
    }

    /// Metadata of the Secrets that carry a cluster's labels.
    pub fn secrets_of(&self, key: &ClusterKey) -> Vec<Arc<PartialObjectMeta<Secret>>> {
        self.secrets.state_filter(|secret| map::names_cluster(&secret.metadata, key))
    }
}

/// What all watches are started with.
struct Start<'a> {
    client: &'a Client,
    namespaces: &'a [String],
    changes: mpsc::Sender<ClusterKey>,
    metrics: Arc<Metrics>,
    tasks: &'a mut JoinSet<()>,
    stop: &'a Stop,
    synced: Vec<Synced>,
}

impl Start<'_> {
    /// Objects as they come, in all watched namespaces.
    fn objects<M, F>(
        &mut self,
        kind: &'static str,
        feed: &Feed<DynamicObject>,
        resource: ApiResource,
        config: watcher::Config,
        map: impl Fn() -> M,
    ) where
        M: FnMut(&DynamicObject, bool) -> F + Send + 'static,
        F: IntoIterator<Item = ClusterKey> + Send + 'static,
        F::IntoIter: Send,
    {
        for api in self.apis(
            |client| Api::all_with(client, &resource),
            |client, namespace| Api::namespaced_with(client, namespace, &resource),
        ) {
            self.one(kind, feed, api, resource.clone(), config.clone(), map());
        }
    }

    /// Objects of a type, in all watched namespaces.
    fn typed<K, M, F>(
        &mut self,
        kind: &'static str,
        feed: &Feed<K>,
        config: watcher::Config,
        map: impl Fn() -> M,
    ) where
        K: feed::Watched<DynamicType = ()> + Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        M: FnMut(&K, bool) -> F + Send + 'static,
        F: IntoIterator<Item = ClusterKey> + Send + 'static,
        F::IntoIter: Send,
    {
        for api in self.apis(Api::all, Api::namespaced) {
            self.one(kind, feed, api, (), config.clone(), map());
        }
    }

    fn apis<K>(
        &self,
        all: impl Fn(Client) -> Api<K>,
        one: impl Fn(Client, &str) -> Api<K>,
    ) -> Vec<Api<K>> {
        if self.namespaces.is_empty() {
            return vec![all(self.client.clone())];
        }
        self.namespaces.iter().map(|namespace| one(self.client.clone(), namespace)).collect()
    }

    fn one<K, M, F>(
        &mut self,
        kind: &'static str,
        feed: &Feed<K>,
        api: Api<K>,
        resource: K::DynamicType,
        config: watcher::Config,
        map: M,
    ) where
        K: feed::Watched,
        K::DynamicType: feed::WatchedType,
        M: FnMut(&K, bool) -> F + Send + 'static,
        F: IntoIterator<Item = ClusterKey> + Send + 'static,
        F::IntoIter: Send,
    {
        let (synced, source) = feed.source(kind, resource);
        self.synced.push(synced);
        let (changes, metrics) = (self.changes.clone(), self.metrics.clone());
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.stopped() => {}
                () = source.run(api, config, map, changes, metrics) => {}
            }
        });
    }
}

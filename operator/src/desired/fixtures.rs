//! A cluster to render in tests of this module.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wardlink_operator_api::{MessagingCluster, SecretKeyRef};

use super::desired;
use crate::model::{ChildKind, Desired, DesiredInputs, Images, Tiers};
use crate::secrets;

/// The cluster `ward` in namespace `clinic`, with `spec` over the least that a resource can say.
pub(crate) fn cluster(spec: Value) -> MessagingCluster {
    let mut whole = json!({"storage": {"mongodb": {"uriSecretRef": {"name": "ward-mongodb"}}}});
    merge(&mut whole, spec);
    serde_json::from_value(json!({
        "apiVersion": "wardlink.dev/v1alpha1",
        "kind": "MessagingCluster",
        "metadata": {"name": "ward", "namespace": "clinic", "uid": "7b1c"},
        "spec": whole,
    }))
    .unwrap()
}

/// Images with a tag.
pub(crate) fn images(tag: &str) -> Images {
    Images {
        message_server: format!("wardlink-ms:{tag}"),
        business_server: format!("wardlink-bs:{tag}"),
    }
}

/// Hashes of what a cluster's pods read at start.
pub(crate) fn content(cluster: &MessagingCluster) -> BTreeMap<SecretKeyRef, String> {
    let ca = secrets::mongodb_ca(cluster).map(|key| (key, "ca-1".to_owned()));
    [(secrets::mongodb_uri(cluster), "uri-1".to_owned())].into_iter().chain(ca).collect()
}

/// What is desired of `cluster`, where there are no Deployments yet.
pub(crate) fn render(cluster: &MessagingCluster) -> Desired {
    render_at(cluster, Tiers::default())
}

/// The same, where Deployments want so many pods.
pub(crate) fn render_at(cluster: &MessagingCluster, replicas_now: Tiers<Option<i32>>) -> Desired {
    desired(DesiredInputs {
        cluster,
        images: &images("1"),
        content: &content(cluster),
        server_message_ttl_seconds: 600,
        replicas_now,
        token_review_role: "wardlink-token-review",
    })
}

/// One child of what is desired for `spec`.
pub(crate) fn object(spec: Value, kind: ChildKind, name: &str) -> Option<Value> {
    let desired = render(&cluster(spec));
    desired.children.into_iter().find(|c| c.kind == kind && c.name == name).map(|c| c.object)
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

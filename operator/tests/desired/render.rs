//! Clusters to render, as files: `examples` of the repository, and `clusters` beside this.

use std::path::{Path, PathBuf};

use serde_json::Value;
use wardlink_operator::desired::{desired, images};
use wardlink_operator::model::{Desired, DesiredInputs, Images, Tiers};
use wardlink_operator::secrets;
use wardlink_operator_api::MessagingCluster;

/// A file of this package.
pub(crate) fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A resource as a file holds it, with what the API server adds to its metadata.
pub(crate) fn resource(path: &str) -> Value {
    let path = file(path);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut resource: Value = serde_saphyr::from_str(&text).unwrap();
    resource["metadata"]["namespace"] = "clinic".into();
    resource["metadata"]["uid"] = "5c2f2a3e-7d0e-4a52-9a4b-3b1f9d2c6a10".into();
    resource
}

/// The same as a cluster, defaults filled in.
pub(crate) fn cluster(path: &str) -> MessagingCluster {
    serde_json::from_value(resource(path)).unwrap()
}

/// Images of an operator's release.
pub(crate) fn defaults(release: &str) -> Images {
    Images {
        message_server: format!("wardlink-ms:{release}"),
        business_server: format!("wardlink-bs:{release}"),
    }
}

/// What an operator with these default images wants of a cluster whose Deployments are not there.
pub(crate) fn render(cluster: &MessagingCluster, defaults: &Images) -> Desired {
    let uri = (secrets::mongodb_uri(cluster), "0f5a1c9e".to_owned());
    let ca = secrets::mongodb_ca(cluster).map(|key| (key, "b7d3420a".to_owned()));
    desired(DesiredInputs {
        cluster,
        images: &images(cluster, defaults),
        content: &std::iter::once(uri).chain(ca).collect(),
        server_message_ttl_seconds: cluster.spec.storage.message_ttl_seconds,
        replicas_now: Tiers::default(),
        token_review_role: "wardlink-token-review",
    })
}

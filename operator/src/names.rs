//! Names and labels of what belongs to a cluster: the only place where they are made.

use std::collections::BTreeMap;

use wardlink_operator_api::{GROUP, MessagingCluster, TierSpec};

use crate::model::ClusterKey;

/// Field manager of everything that the operator applies, but for replicas.
pub const FIELD_MANAGER: &str = "wardlink-operator";
/// Field manager of `spec.replicas` alone: where an autoscaler has them, this one lets go.
pub const REPLICAS_MANAGER: &str = "wardlink-operator-replicas";
/// Value of the label `app.kubernetes.io/managed-by`, by which children are watched.
pub const MANAGED_BY: &str = "wardlink-operator";
/// Finalizer for what owner references do not reach: the index and the ClusterRoleBinding.
pub const FINALIZER: &str = "wardlink.dev/cleanup";

/// One of the two tiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    /// Message Servers.
    MessageServer,
    /// Business Servers.
    BusinessServer,
}

impl Tier {
    /// Both.
    pub const ALL: [Self; 2] = [Self::MessageServer, Self::BusinessServer];

    /// As it stands in labels and in names of children.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MessageServer => "message-server",
            Self::BusinessServer => "business-server",
        }
    }

    /// For people: "Message Server".
    pub fn title(self) -> &'static str {
        match self {
            Self::MessageServer => "Message Server",
            Self::BusinessServer => "Business Server",
        }
    }

    /// Its settings in the resource.
    pub fn spec(self, cluster: &MessagingCluster) -> &TierSpec {
        match self {
            Self::MessageServer => &cluster.spec.message_server.tier,
            Self::BusinessServer => &cluster.spec.business_server.tier,
        }
    }

    /// Name of its Deployment, Service, ServiceAccount, PodDisruptionBudget, NetworkPolicy and
    /// HorizontalPodAutoscaler.
    pub fn child_name(self, cluster: &str) -> String {
        format!("{cluster}-{}", self.as_str())
    }
}

/// Name of the headless Service of the Message Servers, by which Business Servers find each.
pub fn links_service(cluster: &str) -> String {
    format!("{cluster}-message-server-links")
}

/// Name of the generated Secret with the key of terminals' tokens.
pub fn identity_secret(cluster: &str) -> String {
    format!("{cluster}-identity")
}

/// Name of the generated Secret of the links.
pub fn link_secret(cluster: &str) -> String {
    format!("{cluster}-link")
}

/// Name of the ClusterRoleBinding of a cluster: it has no namespace, so its name holds it, and
/// neither part can hold a dot.
pub fn review_binding(namespace: &str, cluster: &str) -> String {
    format!("wardlink:{namespace}.{cluster}:token-review")
}

/// Label of a ClusterRoleBinding that says of which namespace its cluster is.
pub const NAMESPACE_LABEL: &str = "wardlink.dev/namespace";

/// Labels of the ClusterRoleBinding of a cluster.
pub fn review_binding_labels(namespace: &str, cluster: &str) -> BTreeMap<String, String> {
    let mut labels = tier_labels(cluster, Tier::MessageServer);
    labels.insert(NAMESPACE_LABEL.to_owned(), namespace.to_owned());
    labels
}

/// The cluster whose ClusterRoleBinding has this name.
pub fn cluster_of_binding(name: &str) -> Option<ClusterKey> {
    let cluster = name.strip_prefix("wardlink:")?.strip_suffix(":token-review")?;
    let (namespace, name) = cluster.split_once('.')?;
    Some(ClusterKey { namespace: namespace.to_owned(), name: name.to_owned() })
}

/// Audience of the pods' tokens where the resource names none.
pub fn default_audience(namespace: &str, cluster: &str) -> String {
    format!("{cluster}.{namespace}.{GROUP}")
}

/// Audience of the pods' tokens.
pub fn audience(cluster: &MessagingCluster) -> String {
    let metadata = &cluster.metadata;
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let named = cluster.spec.link_authentication.audience.clone();
    named.unwrap_or_else(|| default_audience(&part(&metadata.namespace), &part(&metadata.name)))
}

/// Labels of everything that belongs to a cluster.
pub fn labels(cluster: &str) -> BTreeMap<String, String> {
    let labels = [
        ("app.kubernetes.io/name", "wardlink"),
        ("app.kubernetes.io/instance", cluster),
        ("app.kubernetes.io/part-of", "wardlink"),
        ("app.kubernetes.io/managed-by", MANAGED_BY),
    ];
    labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// Labels of what belongs to one tier.
pub fn tier_labels(cluster: &str, tier: Tier) -> BTreeMap<String, String> {
    let mut labels = labels(cluster);
    labels.insert("app.kubernetes.io/component".to_owned(), tier.as_str().to_owned());
    labels
}

/// What selects a tier's pods. Part of a Deployment that can never change.
pub fn selector(cluster: &str, tier: Tier) -> BTreeMap<String, String> {
    let labels = [
        ("app.kubernetes.io/name", "wardlink"),
        ("app.kubernetes.io/instance", cluster),
        ("app.kubernetes.io/component", tier.as_str()),
    ];
    labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bindings_name_tells_its_cluster() {
        let key = cluster_of_binding(&review_binding("hospital-1", "ward")).expect("a cluster");
        assert_eq!((key.namespace.as_str(), key.name.as_str()), ("hospital-1", "ward"));
        assert_eq!(cluster_of_binding("system:basic-user"), None);
    }
}

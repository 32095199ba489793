//! The resource itself.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    BusinessServer, LinkAuthentication, MessageServer, MessagingClusterStatus, NetworkPolicy,
    Storage, Tls,
};

/// Group of the resource, and prefix of the operator's labels and annotations.
pub const GROUP: &str = "wardlink.dev";

/// Most characters of a cluster's name. The longest name made of it, that of the headless Service
/// NAME-message-server-links, has 21 more, and a Service's may have 63; two are kept free.
pub const NAME_MAX: usize = 40;

/// A messaging system for the terminals of a hospital: Message Servers, Business Servers, and the
/// indexes of their MongoDB.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "wardlink.dev",
    version = "v1alpha1",
    kind = "MessagingCluster",
    plural = "messagingclusters",
    shortname = "msgc",
    category = "messaging",
    namespaced,
    status = "MessagingClusterStatus",
    derive = "PartialEq",
    cel,
    doc = "A messaging system for the terminals of a hospital: Message Servers, Business Servers, and the indexes of their MongoDB.",
    scale(
        spec_replicas_path = ".spec.businessServer.replicas",
        status_replicas_path = ".status.businessServer.replicas",
        label_selector_path = ".status.businessServer.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "MS", type_ = "string", json_path = ".status.messageServer.ready", description = "Message Servers: ready of wanted"),
    printcolumn(name = "BS", type_ = "string", json_path = ".status.businessServer.ready", description = "Business Servers: ready of wanted"),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 40").message("metadata.name must have at most 40 characters: names of children are made of it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name must begin with a letter and hold only lower-case letters, digits and dashes: Services are named by it")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.messageServer.drain.delaySeconds + self.messageServer.drain.seconds + 5 <= self.messageServer.terminationGracePeriodSeconds").message("messageServer.terminationGracePeriodSeconds must be at least drain.delaySeconds + drain.seconds + 5"),
    validation = Rule::new("self.businessServer.drain.delaySeconds + self.businessServer.drain.seconds + 5 <= self.businessServer.terminationGracePeriodSeconds").message("businessServer.terminationGracePeriodSeconds must be at least drain.delaySeconds + drain.seconds + 5"),
    validation = Rule::new("!has(self.messageServer.autoscaling) || !has(self.messageServer.autoscaling.targetSessionsPerPod)").message("messageServer.autoscaling.targetSessionsPerPod is for Business Servers: Message Servers have no sessions"),
    validation = Rule::new("!has(self.messageServer.autoscaling) || !has(self.messageServer.autoscaling.targetCpuUtilizationPercentage) || 'cpu' in self.messageServer.resources.requests").message("messageServer.autoscaling by CPU needs messageServer.resources.requests.cpu"),
    validation = Rule::new("!has(self.businessServer.autoscaling) || !has(self.businessServer.autoscaling.targetCpuUtilizationPercentage) || 'cpu' in self.businessServer.resources.requests").message("businessServer.autoscaling by CPU needs businessServer.resources.requests.cpu"),
    validation = Rule::new("!has(self.messageServer.podLabels) || self.messageServer.podLabels.all(k, !k.startsWith('app.kubernetes.io/') && !k.startsWith('wardlink.dev/'))").message("messageServer.podLabels must not have keys of app.kubernetes.io/ or wardlink.dev/"),
    validation = Rule::new("!has(self.businessServer.podLabels) || self.businessServer.podLabels.all(k, !k.startsWith('app.kubernetes.io/') && !k.startsWith('wardlink.dev/'))").message("businessServer.podLabels must not have keys of app.kubernetes.io/ or wardlink.dev/"),
    validation = Rule::new("!has(self.messageServer.podAnnotations) || self.messageServer.podAnnotations.all(k, !k.startsWith('wardlink.dev/'))").message("messageServer.podAnnotations must not have keys of wardlink.dev/"),
    validation = Rule::new("!has(self.businessServer.podAnnotations) || self.businessServer.podAnnotations.all(k, !k.startsWith('wardlink.dev/'))").message("businessServer.podAnnotations must not have keys of wardlink.dev/"),
    validation = Rule::new("!has(self.messageServer.env) || self.messageServer.env.all(e, !e.name.startsWith('WARDLINK_'))").message("messageServer.env must not have names that begin with WARDLINK_: the operator sets those"),
    validation = Rule::new("!has(self.businessServer.env) || self.businessServer.env.all(e, !e.name.startsWith('WARDLINK_'))").message("businessServer.env must not have names that begin with WARDLINK_: the operator sets those")
)]
pub struct MessagingClusterSpec {
    /// What the operator does with this cluster.
    #[serde(default)]
    pub management_state: ManagementState,
    /// The Message Servers: they know which terminal is where, hand messages on, and keep those
    /// that wait.
    #[serde(default)]
    pub message_server: MessageServer,
    /// The Business Servers: terminals connect to them.
    #[serde(default)]
    pub business_server: BusinessServer,
    /// Where the registry and the mailboxes are kept.
    pub storage: Storage,
    /// How Business Servers show Message Servers that they belong to this cluster.
    #[serde(default)]
    pub link_authentication: LinkAuthentication,
    /// Encryption.
    #[serde(default)]
    pub tls: Tls,
    /// Who may reach the pods over the network.
    #[serde(default)]
    pub network_policy: NetworkPolicy,
}

/// What the operator does with a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum ManagementState {
    /// Keeps it as described.
    #[default]
    Managed,
    /// Watches and reports, writes nothing but the status.
    Paused,
    /// Keeps all as described, with no pods.
    Stopped,
}

//! What the operator reports of a cluster.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::SecretKeyRef;

/// Types of the conditions. All are always there, once the operator has seen the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConditionType {
    /// Terminals can exchange messages: both tiers are available and storage is ready.
    Ready,
    /// The cluster is on its way to what its resource says.
    Reconciling,
    /// Somebody must act before the operator can go on.
    Stalled,
    /// Enough Message Servers are available.
    MessageServerAvailable,
    /// Enough Business Servers are available.
    BusinessServerAvailable,
    /// The database answers and has the indexes.
    StorageReady,
}

impl ConditionType {
    /// All, in the order in which they are reported.
    pub const ALL: [Self; 6] = [
        Self::Ready,
        Self::Reconciling,
        Self::Stalled,
        Self::MessageServerAvailable,
        Self::BusinessServerAvailable,
        Self::StorageReady,
    ];

    /// As it stands in the condition's `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::MessageServerAvailable => "MessageServerAvailable",
            Self::BusinessServerAvailable => "BusinessServerAvailable",
            Self::StorageReady => "StorageReady",
        }
    }
}

/// What the operator reports.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessagingClusterStatus {
    /// Generation of the resource that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling, Stalled, MessageServerAvailable, BusinessServerAvailable and
    /// StorageReady.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
    /// The Message Servers.
    #[serde(default)]
    pub message_server: TierStatus,
    /// The Business Servers.
    #[serde(default)]
    pub business_server: TierStatus,
    /// The database.
    #[serde(default)]
    pub storage: StorageStatus,
    /// Secrets that the operator made.
    #[serde(default)]
    pub generated_secrets: GeneratedSecrets,
}

/// One tier.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TierStatus {
    /// Image that the pods run. Resolved once where the resource names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Pods there are.
    #[serde(default)]
    pub replicas: i32,
    /// Pods that are ready.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Pods as the resource says now.
    #[serde(default)]
    pub updated_replicas: i32,
    /// Ready of wanted pods, such as 2/2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// Labels of the pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
}

/// The database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageStatus {
    /// Life of a stored message, in seconds, that the index was last seen to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_ttl_seconds: Option<i32>,
    /// Life of a stored message, in seconds, that the Message Servers are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_message_ttl_seconds: Option<i32>,
}

/// Secrets that the operator made, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GeneratedSecrets {
    /// The key (HS256) that terminals' tokens are made with, where the resource names no keys.
    /// `wardlink token` takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<SecretKeyRef>,
    /// The secret of the links, in mode SharedSecret where the resource names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<SecretKeyRef>,
}

//! Who may talk to whom: links, TLS, and the network.

use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::SecretKeyRef;

/// How Business Servers show Message Servers that they belong to this cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.audience) || self.mode == 'PodIdentity'").message("audience needs mode PodIdentity"),
    validation = Rule::new("!has(self.secretRef) || self.mode == 'SharedSecret'").message("secretRef needs mode SharedSecret")
)]
pub struct LinkAuthentication {
    /// By what they show it.
    #[serde(default)]
    pub mode: LinkMode,
    /// Audience of the pods' tokens. Without it one of this cluster's own, made of its namespace
    /// and name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[^\s,]+$"))]
    pub audience: Option<String>,
    /// Life of the pods' tokens in seconds; the node renews them at four fifths of it.
    #[serde(default = "hour")]
    #[schemars(range(min = 600, max = 86400))]
    pub expiration_seconds: i64,
    /// Secret with the shared secret, of at least 16 bytes, or several, one a line; key `secret`
    /// unless another is named. Without it the operator makes one and names it in the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
}

fn hour() -> i64 {
    3600
}

impl Default for LinkAuthentication {
    fn default() -> Self {
        Self {
            mode: LinkMode::default(),
            audience: None,
            expiration_seconds: hour(),
            secret_ref: None,
        }
    }
}

/// By what Business Servers show that they belong to this cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum LinkMode {
    /// By the token of their service account, which the API server reviews.
    #[default]
    PodIdentity,
    /// By a secret that all servers share.
    SharedSecret,
}

/// Encryption. The Secrets have the keys tls.crt, tls.key and ca.crt, as cert-manager makes them.
/// They are read again when they change, without a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// TLS for terminals. Without it TLS ends before the Business Servers, or not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminals: Option<TerminalTls>,
    /// TLS for links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<LinkTls>,
}

/// TLS for terminals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TerminalTls {
    /// Secret with the certificate and its key.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,
}

/// TLS for links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkTls {
    /// Secret with the certificate of the Message Servers, its key, and the authority (ca.crt).
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,
    /// Name that the certificate has. Without it that of the Message Servers' Service,
    /// NAME-message-server.NAMESPACE.svc.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub server_name: Option<String>,
}

/// Who may reach the pods over the network.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.mode == 'Enabled' || (!has(self.terminalsFrom) && !has(self.metricsFrom))").message("terminalsFrom and metricsFrom need mode Enabled"))]
pub struct NetworkPolicy {
    /// Whether the operator makes NetworkPolicies.
    #[serde(default)]
    pub mode: NetworkPolicyMode,
    /// Who may connect as a terminal. Without it everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub terminals_from: Option<Vec<NetworkPolicyPeer>>,
    /// Who may read metrics and health. Without it everybody in the Kubernetes cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub metrics_from: Option<Vec<NetworkPolicyPeer>>,
}

/// Whether the operator makes NetworkPolicies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum NetworkPolicyMode {
    /// It does: links only from Business Servers, terminals and metrics as said.
    #[default]
    Enabled,
    /// It does not.
    Disabled,
}

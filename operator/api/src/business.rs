//! The tier of Business Servers: who terminals are, how they come in, and what they may do.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{SecretKeyRef, TierSpec};

/// The Business Servers: terminals connect to them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BusinessServer {
    /// What both tiers have.
    #[serde(flatten)]
    pub tier: TierSpec,
    /// How terminals prove who they are. Without keys the operator makes one key and names its
    /// Secret in the status.
    #[serde(default)]
    pub identity: Identity,
    /// Web pages that may connect, such as https://ward.example, or * for all. Without any, pages
    /// of the host that they connect to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 253)))]
    pub allowed_origins: Vec<String>,
    /// Bounds of each server.
    #[serde(default)]
    pub limits: BusinessServerLimits,
    /// An Ingress in front of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Ingress>,
    /// A Gateway API HTTPRoute in front of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_route: Option<HttpRoute>,
}

/// How terminals prove who they are: by JSON Web Tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.keysSecretRef) && has(self.jwksUrl))").message("keysSecretRef and jwksUrl must not both be set: keys come from one place"))]
pub struct Identity {
    /// Secret with the keys that tokens are verified by: public keys in PEM, a JWKS, or a secret
    /// of at least 32 bytes for HS256; key `key` unless another is named. Read again when it
    /// changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_secret_ref: Option<SecretKeyRef>,
    /// URL of a JWKS. Read again every five minutes, and when a token names an unknown key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = r"^https://[^\s]+$"))]
    pub jwks_url: Option<String>,
    /// Issuer that tokens must name (iss). Without it any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub issuer: Option<String>,
    /// Audiences, one of which tokens must name (aud). Without any, a token that names one is
    /// refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 512), regex(pattern = r"^[^,]+$")))]
    pub audiences: Vec<String>,
    /// Seconds by which the issuer's clock may differ.
    #[serde(default = "leeway")]
    #[schemars(range(min = 0, max = 3600))]
    pub leeway_seconds: i32,
    /// Claims that make the end id.
    #[serde(default)]
    pub claims: ClaimNames,
}

fn leeway() -> i32 {
    30
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            keys_secret_ref: None,
            jwks_url: None,
            issuer: None,
            audiences: Vec::new(),
            leeway_seconds: leeway(),
            claims: ClaimNames::default(),
        }
    }
}

/// Names of the claims that make the end id `hospitalCode-hosareaCode-uid`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.hospital != self.area && self.hospital != self.uid && self.area != self.uid").message("the three claims must have different names"))]
pub struct ClaimNames {
    /// Claim of the first part.
    #[serde(default = "hospital")]
    #[schemars(length(min = 1, max = 128))]
    pub hospital: String,
    /// Claim of the second part.
    #[serde(default = "area")]
    #[schemars(length(min = 1, max = 128))]
    pub area: String,
    /// Claim of the third part.
    #[serde(default = "uid")]
    #[schemars(length(min = 1, max = 128))]
    pub uid: String,
}

fn hospital() -> String {
    "hospitalCode".to_owned()
}

fn area() -> String {
    "hosareaCode".to_owned()
}

fn uid() -> String {
    "uid".to_owned()
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self { hospital: hospital(), area: area(), uid: uid() }
    }
}

/// Bounds of a Business Server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BusinessServerLimits {
    /// Sessions of terminals at a time.
    #[serde(default = "max_terminals")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_terminals: i32,
    /// Bytes of a message's body.
    #[serde(default = "max_body_bytes")]
    #[schemars(range(min = 1, max = 65536))]
    pub max_body_bytes: i32,
    /// Frames that a session may send in a second on average, twice as many at once.
    #[serde(default = "rate")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub session_rate: i32,
    /// Bytes that a session may send in a second on average, twice as many at once.
    #[serde(default = "bytes_rate")]
    #[schemars(range(min = 67584, max = 1_073_741_824))]
    pub session_bytes_rate: i32,
    /// Connections accepted in a second on average.
    #[serde(default = "rate")]
    #[schemars(range(min = 1, max = 100_000))]
    pub accept_rate: i32,
    /// Connections accepted at once.
    #[serde(default = "rate")]
    #[schemars(range(min = 1, max = 100_000))]
    pub accept_burst: i32,
}

fn max_terminals() -> i32 {
    100_000
}

fn max_body_bytes() -> i32 {
    65_536
}

fn rate() -> i32 {
    500
}

fn bytes_rate() -> i32 {
    1 << 20
}

impl Default for BusinessServerLimits {
    fn default() -> Self {
        Self {
            max_terminals: max_terminals(),
            max_body_bytes: max_body_bytes(),
            session_rate: rate(),
            session_bytes_rate: bytes_rate(),
            accept_rate: rate(),
            accept_burst: rate(),
        }
    }
}

/// An Ingress in front of the Business Servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ingress {
    /// Class of the Ingress. Without it the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class_name: Option<String>,
    /// Host name that terminals connect to.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// Secret with the certificate of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub tls_secret_name: Option<String>,
    /// Annotations, for example of the Ingress controller. Its time-outs for WebSockets must be
    /// above 35 s.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: BTreeMap<String, String>,
}

/// An HTTPRoute in front of the Business Servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpRoute {
    /// Gateways that take the route.
    #[schemars(length(min = 1, max = 8))]
    pub parent_refs: Vec<GatewayParent>,
    /// Host names that terminals connect to. Without any, those of the Gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    pub hostnames: Vec<String>,
}

/// A Gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayParent {
    /// Name of the Gateway.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace. Without it that of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// One listener of the Gateway. Without it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

//! What passes between the parts of a reconcile. Plain data, no I/O.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use wardlink_operator_api::{MessagingCluster, SecretKeyRef};

use crate::names::Tier;
pub use crate::storage::ClusterKey;

/// Kinds of children. Closed: also the label of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChildKind {
    /// `v1`
    ServiceAccount,
    /// `v1`: made once, its content is never written again.
    Secret,
    /// `v1`
    Service,
    /// `networking.k8s.io/v1`
    NetworkPolicy,
    /// `policy/v1`
    PodDisruptionBudget,
    /// `rbac.authorization.k8s.io/v1`, without a namespace and without an owner.
    ClusterRoleBinding,
    /// `apps/v1`
    Deployment,
    /// `autoscaling/v2`
    HorizontalPodAutoscaler,
    /// `networking.k8s.io/v1`
    Ingress,
    /// `gateway.networking.k8s.io/v1`; not every Kubernetes has it.
    HttpRoute,
}

/// A child as the operator wants it: all that it says of it, and nothing else.
#[derive(Debug, Clone, PartialEq)]
pub struct Child {
    /// What it is.
    pub kind: ChildKind,
    /// Its name.
    pub name: String,
    /// The whole object, to be applied with the operator's field manager.
    pub object: Value,
}

/// `spec.replicas` of a Deployment, applied by its own field manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replicas {
    /// Of which tier.
    pub tier: Tier,
    /// How many.
    pub replicas: i32,
}

/// A Secret with a random value that is made where it is missing, and else left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// Its name.
    pub name: String,
    /// The one key in it.
    pub key: &'static str,
    /// Random bytes behind the value, which is their text in base64url without padding.
    pub random_bytes: usize,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// Images of both tiers, resolved: the resource's, else the one recorded in the status, else the
/// operator's default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// Of the Message Servers.
    pub message_server: String,
    /// Of the Business Servers.
    pub business_server: String,
}

impl Images {
    /// That of one tier.
    pub fn of(&self, tier: Tier) -> &str {
        match tier {
            Tier::MessageServer => &self.message_server,
            Tier::BusinessServer => &self.business_server,
        }
    }
}

/// What the desired children are made of.
#[derive(Debug, Clone, Copy)]
pub struct DesiredInputs<'a> {
    /// The resource, with name, namespace and uid.
    pub cluster: &'a MessagingCluster,
    /// Images of both tiers.
    pub images: &'a Images,
    /// Hash of the content of each Secret key that pods read only at start
    /// ([`mongodb_uri`](crate::secrets::mongodb_uri) and
    /// [`mongodb_ca`](crate::secrets::mongodb_ca)). For a key that is missing now the caller gives
    /// the hash that the running template has
    /// ([`known_content`](crate::desired::known_content)), so that nothing restarts.
    pub content: &'a BTreeMap<SecretKeyRef, String>,
    /// Life of a stored message that the Message Servers are told, see `storage`'s order of
    /// changes.
    pub server_message_ttl_seconds: i32,
    /// Wanted pods of each tier's Deployment as they are now, if it is there.
    pub replicas_now: Tiers<Option<i32>>,
    /// Name of the ClusterRole that lets Message Servers review tokens. The operator's setting.
    pub token_review_role: &'a str,
}

/// The desired children of one cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Desired {
    /// In the order in which they are to be applied.
    pub children: Vec<Child>,
    /// Numbers of pods that are the operator's to set.
    pub replicas: Vec<Replicas>,
    /// Secrets that are to be there.
    pub generated: Vec<Generated>,
}

/// One value for each tier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tiers<T> {
    /// Of the Message Servers.
    pub message_server: T,
    /// Of the Business Servers.
    pub business_server: T,
}

impl<T> Tiers<T> {
    /// That of one tier.
    pub fn get(&self, tier: Tier) -> &T {
        match tier {
            Tier::MessageServer => &self.message_server,
            Tier::BusinessServer => &self.business_server,
        }
    }
}

/// What was seen of one tier.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TierObserved {
    /// Its Deployment.
    pub deployment: Option<Deployment>,
    /// Its autoscaler.
    pub autoscaler: Option<HorizontalPodAutoscaler>,
    /// Its pods, those that end included.
    pub pods: Vec<Pod>,
}

/// How the database was found, and what was done there. Closed: condition reasons and labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StorageState {
    /// Not looked at yet.
    Unknown,
    /// It answers and has the indexes.
    Ready,
    /// `indexManagement: Manual`: nothing is done, and nothing is known.
    Manual,
    /// The Secret with the connection string, or its key, is not there.
    SecretNotFound,
    /// The connection string can not be used.
    InvalidUri,
    /// It does not answer.
    Unreachable,
    /// It refuses the user or what the user wants to do.
    NotAuthorized,
    /// It is no replica set.
    NotReplicaSet,
    /// An index on the same key has other options; it is left alone.
    IndexConflict,
    /// It answers, but an index could not be made or changed.
    IndexFailed,
}

/// What the storage part reports of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageReport {
    /// How it was found.
    pub state: StorageState,
    /// For people. Holds no secret.
    pub message: String,
    /// Life of a stored message, in seconds, that the TTL index has now, where it was seen.
    pub index_ttl_seconds: Option<i32>,
    /// Life of a stored message, in seconds, that the Message Servers are to be told now: in the
    /// order of changes, see `storage::ttl_order`.
    pub server_message_ttl_seconds: i32,
}

/// What keeps the operator from writing what it wants. A user must act on those that are
/// [`terminal`](Problem::is_terminal); the others are tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The resource breaks a rule that the API server did not enforce.
    InvalidSpec {
        /// Which one.
        message: String,
    },
    /// An object of a child's name belongs to somebody else.
    NameConflict {
        /// Kind of the child.
        kind: ChildKind,
        /// Its name.
        name: String,
    },
    /// The API server refuses an object for good.
    Rejected {
        /// Kind of the child.
        kind: ChildKind,
        /// Its name.
        name: String,
        /// What it said.
        message: String,
    },
    /// The operator has not the right to do something.
    Forbidden {
        /// Kind of the child.
        kind: ChildKind,
        /// Its name.
        name: String,
        /// What the API server said.
        message: String,
    },
    /// The operator may not let Message Servers review tokens.
    LinkIdentityNotAllowed {
        /// What an administrator runs to allow it.
        command: String,
    },
    /// A kind is asked for that this Kubernetes does not have.
    KindMissing {
        /// Which one.
        kind: ChildKind,
    },
    /// A Secret that pods need is not there.
    SecretNotFound {
        /// Its name, and the key.
        secret: String,
        /// What it is for.
        purpose: &'static str,
    },
    /// The API server could not be asked, or failed; it is tried again.
    Unavailable {
        /// What was tried.
        message: String,
    },
}

impl Problem {
    /// Whether trying again cannot help before somebody changes something.
    pub fn is_terminal(&self) -> bool {
        match self {
            Self::InvalidSpec { .. } | Self::NameConflict { .. } | Self::Rejected { .. } => true,
            Self::Forbidden { .. }
            | Self::LinkIdentityNotAllowed { .. }
            | Self::KindMissing { .. }
            | Self::SecretNotFound { .. }
            | Self::Unavailable { .. } => false,
        }
    }
}

/// What the status is made of.
#[derive(Debug, Clone, Copy)]
pub struct StatusInputs<'a> {
    /// The resource with its status as it was.
    pub cluster: &'a MessagingCluster,
    /// Images of both tiers.
    pub images: &'a Images,
    /// What was seen of the tiers.
    pub tiers: &'a Tiers<TierObserved>,
    /// What was found of the database.
    pub storage: &'a StorageReport,
    /// Life of a stored message that the Message Servers are told now.
    pub server_message_ttl_seconds: i32,
    /// What keeps the operator from writing.
    pub problems: &'a [Problem],
    /// Whether this reconcile still wrote something.
    pub wrote: bool,
    /// The time, for conditions that change.
    pub now: k8s_openapi::jiff::Timestamp,
}

//! The resource `MessagingCluster` (`wardlink.dev/v1alpha1`): its types, the CRD that is made of
//! them, and the rules that the API server enforces.
//!
//! Owns what a user may write and what the operator reports. Every default stands here, so that
//! an object as the API server returns it is complete; the one exception are the images, which an
//! operator resolves once and records in the status. Decides nothing: what a cluster's children
//! look like is the operator's.

// The derive for CEL rules repeats each struct inside a function, where `pub` reaches nobody.
#![allow(unreachable_pub)]

mod business;
mod cluster;
mod crd;
mod message;
mod quantity;
mod security;
mod status;
mod storage;
mod tier;

pub use business::{
    BusinessServer, BusinessServerLimits, ClaimNames, GatewayParent, HttpRoute, Identity, Ingress,
};
pub use cluster::{GROUP, ManagementState, MessagingCluster, MessagingClusterSpec, NAME_MAX};
pub use crd::crd;
pub use message::{MessageServer, MessageServerLimits};
pub use quantity::{Quantities, Resources};
pub use security::{
    LinkAuthentication, LinkMode, LinkTls, NetworkPolicy, NetworkPolicyMode, TerminalTls, Tls,
};
pub use status::{
    ConditionType, GeneratedSecrets, MessagingClusterStatus, StorageStatus, TierStatus,
};
pub use storage::{
    Collections, DeletionPolicy, IndexManagement, MongoDb, MongoDbTls, SecretKeyRef, SecretRef,
    Storage,
};
pub use tier::{
    Autoscaling, DisruptionBudget, Drain, ExternalTrafficPolicy, Rollout, ScaleDown, Service,
    ServiceType, TierSpec,
};

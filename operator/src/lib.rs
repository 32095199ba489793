//! The operator of Wardlink: keeps each `MessagingCluster` as its resource says.
//!
//! One reconcile: observe → desired (pure, one file for each kind of child) → apply → status
//! (pure). `model` holds what passes between them.

pub mod desired;
pub mod model;
pub mod names;
pub mod secrets;
pub mod status;
pub mod storage;

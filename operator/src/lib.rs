//! The operator of Wardlink: keeps each `MessagingCluster` as its resource says.
//!
//! One reconcile: observe → desired (pure, one file for each kind of child) → apply → status
//! (pure). `model` holds what passes between them.

pub mod app;
pub mod apply;
pub mod client;
pub mod config;
pub mod contents;
pub mod controller;
pub mod desired;
pub mod drift;
mod kinds;
pub mod leader;
pub mod metrics;
pub mod model;
pub mod names;
pub mod observe;
pub mod reconcile;
pub mod secrets;
pub mod status;
pub mod storage;

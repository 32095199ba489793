//! The Message Server (MS): keeps `swMap` (server id → link), writes who is where into the
//! database, hands each message to the BS that has its target, or keeps it until the target comes.
//!
//! [`core`] decides, [`store`] keeps, [`app`] is the shell around both, [`config`] reads settings.

pub mod app;
pub mod config;
pub mod core;
pub mod store;

//! The simulated world.

pub mod cluster;
pub mod database;

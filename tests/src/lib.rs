//! The simulated world.

pub mod database;

//! The harness of the stories, and the simulated world.

pub mod browser;
pub mod cluster;
pub mod database;
pub mod load;
pub mod pki;
pub mod raw;
pub mod small_disk;
pub mod world;

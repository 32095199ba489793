//! Stories with real processes: what people of a hospital see, and what the database holds.
//!
//! Each story starts its own cluster, on MongoDB's wire protocol and, where one MS is enough, on
//! the embedded store too.

mod away;
mod delivery;
mod full_disk;
mod http;
mod links;
mod logs;
mod metrics;
mod moving;
mod plain;
mod sessions;
mod settings;

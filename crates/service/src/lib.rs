//! What every Wardlink process needs once: telemetry, settings, the stop signal, its tasks, the
//! admin port, the accept loop, metrics, readiness, token buckets and backoff.
//!
//! Owns nothing of the protocol and knows no other crate of the workspace. A program puts it
//! together so:
//!
//! 1. [`settings::parse_or_exit`], [`telemetry::init`];
//! 2. [`stop::channel`] and [`stop::signals`];
//! 3. [`readiness::Readiness`], then [`admin::serve`] with a stop of its own that comes last, so
//!    that a draining process still answers;
//! 4. [`tasks::Tasks`] for everything else; its `join` is where `main` waits.

pub mod accept;
pub mod admin;
pub mod backoff;
pub mod bucket;
pub mod hush;
pub mod limits;
pub mod metrics;
pub mod readiness;
pub mod settings;
pub mod stop;
pub mod tasks;
pub mod telemetry;

//! What a BS shows of itself at `/metrics`. docs/OPERATIONS.md lists every metric with its
//! meaning; a test compares.
//!
//! Owns the numbers of the shell; those of the core are copied here when a scrape asks. Labels
//! come from closed sets: never an end, a user or an error's text.

use std::sync::Arc;

use prometheus::IntCounter;
use wardlink_service::metrics::{Publish, Registry, Section, raise};
use wardlink_wire::CloseCode;

use crate::core::api::Counters;

/// The metrics of one BS.
#[derive(Debug)]
pub(super) struct Metrics {
    /// How a scrape asks the engine for what only it knows.
    pub(super) publish: Publish,
    session_closes: [IntCounter; CloseCode::ALL.len()],
    link_closes: [IntCounter; CloseCode::ALL.len()],
    fenced: IntCounter,
}

impl Metrics {
    /// Metrics of a BS that has done nothing yet.
    pub(super) fn new(registry: &Registry) -> Arc<Self> {
        let bs = Section::new(registry, "wardlink_bs");
        let codes = CloseCode::ALL.map(CloseCode::label);
        Arc::new(Self {
            publish: Publish::default(),
            session_closes: bs.counters(
                "session_closes_total",
                "Sessions closed by this business server, by close code.",
                "code",
                codes,
            ),
            link_closes: bs.counters(
                "link_closes_total",
                "Links closed by this business server, by close code.",
                "code",
                codes,
            ),
            fenced: bs.counter("fenced_total", "Items dropped because their epoch was lower."),
        })
    }

    /// A session was closed with `code`.
    pub(super) fn session_closed(&self, code: CloseCode) {
        self.session_closes[code as usize].inc();
    }

    /// A link was closed with `code`.
    pub(super) fn link_closed(&self, code: CloseCode) {
        self.link_closes[code as usize].inc();
    }

    /// Shows what the core counted.
    pub(super) fn show(&self, counters: &Counters) {
        raise(&self.fenced, counters.fenced);
    }
}

//! What an MS shows of itself at `/metrics`. docs/OPERATIONS.md lists every metric with its
//! meaning; a test compares.
//!
//! Owns the numbers of the shell; those of the core are copied here when a scrape asks. Labels
//! come from closed sets: never an end, a server or an error's text.

use std::sync::Arc;

use prometheus::IntCounter;
use wardlink_service::metrics::{Publish, Registry, Section, raise};
use wardlink_wire::CloseCode;

use crate::core::api::Counters;

/// The metrics of one MS.
#[derive(Debug)]
pub(super) struct Metrics {
    /// How a scrape asks the engine for what only it knows.
    pub(super) publish: Publish,
    /// Links closed by this MS, by close code (in the order of [`CloseCode::ALL`]).
    pub(super) closes: [IntCounter; CloseCode::ALL.len()],
    fenced: IntCounter,
}

impl Metrics {
    /// Metrics of an MS that has done nothing yet.
    pub(super) fn new(registry: &Registry) -> Arc<Self> {
        let ms = Section::new(registry, "wardlink_ms");
        Arc::new(Self {
            publish: Publish::default(),
            closes: ms.counters(
                "link_closes_total",
                "Links closed by this message server, by close code.",
                "code",
                CloseCode::ALL.map(CloseCode::label),
            ),
            fenced: ms.counter("fenced_total", "Items dropped because their epoch was lower."),
        })
    }

    /// A link was closed with `code`.
    pub(super) fn closed(&self, code: CloseCode) {
        self.closes[code as usize].inc();
    }

    /// Shows what the core counted.
    pub(super) fn show(&self, counters: &Counters) {
        raise(&self.fenced, counters.fenced);
    }
}

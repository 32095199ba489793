//! Connections to the port for terminals, and what is refused there.

use prometheus::{IntCounter, IntGauge};
use wardlink_service::metrics::Section;

use crate::app::front::Refusal;

/// The metrics of the port for terminals.
#[derive(Debug)]
pub(in crate::app) struct FrontMetrics {
    /// Connections: sessions, handshakes and HTTP.
    pub(in crate::app) connections: IntGauge,
    /// Times that a session sent too much and was not read for a while.
    pub(in crate::app) paused: IntCounter,
    refused: [IntCounter; Refusal::REASONS.len()],
}

impl FrontMetrics {
    pub(super) fn new(bs: &Section<'_>) -> Self {
        let connections = "Connections to the port for terminals: sessions, handshakes and HTTP.";
        let paused = "Times that a session sent more than its rates and was not read for a while.";
        let refused = "Handshakes of terminals that were refused, by reason.";
        Self {
            connections: bs.gauge("connections", connections),
            paused: bs.counter("session_pauses_total", paused),
            refused: bs.counters("handshakes_refused_total", refused, "reason", Refusal::REASONS),
        }
    }

    /// A terminal's handshake was refused.
    pub(in crate::app) fn refused(&self, refusal: &Refusal) {
        self.refused[refusal.index()].inc();
    }
}

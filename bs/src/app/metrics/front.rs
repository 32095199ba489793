//! Connections to the port for terminals, and what is refused there.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{Gauge, IntCounter, IntGauge};
use wardlink_service::metrics::Section;

use wardlink_identity::TokenError;

use crate::app::front::Refusal;

/// The metrics of the port for terminals.
#[derive(Debug)]
pub(in crate::app) struct FrontMetrics {
    /// Connections: sessions, handshakes and HTTP.
    pub(in crate::app) connections: IntGauge,
    /// Times that a session sent too much and was not read for a while.
    pub(in crate::app) paused: IntCounter,
    /// Times that the keys for tokens could not be read.
    pub(in crate::app) keys_unread: IntCounter,
    keys_at: Gauge,
    refused: [IntCounter; Refusal::REASONS.len()],
    tokens: [IntCounter; TokenError::REASONS.len()],
}

impl FrontMetrics {
    pub(super) fn new(bs: &Section<'_>) -> Self {
        let connections = "Connections to the port for terminals: sessions, handshakes and HTTP.";
        let paused = "Times that a session sent more than its rates and was not read for a while.";
        let refused =
            "Terminals that were refused in their handshake or at their first frame, by reason.";
        let keys_unread = "Times that the keys for tokens could not be read.";
        let keys_at = "When the keys for tokens were read last, since 1970; 0: not yet.";
        let tokens = "Tokens that do not count, by reason.";
        Self {
            tokens: bs.counters("tokens_refused_total", tokens, "reason", TokenError::REASONS),
            keys_unread: bs.counter("keys_unread_total", keys_unread),
            keys_at: bs.float_gauge("keys_read_time_seconds", keys_at),
            connections: bs.gauge("connections", connections),
            paused: bs.counter("session_pauses_total", paused),
            refused: bs.counters("handshakes_refused_total", refused, "reason", Refusal::REASONS),
        }
    }

    /// The keys for tokens have been read just now.
    pub(in crate::app) fn keys_read(&self) {
        // A clock before 1970 reads as never.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.keys_at.set(now.as_secs_f64().floor());
    }

    /// A terminal's handshake, or its first frame, was refused.
    pub(in crate::app) fn refused(&self, refusal: &Refusal) {
        self.refused[refusal.index()].inc();
        if let Refusal::Token(error) = refusal {
            self.token_refused(error);
        }
    }

    /// A token does not count, wherever it was shown.
    pub(in crate::app) fn token_refused(&self, error: &TokenError) {
        let at = TokenError::REASONS.iter().position(|reason| *reason == error.reason());
        if let Some(counter) = at.and_then(|at| self.tokens.get(at)) {
            counter.inc();
        }
    }
}

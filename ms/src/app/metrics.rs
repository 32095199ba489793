//! What an MS shows of itself at `/metrics`. docs/OPERATIONS.md lists every metric with its
//! meaning; a test compares.
//!
//! Owns the numbers of the shell; those of the core are copied here when a scrape asks. Labels
//! come from closed sets: never an end, a server or an error's text.

mod core;
mod database;
mod reviews;

use std::sync::Arc;
use std::time::Duration;

use prometheus::{Counter, Histogram, IntCounter, IntGauge};
use wardlink_service::accept;
use wardlink_service::metrics::{Publish, Registry, Section};
use wardlink_wire::CloseCode;

use self::core::CoreMetrics;
pub(super) use self::database::{DatabaseMetrics, OpKind, OpResult};
pub(super) use self::reviews::{Decided, Outcome, ReviewMetrics};

/// How late the engine's tick may come, in seconds.
const DELAYS: [f64; 8] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// The metrics of one MS.
#[derive(Debug)]
pub(super) struct Metrics {
    /// How a scrape asks the engine for what only it knows.
    pub(super) publish: Publish,
    /// Connections that wait to be accepted.
    pub(super) accept: accept::Metrics,
    /// Connections to the admin port that made room for newer ones.
    pub(super) admin_dropped: IntCounter,
    refused: [IntCounter; Refusal::ALL.len()],
    /// What the core knows.
    pub(super) core: CoreMetrics,
    /// Calls of the database.
    pub(super) database: DatabaseMetrics,
    /// Whose links are.
    pub(super) reviews: ReviewMetrics,
    link_closes: [IntCounter; CloseCode::ALL.len()],
    /// Inputs that wait for the engine.
    pub(super) inputs: IntGauge,
    /// Inputs that the engine has taken.
    pub(super) inputs_taken: IntCounter,
    busy: Counter,
    tick_delay: Histogram,
    /// Bytes that wait for the writers of links.
    pub(super) queue_bytes: IntGauge,
    /// The most of one link.
    pub(super) queue_largest_bytes: IntGauge,
}

/// Why a connection did not become a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It was not done in time.
    Slow,
    /// TLS failed: no certificate, one of another authority, no TLS at all.
    Tls,
    /// No request for a link.
    Request,
    /// It showed no secret.
    NoSecret,
    /// It showed another secret.
    WrongSecret,
    /// It showed a token that does not count.
    WrongToken,
    /// What it showed could not be checked.
    Unchecked,
}

impl Refusal {
    const ALL: [Self; 7] = [
        Self::Slow,
        Self::Tls,
        Self::Request,
        Self::NoSecret,
        Self::WrongSecret,
        Self::WrongToken,
        Self::Unchecked,
    ];

    /// For metrics and logs.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Tls => "tls",
            Self::Request => "request",
            Self::NoSecret => "no_secret",
            Self::WrongSecret => "wrong_secret",
            Self::WrongToken => "wrong_token",
            Self::Unchecked => "unchecked",
        }
    }
}

impl Metrics {
    /// Metrics of an MS that has done nothing yet.
    pub(super) fn new(registry: &Registry) -> Arc<Self> {
        let ms = Section::new(registry, "wardlink_message_server");
        Arc::new(Self {
            publish: Publish::default(),
            accept: accept::Metrics::new(&ms),
            admin_dropped: ms.counter(
                "admin_dropped_total",
                "Connections to the admin port that were closed to make room for newer ones.",
            ),
            core: CoreMetrics::new(&ms),
            database: DatabaseMetrics::new(&ms),
            reviews: ReviewMetrics::new(&ms),
            link_closes: ms.counters(
                "link_closes_total",
                "Links closed by this message server, by close code.",
                "code",
                CloseCode::ALL.map(CloseCode::label),
            ),
            inputs: ms.gauge("engine_inputs", "Inputs that wait for the engine."),
            inputs_taken: ms.counter("engine_inputs_total", "Inputs that the engine has taken."),
            busy: ms.float_counter(
                "engine_busy_seconds_total",
                "Time that the engine worked and did not wait.",
            ),
            tick_delay: ms.histogram(
                "engine_tick_delay_seconds",
                "How much later than due the engine's tick came.",
                &DELAYS,
            ),
            queue_bytes: ms
                .gauge("link_queue_bytes", "Bytes that wait for the writers of all links."),
            queue_largest_bytes: ms.gauge(
                "link_queue_largest_bytes",
                "Bytes that wait for the writer of the link for which most wait.",
            ),
            refused: ms.counters(
                "links_refused_total",
                "Connections that did not become links, by reason.",
                "reason",
                Refusal::ALL.map(Refusal::label),
            ),
        })
    }

    /// A link was closed with `code`.
    pub(super) fn closed(&self, code: CloseCode) {
        self.link_closes[code as usize].inc();
    }

    /// A connection did not become a link.
    pub(super) fn refused(&self, refusal: Refusal) {
        self.refused[refusal as usize].inc();
    }

    /// How many were refused for this reason.
    #[cfg(test)]
    pub(super) fn refused_count(&self, refusal: Refusal) -> u64 {
        self.refused[refusal as usize].get()
    }

    /// The engine worked for so long.
    pub(super) fn worked(&self, time: Duration) {
        self.busy.inc_by(time.as_secs_f64());
    }

    /// A tick came so late.
    pub(super) fn ticked(&self, late: Duration) {
        self.tick_delay.observe(late.as_secs_f64());
    }
}

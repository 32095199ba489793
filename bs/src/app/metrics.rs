//! What a BS shows of itself at `/metrics`. docs/OPERATIONS.md lists every metric with its
//! meaning; a test compares.
//!
//! Owns the numbers of the shell; those of the core are copied here when a scrape asks. Labels
//! come from closed sets: never an end, a user or an error's text.

mod core;
mod front;
mod posts;

use std::sync::Arc;
use std::time::Duration;

use prometheus::{Counter, Histogram, IntCounter, IntGauge};
use wardlink_service::accept;
use wardlink_service::metrics::{Publish, Registry, Section};
use wardlink_wire::CloseCode;

use self::core::CoreMetrics;
use self::front::FrontMetrics;
use self::posts::PostMetrics;
use super::knock::Closed;

/// How late the engine's tick may come, in seconds.
const DELAYS: [f64; 8] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// The metrics of one BS.
#[derive(Debug)]
pub(super) struct Metrics {
    /// How a scrape asks the engine for what only it knows.
    pub(super) publish: Publish,
    /// Connections that wait to be accepted.
    pub(super) accept: accept::Metrics,
    /// Connections to the admin port that made room for newer ones.
    pub(super) admin_dropped: IntCounter,
    /// What the core knows.
    pub(super) core: CoreMetrics,
    /// Connections and handshakes.
    pub(super) front: FrontMetrics,
    /// What is answered over HTTP.
    pub(super) posts: PostMetrics,
    session_closes: [IntCounter; CloseCode::ALL.len()],
    link_closes: [IntCounter; CloseCode::ALL.len()],
    /// Frames of terminals that are no message of the protocol, answered with an error.
    pub(super) bad_frames: IntCounter,
    /// Times that a terminal was not read for a while, for it had too many sends open.
    pub(super) held: IntCounter,
    /// Inputs that wait for the engine.
    pub(super) inputs: IntGauge,
    /// Inputs that the engine has taken.
    pub(super) inputs_taken: IntCounter,
    busy: Counter,
    tick_delay: Histogram,
    /// Bytes that wait for terminals.
    pub(super) outbox_bytes: IntGauge,
    /// The most of one terminal.
    pub(super) outbox_largest_bytes: IntGauge,
    /// Bytes that wait for the writers of links.
    pub(super) queue_bytes: IntGauge,
    /// The most of one link.
    pub(super) queue_largest_bytes: IntGauge,
    addresses: IntGauge,
    dials_failed: [IntCounter; Closed::REASONS.len()],
}

impl Metrics {
    /// Metrics of a BS that has done nothing yet.
    pub(super) fn new(registry: &Registry) -> Arc<Self> {
        let bs = Section::new(registry, "wardlink_business_server");
        let codes = CloseCode::ALL.map(CloseCode::label);
        Arc::new(Self {
            publish: Publish::default(),
            core: CoreMetrics::new(&bs),
            front: FrontMetrics::new(&bs),
            posts: PostMetrics::new(&bs),
            accept: accept::Metrics::new(&bs),
            admin_dropped: bs.counter(
                "admin_dropped_total",
                "Connections to the admin port that were closed to make room for newer ones.",
            ),
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
            bad_frames: bs.counter(
                "bad_frames_total",
                "Frames of terminals that are no message of the protocol, answered with an error.",
            ),
            held: bs.counter(
                "reading_paused_total",
                "Times that a terminal was not read for a while, for it had too many sends open.",
            ),
            inputs: bs.gauge("engine_inputs", "Inputs that wait for the engine."),
            inputs_taken: bs.counter("engine_inputs_total", "Inputs that the engine has taken."),
            busy: bs.float_counter(
                "engine_busy_seconds_total",
                "Time that the engine worked and did not wait.",
            ),
            tick_delay: bs.histogram(
                "engine_tick_delay_seconds",
                "How much later than due the engine's tick came.",
                &DELAYS,
            ),
            outbox_bytes: bs.gauge("outbox_bytes", "Bytes that wait for all terminals."),
            outbox_largest_bytes: bs.gauge(
                "outbox_largest_bytes",
                "Bytes that wait for the terminal for which most wait.",
            ),
            queue_bytes: bs
                .gauge("link_queue_bytes", "Bytes that wait for the writers of all links."),
            queue_largest_bytes: bs.gauge(
                "link_queue_largest_bytes",
                "Bytes that wait for the writer of the link for which most wait.",
            ),
            addresses: bs
                .gauge("link_addresses", "Addresses of message servers to which a link is kept."),
            dials_failed: bs.counters(
                "dial_failures_total",
                "Attempts to link to a message server that failed, by reason.",
                "reason",
                Closed::REASONS,
            ),
        })
    }

    /// A link to one more address is kept, until the guard is dropped.
    pub(super) fn keeping(&self) -> Keeping {
        self.addresses.inc();
        Keeping(self.addresses.clone())
    }

    /// A session was closed with `code`.
    pub(super) fn session_closed(&self, code: CloseCode) {
        self.session_closes[code as usize].inc();
    }

    /// A link was closed with `code`.
    pub(super) fn link_closed(&self, code: CloseCode) {
        self.link_closes[code as usize].inc();
    }

    /// An attempt to open a link failed.
    pub(super) fn dial_failed(&self, error: &Closed) {
        self.dials_failed[error.index()].inc();
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

/// Counts an address to which a link is kept.
#[derive(Debug)]
pub(super) struct Keeping(IntGauge);

impl Drop for Keeping {
    fn drop(&mut self) {
        self.0.dec();
    }
}

//! What the core of a BS counts and holds: copied when a scrape asks.

use prometheus::{IntCounter, IntGauge};
use wardlink_service::metrics::{Section, ShownTimes, raise};
use wardlink_wire::{Outcome, Reason};

use crate::core::api::Counters;
use crate::core::{Core, Held};

/// A counter, and where its total is.
type Counted = (IntCounter, fn(&Counters) -> u64);
/// A gauge, and where its value is.
type Gauged = (IntGauge, fn(&Held) -> u64);

/// The metrics of a core.
#[derive(Debug)]
pub(in crate::app) struct CoreMetrics {
    counters: Vec<Counted>,
    gauges: Vec<Gauged>,
    results: Vec<(Outcome, Option<Reason>, IntCounter)>,
    times: ShownTimes,
    view_seconds: IntGauge,
    view_increment: IntGauge,
    view_members: IntGauge,
}

impl CoreMetrics {
    pub(super) fn new(bs: &Section<'_>) -> Self {
        let labels = ["outcome", "reason"];
        let help = "Results told to senders, by outcome and reason.";
        let pairs: Vec<_> = Outcome::results().collect();
        let words = |(outcome, reason): &(Outcome, Option<Reason>)| {
            (outcome.as_str(), reason.map_or("none", Reason::as_str))
        };
        let values: Vec<_> = pairs.iter().map(words).collect();
        let told = bs.pairs("results_total", help, labels, &values);
        let results = pairs.into_iter().zip(told).map(|((o, r), counter)| (o, r, counter));
        Self {
            counters: counters(bs),
            gauges: gauges(bs),
            results: results.collect(),
            times: bs.times(
                "result_seconds",
                "Time from the acceptance of a message to its result.",
                "outcome",
                &["delivered", "stored"],
            ),
            // A number is 64 bits, and a sample has 53.
            view_seconds: bs.gauge(
                "view_number_seconds",
                "Upper half of the view's number: seconds since 1970 by the database's clock.",
            ),
            view_increment: bs.gauge("view_number_increment", "Lower half of the view's number."),
            view_members: bs.gauge("view_members", "Members of the view."),
        }
    }

    /// Shows what the core counted and holds. Looks at every session.
    pub(in crate::app) fn show(&self, core: &Core) {
        let (counted, held) = (core.counters(), core.held());
        for (counter, of) in &self.counters {
            raise(counter, of(&counted));
        }
        for (gauge, of) in &self.gauges {
            gauge.set(i64::try_from(of(&held)).unwrap_or(i64::MAX));
        }
        for (outcome, reason, counter) in &self.results {
            raise(counter, core.results().told(*outcome, *reason));
        }
        self.times.show(core.results().times());
        let (number, members) =
            core.view().map_or((0, 0), |view| (view.number.0, view.members.len()));
        self.view_seconds.set((number >> 32) as i64);
        self.view_increment.set((number & u64::from(u32::MAX)) as i64);
        self.view_members.set(members as i64);
    }
}

fn counters(bs: &Section<'_>) -> Vec<Counted> {
    let counter = |name: &str, help: &str, of: fn(&Counters) -> u64| (bs.counter(name, help), of);
    vec![
        counter("fenced_total", "Items dropped because their epoch was lower.", |c| c.fenced),
        counter("parked_total", "Items that waited for a view.", |c| c.parked),
        counter("views_total", "Views adopted.", |c| c.views),
        counter("sent_again_total", "Sends that were taken back and sent again.", |c| c.sent_again),
        counter("late_total", "Sends that reached their deadline here.", |c| c.late),
        counter("abandoned_total", "Sends whose session ended before their result.", |c| {
            c.abandoned
        }),
        counter("shown_total", "Messages shown to terminals.", |c| c.shown),
        counter("repeats_total", "Messages that came again and were not shown again.", |c| {
            c.repeats
        }),
        counter(
            "expired_total",
            "Messages that came after their expiry, and were not shown.",
            |c| c.expired,
        ),
        counter(
            "dedupe_forgotten_total",
            "Ids that a full dedupe window forgot before their time.",
            |c| c.forgotten,
        ),
        counter(
            "copies_dropped_total",
            "Copies of a message that are not acknowledged, for too many of one were owed.",
            |c| c.copies_dropped,
        ),
        counter("posts_refused_total", "Posts refused because too many wait.", |c| c.posts_refused),
        counter("posts_remembered_total", "Posts answered from the memory of results.", |c| {
            c.posts_remembered
        }),
        counter("sent_away_total", "Sessions that were asked to connect elsewhere.", |c| {
            c.sent_away
        }),
        counter("drained_late_total", "Sessions closed at the end of the drain window.", |c| {
            c.left_late
        }),
    ]
}

fn gauges(bs: &Section<'_>) -> Vec<Gauged> {
    let gauge = |name: &str, help: &str, of: fn(&Held) -> u64| (bs.gauge(name, help), of);
    vec![
        gauge("sessions", "Sessions.", |h| h.sessions as u64),
        gauge("sessions_registered", "Sessions that their owner has registered.", |h| {
            h.registered as u64
        }),
        gauge("acks_pending", "Messages shown to terminals and not acknowledged.", |h| {
            h.acks_pending as u64
        }),
        gauge("dedupe_ids", "Ids in the dedupe windows of all sessions.", |h| h.dedupe_ids as u64),
        gauge("open_sends", "Sends without a result.", |h| h.open_sends as u64),
        gauge("open_bytes", "Bytes of the bodies of sends without a result.", |h| {
            h.open_bytes as u64
        }),
        gauge("waiting_sends", "Sends that wait for a link, or for its credit.", |h| {
            h.waiting_sends as u64
        }),
        gauge("links", "Links to message servers that have welcomed this business server.", |h| {
            h.links as u64
        }),
        gauge("members_missed", "Members of the view to which there is no such link.", |h| {
            h.missed as u64
        }),
        gauge("parked_items", "Items that wait for a view.", |h| h.parked as u64),
        gauge("posts", "Posts over HTTP that wait for their result.", |h| h.posts as u64),
        gauge("draining", "1 while terminals are sent elsewhere, else 0.", |h| h.draining.into()),
    ]
}

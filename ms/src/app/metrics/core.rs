//! What the core of an MS counts and holds: copied when a scrape asks.

use prometheus::{IntCounter, IntGauge};
use wardlink_service::metrics::{Section, ShownTimes, raise};
use wardlink_wire::{Outcome, Reason};

use crate::core::api::{Counters, ViewReason};
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
    changes: [IntCounter; ViewReason::ALL.len()],
    renewals: [IntCounter; 3],
    degraded: IntGauge,
}

impl CoreMetrics {
    pub(super) fn new(ms: &Section<'_>) -> Self {
        let labels = ["outcome", "reason"];
        let help = "Results of messages, by outcome and reason.";
        let pairs: Vec<_> = Outcome::results().collect();
        let words = |(outcome, reason): &(Outcome, Option<Reason>)| {
            (outcome.as_str(), reason.map_or("none", Reason::as_str))
        };
        let values: Vec<_> = pairs.iter().map(words).collect();
        let told = ms.pairs("results_total", help, labels, &values);
        let results = pairs.into_iter().zip(told).map(|((o, r), counter)| (o, r, counter));
        Self {
            counters: counters(ms),
            gauges: gauges(ms),
            results: results.collect(),
            times: ms.times(
                "result_seconds",
                "Time from the arrival of a message to its result.",
                "outcome",
                &["delivered", "stored"],
            ),
            changes: ms.counters(
                "view_changes_total",
                "Changes of the view by this message server, by reason.",
                "reason",
                ViewReason::ALL.map(ViewReason::label),
            ),
            renewals: ms.counters(
                "renewals_total",
                "Renewals by result.",
                "result",
                ["done", "refused", "unknown"],
            ),
            degraded: ms
                .gauge("degraded", "1 while the database does not answer renewals, else 0."),
        }
    }

    /// Shows what the core counted and holds. Looks at every lane.
    pub(in crate::app) fn show(&self, core: &Core, held: &Held) {
        let counted = core.counters();
        for (counter, of) in &self.counters {
            raise(counter, of(&counted));
        }
        for (gauge, of) in &self.gauges {
            gauge.set(i64::try_from(of(held)).unwrap_or(i64::MAX));
        }
        for (outcome, reason, counter) in &self.results {
            raise(counter, core.results().told(*outcome, *reason));
        }
        self.times.show(core.results().times());
        for (counter, total) in self.changes.iter().zip(counted.changes) {
            raise(counter, total);
        }
        let renewals = [counted.renewals, counted.renewals_refused, counted.renewals_unknown];
        for (counter, total) in self.renewals.iter().zip(renewals) {
            raise(counter, total);
        }
        self.degraded.set(core.is_degraded().into());
    }
}

fn counters(ms: &Section<'_>) -> Vec<Counted> {
    let counter = |name: &str, help: &str, of: fn(&Counters) -> u64| (ms.counter(name, help), of);
    vec![
        counter("fenced_total", "Items dropped because their epoch was lower.", |c| c.fenced),
        counter("parked_total", "Items that waited for a view.", |c| c.parked),
        counter("views_total", "Views adopted.", |c| c.views),
        counter(
            "view_changes_failed_total",
            "Changes of the view that were refused, for another came first, or had no answer.",
            |c| c.changes_failed,
        ),
        counter("expelled_total", "Times that another member took this one out.", |c| c.expelled),
        counter(
            "confirmations_failed_total",
            "Renewals that failed while something durable waited to be confirmed by them.",
            |c| c.confirmations_failed,
        ),
        counter("late_writes_total", "Late writes found by a sweep.", |c| c.late_writes),
        counter("appended_total", "Messages that became durable in a mailbox.", |c| c.appended),
        counter("append_failures_total", "Appends that failed and were tried again.", |c| {
            c.appends_failed
        }),
        counter("handed_out_total", "Messages handed to a business server.", |c| c.handed),
        counter("given_up_total", "Messages given up: refused, expired or too late.", |c| {
            c.given_up
        }),
        counter(
            "spills_total",
            "Times that an end's queue went to its mailbox, for it was too long or too late.",
            |c| c.spills,
        ),
        counter(
            "claims_dropped_total",
            "Registers and unregisters dropped, for too many of one end waited.",
            |c| c.claims_dropped,
        ),
        counter(
            "waiters_dropped_total",
            "Repeats answered unknown, for too many of one message waited.",
            |c| c.waiters_dropped,
        ),
    ]
}

fn gauges(ms: &Section<'_>) -> Vec<Gauged> {
    let gauge = |name: &str, help: &str, of: fn(&Held) -> u64| (ms.gauge(name, help), of);
    let [bs, plain, unknown] = ms.gauges(
        "links",
        "Links, by what is at the other end.",
        "peer",
        ["bs", "plain", "unknown"],
    );
    vec![
        (bs, |h| h.links as u64),
        (plain, |h| h.plain_links as u64),
        (unknown, |h| h.unknown_links as u64),
        gauge("links_unsynced", "Links whose business server does not follow the view yet.", |h| {
            h.unsynced_links as u64
        }),
        gauge("open_sends", "Sends of business servers without a result.", |h| h.open_sends as u64),
        gauge("open_sends_largest", "Sends without a result of the link that has most.", |h| {
            h.open_sends_largest as u64
        }),
        gauge("open_bytes", "Bytes of the bodies of those sends.", |h| h.open_bytes as u64),
        gauge("link_ends_largest", "Routes and claims of the link that has most.", |h| {
            h.ends_largest as u64
        }),
        gauge("parked_items", "Items that wait for a view.", |h| h.parked as u64),
        gauge("lanes", "Lanes.", |h| h.lanes as u64),
        gauge("lanes_behind", "Lanes of connected ends that go through the mailbox.", |h| {
            h.lanes_behind as u64
        }),
        gauge("lanes_in_database", "Lanes whose database operation is under way.", |h| {
            h.lanes_in_database as u64
        }),
        gauge("routes", "Ends that are connected, as their owner knows.", |h| h.routes as u64),
        gauge("window_messages", "Messages handed out and not acknowledged.", |h| h.window as u64),
        gauge("window_largest_messages", "The same, of the end that has most.", |h| {
            h.window_largest as u64
        }),
        gauge("window_bytes", "Bytes of the bodies handed out and not acknowledged.", |h| {
            h.window_bytes as u64
        }),
        gauge("queue_messages", "Messages that wait to be handed out or stored.", |h| {
            h.queue as u64
        }),
        gauge("queue_largest_messages", "The same, of the end that has most.", |h| {
            h.queue_largest as u64
        }),
        gauge("queue_bytes", "Bytes of the bodies that wait.", |h| h.queue_bytes as u64),
        gauge("confirming_messages", "Messages that are durable and wait for a renewal.", |h| {
            h.confirming as u64
        }),
        gauge("claims", "Registers and unregisters that wait.", |h| h.claims as u64),
        gauge("removals", "Documents that wait to be removed.", |h| h.gone as u64),
        gauge(
            "mailbox_largest_documents",
            "Documents in the fullest of the mailboxes that this message server has counted.",
            |h| h.mailbox_largest as u64,
        ),
        gauge("view_members", "Members of the view.", |h| h.members as u64),
        gauge("partitions_owned", "Partitions that this message server owns.", |h| h.owned as u64),
        // A number is 64 bits, and a sample has 53.
        gauge(
            "view_number_seconds",
            "Upper half of the view's number: seconds since 1970 by the database's clock.",
            |h| h.view_number >> 32,
        ),
        gauge("view_number_increment", "Lower half of the view's number.", |h| {
            h.view_number & u64::from(u32::MAX)
        }),
        gauge("draining", "1 while this message server leaves the view, else 0.", |h| {
            h.leaving.into()
        }),
    ]
}

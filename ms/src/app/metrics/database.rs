//! Database operations by kind, time and result; the mailbox as a whole.

use prometheus::{Gauge, Histogram, IntCounter, IntGauge};
use wardlink_service::metrics::{Section, raise};

use crate::core::api::StoreOp;
use crate::store::Store;

/// What a call took, in seconds: from what the embedded store takes to the time-out.
const CALLS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 5.0];

/// Kinds of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::app) enum OpKind {
    ReadView,
    ChangeView,
    Renew,
    ReadRow,
    WriteRow,
    DeleteRow,
    Append,
    Count,
    ReadMailbox,
    Delete,
    TouchServers,
    QuietServers,
    RowsOf,
    DeleteRowsOf,
}

const KINDS: [&str; 14] = [
    "read_view",
    "change_view",
    "renew",
    "read_row",
    "write_row",
    "delete_row",
    "append",
    "count",
    "read_mailbox",
    "delete",
    "touch_servers",
    "quiet_servers",
    "rows_of",
    "delete_rows_of",
];

impl OpKind {
    /// The kind of an operation.
    pub(in crate::app) fn of(op: &StoreOp) -> Self {
        match op {
            StoreOp::ReadView { .. } => Self::ReadView,
            StoreOp::ChangeView(_) => Self::ChangeView,
            StoreOp::Renew(_) => Self::Renew,
            StoreOp::ReadRow { .. } => Self::ReadRow,
            StoreOp::WriteRow(_) => Self::WriteRow,
            StoreOp::DeleteRow { .. } => Self::DeleteRow,
            StoreOp::Append(_) => Self::Append,
            StoreOp::Count { .. } => Self::Count,
            StoreOp::ReadMailbox { .. } => Self::ReadMailbox,
            StoreOp::Delete { .. } => Self::Delete,
            StoreOp::Touch(_) => Self::TouchServers,
            StoreOp::Quiet { .. } => Self::QuietServers,
            StoreOp::RowsOf { .. } => Self::RowsOf,
            StoreOp::DeleteRowsOf(_) => Self::DeleteRowsOf,
        }
    }
}

/// What became of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::app) enum OpResult {
    /// Answered.
    Done,
    /// The database said no, or was not there.
    NotDone,
    /// Nobody knows: no answer in time, or the connection was lost.
    Unknown,
    /// Its call could not even begin in time.
    NotBegun,
}

const RESULTS: [&str; 4] = ["done", "not_done", "unknown", "not_begun"];

/// The metrics of the database's shell.
#[derive(Debug)]
pub(in crate::app) struct DatabaseMetrics {
    operations: [[IntCounter; RESULTS.len()]; KINDS.len()],
    calls: [Histogram; KINDS.len()],
    /// Operations that wait for a call.
    pub(in crate::app) waiting: IntGauge,
    /// Calls under way.
    pub(in crate::app) under_way: IntGauge,
    jobs: IntGauge,
    write_failures: IntCounter,
    degraded: IntGauge,
    documents: IntGauge,
    oldest: Gauge,
}

impl DatabaseMetrics {
    pub(super) fn new(ms: &Section<'_>) -> Self {
        Self {
            operations: ms.table(
                "database_operations_total",
                "Database operations, by kind and result.",
                ["kind", "result"],
                KINDS,
                RESULTS,
            ),
            calls: ms.histograms(
                "database_call_seconds",
                "Time of a database call, which carries many operations of one kind.",
                &CALLS,
                "kind",
                KINDS,
            ),
            waiting: ms.gauge("database_waiting_operations", "Operations that wait for a call."),
            under_way: ms.gauge("database_calls", "Database calls under way."),
            jobs: ms.gauge("store_jobs", "Writes that wait inside the embedded store."),
            write_failures: ms.counter(
                "store_write_failures_total",
                "Transactions of the embedded store that its disk did not take.",
            ),
            degraded: ms.gauge(
                "store_degraded",
                "1 while the embedded store's disk does not take what is to be written, else 0.",
            ),
            documents: ms.gauge(
                "mailbox_documents",
                "Documents in all mailboxes of the database, when last looked.",
            ),
            oldest: ms.float_gauge(
                "mailbox_oldest_age_seconds",
                "Age of the oldest document in any mailbox, when last looked; 0 if there is none.",
            ),
        }
    }

    /// `n` operations of this kind ended so.
    pub(in crate::app) fn ended(&self, kind: OpKind, result: OpResult, n: u64) {
        self.operations[kind as usize][result as usize].inc_by(n);
    }

    /// A call took so many seconds.
    pub(in crate::app) fn called(&self, kind: OpKind, seconds: f64) {
        self.calls[kind as usize].observe(seconds);
    }

    /// Shows what the store knows of itself.
    pub(in crate::app) fn store(&self, store: &dyn Store) {
        self.jobs.set(store.jobs() as i64);
        raise(&self.write_failures, store.write_failures());
        self.degraded.set(i64::from(store.degraded()));
    }

    /// The mailboxes hold so much.
    pub(in crate::app) fn mailbox(&self, documents: u64, oldest_age_ms: u64) {
        self.documents.set(i64::try_from(documents).unwrap_or(i64::MAX));
        self.oldest.set(oldest_age_ms as f64 / 1e3);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_results_have_the_labels_of_their_place() {
        assert_eq!(KINDS[OpKind::ReadView as usize], "read_view");
        assert_eq!(KINDS[OpKind::Append as usize], "append");
        assert_eq!(KINDS[OpKind::DeleteRowsOf as usize], "delete_rows_of");
        assert_eq!(RESULTS[OpResult::NotBegun as usize], "not_begun");
    }
}

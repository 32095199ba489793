//! What the storage part counts.

use prometheus::{IntCounter, IntGauge, Registry};
use wardlink_service::metrics::Section;

/// What is done at a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// A look at the server and its indexes, with what follows from it.
    Check,
    /// An index was made.
    CreateIndex,
    /// A time to live was changed.
    ChangeTtl,
    /// Double rows of the registry were looked for and removed.
    RemoveDoubles,
    /// The TTL index was dropped.
    DropIndex,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// As it should.
    Ok,
    /// It did not, or nobody knows.
    Failed,
    /// Its time was over.
    Late,
}

/// The metrics of one operator's storage part.
#[derive(Debug)]
pub(super) struct Metrics {
    operations: [[IntCounter; 3]; 5],
    pub(super) clients: IntGauge,
    waiting: IntGauge,
}

/// Counts one check that waits, until it is dropped.
pub(super) struct Waits(IntGauge);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let section = Section::new(registry, "wardlink_operator_storage");
        Self {
            operations: section.table(
                "operations_total",
                "Operations at clusters' databases, by operation and result.",
                ["operation", "result"],
                ["check", "create_index", "change_ttl", "remove_doubles", "drop_index"],
                ["ok", "failed", "late"],
            ),
            clients: section.gauge("clients", "Open clients of clusters' databases."),
            waiting: section.gauge(
                "checks_waiting",
                "Checks of clusters' databases that wait because too many run.",
            ),
        }
    }

    pub(super) fn waits(&self) -> Waits {
        self.waiting.inc();
        Waits(self.waiting.clone())
    }

    pub(super) fn count(&self, operation: Operation, outcome: Outcome) {
        self.operations[operation as usize][outcome as usize].inc();
    }
}

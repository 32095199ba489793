//! What an operator shows of itself at `/metrics`. docs/OPERATIONS.md lists every metric with its
//! meaning; a test compares.
//!
//! Labels come from closed sets: never a cluster's name or an error's text.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntGauge};
use wardlink_service::metrics::{Registry, Section};

use crate::model::{ChildKind, ClusterKey, Problem};

/// How long a reconcile may take, in seconds: from one that finds nothing to do to the deadline.
const SECONDS: [f64; 10] = [0.001, 0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 60.0];

/// The metrics of one operator.
#[derive(Debug)]
pub struct Metrics {
    /// Connections to the admin port that made room for newer ones.
    pub admin_dropped: IntCounter,
    reconciles: [IntCounter; Reconciled::ALL.len()],
    seconds: Histogram,
    running: IntGauge,
    problems: [IntCounter; Reason::ALL.len()],
    applied: [[IntCounter; Outcome::ALL.len()]; ChildKind::ALL.len()],
    status_writes: [IntCounter; 2],
    watch_failures: IntCounter,
    clusters: [IntGauge; State::ALL.len()],
    states: Mutex<HashMap<ClusterKey, State>>,
    leader: IntGauge,
    refused_writes: IntCounter,
}

/// How a reconcile ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconciled {
    /// Nothing differed, nothing was written.
    Unchanged,
    /// Something was written.
    Changed,
    /// A user must act; it is not tried again before something changes.
    Stalled,
    /// Something failed; it is tried again.
    Failed,
    /// It took too long and was given up; it is tried again.
    Deadline,
    /// It panicked, which is a defect; it is tried again.
    Panicked,
}

impl Reconciled {
    /// All.
    pub const ALL: [Self; 6] = [
        Self::Unchanged,
        Self::Changed,
        Self::Stalled,
        Self::Failed,
        Self::Deadline,
        Self::Panicked,
    ];

    /// As it stands in the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::Stalled => "stalled",
            Self::Failed => "failed",
            Self::Deadline => "deadline",
            Self::Panicked => "panicked",
        }
    }
}

/// What a problem is, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    InvalidSpec,
    NameConflict,
    Rejected,
    Forbidden,
    LinkIdentityNotAllowed,
    KindMissing,
    SecretNotFound,
    Unavailable,
}

impl Reason {
    const ALL: [Self; 8] = [
        Self::InvalidSpec,
        Self::NameConflict,
        Self::Rejected,
        Self::Forbidden,
        Self::LinkIdentityNotAllowed,
        Self::KindMissing,
        Self::SecretNotFound,
        Self::Unavailable,
    ];

    fn of(problem: &Problem) -> Self {
        match problem {
            Problem::InvalidSpec { .. } => Self::InvalidSpec,
            Problem::NameConflict { .. } => Self::NameConflict,
            Problem::Rejected { .. } => Self::Rejected,
            Problem::Forbidden { .. } => Self::Forbidden,
            Problem::LinkIdentityNotAllowed { .. } => Self::LinkIdentityNotAllowed,
            Problem::KindMissing { .. } => Self::KindMissing,
            Problem::SecretNotFound { .. } => Self::SecretNotFound,
            Problem::Unavailable { .. } => Self::Unavailable,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::InvalidSpec => "invalid_spec",
            Self::NameConflict => "name_conflict",
            Self::Rejected => "rejected",
            Self::Forbidden => "forbidden",
            Self::LinkIdentityNotAllowed => "link_identity_not_allowed",
            Self::KindMissing => "kind_missing",
            Self::SecretNotFound => "secret_not_found",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What came of writing one child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was as it should be; not counted.
    Unchanged,
    /// It was made.
    Created,
    /// It was changed.
    Changed,
    /// It was removed.
    Deleted,
    /// It belongs to somebody else.
    Conflict,
    /// The API server refused it.
    Refused,
    /// It could not be written; it is tried again.
    Failed,
}

impl Outcome {
    /// All.
    pub const ALL: [Self; 7] = [
        Self::Unchanged,
        Self::Created,
        Self::Changed,
        Self::Deleted,
        Self::Conflict,
        Self::Refused,
        Self::Failed,
    ];

    /// What a problem is here.
    pub fn of(problem: &Problem) -> Self {
        match problem {
            Problem::NameConflict { .. } => Self::Conflict,
            Problem::InvalidSpec { .. }
            | Problem::Rejected { .. }
            | Problem::Forbidden { .. }
            | Problem::LinkIdentityNotAllowed { .. }
            | Problem::KindMissing { .. } => Self::Refused,
            Problem::SecretNotFound { .. } | Problem::Unavailable { .. } => Self::Failed,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Deleted => "deleted",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// How a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its condition Ready is True.
    Ready,
    /// It is not, and nobody needs to act yet.
    NotReady,
    /// Its condition Stalled is True.
    Stalled,
}

impl State {
    const ALL: [Self; 3] = [Self::Ready, Self::NotReady, Self::Stalled];
}

impl Metrics {
    /// Registers them.
    pub fn new(registry: &Registry) -> Self {
        let section = Section::new(registry, "wardlink_operator");
        Self {
            admin_dropped: section.counter(
                "admin_dropped_total",
                "Connections to the admin port that were closed to make room for newer ones.",
            ),
            reconciles: section.counters(
                "reconciles_total",
                "Reconciles of a cluster, by how they ended.",
                "result",
                Reconciled::ALL.map(Reconciled::as_str),
            ),
            seconds: section.histogram("reconcile_seconds", "How long a reconcile took.", &SECONDS),
            running: section.gauge("reconciles_running", "Reconciles that run now."),
            problems: section.counters(
                "problems_total",
                "What kept a reconcile from writing what it wanted, by reason.",
                "reason",
                Reason::ALL.map(Reason::as_str),
            ),
            applied: section.table(
                "applies_total",
                "Children that were written or could not be, by kind and outcome.",
                ["kind", "outcome"],
                ChildKind::ALL.map(ChildKind::as_str),
                Outcome::ALL.map(Outcome::as_str),
            ),
            status_writes: section.counters(
                "status_writes_total",
                "Writes of a cluster's status, by result.",
                "result",
                ["ok", "failed"],
            ),
            watch_failures: section
                .counter("watch_failures_total", "Watches that failed and were begun anew."),
            clusters: section.gauges(
                "clusters",
                "Clusters, by how they are.",
                "state",
                ["ready", "not_ready", "stalled"],
            ),
            states: Mutex::default(),
            leader: section
                .gauge("leader", "1 while this operator leads: of several only one writes."),
            refused_writes: section.counter(
                "writes_without_lead_total",
                "Writes that were held back because this operator might not lead any more.",
            ),
        }
    }

    /// A reconcile has begun.
    pub fn begun(&self) {
        self.running.inc();
    }

    /// A reconcile has ended.
    pub fn ended(&self, how: Reconciled, took: Duration) {
        self.running.dec();
        self.seconds.observe(took.as_secs_f64());
        self.reconciles[how as usize].inc();
    }

    /// A reconcile met a problem.
    pub fn problem(&self, problem: &Problem) {
        self.problems[Reason::of(problem) as usize].inc();
    }

    /// A child was written, or could not be.
    pub fn applied(&self, kind: ChildKind, outcome: Outcome) {
        self.applied[kind.index()][outcome as usize].inc();
    }

    /// A status was written, or could not be.
    pub fn status_written(&self, ok: bool) {
        self.status_writes[usize::from(!ok)].inc();
    }

    /// A watch failed.
    pub fn watch_failed(&self) {
        self.watch_failures.inc();
    }

    /// A write was held back.
    pub fn write_refused(&self) {
        self.refused_writes.inc();
    }

    /// How a cluster is; `None`: it is not there any more. One entry for each cluster there is.
    pub fn cluster(&self, key: &ClusterKey, state: Option<State>) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        match state {
            Some(state) => states.insert(key.clone(), state),
            None => states.remove(key),
        };
        self.show(&states);
    }

    /// Whether this operator leads. One that does not says nothing of clusters.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
        if !leads {
            let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
            states.clear();
            self.show(&states);
        }
    }

    fn show(&self, states: &HashMap<ClusterKey, State>) {
        for (state, gauge) in State::ALL.iter().zip(&self.clusters) {
            let count = states.values().filter(|other| *other == state).count();
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use wardlink_service::metrics::registry;

    use super::*;

    fn key(name: &str) -> ClusterKey {
        ClusterKey { namespace: "a".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn a_cluster_that_is_gone_is_counted_no_more() {
        let metrics = Metrics::new(&registry("wardlink-operator", "0"));
        metrics.cluster(&key("x"), Some(State::Ready));
        metrics.cluster(&key("y"), Some(State::Ready));
        metrics.cluster(&key("y"), Some(State::Stalled));
        assert_eq!(metrics.clusters.each_ref().map(IntGauge::get), [1, 0, 1]);
        metrics.cluster(&key("y"), None);
        assert_eq!(metrics.clusters.each_ref().map(IntGauge::get), [1, 0, 0]);
        metrics.leads(false);
        assert_eq!(metrics.clusters.each_ref().map(IntGauge::get), [0, 0, 0]);
    }
}

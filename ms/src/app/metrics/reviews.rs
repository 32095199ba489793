//! Whose links are: how tokens were decided, and what reviews of them took. All zero where links
//! are authenticated otherwise.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntGauge};
use wardlink_service::metrics::Section;

/// What a review takes, in seconds: up to where it is given up.
const TIMES: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 2.5];

/// How a token was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::app) enum Decided {
    /// By what it says of itself: refused.
    Looked,
    /// By a yes that is remembered.
    Remembered,
    /// By a no that is remembered.
    RememberedRefusal,
    /// By a review that was under way.
    Joined,
    /// By a review of its own.
    Reviewed,
    /// Not at all: the line is full.
    TurnedAway,
}

impl Decided {
    const LABELS: [&str; 6] =
        ["looked", "remembered", "remembered_refusal", "joined", "reviewed", "turned_away"];
}

/// What a review came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::app) enum Outcome {
    Accepted,
    Refused,
    Unreachable,
    Slow,
    Forbidden,
    Busy,
    Failed,
}

impl Outcome {
    const LABELS: [&str; 7] =
        ["accepted", "refused", "unreachable", "slow", "forbidden", "busy", "failed"];

    /// For metrics and logs.
    pub(in crate::app) fn label(self) -> &'static str {
        Self::LABELS[self as usize]
    }
}

/// The metrics of reviews.
#[derive(Debug)]
pub(in crate::app) struct ReviewMetrics {
    decided: [IntCounter; Decided::LABELS.len()],
    outcomes: [IntCounter; Outcome::LABELS.len()],
    times: Histogram,
    /// Newcomers whose tokens wait for a review or are reviewed.
    pub(in crate::app) waiting: IntGauge,
    remembered: [IntGauge; 2],
    /// Fresh tokens that open links were shown with and that do not count.
    pub(in crate::app) passed_over: IntCounter,
}

impl ReviewMetrics {
    pub(super) fn new(ms: &Section<'_>) -> Self {
        Self {
            decided: ms.counters(
                "link_tokens_total",
                "Tokens of links, by what decided them.",
                "by",
                Decided::LABELS,
            ),
            outcomes: ms.counters(
                "link_reviews_total",
                "Reviews of links' tokens by the API server, by outcome.",
                "outcome",
                Outcome::LABELS,
            ),
            times: ms.histogram(
                "link_review_seconds",
                "Time of a review, from its request to its answer or end.",
                &TIMES,
            ),
            waiting: ms.gauge(
                "link_reviews_waiting",
                "Newcomers whose tokens wait for a review or are reviewed.",
            ),
            remembered: ms.gauges(
                "link_tokens_remembered",
                "Tokens that are remembered.",
                "as",
                ["accepted", "refused"],
            ),
            passed_over: ms.counter(
                "link_tokens_passed_over_total",
                "Fresh tokens of open links that were not accepted; the link keeps the one it has.",
            ),
        }
    }

    /// A token was decided so.
    pub(in crate::app) fn decided(&self, by: Decided) {
        self.decided[by as usize].inc();
    }

    /// A review ended so, after so long.
    pub(in crate::app) fn reviewed(&self, outcome: Outcome, time: Duration) {
        self.outcomes[outcome as usize].inc();
        self.times.observe(time.as_secs_f64());
    }

    /// So many are remembered, accepted and refused.
    pub(in crate::app) fn remembers(&self, (accepted, refused): (usize, usize)) {
        self.remembered[0].set(accepted as i64);
        self.remembered[1].set(refused as i64);
    }

    /// How many tokens were decided so.
    #[cfg(test)]
    pub(in crate::app) fn count(&self, by: Decided) -> u64 {
        self.decided[by as usize].get()
    }

    /// How many reviews ended so.
    #[cfg(test)]
    pub(in crate::app) fn ended(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].get()
    }
}

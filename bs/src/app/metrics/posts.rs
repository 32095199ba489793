//! What calls over HTTP are answered.

use prometheus::IntCounter;
use wardlink_service::metrics::Section;
use wardlink_wire::Outcome;

use crate::app::problem::Kind;

/// Two outcomes, or a problem.
const ANSWERS: usize = 2 + Kind::ALL.len();

fn words() -> [&'static str; ANSWERS] {
    std::array::from_fn(|at| match at {
        0 => Outcome::Delivered.as_str(),
        1 => Outcome::Stored.as_str(),
        problem => Kind::ALL[problem - 2].word(),
    })
}

/// The metrics of messages over HTTP.
#[derive(Debug)]
pub(in crate::app) struct PostMetrics {
    answers: [IntCounter; ANSWERS],
}

impl PostMetrics {
    pub(super) fn new(bs: &Section<'_>) -> Self {
        let help = "Calls over HTTP, by what they were answered.";
        Self { answers: bs.counters("post_answers_total", help, "answer", words()) }
    }

    /// A message was delivered or stored.
    pub(in crate::app) fn taken(&self, outcome: Outcome) {
        self.answers[usize::from(outcome == Outcome::Stored)].inc();
    }

    /// A call was answered with a problem.
    pub(in crate::app) fn refused(&self, kind: Kind) {
        self.answers[2 + kind as usize].inc();
    }
}

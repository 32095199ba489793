//! Whose token it is, by an API server's review, by one that is under way, or by one that was made
//! lately. Fails closed: a review that cannot be made lets nobody in.
//!
//! One token is reviewed once at a time, whoever waits for it, and where nobody waits any more it
//! is given up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout};
use wardlink_service::hush::Hush;
use wardlink_wire::link::LinkToken;

use super::api_server::{Reviewer, Unreviewed};
use super::line::{Full, Line, Whose};
use super::memory::{Judgement, Key, Memory, Proven};
use super::rules::{PodRules, Refused};
use crate::app::metrics::{Decided, Metrics, Outcome, ReviewMetrics};

/// A review that takes longer is given up, before who waits for it is (3 s).
const REVIEW: Duration = Duration::from_millis(2_500);

/// What is known of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::app) enum Verdict {
    /// It is this pod's.
    Is(Proven),
    /// It is none of a BS of this cluster.
    Not(Refused),
    /// It could not be reviewed.
    Unchecked,
}

type Flight = BoxFuture<'static, Verdict>;

/// Reviews under way, by token, each with a number that is never used again. Each is held by those
/// that wait for it: newcomers, who are as many as there are places in the line and handshakes, and
/// open links.
#[derive(Debug, Default)]
struct Flights {
    under_way: HashMap<Key, (u64, WeakShared<Flight>)>,
    begun: u64,
}

/// Who reviews the tokens of pods, and what it remembers.
#[derive(Debug)]
pub(in crate::app) struct Pods {
    rules: PodRules,
    reviewer: Arc<dyn Reviewer>,
    /// Between two reviews of an open link's token.
    every: Duration,
    line: Line,
    memory: Mutex<Memory>,
    flights: Mutex<Flights>,
    metrics: Arc<Metrics>,
    hush: Hush,
}

impl Pods {
    /// With nothing remembered. A yes counts for `every`.
    pub(super) fn new(
        rules: PodRules,
        every: Duration,
        reviewer: Arc<dyn Reviewer>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let line = Line::new(Instant::now(), metrics.reviews.waiting.clone());
        Arc::new(Self {
            rules,
            reviewer,
            every,
            line,
            memory: Mutex::new(Memory::new(every)),
            flights: Mutex::default(),
            metrics,
            hush: Hush::default(),
        })
    }

    /// Between two reviews of an open link's token.
    pub(super) fn every(&self) -> Duration {
        self.every
    }

    pub(super) fn metrics(&self) -> &ReviewMetrics {
        &self.metrics.reviews
    }

    /// Whose token somebody shows. What a review has found lately counts, unless it is an open
    /// link's, which asks anew. The caller bounds the time. Cancel safe.
    pub(super) async fn check(self: &Arc<Self>, token: &LinkToken, whose: Whose) -> Verdict {
        let expires = match self.rules.look(token) {
            Ok(expires) => expires.map(instant),
            Err(refused) => {
                self.metrics().decided(Decided::Looked);
                return Verdict::Not(refused);
            }
        };
        let key: Key = Sha256::digest(token.expose().as_bytes()).into();
        let found = {
            let mut memory = self.memory();
            let found = memory.find(&key, Instant::now());
            self.metrics().remembers(memory.sizes());
            found
        };
        match found {
            Some(Ok(proven)) if whose != Whose::Open => {
                self.metrics().decided(Decided::Remembered);
                return Verdict::Is(proven);
            }
            Some(Err(refused)) => {
                self.metrics().decided(Decided::RememberedRefusal);
                return Verdict::Not(refused);
            }
            _ => {}
        }
        self.flight(key, token, expires, whose).await
    }

    /// The review of a token that is under way, or a new one.
    fn flight(
        self: &Arc<Self>,
        key: Key,
        token: &LinkToken,
        expires: Option<Instant>,
        whose: Whose,
    ) -> Shared<Flight> {
        let mut flights = self.flights();
        let under_way = flights.under_way.get(&key).and_then(|(_, flight)| flight.upgrade());
        if let Some(flight) = under_way {
            self.metrics().decided(Decided::Joined);
            return flight;
        }
        flights.begun += 1;
        let landing = Landing { pods: self.clone(), key, number: flights.begun };
        let token = token.clone();
        let flight = async move { landing.pods.review(key, &token, expires, whose).await };
        let flight = flight.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            let number = flights.begun;
            flights.under_way.insert(key, (number, weak));
        }
        flight
    }

    async fn review(
        &self,
        key: Key,
        token: &LinkToken,
        expires: Option<Instant>,
        whose: Whose,
    ) -> Verdict {
        let turn = match self.line.enter(whose).await {
            Ok(turn) => turn,
            Err(Full) => {
                self.metrics().decided(Decided::TurnedAway);
                return Verdict::Unchecked;
            }
        };
        self.metrics().decided(Decided::Reviewed);
        let begun = Instant::now();
        let asked = self.reviewer.review(token, &self.rules.audience);
        let asked = timeout(REVIEW, asked).await;
        drop(turn);
        let (outcome, judgement) = match &asked {
            Ok(Ok(review)) => match self.rules.judge(review) {
                Ok(server) => {
                    let proven = Proven { server, expires, reviewed: begun };
                    (Outcome::Accepted, Some(Ok(proven)))
                }
                Err(refused) => (Outcome::Refused, Some(Err(refused))),
            },
            Ok(Err(error)) => (outcome_of(error), None),
            Err(_) => (Outcome::Slow, None),
        };
        self.metrics().reviewed(outcome, begun.elapsed());
        match judgement {
            Some(judgement) => self.remember(key, judgement),
            None => {
                let error = asked.ok().and_then(Result::err).map(|error| error.to_string());
                self.tell(outcome, error.as_deref().unwrap_or("no answer in time"));
                Verdict::Unchecked
            }
        }
    }

    fn remember(&self, key: Key, judgement: Judgement) -> Verdict {
        let mut memory = self.memory();
        memory.keep(key, judgement, Instant::now());
        self.metrics().remembers(memory.sizes());
        match judgement {
            Ok(proven) => Verdict::Is(proven),
            Err(refused) => Verdict::Not(refused),
        }
    }

    fn tell(&self, outcome: Outcome, error: &str) {
        if let Some(held_back) = self.hush.ask(std::time::Instant::now()) {
            let reason = outcome.label();
            tracing::warn!(reason, error, held_back, "link's token could not be reviewed");
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flights(&self) -> MutexGuard<'_, Flights> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn outcome_of(error: &Unreviewed) -> Outcome {
    match error {
        Unreviewed::Unreachable(_) => Outcome::Unreachable,
        Unreviewed::Forbidden(_) => Outcome::Forbidden,
        Unreviewed::Busy(_) => Outcome::Busy,
        Unreviewed::Failed(_) => Outcome::Failed,
    }
}

/// A time of the wall clock, by the clock that does not jump: what is decided by it later does not
/// change with the wall clock.
fn instant(unix_s: u64) -> Instant {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = Duration::from_secs(unix_s).saturating_sub(now);
    // Ten thousand years fit.
    Instant::now() + left
}

/// Takes a review off the list when it has ended, or nobody waits for it any more.
struct Landing {
    pods: Arc<Pods>,
    key: Key,
    number: u64,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut flights = self.pods.flights();
        if flights.under_way.get(&self.key).is_some_and(|(number, _)| *number == self.number) {
            flights.under_way.remove(&self.key);
        }
    }
}

#[cfg(test)]
#[path = "pods_tests.rs"]
pub(super) mod tests;

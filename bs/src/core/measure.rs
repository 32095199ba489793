//! What a BS says of itself: results by outcome and reason, how long they took, how much it holds.
//! It decides nothing.

use wardlink_service::metrics::Times;
use wardlink_wire::{Outcome, Reason};

use super::Core;

/// Results that were told. They only grow.
#[derive(Debug, Clone, Default)]
pub struct Results {
    told: [[u64; Reason::ALL.len() + 1]; Outcome::ALL.len()],
    times: [Times; 2],
}

impl Results {
    /// Counts one that took so long from the acceptance of the message, in microseconds; `None`
    /// where it was not accepted.
    pub(super) fn count(&mut self, outcome: Outcome, reason: Option<Reason>, us: Option<u64>) {
        self.told[outcome as usize][reason.map_or(Reason::ALL.len(), |r| r as usize)] += 1;
        if let (Some(times), Some(us)) = (self.times.get_mut(outcome as usize), us) {
            times.observe(us);
        }
    }

    /// How many had this outcome, for this reason.
    pub fn told(&self, outcome: Outcome, reason: Option<Reason>) -> u64 {
        self.told[outcome as usize][reason.map_or(Reason::ALL.len(), |r| r as usize)]
    }

    /// Times from the acceptance of a message to `delivered` and to `stored`.
    pub fn times(&self) -> &[Times; 2] {
        &self.times
    }
}

/// How much a BS holds now.
#[derive(Debug, Clone, Copy, Default)]
pub struct Held {
    /// Sessions.
    pub sessions: usize,
    /// Sessions that their owner has registered.
    pub registered: usize,
    /// Messages that terminals were shown and have not acknowledged.
    pub acks_pending: usize,
    /// Ids in the dedupe windows.
    pub dedupe_ids: usize,
    /// Sends without a result.
    pub open_sends: usize,
    /// Bytes of their bodies.
    pub open_bytes: usize,
    /// Sends that wait for a link, or for its credit.
    pub waiting_sends: usize,
    /// Links to members that have welcomed this BS.
    pub links: usize,
    /// Members of the view to which there is no such link.
    pub missed: usize,
    /// Items that wait for a view.
    pub parked: usize,
    /// Posts over HTTP that wait for their result.
    pub posts: usize,
    /// Whether this BS was asked to stop.
    pub draining: bool,
}

impl Core {
    /// A finer clock than that of the events, in microseconds, by which times are measured. It
    /// decides nothing; who never sets it measures zeros.
    pub fn watch(&mut self, us: u64) {
        self.us = us;
    }

    /// Results so far.
    pub fn results(&self) -> &Results {
        &self.results
    }

    /// How much is held now. Looks at every session.
    pub fn held(&self) -> Held {
        let (on_links, parked) = self.up.on_links();
        let mut held = Held {
            sessions: self.sessions.len(),
            open_sends: self.up.open_count(),
            open_bytes: self.up.open_bytes(),
            waiting_sends: self.up.open_count().saturating_sub(on_links),
            links: self.up.welcomed().count(),
            missed: self.misses().len(),
            parked,
            posts: self.posts.waiting(),
            draining: self.is_stopping(),
            ..Held::default()
        };
        for session in self.sessions.values() {
            held.registered += usize::from(session.registered);
            let (waiting, acked) = session.shown_count();
            held.acks_pending += waiting;
            held.dedupe_ids += waiting + acked;
        }
        held
    }
}

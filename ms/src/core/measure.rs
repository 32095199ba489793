//! What an MS says of itself: results by outcome and reason, how long they took, how much it holds.
//! It decides nothing.

use wardlink_service::metrics::Times;
use wardlink_wire::{Outcome, Reason, ViewNumber};

use super::Core;
use super::api::Millis;

/// What became of messages. They only grow.
#[derive(Debug, Clone, Default)]
pub struct Results {
    told: [[u64; Reason::ALL.len() + 1]; Outcome::ALL.len()],
    times: [Times; 2],
}

impl Results {
    /// Counts one that took so long from the arrival of the message, in microseconds; `None` where
    /// it was not taken.
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

    /// Times from the arrival of a message to `delivered` and to `stored`.
    pub fn times(&self) -> &[Times; 2] {
        &self.times
    }
}

/// How much an MS holds now.
#[derive(Debug, Clone, Copy, Default)]
pub struct Held {
    /// Links of BSs that have said hello.
    pub links: usize,
    /// Links of plain BSs.
    pub plain_links: usize,
    /// Links that have not said hello yet.
    pub unknown_links: usize,
    /// BSs that have not said yet that they follow the view.
    pub unsynced_links: usize,
    /// Sends of BSs without a result.
    pub open_sends: usize,
    /// The most of one link.
    pub open_sends_largest: usize,
    /// Bytes of the bodies of sends of BSs without a result.
    pub open_bytes: usize,
    /// Registers, unregisters and routes of the link that has most.
    pub ends_largest: usize,
    /// Items that wait for a view.
    pub parked: usize,
    /// Lanes.
    pub lanes: usize,
    /// Ends that have a route.
    pub routes: usize,
    /// Lanes that go through the mailbox while their end has a route.
    pub lanes_behind: usize,
    /// Lanes whose database operation is under way.
    pub lanes_in_database: usize,
    /// Messages handed out and not acked.
    pub window: usize,
    /// The most of one end.
    pub window_largest: usize,
    /// Bytes of their bodies.
    pub window_bytes: usize,
    /// Messages that wait to be handed out or appended.
    pub queue: usize,
    /// The most of one end.
    pub queue_largest: usize,
    /// Bytes of their bodies.
    pub queue_bytes: usize,
    /// Messages that are durable and wait for a renewal.
    pub confirming: usize,
    /// Registers and unregisters that wait.
    pub claims: usize,
    /// Documents that are to be removed.
    pub gone: usize,
    /// Documents in the fullest mailbox of which this MS knows how full it is.
    pub mailbox_largest: usize,
    /// Members of the view.
    pub members: usize,
    /// Partitions that this MS owns.
    pub owned: usize,
    /// Whether this MS was asked to stop and has not left yet, or waits for its BSs to follow.
    pub leaving: bool,
    /// The number of the view.
    pub view_number: u64,
}

impl Core {
    /// A finer clock than that of the events, in microseconds, by which times are measured. It
    /// decides nothing; who never sets it measures zeros.
    pub fn watch(&mut self, us: u64) {
        self.hub.us = us;
    }

    /// The database's clock, in Unix milliseconds, as far as it is known; else 0.
    pub fn clock_ms(&self, now: Millis) -> u64 {
        self.hub.clock.earliest(now)
    }

    /// Results so far.
    pub fn results(&self) -> &Results {
        &self.hub.results
    }

    /// How much is held now. Looks at every lane.
    pub fn held(&self) -> Held {
        let mut held = Held {
            members: self.member.view().map_or(0, |view| view.members.len()),
            owned: self.parts.iter().flatten().count(),
            leaving: self.member.is_leaving(),
            view_number: self.member.view().map_or(0, |view| view.number.0),
            ..Held::default()
        };
        self.hub.links.measure(ViewNumber(held.view_number), &mut held);
        for part in self.parts.iter().flatten() {
            part.measure(&mut held);
        }
        held
    }
}

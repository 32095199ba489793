//! The sends that have no result yet: their order, what of them was written on the present
//! session, and when each is given up.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use wardlink_wire::MessageId;
use wardlink_wire::terminal::UpSend;

/// One send without a result. `H` is the caller's handle, given back with the result.
#[derive(Debug)]
struct Open<H> {
    send: UpSend,
    handle: H,
    deadline: Duration,
    written: bool,
    /// Written on an earlier session than the present one.
    written_before: bool,
}

/// A send that leaves the table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Left<H> {
    pub(super) handle: H,
    /// Whether it was written on any session that may have taken it, so that it may have arrived.
    pub(super) written: bool,
    /// Whether it was written on a session before the present one, whose server nobody can ask.
    pub(super) written_before: bool,
}

/// Sends without a result, in the order in which they were made.
#[derive(Debug)]
pub(super) struct Sends<H> {
    open: BTreeMap<u64, Open<H>>,
    by_id: HashMap<MessageId, u64>,
    next_place: u64,
    /// Everything below this place is written on the present session.
    cursor: u64,
    in_flight: usize,
}

impl<H> Sends<H> {
    pub(super) fn new() -> Self {
        Self {
            open: BTreeMap::new(),
            by_id: HashMap::new(),
            next_place: 0,
            cursor: 0,
            in_flight: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn contains(&self, id: &MessageId) -> bool {
        self.by_id.contains_key(id)
    }

    /// Adds a send at the end. The caller has checked that its id is not here.
    pub(super) fn push(&mut self, send: UpSend, handle: H, deadline: Duration) {
        let place = self.next_place;
        self.next_place += 1;
        self.by_id.insert(send.id.clone(), place);
        self.open
            .insert(place, Open { send, handle, deadline, written: false, written_before: false });
    }

    /// The next send to write on this session, if fewer than `credit` are open on it.
    pub(super) fn next_write(&mut self, credit: usize) -> Option<UpSend> {
        if self.in_flight >= credit {
            return None;
        }
        let (place, open) = self.open.range_mut(self.cursor..).next()?;
        self.cursor = place + 1;
        self.in_flight += 1;
        open.written = true;
        Some(open.send.clone())
    }

    /// A new session: everything is to be written again, in the original order.
    pub(super) fn rewind(&mut self) {
        for (_, open) in self.open.range_mut(..self.cursor) {
            open.written_before |= open.written;
        }
        self.cursor = 0;
        self.in_flight = 0;
    }

    /// The server has taken nothing on this session: what was written on it alone was not sent.
    pub(super) fn not_taken(&mut self) {
        for (_, open) in self.open.range_mut(..self.cursor) {
            open.written = open.written_before;
        }
    }

    /// Takes out the send that has a result.
    pub(super) fn take(&mut self, id: &MessageId) -> Option<Left<H>> {
        let place = *self.by_id.get(id)?;
        self.remove(place)
    }

    /// Takes out the first send whose deadline has passed.
    pub(super) fn expire(&mut self, now: Duration) -> Option<Left<H>> {
        let place = self.open.first_key_value().filter(|(_, open)| open.deadline <= now)?.0;
        self.remove(*place)
    }

    /// Takes out the first send.
    pub(super) fn pop(&mut self) -> Option<Left<H>> {
        let place = *self.open.first_key_value()?.0;
        self.remove(place)
    }

    /// When [`Sends::expire`] has something to do. All sends have the same time, so the first is
    /// due first.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.open.first_key_value().map(|(_, open)| open.deadline)
    }

    fn remove(&mut self, place: u64) -> Option<Left<H>> {
        let open = self.open.remove(&place)?;
        self.by_id.remove(&open.send.id);
        if place < self.cursor {
            self.in_flight = self.in_flight.saturating_sub(1);
        }
        let Open { handle, written, written_before, .. } = open;
        Some(Left { handle, written, written_before })
    }
}

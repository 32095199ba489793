//! What was shown: repeats are found by (sender, id), and a session's acknowledgement moves on as
//! the messages are processed, in whatever order that happens.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use wardlink_wire::{EndId, MessageId};

use super::Ticket;

/// Shown messages that are remembered, at most; the oldest go first. With two ids of some 60
/// bytes each an entry takes about 250 bytes, so the whole stays under 16 MiB.
pub(super) const REMEMBERED_MAX: usize = 65_536;

type Key = (Option<EndId>, MessageId);

#[derive(Debug)]
struct Entry {
    key: Key,
    at: Duration,
}

/// What a message turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// To be shown.
    New(Ticket),
    /// Shown before; its acknowledgement follows that of the first copy.
    Repeat,
    /// Not the successor of the last one: the session cannot be used any more.
    Gap,
}

/// The memory of what was shown, and the present session's acknowledgement.
#[derive(Debug, Default)]
pub(super) struct Seen {
    tickets: HashMap<Key, Ticket>,
    /// Entry of ticket `first + i` at index `i`.
    entries: VecDeque<Entry>,
    first: u64,
    /// What the program has not processed yet; bounded by whoever shows.
    unprocessed: HashSet<Ticket>,
    last_seq: Option<u64>,
    /// This session's messages that are not acknowledged, in the order of `seq`.
    pending: VecDeque<(u64, Ticket)>,
    ack_due: Option<u64>,
}

impl Seen {
    /// Shown messages that are not processed.
    pub(super) fn unprocessed(&self) -> usize {
        self.unprocessed.len()
    }

    /// A message of this session has arrived.
    pub(super) fn arrive(
        &mut self,
        seq: u64,
        from: Option<EndId>,
        id: MessageId,
        now: Duration,
    ) -> Arrival {
        if self.last_seq.is_some_and(|last| last.checked_add(1) != Some(seq)) {
            return Arrival::Gap;
        }
        self.last_seq = Some(seq);
        let key = (from, id);
        if let Some(&ticket) = self.tickets.get(&key) {
            self.pending.push_back((seq, ticket));
            self.advance();
            return Arrival::Repeat;
        }
        let ticket = Ticket(self.first + self.entries.len() as u64);
        self.tickets.insert(key.clone(), ticket);
        self.entries.push_back(Entry { key, at: now });
        self.unprocessed.insert(ticket);
        self.pending.push_back((seq, ticket));
        if self.entries.len() > REMEMBERED_MAX {
            self.forget_first();
        }
        Arrival::New(ticket)
    }

    /// The terminal's program has processed a message, of this session or an earlier one.
    pub(super) fn processed(&mut self, ticket: Ticket) {
        if self.unprocessed.remove(&ticket) {
            self.advance();
        }
    }

    /// The acknowledgement to write, once.
    pub(super) fn take_ack(&mut self) -> Option<u64> {
        self.ack_due.take()
    }

    /// A new session: its numbers start anew, nothing of the old one can be acknowledged.
    pub(super) fn new_session(&mut self) {
        self.last_seq = None;
        self.pending.clear();
        self.ack_due = None;
    }

    /// Forgets what was shown at or before `until`, up to the first that is not processed.
    pub(super) fn forget(&mut self, until: Duration) {
        while self.entries.front().is_some_and(|entry| entry.at <= until)
            && !self.unprocessed.contains(&Ticket(self.first))
        {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.first += 1;
            self.tickets.remove(&entry.key);
        }
    }

    fn advance(&mut self) {
        while let Some(&(seq, ticket)) = self.pending.front() {
            if self.unprocessed.contains(&ticket) {
                break;
            }
            self.pending.pop_front();
            self.ack_due = Some(seq);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrive(seen: &mut Seen, seq: u64, id: &str, at_s: u64) -> Arrival {
        let from = Some("H1-A1-sender".parse().expect("end"));
        seen.arrive(seq, from, id.parse().expect("id"), Duration::from_secs(at_s))
    }

    fn ticket(arrival: Arrival) -> Ticket {
        match arrival {
            Arrival::New(ticket) => ticket,
            other => panic!("not new: {other:?}"),
        }
    }

    #[test]
    fn an_ack_covers_only_what_is_processed_without_a_hole() {
        let mut seen = Seen::default();
        let tickets: Vec<_> =
            (1..=3).map(|seq| ticket(arrive(&mut seen, seq, &format!("m{seq}"), 0))).collect();
        seen.processed(tickets[2]);
        assert_eq!(seen.take_ack(), None);
        seen.processed(tickets[0]);
        assert_eq!(seen.take_ack(), Some(1));
        seen.processed(tickets[1]);
        assert_eq!(seen.take_ack(), Some(3));
        assert_eq!(seen.take_ack(), None);
        assert_eq!(seen.unprocessed(), 0);
    }

    #[test]
    fn a_repeat_of_a_processed_message_is_acked_at_once_and_of_an_open_one_with_it() {
        let mut seen = Seen::default();
        let first = ticket(arrive(&mut seen, 1, "a", 0));
        let second = ticket(arrive(&mut seen, 2, "b", 0));
        seen.processed(first);
        seen.new_session();
        assert_eq!(arrive(&mut seen, 1, "a", 1), Arrival::Repeat);
        assert_eq!(seen.take_ack(), Some(1));
        assert_eq!(arrive(&mut seen, 2, "b", 1), Arrival::Repeat);
        assert_eq!(seen.take_ack(), None, "the first copy is not processed");
        seen.processed(second);
        assert_eq!(seen.take_ack(), Some(2));
    }

    #[test]
    fn an_ack_of_an_old_session_is_not_written_on_a_new_one() {
        let mut seen = Seen::default();
        let first = ticket(arrive(&mut seen, 1, "a", 0));
        seen.processed(first);
        seen.new_session();
        assert_eq!(seen.take_ack(), None);
    }

    #[test]
    fn the_same_id_of_another_sender_is_another_message() {
        let mut seen = Seen::default();
        ticket(arrive(&mut seen, 1, "a", 0));
        let other = Some("H1-A1-other".parse().expect("end"));
        let id: MessageId = "a".parse().expect("id");
        ticket(seen.arrive(2, other, id.clone(), Duration::ZERO));
        ticket(seen.arrive(3, None, id, Duration::ZERO));
    }

    #[test]
    fn a_hole_in_the_numbers_is_found() {
        let mut seen = Seen::default();
        ticket(arrive(&mut seen, 5, "a", 0));
        assert_eq!(arrive(&mut seen, 7, "b", 0), Arrival::Gap);
        assert_eq!(arrive(&mut seen, 5, "b", 0), Arrival::Gap);
        seen.new_session();
        ticket(arrive(&mut seen, 1, "b", 0));
    }

    #[test]
    fn memory_ends_by_age_for_what_is_processed_and_by_number_for_all() {
        let mut seen = Seen::default();
        let old = ticket(arrive(&mut seen, 1, "old", 0));
        ticket(arrive(&mut seen, 2, "open", 1));
        seen.processed(old);
        seen.forget(Duration::from_secs(9));
        ticket(arrive(&mut seen, 3, "old", 10));
        assert_eq!(arrive(&mut seen, 4, "open", 10), Arrival::Repeat);
        for i in 0..REMEMBERED_MAX as u64 {
            let ticket = ticket(arrive(&mut seen, 5 + i, &format!("n{i}"), 10));
            seen.processed(ticket);
        }
        assert_eq!(seen.entries.len(), REMEMBERED_MAX);
        assert_eq!(seen.tickets.len(), REMEMBERED_MAX);
        assert_eq!(seen.unprocessed(), 2, "what is not processed can still be");
    }
}

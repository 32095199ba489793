//! One terminal's session: what it was shown, what it acknowledged, what it sent.

use std::collections::{HashMap, VecDeque};

use smallvec::SmallVec;
use wardlink_defect::{Defect, planted};
use wardlink_wire::link::Deliver;
use wardlink_wire::terminal::DownMessage;
use wardlink_wire::{ClientId, EndId, Epoch, MessageId, Partition, SessionId, Stamp};
use xxhash_rust::xxh3::Xxh3;

use super::api::{Counters, LinkId, Millis};

/// The dedupe window is at least so many messages.
const WINDOW_MESSAGES: usize = 1_024;
/// The dedupe window is at least so long, in milliseconds.
const WINDOW_MS: Millis = 120_000;
/// The dedupe window is at most so many messages.
const WINDOW_MAX: usize = 16_384;
/// Copies of one message whose acks are owed: one for each owner that may still want it.
const COPIES_MAX: usize = 4;

/// What a deliver is to this session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Never shown, as far as the window goes.
    New,
    /// Shown, and the terminal has not acknowledged it; this copy's ack follows with it.
    Waits,
    /// Shown and acknowledged.
    Acked,
}

#[derive(Debug)]
struct Waiting {
    seq: u64,
    key: u128,
    copies: SmallVec<[(Epoch, Stamp); 1]>,
}

#[derive(Debug)]
struct Shown {
    /// Key of a message and the `seq` under which it was shown.
    seqs: HashMap<u128, u64, ahash::RandomState>,
    waiting: VecDeque<Waiting>,
    acked: VecDeque<(u128, Millis)>,
}

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) end: EndId,
    pub(super) partition: Partition,
    pub(super) client: Option<ClientId>,
    pub(super) n: u64,
    pub(super) acks: bool,
    pub(super) opened: Millis,
    pub(super) welcomed: bool,
    /// Stamp of its registration, from the owner that gave it last.
    pub(super) stamp: Option<Stamp>,
    pub(super) registered: bool,
    /// Link that it was registered on last.
    pub(super) link: Option<LinkId>,
    pub(super) asked: Option<Millis>,
    next_seq: u64,
    shown: Option<Box<Shown>>,
    #[expect(
        clippy::box_collection,
        reason = "most sessions have none; the box saves 56 bytes each"
    )]
    open: Option<Box<HashMap<MessageId, u64, ahash::RandomState>>>,
}

fn key_of(deliver: &Deliver, seed: u64) -> u128 {
    let mut hash = Xxh3::with_seed(seed);
    if let Some(from) = &deliver.from {
        hash.update(from.as_str().as_bytes());
    }
    hash.update(b"/");
    hash.update(deliver.id.as_str().as_bytes());
    hash.digest128()
}

impl Session {
    pub(super) fn new(
        end: EndId,
        client: Option<ClientId>,
        n: u64,
        acks: bool,
        now: Millis,
    ) -> Self {
        Self {
            partition: end.partition(),
            end,
            client,
            n,
            acks,
            opened: now,
            welcomed: false,
            stamp: None,
            registered: false,
            link: None,
            asked: None,
            next_seq: 1,
            shown: None,
            open: None,
        }
    }

    fn shown(&mut self, seed: u64) -> &mut Shown {
        self.shown.get_or_insert_with(|| {
            let seqs = HashMap::with_hasher(ahash::RandomState::with_seeds(seed, 7, 8, 9));
            Box::new(Shown { seqs, waiting: VecDeque::new(), acked: VecDeque::new() })
        })
    }

    /// Whether the message was shown here before; if it was and waits for its ack, this copy is
    /// acked with it.
    pub(super) fn see(&mut self, deliver: &Deliver, seed: u64, counters: &mut Counters) -> Seen {
        if planted(Defect::NoDedupe) {
            return Seen::New;
        }
        let Some(shown) = self.shown.as_deref_mut() else { return Seen::New };
        let Some(&seq) = shown.seqs.get(&key_of(deliver, seed)) else { return Seen::New };
        let Ok(at) = shown.waiting.binary_search_by_key(&seq, |waiting| waiting.seq) else {
            return Seen::Acked;
        };
        let copies = &mut shown.waiting[at].copies;
        let copy = (deliver.epoch, deliver.stamp);
        if !copies.contains(&copy) {
            if copies.len() == COPIES_MAX {
                copies.remove(0);
                counters.copies_dropped += 1;
            }
            copies.push(copy);
        }
        Seen::Waits
    }

    /// Notes a new message as shown; what the terminal is to be sent.
    pub(super) fn show(&mut self, deliver: Deliver, seed: u64) -> (SessionId, DownMessage) {
        let seq = self.next_seq;
        self.next_seq += 1;
        let key = key_of(&deliver, seed);
        let shown = self.shown(seed);
        shown.seqs.insert(key, seq);
        let copies = SmallVec::from_buf([(deliver.epoch, deliver.stamp)]);
        shown.waiting.push_back(Waiting { seq, key, copies });
        let Deliver { body, from, id, create_at_ms, redelivered, session, .. } = deliver;
        (session, DownMessage { seq, id, from, body, at_ms: create_at_ms, redelivered })
    }

    /// The terminal has processed all up to `seq`: the copies whose acks are due. `None`: it
    /// was never shown that.
    pub(super) fn ack(
        &mut self,
        seq: u64,
        now: Millis,
        counters: &mut Counters,
    ) -> Option<Vec<(Epoch, Stamp)>> {
        if seq >= self.next_seq {
            return None;
        }
        let mut due = Vec::new();
        let Some(shown) = self.shown.as_deref_mut() else { return Some(due) };
        while let Some(waiting) = shown.waiting.front()
            && waiting.seq <= seq
            && let Some(waiting) = shown.waiting.pop_front()
        {
            due.extend(waiting.copies);
            shown.acked.push_back((waiting.key, now));
        }
        while let Some((key, at)) = shown.acked.front().copied() {
            let old = at + WINDOW_MS <= now && shown.acked.len() > WINDOW_MESSAGES;
            if !old && shown.acked.len() <= WINDOW_MAX {
                break;
            }
            counters.forgotten += u64::from(!old);
            shown.acked.pop_front();
            shown.seqs.remove(&key);
        }
        Some(due)
    }

    /// Messages that were shown and are not acknowledged, and ids of those that are.
    pub(super) fn shown_count(&self) -> (usize, usize) {
        self.shown.as_ref().map_or((0, 0), |shown| (shown.waiting.len(), shown.acked.len()))
    }

    pub(super) fn open_send(&self, id: &MessageId) -> Option<u64> {
        self.open.as_ref()?.get(id).copied()
    }

    pub(super) fn open_sends(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.len())
    }

    pub(super) fn opened_send(&mut self, id: MessageId, order: u64) {
        let open = self.open.get_or_insert_with(|| {
            Box::new(HashMap::with_hasher(ahash::RandomState::with_seeds(order, 1, 1, 1)))
        });
        open.insert(id, order);
    }

    pub(super) fn closed_send(&mut self, id: &MessageId) {
        if let Some(open) = self.open.as_deref_mut() {
            open.remove(id);
        }
    }

    pub(super) fn take_open_sends(&mut self) -> Vec<u64> {
        let mut orders: Vec<u64> =
            self.open.take().map(|open| open.into_values().collect()).unwrap_or_default();
        orders.sort_unstable();
        orders
    }
}

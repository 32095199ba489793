//! One message in a lane, and what its sender is to be told.

use bytes::Bytes;
use smallvec::SmallVec;
use wardlink_defect::{Defect, planted};
use wardlink_wire::link::Send;
use wardlink_wire::{EndId, MessageId, Outcome, Reason, Stamp};
use xxhash_rust::xxh3::xxh3_64;

use super::super::api::{LinkId, Millis};
use crate::store::{DocKey, Document};

/// Who asked for a result: a send on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) struct Waiter {
    pub(in crate::core) link: LinkId,
    pub(in crate::core) seq: u64,
    /// When its send came, by the clock that measures.
    pub(in crate::core) since_us: u64,
    /// Of the body, as they count on the link.
    pub(in crate::core) bytes: usize,
}

/// How far a message is in the mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// Not there, as far as answers say.
    No,
    /// An append is under way.
    Begun,
    /// Durable; confirmed by the success of a renewal with a higher number than this.
    Durable(u64),
    /// Durable and confirmed.
    Confirmed,
}

impl Kept {
    pub(super) fn is_durable(self) -> bool {
        matches!(self, Kept::Durable(_) | Kept::Confirmed)
    }
}

/// A message that the lane holds.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) stamp: Stamp,
    pub(super) key: DocKey,
    pub(super) hash: u64,
    /// Emptied once the mailbox has it and it was handed out.
    pub(super) body: Bytes,
    pub(super) body_hash: u64,
    /// Bytes of the body when it came.
    pub(super) size: usize,
    pub(super) create_at_ms: u64,
    pub(super) expire_at_ms: u64,
    pub(super) ttl_s: Option<u32>,
    /// A server knows of an earlier attempt; goes into the document and the deliver.
    pub(super) redelivered: bool,
    /// An earlier owner or link may have had it.
    pub(super) again: bool,
    /// It was handed out under this lane.
    pub(super) handed: bool,
    pub(super) kept: Kept,
    /// An append of it had no answer: it may be in the mailbox, now or later.
    pub(super) maybe: bool,
    /// An earlier copy of it was settled, and that one's document may still be there: it goes when
    /// this one does.
    pub(super) leftover: bool,
    /// Its document carries `redelivered`.
    pub(super) marked: bool,
    /// Its sender was told that it was given up: it is not appended any more.
    pub(super) given_up: bool,
    pub(super) waiters: SmallVec<[Waiter; 1]>,
    pub(super) near: Millis,
    pub(super) deadline: Millis,
}

/// Most waiters of one message: links of one BS after another, and sessions of one sender, of
/// which an older one's frames may come last. The oldest waiter is answered `unknown`.
const WAITERS_MAX: usize = 4;

pub(super) fn key_hash(from: Option<&EndId>, id: &MessageId) -> u64 {
    xxh3_64(id.as_str().as_bytes())
        ^ from.map_or(0, |f| xxh3_64(f.as_str().as_bytes()).rotate_left(17))
}

impl Held {
    pub(super) fn arrived(
        send: Send,
        waiter: Waiter,
        stamp: Stamp,
        clock_ms: u64,
        ttl_max_s: u32,
        now: Millis,
    ) -> Self {
        let ttl = send.ttl_s.unwrap_or(ttl_max_s).clamp(1, ttl_max_s.max(1));
        let left = Millis::from(send.deadline_ms);
        Self {
            stamp,
            hash: key_hash(send.from.as_ref(), &send.id),
            key: DocKey { from: send.from, id: send.id },
            body_hash: 0,
            size: send.body.len(),
            body: send.body,
            create_at_ms: clock_ms,
            expire_at_ms: clock_ms + u64::from(ttl) * 1000,
            ttl_s: (ttl < ttl_max_s).then_some(ttl),
            redelivered: send.again,
            again: send.again,
            handed: false,
            kept: Kept::No,
            maybe: false,
            leftover: false,
            marked: false,
            given_up: false,
            waiters: SmallVec::from_buf([waiter]),
            near: now + left - left / 3,
            deadline: now + left,
        }
    }

    /// A document that was read. It may be a write of an owner that is none any more: it is
    /// durable, and confirmed only by a renewal begun after this, with a number above `renewals`.
    pub(super) fn from_mailbox(document: Document, expire_at_ms: u64, renewals: u64) -> Self {
        Self {
            stamp: document.stamp,
            hash: key_hash(document.key.from.as_ref(), &document.key.id),
            key: document.key,
            body_hash: 0,
            size: document.body.len(),
            body: document.body,
            create_at_ms: document.create_at_ms,
            expire_at_ms,
            ttl_s: document.ttl_s,
            redelivered: document.redelivered,
            again: true,
            handed: false,
            kept: Kept::Durable(renewals),
            maybe: true,
            leftover: false,
            marked: document.redelivered,
            given_up: false,
            waiters: SmallVec::new(),
            near: Millis::MAX,
            deadline: Millis::MAX,
        }
    }

    pub(super) fn document(&self) -> Document {
        Document {
            key: self.key.clone(),
            stamp: self.stamp,
            redelivered: self.redelivered,
            body: self.body.clone(),
            create_at_ms: self.create_at_ms,
            ttl_s: self.ttl_s,
        }
    }

    /// Whether somebody waits for a renewal to confirm it.
    pub(super) fn is_unconfirmed(&self) -> bool {
        matches!(self.kept, Kept::Durable(_)) && !self.waiters.is_empty()
    }

    /// Lets go of the body where nothing will need it again.
    pub(super) fn drop_body(&mut self) {
        if !self.body.is_empty() {
            self.body_hash = xxh3_64(&self.body);
            self.body = Bytes::new();
        }
    }

    pub(super) fn same_body(&self, body: &[u8]) -> bool {
        if self.body.is_empty() { self.body_hash == xxh3_64(body) } else { self.body[..] == *body }
    }

    /// Adds a waiter; the one whose place it takes is given back, for it must be answered.
    pub(super) fn wait(&mut self, waiter: Waiter) -> Option<Waiter> {
        let full = self.waiters.len() == WAITERS_MAX;
        let replaced = full.then(|| self.waiters.remove(0));
        self.waiters.push(waiter);
        replaced
    }

    /// It is not appended any more, and only its ack is waited for: the body is of no use.
    pub(super) fn give_up(&mut self) {
        self.given_up = true;
        self.drop_body();
    }

    /// What the sender is told when it is given up: `rejected` only if it cannot arrive.
    pub(super) fn given_up_as(&self, reason: Reason) -> (Outcome, Option<Reason>) {
        let shown = self.handed && !planted(Defect::RejectedThoughShown);
        let cannot_arrive = !shown && !self.again && !self.maybe && self.kept == Kept::No;
        (if cannot_arrive { Outcome::Rejected } else { Outcome::Unknown }, Some(reason))
    }
}

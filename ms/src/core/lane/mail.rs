//! The mailbox of one end: appends in order, removals, reads that start from the oldest, sweeps.

use std::collections::VecDeque;

use wardlink_defect::{Defect, planted};
use wardlink_wire::{Outcome, Reason, Stamp};

use super::held::{Held, Kept};
use super::post::WINDOW_BYTES;
use super::{Effect, Env, Lane, Op, RETRY_MS, Work};
use crate::core::api::{Millis, StoreOp, StoreValue};
use crate::store::{Append, Appended, Document, MailboxRead, Page, Put, PutError, StoreError};

/// Most statements of one lane in one append.
const PUTS_MAX: usize = 128;
/// Most bytes of bodies of one lane in one append.
const PUTS_BYTES: usize = 512 * 1024;
/// Most documents removed in one operation of a lane.
const DELETE_MAX: usize = 256;
/// A full mailbox is counted again after so long, for documents expire, in milliseconds.
const RECOUNT_MS: Millis = 1_000;

impl Lane {
    /// What is to be appended next: the window first, then the queue, each up to its mark.
    pub(super) fn append_op(&mut self, env: &mut Env<'_>) -> Option<(Op, StoreOp)> {
        if !self.work().append_is_due() {
            self.work().window_must = None;
            return None;
        }
        self.give_up_expired(env);
        self.give_up_expired_window(env);
        let bound = env.config.mailbox_max;
        let now = env.now;
        let work = self.work();
        let count = StoreOp::Count { end: env.end.clone(), after: env.after };
        let Some(counted) = work.counted else { return Some((Op::Count, count)) };
        let full = counted >= bound;
        if full && work.counted_at + RECOUNT_MS <= now {
            return Some((Op::Count, count));
        }
        let room = if full { 0 } else { bound - counted };
        let (puts, stamps, refused) = work.compose(room);
        for stamp in refused {
            self.refuse(env, stamp, Reason::MailboxFull);
        }
        if stamps.is_empty() {
            return None;
        }
        Some((Op::Append(stamps), StoreOp::Append(Append { end: env.end.clone(), puts })))
    }

    /// The answer to an append.
    pub(super) fn appended(
        &mut self,
        env: &mut Env<'_>,
        stamps: &[Stamp],
        value: Result<StoreValue, StoreError>,
    ) {
        let done = match value {
            Ok(StoreValue::Appended(done)) => done,
            Ok(_) | Err(StoreError::Unknown) => {
                Appended { applied: 0, error: Some(PutError::Unknown) }
            }
            Err(StoreError::NotDone) => Appended { applied: 0, error: Some(PutError::NotDone) },
        };
        // Without an answer for the whole command every statement of it may have been applied.
        let whole = done.error == Some(PutError::Unknown);
        let mut refused = None;
        let (renewals, mut unconfirmed) = (env.renewals, false);
        let work = self.work();
        for (i, &stamp) in stamps.iter().enumerate() {
            let applied = i < done.applied;
            let failed = i == done.applied;
            let Some(held) = work.find(stamp) else { continue };
            let was_durable = held.kept.is_durable();
            if applied {
                held.marked = held.redelivered;
                if !was_durable {
                    held.kept = Kept::Durable(renewals);
                    unconfirmed = true;
                    env.counters.appended += 1;
                    work.counted = work.counted.map(|n| n + 1);
                }
            } else if !was_durable {
                held.kept = Kept::No;
                held.maybe |= whole;
                if failed && done.error == Some(PutError::Refused) {
                    refused = Some(stamp);
                }
            }
        }
        if let Some(stamp) = refused {
            self.refuse(env, stamp, Reason::TooLarge);
        } else if done.error.is_some() {
            env.counters.appends_failed += 1;
            self.work().retry_at = env.now + RETRY_MS;
        }
        self.settle_appended(env);
        if unconfirmed {
            env.effects.push(Effect::Unconfirmed);
        }
    }

    /// What is durable leaves the queue, from its front on; in the window it stays without its body.
    fn settle_appended(&mut self, env: &mut Env<'_>) {
        let work = self.work();
        while let Some(held) = work.queue.front()
            && held.kept.is_durable()
            && (held.marked || !held.redelivered || planted(Defect::DocumentsNotMarked))
            && let Some(mut held) = work.queue.pop_front()
        {
            work.queue_bytes -= held.body.len();
            held.drop_body();
            if planted(Defect::NoConfirm)
                || (held.kept == Kept::Confirmed)
                || held.waiters.is_empty()
            {
                work.forget_key(held.hash);
                for waiter in held.waiters {
                    env.result(waiter, Outcome::Stored, None);
                }
            } else {
                work.confirming.push_back(held);
            }
        }
        for held in work.window.iter_mut().filter(|held| held.kept.is_durable()) {
            held.drop_body();
            if planted(Defect::NoConfirm) {
                for waiter in held.waiters.drain(..) {
                    env.result(waiter, Outcome::Stored, None);
                }
            }
        }
        if planted(Defect::AckDeadlineDropsFromWindow) {
            let mut kept = VecDeque::new();
            for held in work.window.drain(..) {
                if matches!(held.kept, Kept::Durable(_)) {
                    work.confirming.push_back(held)
                } else {
                    kept.push_back(held)
                }
            }
            work.window = kept;
        }
    }

    pub(super) fn delete_op(&mut self, env: &Env<'_>) -> Option<(Op, StoreOp)> {
        let work = self.work();
        let n = work.gone.len().min(DELETE_MAX);
        (n > 0).then(|| {
            (Op::Delete(n), StoreOp::Delete { end: env.end.clone(), keys: work.gone[..n].to_vec() })
        })
    }

    /// Reads the mailbox while the lane goes through it, when the window is at most half full.
    pub(super) fn read_op(&mut self, env: &Env<'_>) -> Option<(Op, StoreOp)> {
        if self.direct || self.route.is_none() {
            return None;
        }
        let page = env.config.page_max;
        let work = self.work();
        if work.queue_is_to_be_appended()
            || work.append_is_due()
            || work.window.len() > env.config.window_max / 2
            || work.window_bytes > WINDOW_BYTES / 2
        {
            return None;
        }
        let limit = work.window.len() + page;
        Some((Op::Read { limit, spoiled: false }, self.mailbox_read(env, limit)))
    }

    pub(super) fn sweep_op(&mut self, env: &Env<'_>) -> Option<(Op, StoreOp)> {
        let (direct, routed) = (self.direct, self.route.is_some());
        let page = env.config.page_max;
        let work = self.work();
        if std::mem::take(&mut work.sweep_row) && routed {
            return Some((
                Op::SweepRow,
                StoreOp::ReadRow { end: env.end.clone(), after: env.after },
            ));
        }
        if std::mem::take(&mut work.sweep_mail) && routed && direct {
            let limit = work.window.len() + page;
            return Some((Op::SweepRead, self.mailbox_read(env, limit)));
        }
        None
    }

    fn mailbox_read(&self, env: &Env<'_>, limit: usize) -> StoreOp {
        // Documents older than the TTL are left out by the database, for a page of them would hide
        // what is behind; what has outlived a shorter life of its own is removed when it is met.
        let created_after_ms =
            env.clock.latest(env.now).saturating_sub(u64::from(env.config.message_ttl_s) * 1000);
        let created_after_ms =
            if planted(Defect::ExpiryByDatabaseOnly) { 0 } else { created_after_ms };
        // What is in the window comes along, and as much again as the window takes.
        let window = self.work.as_ref().map_or(0, |work| work.window_bytes);
        let bytes = window + WINDOW_BYTES;
        let read = MailboxRead { end: env.end.clone(), limit, bytes, created_after_ms };
        StoreOp::ReadMailbox { read, after: env.after }
    }

    /// A page of the mailbox: the oldest that is neither in the window nor acked is handed out.
    pub(super) fn page_read(&mut self, env: &mut Env<'_>, page: Page, limit: usize, spoiled: bool) {
        if self.route.is_none() || self.direct {
            return;
        }
        let full = page.documents.len() >= limit || !page.end;
        let expired_before = self.work().gone.len();
        let mut fresh = self.fresh(env, page.documents).into_iter();
        let only_expired = full && fresh.len() == 0 && self.work().gone.len() > expired_before;
        let mut left = false;
        for document in fresh.by_ref() {
            if document.stamp.epoch > env.epoch {
                // Not this lane's to hand out, nor to pass: it dies when the view is taken anew.
                env.effects.push(Effect::Anew(document.stamp.epoch));
                self.work().retry_at = env.now + RETRY_MS;
                left = true;
                break;
            }
            if !self.work().has_room_of(env.config.window_max) {
                left = true;
                break;
            }
            self.hand_document(env, document, false);
        }
        let end = !full || (planted(Defect::ExpiredPageIsEnd) && only_expired);
        let stored_beside = spoiled || self.work().queue_is_to_be_appended();
        let beside = (stored_beside && !planted(Defect::ReadBeforeAppendCounts))
            || (left && !planted(Defect::DirectThoughStored));
        if (end || planted(Defect::DirectThoughStored)) && !beside {
            self.direct = true;
        }
    }

    /// Documents of a page that are to be handed out; those that are expired are removed.
    fn fresh(&mut self, env: &Env<'_>, documents: Vec<Document>) -> Vec<Document> {
        let (now, ttl) = (env.clock.latest(env.now), env.config.message_ttl_s);
        let work = self.work();
        let mut fresh = Vec::with_capacity(documents.len());
        for document in documents {
            if work.cursor.is_some_and(|cursor| document.stamp <= cursor)
                || work.window.binary_search_by_key(&document.stamp, |held| held.stamp).is_ok()
                || work.window.iter().any(|held| held.key == document.key)
                || work.gone.contains(&document.key)
            {
                continue;
            }
            if expire_at(&document, ttl) <= now && !planted(Defect::ExpiryByDatabaseOnly) {
                work.gone.push(document.key);
            } else {
                fresh.push(document);
            }
        }
        fresh
    }

    fn hand_document(&mut self, env: &mut Env<'_>, document: Document, late: bool) {
        if document.stamp.epoch > env.epoch {
            env.effects.push(Effect::Anew(document.stamp.epoch));
            return;
        }
        let expire_at_ms = expire_at(&document, env.config.message_ttl_s);
        let mut held = Held::from_mailbox(document, expire_at_ms, env.renewals);
        held.redelivered |= late;
        let work = self.work();
        // A repeat of a stored message may wait in the queue: one copy, the lower stamp.
        if work.keys.contains_key(&held.hash)
            && let Some(at) =
                work.queue.iter().position(|h| h.key == held.key && h.kept == Kept::No)
            && let Some(copy) = work.queue.remove(at)
        {
            work.queue_bytes -= copy.body.len();
            work.forget_key(copy.hash);
            held.waiters = copy.waiters;
            held.near = copy.near;
            held.deadline = copy.deadline;
            if held.is_unconfirmed() {
                env.effects.push(Effect::Unconfirmed);
            }
        }
        let work = self.work();
        work.remember_key(held.hash);
        self.hand(env, held);
    }

    /// A sweep's page of a direct lane: what is not in the window is a late write.
    pub(super) fn mail_swept(&mut self, env: &mut Env<'_>, page: Page) {
        if !self.direct || self.route.is_none() {
            return;
        }
        let (mut found, end) = (false, page.end);
        for document in self.fresh(env, page.documents) {
            let work = self.work();
            if work.confirming.iter().any(|h| h.key == document.key)
                || !work.has_room_of(env.config.window_max)
            {
                continue;
            }
            env.counters.late_writes += 1;
            found = true;
            self.hand_document(env, document, true);
        }
        // One late command may have written many; the next sweep is far away.
        self.work().sweep_mail |= found && !end;
    }
}

fn expire_at(document: &Document, ttl_max_s: u32) -> u64 {
    let ttl = document.ttl_s.map_or(ttl_max_s, |ttl| ttl.min(ttl_max_s));
    document.create_at_ms + u64::from(ttl) * 1000
}

impl Work {
    pub(super) fn find(&mut self, stamp: Stamp) -> Option<&mut Held> {
        self.window.iter_mut().chain(&mut self.queue).find(|held| held.stamp == stamp)
    }

    pub(super) fn append_is_due(&self) -> bool {
        self.queue_is_to_be_appended()
            || (self.window_must.is_some()
                && self.window.iter().any(|held| {
                    Some(held.stamp) <= self.window_must && held.kept == Kept::No && !held.given_up
                }))
    }

    /// Statements for what is to be appended, oldest first; `room` new documents at most. What
    /// does not fit is named last.
    pub(super) fn compose(&mut self, room: usize) -> (Vec<Put>, Vec<Stamp>, Vec<Stamp>) {
        let (mut puts, mut stamps, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        let (mut bytes, mut new) = (0, 0);
        let (window_must, queue_must, only) = (self.window_must, self.queue_must, self.only.take());
        let due =
            |held: &&mut Held, must: Option<Stamp>| Some(held.stamp) <= must && !held.given_up;
        let window = self.window.iter_mut().filter(|h| due(h, window_must) && h.kept == Kept::No);
        let queue = self.queue.iter_mut().take_while(|h| Some(h.stamp) <= queue_must);
        let overtaken = planted(Defect::FailedAppendOvertaken) && self.retry_at > 0;
        for held in window.chain(queue).skip(usize::from(overtaken)) {
            if stamps.len() >= PUTS_MAX || bytes > PUTS_BYTES {
                break;
            }
            if only.is_some_and(|only| held.stamp != only) {
                continue;
            }
            if held.kept.is_durable() {
                puts.push(Put::Mark(held.key.clone()));
            } else if new >= room {
                refused.push(held.stamp);
                continue;
            } else {
                new += 1;
                bytes += held.body.len();
                held.redelivered |= held.handed;
                held.kept = Kept::Begun;
                puts.push(Put::Document(held.document()));
            }
            stamps.push(held.stamp);
        }
        (puts, stamps, refused)
    }
}

//! Messages of one end on their way: arrival, repeats, handing out, acknowledgement, the end of
//! a route.

use wardlink_defect::{Defect, planted};
use wardlink_wire::link::{Ack, Deliver, Send, ToBs};
use wardlink_wire::{Outcome, Reason, SessionId};

use super::due::QUEUE_SPILL_BYTES;
use super::held::{Held, Kept, Waiter, key_hash};
use super::{Effect, Env, Lane, Op, Work};
use crate::core::api::{Action, LinkId, Millis};
use crate::store::DocKey;

/// Most bytes of bodies handed out and not acked; one message is always let through.
pub(super) const WINDOW_BYTES: usize = 256 * 1024;
/// Beyond so many times what spills a lane takes no more: the database does not keep up.
const QUEUE_FULL: usize = 8;

impl Lane {
    /// A message arrived, under the lane's epoch.
    pub(in crate::core) fn send(&mut self, env: &mut Env<'_>, link: LinkId, send: Send) {
        let hash = key_hash(send.from.as_ref(), &send.id);
        let (seq, bytes) = (send.seq, send.body.len());
        let waiter = Waiter { link, seq, bytes, since_us: env.us };
        if self.work().keys.contains_key(&hash) && self.repeat(env, hash, &send, waiter) {
            return;
        }
        let work = self.work();
        if work.queue.len() >= QUEUE_FULL * env.config.queue_spill
            || work.queue_bytes + send.body.len() > QUEUE_FULL * QUEUE_SPILL_BYTES
        {
            let outcome = if send.again { Outcome::Unknown } else { Outcome::Rejected };
            return env.result(waiter, outcome, Some(Reason::Overloaded));
        }
        let kept = work.keep(&send);
        let stamp = env.stamp();
        let clock = env.clock.earliest(env.now);
        let mut held = Held::arrived(send, waiter, stamp, clock, env.config.message_ttl_s, env.now);
        (held.maybe, held.leftover) = (kept, kept);
        if planted(Defect::StoredBeforeDurable) && self.route.is_none() {
            env.result(waiter, Outcome::Stored, None);
        }
        let work = self.work();
        work.remember_key(hash);
        work.queue_bytes += held.body.len();
        work.queue.push_back(held);
        if planted(Defect::OverflowAppendsArrivalOnly)
            && work.queue.len() > env.config.queue_spill
            && let Some(last) = work.queue.pop_back()
        {
            work.queue_must = Some(last.stamp);
            work.queue.push_front(last);
            self.direct = false;
        }
        self.pump(env);
    }

    /// A message that the lane holds already: the repeat gets the first copy's result. False
    /// where it only has the same hash.
    fn repeat(&mut self, env: &mut Env<'_>, hash: u64, send: &Send, waiter: Waiter) -> bool {
        let work = self.work();
        let is_it =
            |h: &&mut Held| h.hash == hash && h.key.id == send.id && h.key.from == send.from;
        let mut copies =
            work.window.iter_mut().chain(&mut work.queue).chain(&mut work.confirming).filter(is_it);
        let Some(first) = copies.next() else { return false };
        if !first.same_body(&send.body) {
            env.result(waiter, Outcome::Rejected, Some(Reason::IdReused));
            return true;
        }
        first.again |= send.again;
        if first.kept == Kept::Confirmed {
            env.result(waiter, Outcome::Stored, None);
        } else if first.given_up {
            env.result(waiter, Outcome::Unknown, Some(Reason::Deadline));
        } else {
            // What was read from the mailbox has no deadline; any other keeps its own, for somebody
            // else may wait for it.
            if first.deadline == Millis::MAX {
                first.deadline = env.now + Millis::from(send.deadline_ms);
            }
            if let Some(replaced) = first.wait(waiter) {
                env.counters.waiters_dropped += 1;
                env.result(replaced, Outcome::Unknown, Some(Reason::Deadline));
            }
            if first.is_unconfirmed() {
                env.effects.push(Effect::Unconfirmed);
            }
        }
        true
    }

    /// An ack: the slot is freed, the sender is told, the document goes.
    pub(in crate::core) fn ack(&mut self, env: &mut Env<'_>, link: LinkId, ack: &Ack) {
        let is_route =
            |session: SessionId| self.route.is_some_and(|r| (r.link, r.session) == (link, session));
        if !is_route(ack.session) {
            return;
        }
        let Some(work) = self.work.as_deref_mut() else { return };
        let Ok(at) = work.window.binary_search_by_key(&ack.stamp, |held| held.stamp) else {
            return;
        };
        let Some(held) = work.window.remove(at) else { return };
        work.window_bytes -= held.size;
        work.forget_key(held.hash);
        let (outcome, reason) = if !ack.expired {
            (Outcome::Delivered, None)
        } else if held.again || held.maybe || held.kept != Kept::No {
            (Outcome::Unknown, Some(Reason::Expired))
        } else {
            (Outcome::Rejected, Some(Reason::Expired))
        };
        for waiter in held.waiters {
            env.result(waiter, outcome, reason);
        }
        let work = self.work();
        while let Some(at) =
            work.confirming.iter().position(|h| h.hash == held.hash && h.key == held.key)
        {
            let Some(copy) = work.confirming.remove(at) else { break };
            work.forget_key(copy.hash);
            for waiter in copy.waiters {
                env.result(waiter, outcome, reason);
            }
        }
        if held.kept != Kept::No || held.maybe {
            work.gone.push(held.key);
        }
        self.pump(env);
    }

    /// The route ends: what was handed out goes back to the front of the queue, marked, and all
    /// is to be appended.
    pub(super) fn leave(&mut self) {
        self.route = None;
        self.direct = false;
        let work = self.work();
        if let Some(Op::Read { spoiled, .. }) = &mut work.op {
            *spoiled = true;
        }
        work.window_bytes = 0;
        work.window_must = None;
        let mut window = std::mem::take(&mut work.window);
        if planted(Defect::WindowForgotten) {
            for held in window.drain(..) {
                work.forget_key(held.hash);
            }
        }
        let behind = planted(Defect::QueueBeforeWindow);
        while let Some(mut held) = if behind { window.pop_front() } else { window.pop_back() } {
            held.redelivered = true;
            let unmarked = planted(Defect::DocumentsNotMarked)
                && held.kept.is_durable()
                && held.waiters.is_empty();
            if unmarked || held.given_up && held.kept == Kept::No {
                work.forget_key(held.hash);
                if held.leftover {
                    work.gone.push(held.key);
                }
                continue;
            }
            work.queue_bytes += held.body.len();
            if behind { work.queue.push_back(held) } else { work.queue.push_front(held) }
        }
        work.queue_must = work.queue.iter().map(|held| held.stamp).max().max(work.queue_must);
    }

    /// Hands out from the queue while the lane is direct and the window has room.
    pub(super) fn hand_out(&mut self, env: &mut Env<'_>) {
        if !self.direct || self.route.is_none() {
            return;
        }
        while let Some(work) = self.work.as_deref_mut()
            && !work.queue_is_to_be_appended()
            && work.has_room_of(env.config.window_max)
            && let Some(held) = work.queue.pop_front()
        {
            work.queue_bytes -= held.body.len();
            if held.expire_at_ms <= env.clock.latest(env.now)
                && !planted(Defect::ExpiryByDatabaseOnly)
            {
                self.give_up(env, held, Reason::Expired);
            } else {
                self.hand(env, held);
            }
        }
    }

    /// Puts a message into the window and sends it to the route.
    pub(super) fn hand(&mut self, env: &mut Env<'_>, mut held: Held) {
        let Some(route) = self.route else { return };
        if env.links.is_plain(route.link) {
            let (end, body, stamp) = (env.end.clone(), held.body.clone(), held.stamp);
            env.actions.push(Action::SendPlain { link: route.link, end, body, stamp });
        } else {
            let deliver = Deliver {
                epoch: env.epoch,
                end: env.end.clone(),
                body: held.body.clone(),
                from: held.key.from.clone(),
                id: held.key.id.clone(),
                create_at_ms: held.create_at_ms,
                expire_at_ms: held.expire_at_ms,
                session: route.session,
                stamp: held.stamp,
                redelivered: held.redelivered,
            };
            env.actions.push(Action::Send(route.link, ToBs::Deliver(deliver)));
        }
        env.counters.handed += 1;
        held.handed = true;
        if held.kept.is_durable() {
            held.drop_body();
        }
        let work = self.work();
        if planted(Defect::RemovedWhenHandedOut) && held.kept.is_durable() {
            work.gone.push(held.key.clone());
        }
        if planted(Defect::Cursor) {
            work.cursor = work.cursor.max(Some(held.stamp));
        }
        work.window_bytes += held.size;
        let at = work.window.partition_point(|other| other.stamp < held.stamp);
        work.window.insert(at, held);
    }

    /// The message leaves the lane; its sender is told that it was given up.
    pub(super) fn give_up(&mut self, env: &mut Env<'_>, held: Held, reason: Reason) {
        env.counters.given_up += 1;
        let (outcome, reason) = held.given_up_as(reason);
        let work = self.work();
        work.forget_key(held.hash);
        // A document goes only after its ack or its expiry: under this key an earlier copy may lie
        // there that was called stored.
        let expired = reason == Some(Reason::Expired);
        if held.leftover || expired && (held.kept != Kept::No || held.maybe) {
            work.gone.push(held.key);
        }
        for waiter in held.waiters {
            env.result(waiter, outcome, reason);
        }
    }
}

impl Work {
    /// A message that arrives again under a key whose document was to be removed: the removal,
    /// where it has not begun, would take the new one with it. True where there may be such a
    /// document, which goes with the new one's ack.
    pub(super) fn keep(&mut self, send: &Send) -> bool {
        let under_way = if let Some(Op::Delete(n)) = self.op { n } else { 0 };
        let is_it = |key: &DocKey| key.id == send.id && key.from == send.from;
        let at = self.gone.iter().skip(under_way).position(is_it);
        if let Some(at) = at {
            self.gone.remove(under_way + at);
        }
        at.is_some()
    }

    /// A removal of the first `n` has no answer. What arrived again meanwhile must not be removed
    /// by the next attempt.
    pub(super) fn keep_what_came_again(&mut self, n: usize) {
        let gone = std::mem::take(&mut self.gone);
        for (at, key) in gone.into_iter().enumerate() {
            let mut held =
                self.window.iter_mut().chain(&mut self.queue).chain(&mut self.confirming);
            match held.find(|held| at < n && held.key == key) {
                Some(held) => (held.maybe, held.leftover) = (true, true),
                None => self.gone.push(key),
            }
        }
    }

    pub(super) fn has_room_of(&self, window_max: usize) -> bool {
        self.window.is_empty()
            || (self.window.len() < window_max && self.window_bytes < WINDOW_BYTES)
    }
}

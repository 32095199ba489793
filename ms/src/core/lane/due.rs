//! What must be appended, and what is given up: overflow, deadlines, expiry, refusals.

use wardlink_defect::{Defect, planted};
use wardlink_wire::{Outcome, Reason, Stamp};

use super::held::{Held, Kept};
use super::{Env, Lane, Op};

/// More than so many bytes of waiting bodies go to the mailbox.
pub(super) const QUEUE_SPILL_BYTES: usize = 512 * 1024;

impl Lane {
    /// Marks what is to be appended.
    pub(super) fn decide_must(&mut self, env: &mut Env<'_>) {
        let away = self.route.is_none();
        let spill = env.config.queue_spill;
        let work = self.work();
        let Some(last) = work.queue.back().map(|held| held.stamp) else { return };
        if away && !env.settling {
            work.queue_must = Some(last).max(work.queue_must);
        }
        if (work.queue.len() > spill || work.queue_bytes > QUEUE_SPILL_BYTES)
            && !planted(Defect::OverflowAppendsArrivalOnly)
        {
            self.spill(env);
        }
    }

    /// All that waits is to be appended, the window before it, and the lane goes through the mailbox.
    pub(super) fn spill(&mut self, env: &mut Env<'_>) {
        env.counters.spills += u64::from(self.direct);
        self.direct = false;
        let work = self.work();
        work.queue_must = work.queue.back().map(|held| held.stamp).max(work.queue_must);
        if !planted(Defect::OverflowLeavesWindow) {
            work.window_must = work.window.back().map(|held| held.stamp).max(work.window_must);
        }
        if let Some(Op::Read { spoiled, .. }) = &mut work.op
            && !planted(Defect::ReadBeforeAppendCounts)
        {
            *spoiled = true;
        }
    }

    /// The database will not have it: given up at once. In the window it still waits for its ack.
    pub(super) fn refuse(&mut self, env: &mut Env<'_>, stamp: Stamp, reason: Reason) {
        let work = self.work();
        if let Some(at) = work.queue.iter().position(|held| held.stamp == stamp) {
            if let Some(held) = work.queue.remove(at) {
                work.queue_bytes -= held.body.len();
                self.give_up(env, held, reason);
            }
        } else if let Some(held) = work.window.iter_mut().find(|held| held.stamp == stamp) {
            held.give_up();
            let (outcome, reason) = held.given_up_as(reason);
            for waiter in held.waiters.drain(..) {
                env.result(waiter, outcome, reason);
            }
        }
    }

    /// What was handed out and has expired is not appended any more; its late ack still frees the
    /// slot.
    pub(super) fn give_up_expired_window(&mut self, env: &mut Env<'_>) {
        let clock = env.clock.latest(env.now);
        let must = self.work().window_must;
        let expired = |held: &&mut Held| {
            Some(held.stamp) <= must
                && held.kept == Kept::No
                && !held.given_up
                && held.expire_at_ms <= clock
        };
        if planted(Defect::ExpiryByDatabaseOnly) {
            return;
        }
        for held in self.work().window.iter_mut().filter(expired) {
            held.give_up();
            let (outcome, reason) = held.given_up_as(Reason::Expired);
            for waiter in held.waiters.drain(..) {
                env.result(waiter, outcome, reason);
            }
        }
    }

    pub(super) fn give_up_expired(&mut self, env: &mut Env<'_>) {
        let clock = env.clock.latest(env.now);
        if planted(Defect::ExpiryByDatabaseOnly) || !env.clock.is_known() {
            return;
        }
        let work = self.work();
        let mut at = 0;
        let mut expired = Vec::new();
        while let Some(held) = work.queue.get(at) {
            if held.expire_at_ms <= clock && held.kept != Kept::Begun {
                expired.extend(work.queue.remove(at));
            } else {
                at += 1;
            }
        }
        work.queue_bytes -= expired.iter().map(|held| held.body.len()).sum::<usize>();
        for held in expired {
            self.give_up(env, held, Reason::Expired);
        }
    }

    /// What nears a deadline is to be appended; what has reached it is given up.
    pub(super) fn deadlines(&mut self, env: &mut Env<'_>) {
        let now = env.now;
        let work = self.work();
        let near = |held: &&Held| held.near <= now && held.kept == Kept::No && !held.given_up;
        if let Some(last) = work.window.iter().rev().find(near).map(|held| held.stamp) {
            work.window_must = work.window_must.max(Some(last));
            if planted(Defect::AckDeadlineOutOfOrder) {
                work.only = work.window.iter().rev().find(near).map(|held| held.stamp);
            }
        }
        if work.queue.iter().any(|held| held.near <= now) {
            self.spill(env);
        }
        self.give_up_expired(env);
        let work = self.work();
        for held in work.window.iter_mut().chain(&mut work.confirming).filter(|h| h.deadline <= now)
        {
            if held.kept == Kept::No {
                held.give_up();
            }
            for waiter in held.waiters.drain(..) {
                env.counters.given_up += 1;
                env.result(waiter, Outcome::Unknown, Some(Reason::Deadline));
            }
        }
        while let Some(held) = work.confirming.front()
            && held.waiters.is_empty()
        {
            let hash = held.hash;
            work.confirming.pop_front();
            work.forget_key(hash);
        }
        let mut at = 0;
        let mut late = Vec::new();
        while let Some(held) = work.queue.get_mut(at) {
            if held.deadline > now {
                at += 1;
            } else if held.kept == Kept::No {
                late.extend(work.queue.remove(at));
            } else {
                for waiter in held.waiters.drain(..) {
                    env.result(waiter, Outcome::Unknown, Some(Reason::Deadline));
                }
                at += 1;
            }
        }
        work.queue_bytes -= late.iter().map(|held| held.body.len()).sum::<usize>();
        for held in late {
            self.give_up(env, held, Reason::Unavailable);
        }
    }
}

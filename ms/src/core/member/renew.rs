//! Renewals: heartbeat, news and confirmation; what the judge makes of them; leaving.

use wardlink_defect::{Defect, planted};
use wardlink_view::Verdict;
use wardlink_view::change::{even_out, reassign};
use wardlink_wire::{CloseCode, MsId, ViewNumber};

use super::{AGAIN_MS, LEAVE_MS, Phase, READY_AFTER_MS, READY_FOR_MS, RENEW_MS};
use crate::core::api::{Action, LinkId, Millis, OpId, StoreOp, StoreReply, StoreValue, ViewReason};
use crate::core::{Core, LATE_MS, Pending};
use crate::store::{Applied, OpTime, Renewal, Renewed, StoreError, ViewKey};

impl Core {
    /// Whether lanes can work: inside, and the database's clock is known.
    pub(in crate::core) fn serving(&self) -> bool {
        self.member.is_member() && self.hub.clock.is_known()
    }

    pub(in crate::core) fn stop(&mut self, now: Millis) {
        let phase = self.member.phase;
        self.member.phase = match phase {
            Phase::Inside => Phase::Leaving { since: now, renewal: self.hub.renewals, left: None },
            Phase::Leaving { .. } | Phase::Ended => phase,
            Phase::Entering => Phase::Leaving { since: 0, renewal: 0, left: Some(ViewNumber(0)) },
        };
        self.member.renew_at = now;
    }

    pub(in crate::core) fn member_tick(&mut self, now: Millis, actions: &mut Vec<Action>) {
        if let Phase::Leaving { since, left, .. } = self.member.phase {
            let followed = left.is_some_and(|number| self.hub.links.all_synced(number));
            if followed || since + LEAVE_MS <= now {
                self.member.phase = Phase::Ended;
                let links: Vec<LinkId> = self.hub.links.greeted().map(|(id, _, _)| id).collect();
                for link in links {
                    self.close(link, CloseCode::GoingAway, now, actions);
                }
                self.drop_slots();
                actions.push(Action::Exit);
            }
        }
        if self.member.is_member() && !self.member.renewing && self.member.renew_at <= now {
            let late = self.member.renew_at + LATE_MS <= now;
            self.member.renew_at = if late { now } else { self.member.renew_at } + RENEW_MS;
            self.renew(true, now, actions);
        }
    }

    /// After every event: what the lanes and the links asked for.
    pub(in crate::core) fn follow_up(&mut self, now: Millis, actions: &mut Vec<Action>) {
        if let Some((partition, epoch)) = self.hub.anew.take()
            && self.is_possible(ViewNumber(epoch.0))
        {
            self.member.anew = Some((partition, epoch));
            self.member.want_view = true;
        }
        let confirm = !self.hub.unconfirmed.is_empty() && self.member.confirm_after <= now;
        let again = self.member.renew_again && !self.member.want_view && !self.member.reading;
        if self.member.is_member() && !self.member.renewing && (confirm || again) {
            self.renew(false, now, actions);
        }
        let wanted = self.member.want_view || !self.hub.need_view.is_empty();
        let may = !self.member.reading && !self.member.changing && self.member.read_after <= now;
        if wanted && may && self.member.phase != Phase::Ended {
            self.member.want_view = false;
            self.member.reading = true;
            self.hub.begin(Pending::ReadView, StoreOp::ReadView { after: self.hub.after }, actions);
        }
    }

    pub(super) fn renew(&mut self, timed: bool, now: Millis, actions: &mut Vec<Action>) {
        let Some(view) = &self.member.view else { return };
        self.hub.renewals += 1;
        self.member.renewing = true;
        self.member.renew_again = false;
        let key = ViewKey::of(view);
        let renewal = Renewal { expect: key, me: self.member.me, links: self.hub.links.count() };
        let what = Pending::Renew { number: self.hub.renewals, timed, begun: now, key };
        self.hub.begin(what, StoreOp::Renew(renewal), actions);
    }

    pub(in crate::core) fn reply(
        &mut self,
        id: OpId,
        reply: StoreReply,
        now: Millis,
        actions: &mut Vec<Action>,
    ) {
        let Some(pending) = self.hub.pending.remove(&id) else { return };
        let StoreReply { time, value } = reply;
        match pending {
            Pending::Lane { partition, epoch, end } => {
                let Some(part) = self.parts[partition.index()].as_mut() else { return };
                if part.epoch() == epoch || planted(Defect::LaneKeptOverAba) {
                    part.lane(&mut self.hub, &end, false, now, actions, |lane, env| {
                        lane.op_done(env, value)
                    });
                }
            }
            Pending::ReadView => {
                self.member.reading = false;
                match value {
                    Ok(StoreValue::View(view)) => self.view_read(view, time, now, actions),
                    _ => self.read_again(now),
                }
            }
            Pending::ChangeView { to, why } => {
                self.member.changing = false;
                match value {
                    Ok(StoreValue::Applied(Applied::Yes)) => {
                        self.hub.counters.changes[why as usize] += 1;
                        self.adopt(to, now, actions);
                        // A view written anew by who was outside leaves it outside.
                        self.member.want_view |= self.member.phase == Phase::Entering;
                    }
                    _ => {
                        self.hub.counters.changes_failed += 1;
                        self.member.want_view = true;
                        if value.is_err() {
                            self.read_again(now);
                        }
                    }
                }
            }
            Pending::Renew { number, timed, begun, key } => {
                self.member.renewing = false;
                self.member.failing = value.is_err();
                if timed && self.member.phase == Phase::Inside {
                    // After a slow one the others get through before they are looked at again.
                    self.member.renew_at = self.member.renew_at.max(now + RENEW_MS / 2);
                }
                self.renewed(number, timed, begun, key, time, value, now, actions);
            }
            Pending::Touch | Pending::Quiet | Pending::RowsOf | Pending::Other => {
                self.swept(pending, value, now, actions);
            }
        }
    }

    pub(super) fn read_again(&mut self, now: Millis) {
        self.member.want_view = true;
        self.member.read_after = now + AGAIN_MS;
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one reply")]
    pub(super) fn renewed(
        &mut self,
        number: u64,
        timed: bool,
        begun: Millis,
        key: ViewKey,
        time: OpTime,
        value: Result<StoreValue, StoreError>,
        now: Millis,
        actions: &mut Vec<Action>,
    ) {
        let waited = u64::from(!self.hub.unconfirmed.is_empty());
        match value {
            Ok(StoreValue::Renewed(Some(Renewed { beats, clock_ms }))) => {
                self.hub.counters.renewals += 1;
                let was_serving = self.serving();
                self.hub.clock.sample(clock_ms, begun, now);
                self.member.beats = beats;
                if !was_serving && self.serving() {
                    self.begin_to_serve(now, actions);
                }
                self.confirm(number, now, actions);
                if timed {
                    self.timed_renewal(key, time, now, actions);
                }
            }
            Ok(_) => {
                self.hub.counters.renewals_refused += 1;
                self.hub.counters.confirmations_failed += waited;
                self.member.want_view = true;
                self.member.renew_again |= timed;
                self.member.confirm_after = now + AGAIN_MS / 10;
                if planted(Defect::ConfirmComparesOwner) {
                    self.confirm(number, now, actions);
                }
            }
            Err(_) => {
                self.hub.counters.renewals_unknown += 1;
                self.hub.counters.confirmations_failed += waited;
                self.member.confirm_after = now + AGAIN_MS;
            }
        }
    }

    /// Renewal `number` succeeded: what was durable before it began is stored.
    pub(super) fn confirm(&mut self, number: u64, now: Millis, actions: &mut Vec<Action>) {
        let lanes = std::mem::take(&mut self.hub.unconfirmed);
        for (partition, epoch, end) in lanes {
            let Some(part) = self.parts[partition.index()].as_mut() else { continue };
            if part.epoch() == epoch {
                let hub = &mut self.hub;
                part.lane(hub, &end, false, now, actions, |lane, env| lane.confirmed(env, number));
            }
        }
        self.hub.unconfirmed.sort_unstable();
        self.hub.unconfirmed.dedup();
    }

    /// A timed renewal succeeded: readiness, and, if this MS is the judge, the others.
    pub(super) fn timed_renewal(
        &mut self,
        key: ViewKey,
        time: OpTime,
        now: Millis,
        actions: &mut Vec<Action>,
    ) {
        let Some(view) = self.member.view.as_ref().filter(|view| ViewKey::of(view) == key) else {
            return;
        };
        let links = &self.hub.links;
        let quiet = now.saturating_sub(self.member.view_changed);
        let verdict =
            self.member.judge.observe(view, &self.member.beats, |ms| links.missing(ms), quiet);
        self.judge_readiness(now, actions);
        if let Phase::Leaving { renewal, left: None, .. } = self.member.phase {
            if self.hub.renewals > renewal {
                self.leave(time, actions);
            }
            return;
        }
        let verdict = if planted(Defect::BeatByClock) {
            self.clock_verdict(now).or(verdict)
        } else {
            verdict
        };
        if let Some(verdict) = verdict
            && !self.member.changing
        {
            self.carry_out(verdict, time, actions);
        }
    }

    pub(super) fn judge_readiness(&mut self, now: Millis, actions: &mut Vec<Action>) {
        if self.member.ready {
            return;
        }
        let counts = self.member.judge.links();
        let mine = self.hub.links.count();
        let best = counts.values().copied().max().unwrap_or(0);
        let enough = mine >= best || mine * 2 > best;
        self.member.linked_since =
            if enough { self.member.linked_since.or(Some(now)) } else { None };
        let long = self.member.linked_since.is_some_and(|since| since + READY_FOR_MS <= now);
        if long || self.hub.config.exclusive || self.member.entered + READY_AFTER_MS <= now {
            self.member.ready = true;
            actions.push(Action::Ready(true));
        }
    }

    pub(super) fn carry_out(&mut self, verdict: Verdict, time: OpTime, actions: &mut Vec<Action>) {
        let next = self.member.next(time);
        let Some(view) = self.member.view.clone() else { return };
        let to = if verdict.even {
            even_out(&view, &verdict.healthy, next)
        } else {
            Some(reassign(&view, &verdict.lose, &verdict.out, &verdict.healthy, next))
        };
        let why = match (verdict.even, verdict.out.is_empty()) {
            (true, _) => ViewReason::Even,
            (false, false) => ViewReason::Silent,
            (false, true) => ViewReason::Missed,
        };
        if let Some(to) = to {
            self.change(Some(&view), to, why, actions);
        }
    }

    /// Planted defect only.
    pub(super) fn clock_verdict(&mut self, now: Millis) -> Option<Verdict> {
        let member = &mut self.member;
        let mut out = Vec::new();
        for beat in &member.beats {
            match member.last_moved.iter_mut().find(|(ms, _, _)| *ms == beat.ms) {
                Some((_, renewals, at)) if *renewals != beat.renewals => {
                    (*renewals, *at) = (beat.renewals, now)
                }
                Some((ms, _, at)) if *at + 5_000 <= now && *ms != member.me => out.push(*ms),
                Some(_) => {}
                None => member.last_moved.push((beat.ms, beat.renewals, now)),
            }
        }
        (!out.is_empty()).then(|| Verdict { out, healthy: vec![member.me], ..Verdict::default() })
    }

    pub(super) fn leave(&mut self, time: OpTime, actions: &mut Vec<Action>) {
        if self.member.changing {
            return;
        }
        let next = self.member.next(time);
        let Some(view) = self.member.view.clone() else { return };
        let links = &self.hub.links;
        let healthy: Vec<MsId> = self
            .member
            .judge
            .links()
            .iter()
            .filter(|(ms, count)| **count > links.missing(**ms))
            .map(|(ms, _)| *ms)
            .collect();
        let to = reassign(&view, &[], &[self.member.me], &healthy, next);
        self.change(Some(&view), to, ViewReason::Leave, actions);
    }
}

//! Membership: reading the view, entering it, renewing, judging, healing, leaving.
//!
//! [`Member`] owns what this MS knows of the view. One read, one change and one renewal are in
//! flight at most. Nothing here is needed for safety but this: a view is used only when it was
//! read with majority or its change was acknowledged with majority, and its number and epochs
//! never go back.

use uuid::Uuid;
use wardlink_defect::{Defect, planted};
use wardlink_view::change::{Next, anew, enter, even_out, found, next_number, reassign};
use wardlink_view::{Beat, Judge, Verdict, View};
use wardlink_wire::link::ToBs;
use wardlink_wire::{CloseCode, Epoch, MsId, Partition, ViewNumber};

use super::api::{Action, Ids, LinkId, Millis, OpId, StoreOp, StoreReply, StoreValue};
use super::{Core, LATE_MS, Pending};
use crate::store::{Applied, OpTime, Renewal, Renewed, StoreError, ViewChange, ViewKey};

/// Between two timed renewals, in milliseconds.
const RENEW_MS: Millis = 500;
/// Pause after a renewal for a confirmation, or a view read, that failed, in milliseconds.
const AGAIN_MS: Millis = 100;
/// A stopping MS ends after so long, whatever the BSs and the database do, in milliseconds.
const LEAVE_MS: Millis = 5_000;
/// A starting MS is ready after so long in any case, in milliseconds.
const READY_AFTER_MS: Millis = 30_000;
/// For so long a starting MS must have as many links as the best member, in milliseconds.
const READY_FOR_MS: Millis = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not in the view (yet, or any more).
    Entering,
    Inside,
    /// Asked to stop; `renewal`: the last one begun before. Once out, the number of that view.
    Leaving {
        since: Millis,
        renewal: u64,
        left: Option<ViewNumber>,
    },
    Ended,
}

/// What this MS knows of the view, and where it stands in it.
#[derive(Debug)]
pub(super) struct Member {
    me: MsId,
    ids: Ids,
    phase: Phase,
    view: Option<View>,
    /// Highest number that a BS named, or epoch that was met.
    heard: ViewNumber,
    beats: Vec<Beat>,
    judge: Judge,
    view_changed: Millis,
    want_view: bool,
    /// A stamp of this epoch was met in this partition: if the view still says a lower one, the
    /// document went back, and the partition is taken anew.
    anew: Option<(Partition, Epoch)>,
    /// A BS knows this epoch where this MS's view had a lower one. While the document has any
    /// below it, it went back: one written anew has none.
    back: Epoch,
    reading: bool,
    read_after: Millis,
    changing: bool,
    renewing: bool,
    /// A timed renewal was refused: once the view is read, another is due. Else, where views
    /// follow each other fast, this member would seem to stand still.
    renew_again: bool,
    renew_at: Millis,
    confirm_after: Millis,
    entered: Millis,
    linked_since: Option<Millis>,
    ready: bool,
    /// Planted defect `BeatByClock` only.
    last_moved: Vec<(MsId, u64, Millis)>,
}

impl Member {
    pub(super) fn new(me: MsId, ids: Ids, now: Millis) -> Self {
        Self {
            me,
            ids,
            phase: Phase::Entering,
            view: None,
            heard: ViewNumber(0),
            beats: Vec::new(),
            judge: Judge::new(me),
            view_changed: now,
            want_view: true,
            anew: None,
            back: Epoch(0),
            reading: false,
            read_after: now,
            changing: false,
            renewing: false,
            renew_again: false,
            renew_at: now,
            confirm_after: now,
            entered: now,
            linked_since: None,
            ready: false,
            last_moved: Vec::new(),
        }
    }

    pub(super) fn me(&self) -> MsId {
        self.me
    }

    pub(super) fn view(&self) -> Option<&View> {
        self.view.as_ref()
    }

    pub(super) fn beats(&self) -> &[Beat] {
        &self.beats
    }

    pub(super) fn fresh_id(&mut self) -> Uuid {
        self.ids.uuid()
    }

    pub(super) fn is_alone(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.members == [self.me])
    }

    pub(super) fn link_counts(&self) -> Vec<(MsId, u32)> {
        self.judge.links().iter().map(|(ms, links)| (*ms, *links)).collect()
    }

    pub(super) fn want_view(&mut self) {
        self.want_view = true;
    }

    /// A BS, or a row, named this number.
    pub(super) fn hear(&mut self, number: ViewNumber) {
        if number > self.known() {
            self.heard = number;
            self.want_view = true;
        }
    }

    /// A BS met a lower epoch than one that it knows: the view is read, and written anew if it
    /// has gone back.
    pub(super) fn went_back(&mut self, epoch: Epoch) {
        self.heard = self.heard.max(ViewNumber(epoch.0));
        self.back = self.back.max(epoch);
        self.want_view = true;
    }

    pub(super) fn start_timers_anew(&mut self, now: Millis) {
        self.renew_at = now;
        self.linked_since = None;
    }

    fn known(&self) -> ViewNumber {
        self.heard.max(self.view.as_ref().map_or(ViewNumber(0), |view| view.number))
    }

    fn next(&mut self, time: OpTime) -> Next {
        Next { number: next_number(time.0, self.known()), id: self.ids.uuid() }
    }

    fn is_member(&self) -> bool {
        matches!(self.phase, Phase::Inside | Phase::Leaving { left: None, .. })
    }
}

impl Core {
    /// Whether lanes can work: inside, and the database's clock is known.
    pub(super) fn serving(&self) -> bool {
        self.member.is_member() && self.hub.clock.is_known()
    }

    pub(super) fn stop(&mut self, now: Millis) {
        let phase = self.member.phase;
        self.member.phase = match phase {
            Phase::Inside => Phase::Leaving { since: now, renewal: self.hub.renewals, left: None },
            Phase::Leaving { .. } | Phase::Ended => phase,
            Phase::Entering => Phase::Leaving { since: 0, renewal: 0, left: Some(ViewNumber(0)) },
        };
        self.member.renew_at = now;
    }

    pub(super) fn member_tick(&mut self, now: Millis, actions: &mut Vec<Action>) {
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
    pub(super) fn follow_up(&mut self, now: Millis, actions: &mut Vec<Action>) {
        if let Some((partition, epoch)) = self.hub.anew.take() {
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

    fn renew(&mut self, timed: bool, now: Millis, actions: &mut Vec<Action>) {
        let Some(view) = &self.member.view else { return };
        self.hub.renewals += 1;
        self.member.renewing = true;
        self.member.renew_again = false;
        let key = ViewKey::of(view);
        let renewal = Renewal { expect: key, me: self.member.me, links: self.hub.links.count() };
        let what = Pending::Renew { number: self.hub.renewals, timed, begun: now, key };
        self.hub.begin(what, StoreOp::Renew(renewal), actions);
    }

    pub(super) fn reply(
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
            Pending::ChangeView { to } => {
                self.member.changing = false;
                match value {
                    Ok(StoreValue::Applied(Applied::Yes)) => {
                        self.adopt(to, now, actions);
                        // A view written anew by who was outside leaves it outside.
                        self.member.want_view |= self.member.phase == Phase::Entering;
                    }
                    _ => {
                        self.member.want_view = true;
                        if value.is_err() {
                            self.read_again(now);
                        }
                    }
                }
            }
            Pending::Renew { number, timed, begun, key } => {
                self.member.renewing = false;
                self.renewed(number, timed, begun, key, time, value, now, actions);
            }
            Pending::Touch | Pending::Quiet | Pending::RowsOf | Pending::Other => {
                self.swept(pending, value, now, actions);
            }
        }
    }

    fn read_again(&mut self, now: Millis) {
        self.member.want_view = true;
        self.member.read_after = now + AGAIN_MS;
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one reply")]
    fn renewed(
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
        match value {
            Ok(StoreValue::Renewed(Some(Renewed { beats, clock_ms }))) => {
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
                self.member.want_view = true;
                self.member.renew_again |= timed;
                self.member.confirm_after = now + AGAIN_MS / 10;
                if planted(Defect::ConfirmComparesOwner) {
                    self.confirm(number, now, actions);
                }
            }
            Err(_) => {
                self.hub.counters.renewals_unknown += 1;
                self.member.confirm_after = now + AGAIN_MS;
            }
        }
    }

    /// Renewal `number` succeeded: what was durable before it began is stored.
    fn confirm(&mut self, number: u64, now: Millis, actions: &mut Vec<Action>) {
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
    fn timed_renewal(
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

    fn judge_readiness(&mut self, now: Millis, actions: &mut Vec<Action>) {
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

    fn carry_out(&mut self, verdict: Verdict, time: OpTime, actions: &mut Vec<Action>) {
        let next = self.member.next(time);
        let Some(view) = self.member.view.clone() else { return };
        let to = if verdict.even {
            even_out(&view, &verdict.healthy, next)
        } else {
            Some(reassign(&view, &verdict.lose, &verdict.out, &verdict.healthy, next))
        };
        if let Some(to) = to {
            self.change(Some(&view), to, actions);
        }
    }

    /// Planted defect only.
    fn clock_verdict(&mut self, now: Millis) -> Option<Verdict> {
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

    fn leave(&mut self, time: OpTime, actions: &mut Vec<Action>) {
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
        self.change(Some(&view), to, actions);
    }

    fn change(&mut self, from: Option<&View>, to: View, actions: &mut Vec<Action>) {
        let was = from.map_or(&[][..], |view| &view.members);
        let added = to.members.iter().filter(|ms| !was.contains(ms)).copied().collect();
        let removed = was.iter().filter(|ms| !to.members.contains(ms)).copied().collect();
        self.member.changing = true;
        let change = ViewChange { expect: from.map(ViewKey::of), to: to.clone(), added, removed };
        self.hub.begin(Pending::ChangeView { to }, StoreOp::ChangeView(change), actions);
    }

    /// The answer to a read of the view.
    fn view_read(
        &mut self,
        read: Option<View>,
        time: OpTime,
        now: Millis,
        actions: &mut Vec<Action>,
    ) {
        let waiting = std::mem::take(&mut self.hub.need_view);
        if let Some((partition, epoch)) = self.member.anew {
            match &read {
                Some(read) if read.slot(partition).epoch >= epoch => self.member.anew = None,
                _ => self.member.heard = self.member.heard.max(ViewNumber(epoch.0)),
            }
        }
        let back = self.member.back;
        if read.as_ref().is_some_and(|read| read.slots.iter().all(|slot| slot.epoch >= back)) {
            self.member.back = Epoch(0);
        }
        let known = self.member.known();
        let lost = self.member.anew.is_some()
            || self.member.back > Epoch(0)
            || match (&read, &self.member.view) {
                (None, view) => view.is_some() || known > ViewNumber(0),
                (Some(read), Some(mine)) => {
                    let same_number_other_view = read.number == mine.number
                        && read.id != mine.id
                        && !planted(Defect::ViewByNumberOnly);
                    read.number < known
                        || read.goes_back_from(mine).is_some()
                        || same_number_other_view
                }
                (Some(read), None) => read.number < known,
            };
        if lost {
            self.heal(read, time, actions);
        } else if let Some(read) = read {
            let news = self.member.view.as_ref().is_none_or(|mine| mine.number < read.number);
            if news {
                self.adopt(read, now, actions);
            }
            if self.member.phase == Phase::Entering {
                self.enter(time, actions);
            }
        } else if self.member.phase == Phase::Entering {
            let next = self.member.next(time);
            let me = self.member.me;
            self.change(None, found(me, next), actions);
        }
        for (partition, epoch, end) in waiting {
            let Some(part) = self.parts[partition.index()].as_mut() else { continue };
            if part.epoch() == epoch {
                part.lane(&mut self.hub, &end, false, now, actions, |lane, env| {
                    lane.view_was_read(env)
                });
            }
        }
        // While there is something to heal the need stands: heal ends in a read or an adoption.
    }

    fn enter(&mut self, time: OpTime, actions: &mut Vec<Action>) {
        if self.member.changing {
            return;
        }
        let Some(view) = self.member.view.clone() else { return };
        let next = self.member.next(time);
        let me = self.member.me;
        let to = if self.hub.config.exclusive { found(me, next) } else { enter(&view, me, next) };
        self.change(Some(&view), to, actions);
    }

    /// The document is lost or went back: the view that is known is written anew, with every
    /// epoch new.
    fn heal(&mut self, read: Option<View>, time: OpTime, actions: &mut Vec<Action>) {
        if self.member.changing {
            self.member.want_view = true;
            return;
        }
        self.hub.counters.healed += 1;
        if let Some(read) = &read {
            // All that is in the document is known from now on, too.
            self.member.heard = self.member.known().max(read.number);
        }
        let next = self.member.next(time);
        let me = self.member.me;
        let to = match self.member.view.as_ref().or(read.as_ref()) {
            Some(known) => anew(known, next),
            None => found(me, next),
        };
        let from = read.clone();
        self.change(from.as_ref(), to, actions);
    }

    /// Takes a view that counts: read with majority, or changed with majority.
    fn adopt(&mut self, view: View, now: Millis, actions: &mut Vec<Action>) {
        self.hub.counters.views += 1;
        self.member.view_changed = now;
        let inside = view.has(self.member.me);
        let phase = self.member.phase;
        self.member.view = Some(view.clone());
        match phase {
            Phase::Entering if inside => {
                self.member.phase = Phase::Inside;
                self.member.entered = now;
                self.member.renew_at = now;
            }
            Phase::Inside if !inside => return self.expelled(now, actions),
            Phase::Leaving { since, renewal, left: None } if !inside => {
                self.member.phase = Phase::Leaving { since, renewal, left: Some(view.number) };
            }
            _ => {}
        }
        self.take_slots(&view, now);
        if self.serving() {
            self.begin_to_serve(now, actions);
        } else if matches!(self.member.phase, Phase::Leaving { .. }) {
            self.send_views(actions);
        }
        if !self.member.is_alone() {
            let plain: Vec<LinkId> =
                self.hub.links.greeted().filter(|(_, l, _)| l.plain).map(|(id, _, _)| id).collect();
            for link in plain {
                self.close(link, CloseCode::PlainWithSeveral, now, actions);
            }
        }
    }

    fn begin_to_serve(&mut self, now: Millis, actions: &mut Vec<Action>) {
        self.send_views(actions);
        self.unpark(now, actions);
    }

    /// Another member took this one out: it comes back under a new id, and its BSs know only the old one.
    fn expelled(&mut self, now: Millis, actions: &mut Vec<Action>) {
        let links: Vec<LinkId> = self.hub.links.iter_mut().map(|(id, _)| id).collect();
        for link in links {
            self.close(link, CloseCode::NotAMember, now, actions);
        }
        self.drop_slots();
        let me = MsId(self.member.ids.uuid());
        self.member.me = me;
        self.member.judge = Judge::new(me);
        self.member.phase = Phase::Entering;
        self.member.ready = false;
        self.member.want_view = true;
        actions.push(Action::Ready(false));
    }

    fn send_views(&self, actions: &mut Vec<Action>) {
        let Some(view) = &self.member.view else { return };
        let item = view.to_item();
        for (link, entry, _) in self.hub.links.greeted() {
            if !entry.plain {
                actions.push(Action::Send(link, ToBs::View(item.clone())));
            }
        }
    }

    pub(super) fn send_view(&self, link: LinkId, actions: &mut Vec<Action>) {
        if let Some(view) = &self.member.view {
            actions.push(Action::Send(link, ToBs::View(view.to_item())));
        }
    }
}

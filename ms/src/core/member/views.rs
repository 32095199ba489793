//! The view: changed, read, entered, healed, adopted, sent on.

use wardlink_defect::{Defect, planted};
use wardlink_view::change::{anew, enter, found};
use wardlink_view::{Judge, View};
use wardlink_wire::link::ToBs;
use wardlink_wire::{CloseCode, Epoch, MsId, ViewNumber};

use super::Phase;
use crate::core::api::{Action, LinkId, Millis, StoreOp, ViewReason};
use crate::core::{Core, Pending};
use crate::store::{OpTime, ViewChange, ViewKey};

impl Core {
    pub(super) fn change(
        &mut self,
        from: Option<&View>,
        to: View,
        why: ViewReason,
        actions: &mut Vec<Action>,
    ) {
        let was = from.map_or(&[][..], |view| &view.members);
        let added = to.members.iter().filter(|ms| !was.contains(ms)).copied().collect();
        let removed = was.iter().filter(|ms| !to.members.contains(ms)).copied().collect();
        self.member.changing = true;
        let change = ViewChange { expect: from.map(ViewKey::of), to: to.clone(), added, removed };
        self.hub.begin(Pending::ChangeView { to, why }, StoreOp::ChangeView(change), actions);
    }

    /// The answer to a read of the view.
    pub(super) fn view_read(
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
                    // Two views of one number: both were founded on one operation time. A later
                    // view that stands on the other one shows it by an epoch with another owner.
                    let same_number_other_view = read.number == mine.number && read.id != mine.id
                        || read.slots.iter().zip(mine.slots.iter()).any(|(read, mine)| {
                            read.epoch == mine.epoch && read.owner != mine.owner
                        });
                    read.number < known
                        || read.goes_back_from(mine).is_some()
                        || same_number_other_view && !planted(Defect::ViewByNumberOnly)
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
            self.change(None, found(me, next), ViewReason::Found, actions);
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

    pub(super) fn enter(&mut self, time: OpTime, actions: &mut Vec<Action>) {
        if self.member.changing {
            return;
        }
        let Some(view) = self.member.view.clone() else { return };
        let next = self.member.next(time);
        let me = self.member.me;
        let to = if self.hub.config.exclusive { found(me, next) } else { enter(&view, me, next) };
        self.change(Some(&view), to, ViewReason::Enter, actions);
    }

    /// The document is lost or went back: the view that is known is written anew, with every
    /// epoch new.
    pub(super) fn heal(&mut self, read: Option<View>, time: OpTime, actions: &mut Vec<Action>) {
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
        self.change(from.as_ref(), to, ViewReason::Anew, actions);
    }

    /// Takes a view that counts: read with majority, or changed with majority.
    pub(super) fn adopt(&mut self, view: View, now: Millis, actions: &mut Vec<Action>) {
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

    pub(super) fn begin_to_serve(&mut self, now: Millis, actions: &mut Vec<Action>) {
        self.send_views(actions);
        self.unpark(now, actions);
    }

    /// Another member took this one out: it comes back under a new id, and its BSs know only the old one.
    pub(super) fn expelled(&mut self, now: Millis, actions: &mut Vec<Action>) {
        self.hub.counters.expelled += 1;
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

    pub(super) fn send_views(&self, actions: &mut Vec<Action>) {
        let Some(view) = &self.member.view else { return };
        let item = view.to_item();
        for (link, entry, _) in self.hub.links.greeted() {
            if !entry.plain {
                actions.push(Action::Send(link, ToBs::View(item.clone())));
            }
        }
    }

    pub(in crate::core) fn send_view(&self, link: LinkId, actions: &mut Vec<Action>) {
        if let Some(view) = &self.member.view {
            actions.push(Action::Send(link, ToBs::View(view.to_item())));
        }
    }
}

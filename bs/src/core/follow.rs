//! Links and the view: the handshake, results, and what follows from a new view or a new link.

use wardlink_defect::{Defect, planted};
use wardlink_view::View;
use wardlink_wire::link::{Hello, Known, LINK_VERSION, ToBs, ToMs};
use wardlink_wire::{CloseCode, MsId, Outcome, Partition, SessionId, ViewNumber};

use super::Core;
use super::api::{Action, LinkId, Millis};

impl Core {
    pub(super) fn link_opened(&mut self, link: LinkId, now: Millis, actions: &mut Vec<Action>) {
        let number = self.up.open(link, now);
        let hello = Hello {
            server_id: self.config.server,
            start: self.config.start,
            link: number,
            version: LINK_VERSION,
            view: self.view.as_ref().map_or(ViewNumber(0), |view| view.number),
            misses: self.misses(),
        };
        actions.push(Action::Send(link, ToMs::Hello(hello)));
    }

    pub(super) fn misses(&self) -> Vec<MsId> {
        let members = self.view.as_ref().map_or(&[][..], |view| &view.members);
        members.iter().filter(|ms| self.up.of_member(**ms).is_none()).copied().collect()
    }

    pub(super) fn say(&self, known: &Known, actions: &mut Vec<Action>) {
        for link in self.up.welcomed() {
            actions.push(Action::Send(link, ToMs::Known(known.clone())));
        }
    }

    pub(super) fn link_closed(&mut self, link: LinkId, actions: &mut Vec<Action>) {
        let Some(closed) = self.up.close(link) else { return };
        self.isolation.link_closed(link);
        if !planted(Defect::NoTakeBackOnLink) {
            self.counters.sent_again += self.up.take_back_from(link) as u64;
        }
        for session in self.sessions.values_mut().filter(|s| s.link == Some(link)) {
            session.registered = false;
            session.link = None;
        }
        if closed.ms.is_some() {
            self.say(&Known { misses: Some(self.misses()), ..Known::default() }, actions);
        }
    }

    pub(super) fn item(
        &mut self,
        link: LinkId,
        item: ToBs,
        now: Millis,
        actions: &mut Vec<Action>,
    ) {
        if self.up.link_mut(link).is_none() {
            return;
        }
        match item {
            ToBs::Welcome(welcome) if welcome.version == 0 => {
                self.counters.closed += 1;
                actions.push(Action::Close(link, CloseCode::Version));
                self.link_closed(link, actions);
            }
            ToBs::Welcome(welcome) => {
                self.ttl_s = welcome.message_ttl;
                if let Some(entry) = self.up.link_mut(link) {
                    entry.credit = welcome.credit as usize;
                    entry.clock = (welcome.clock > 0).then_some((welcome.clock, now));
                }
                self.up.welcome(link, welcome.ms_id);
                self.follow_view(link, now, actions);
                let misses = Known { misses: Some(self.misses()), ..Known::default() };
                self.say(&misses, actions);
                self.look_at_readiness(actions);
            }
            ToBs::View(item) => match View::from_item(&item) {
                Ok(view) => self.view_came(link, view, now, actions),
                Err(_) => {
                    self.counters.closed += 1;
                    actions.push(Action::Close(link, CloseCode::ProtocolError));
                    self.link_closed(link, actions);
                }
            },
            ToBs::Result(result) => {
                let Some(order) = self.up.answered(link, result.seq) else { return };
                let partition = self.up.partition_of(order);
                let fact = matches!(result.outcome, Outcome::Delivered | Outcome::Stored);
                let lower = partition.is_some_and(|p| result.epoch < self.epoch(p));
                if lower && !fact && !planted(Defect::LowerRejectedBelieved) {
                    self.counters.fenced += 1;
                } else if let Some(send) = self.up.settle(order) {
                    self.tell(&send, result.outcome, result.reason, actions);
                }
                self.flush_blocked(link, actions);
            }
            ToBs::Deliver(_) | ToBs::Registered(_) | ToBs::Superseded(_) => {
                self.fence(link, item, now, actions);
            }
            ToBs::Counts(counts) => self.isolation.heard(link, counts, now),
            ToBs::Error(_) => {}
        }
    }

    pub(super) fn view_came(
        &mut self,
        link: LinkId,
        view: View,
        now: Millis,
        actions: &mut Vec<Action>,
    ) {
        if let Some(known) = &self.view {
            if view.number <= known.number && !planted(Defect::LowerViewTaken) {
                return;
            }
            if let Some(epoch) = view.goes_back_from(known)
                && !planted(Defect::LowerViewTaken)
            {
                let said =
                    Known { went_back: Some(epoch), view: Some(known.number), ..Known::default() };
                return actions.push(Action::Send(link, ToMs::Known(said)));
            }
        }
        self.adopt(view, now, actions);
    }

    /// A new view: what is open to ends whose owner is another now is taken back and sent again,
    /// in order, and their sessions are registered there, before it is said that this BS follows.
    pub(super) fn adopt(&mut self, view: View, now: Millis, actions: &mut Vec<Action>) {
        self.counters.views += 1;
        let old = self.view.replace(view);
        let Some(view) = &self.view else { return };
        let changed = |partition: Partition| {
            old.as_ref().is_none_or(|old| {
                let (was, is) = (old.slot(partition), view.slot(partition));
                if planted(Defect::BsKeepsOverAba) { was.owner != is.owner } else { was != is }
            })
        };
        let moved: Vec<Partition> = Partition::all().filter(|p| changed(*p)).collect();
        if !planted(Defect::NoTakeBackOnView) {
            self.counters.sent_again += self.up.take_back(&moved) as u64;
        }
        let mut is_moved = [false; wardlink_wire::PARTITIONS];
        for partition in &moved {
            is_moved[partition.index()] = true;
        }
        let again: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, s)| is_moved[s.partition.index()])
            .map(|(id, _)| *id)
            .collect();
        for session in again {
            if let Some(entry) = self.sessions.get_mut(&session)
                && !planted(Defect::NoRegisterOnView)
            {
                entry.registered = false;
                self.register(session, now, actions);
            }
        }
        for partition in moved {
            self.flush(partition, actions);
        }
        // What was taken back from a link gave its credit to what waits there.
        let welcomed: Vec<LinkId> = self.up.welcomed().collect();
        for link in welcomed {
            self.flush_blocked(link, actions);
        }
        let number = self.view.as_ref().map(|view| view.number);
        let known =
            Known { view: number, synced: number, misses: Some(self.misses()), went_back: None };
        self.say(&known, actions);
        self.look_at_readiness(actions);
        for (link, items) in self.up.unpark() {
            for item in items {
                self.item(link, item, now, actions);
            }
        }
    }

    /// A link was welcomed: what belongs to its MS is registered and sent there.
    pub(super) fn follow_view(&mut self, link: LinkId, now: Millis, actions: &mut Vec<Action>) {
        let Some(view) = &self.view else { return };
        let (number, ms) = (view.number, self.up.link_mut(link).and_then(|l| l.ms));
        let owned: Vec<Partition> =
            Partition::all().filter(|p| ms.is_some() && view.slot(*p).owner == ms).collect();
        let here: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, s)| ms.is_some() && view.slot(s.partition).owner == ms)
            .map(|(id, _)| *id)
            .collect();
        if !planted(Defect::NoRegisterOnLink) {
            for session in here {
                self.register(session, now, actions);
            }
        }
        for partition in owned {
            self.flush(partition, actions);
        }
        let known = Known { view: Some(number), synced: Some(number), ..Known::default() };
        actions.push(Action::Send(link, ToMs::Known(known)));
    }

    pub(super) fn look_at_readiness(&mut self, actions: &mut Vec<Action>) {
        let Some(view) = &self.view else { return };
        let reaches = |ms: &MsId| self.up.of_member(*ms).is_some();
        let all = view.slots.iter().all(|slot| slot.owner.as_ref().is_some_and(reaches));
        if all && !self.ready && self.drain.is_none() {
            self.ready = true;
            actions.push(Action::Ready(true));
        }
    }

    /// Sends what waits for a partition, as far as link and credit go.
    pub(super) fn flush(&mut self, partition: Partition, actions: &mut Vec<Action>) {
        let Some(link) = self.owner_link(partition) else { return };
        let epoch = self.epoch(partition);
        self.up.flush(partition, link, epoch, self.now, actions);
    }

    pub(super) fn flush_blocked(&mut self, link: LinkId, actions: &mut Vec<Action>) {
        while let Some(partition) = self.up.next_blocked(link) {
            self.flush(partition, actions);
        }
    }
}

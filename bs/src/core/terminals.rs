//! Terminals: registering their sessions, showing them messages, taking their sends and acks.

use wardlink_defect::{Defect, planted};
use wardlink_wire::link::{Ack, Deliver, Register, Registered, ToBs, ToMs, Unregister};
use wardlink_wire::terminal::{Down, TerminalError, UpSend};
use wardlink_wire::{CloseCode, Outcome, Reason, SessionId};

use super::Core;
use super::api::{Action, LinkId, Millis};
use super::session::{Seen, Session};
use super::upstream::{Asker, OpenSend};

impl Core {
    pub(super) fn register(&mut self, session: SessionId, now: Millis, actions: &mut Vec<Action>) {
        let Some(entry) = self.sessions.get(&session) else { return };
        let link = self.owner_link(entry.partition);
        let epoch = self.epoch(entry.partition);
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        entry.registered = false;
        entry.link = link;
        entry.asked = Some(now);
        let Some(link) = link else { return };
        let register = Register {
            epoch,
            end: entry.end.clone(),
            session,
            stamp: entry.stamp,
            client: entry.client.clone(),
            n: entry.n,
        };
        actions.push(Action::Send(link, ToMs::Register(register)));
    }

    pub(super) fn welcome(&mut self, session: SessionId, actions: &mut Vec<Action>) {
        let (server, limits) = (self.config.server, self.limits());
        if let Some(entry) = self.sessions.get_mut(&session)
            && !std::mem::replace(&mut entry.welcomed, true)
        {
            let end = entry.end.clone();
            actions.push(Action::Down(session, Down::Welcome { end, session, server, limits }));
        }
    }

    /// What an item of a lower, equal or higher epoch means.
    pub(super) fn fence(
        &mut self,
        link: LinkId,
        item: ToBs,
        now: Millis,
        actions: &mut Vec<Action>,
    ) {
        let (epoch, end) = match &item {
            ToBs::Deliver(d) => (d.epoch, &d.end),
            ToBs::Registered(r) | ToBs::Superseded(r) => (r.epoch, &r.end),
            _ => return,
        };
        let partition = end.partition();
        let known = self.epoch(partition);
        let fenced = epoch < known && !planted(Defect::LowerEpochAcceptedByBs);
        if epoch > known || self.up.has_parked(link, partition) {
            self.counters.parked += 1;
            if !self.up.park(link, partition, item) {
                self.counters.closed += 1;
                actions.push(Action::Close(link, CloseCode::Overloaded));
                self.link_closed(link, actions);
            }
            return;
        }
        if fenced || (self.owner_link(partition) != Some(link) && epoch == known) {
            self.counters.fenced += 1;
            return;
        }
        match item {
            ToBs::Deliver(deliver) => self.deliver(link, deliver, now, actions),
            ToBs::Registered(registered) => self.registered(&registered, actions),
            ToBs::Superseded(superseded) => {
                let Some(_) = self.forget(superseded.session) else { return };
                actions.push(Action::CloseSession(superseded.session, CloseCode::Replaced));
            }
            _ => {}
        }
    }

    pub(super) fn registered(&mut self, registered: &Registered, actions: &mut Vec<Action>) {
        let Some(entry) = self.sessions.get_mut(&registered.session) else { return };
        entry.stamp = Some(registered.stamp);
        entry.registered = true;
        self.welcome(registered.session, actions);
    }

    pub(super) fn deliver(
        &mut self,
        link: LinkId,
        deliver: Deliver,
        now: Millis,
        actions: &mut Vec<Action>,
    ) {
        let clock = self.up.clock(now);
        let Some(entry) = self.sessions.get_mut(&deliver.session) else { return };
        if entry.end != deliver.end {
            return;
        }
        let ack = |expired| {
            ToMs::Ack(Ack {
                epoch: deliver.epoch,
                end: deliver.end.clone(),
                session: deliver.session,
                stamp: deliver.stamp,
                expired,
            })
        };
        let seen = entry.see(&deliver, self.config.seed, &mut self.counters);
        if seen != Seen::New {
            self.counters.repeats += 1;
        }
        match seen {
            Seen::Acked => actions.push(Action::Send(link, ack(false))),
            Seen::Waits if planted(Defect::DuplicateAckedEarly) => {
                actions.push(Action::Send(link, ack(false)))
            }
            Seen::Waits => {}
            Seen::New
                if clock >= deliver.expire_at_ms && !planted(Defect::ExpiryByDatabaseOnly) =>
            {
                self.counters.expired += 1;
                actions.push(Action::Send(link, ack(!planted(Defect::ExpiredAnsweredAsAck))));
            }
            Seen::New => {
                self.counters.shown += 1;
                let message = entry.show(deliver, self.config.seed);
                let session = message.0;
                actions.push(Action::Down(session, Down::Message(message.1)));
            }
        }
    }

    pub(super) fn up_ack(
        &mut self,
        session: SessionId,
        seq: u64,
        now: Millis,
        actions: &mut Vec<Action>,
    ) {
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        let Some(copies) = entry.ack(seq, now, &mut self.counters) else {
            let text = "ack names a message that was not shown".to_owned();
            let error = Down::Error { code: TerminalError::OutOfPlace, text, id: None };
            return actions.push(Action::Down(session, error));
        };
        let (end, partition) = (entry.end.clone(), entry.partition);
        let (epoch, Some(link)) = (self.epoch(partition), self.owner_link(partition)) else {
            return;
        };
        for (of, stamp) in copies {
            if of == epoch {
                let ack = Ack { epoch, end: end.clone(), session, stamp, expired: false };
                actions.push(Action::Send(link, ToMs::Ack(ack)));
            }
        }
    }

    pub(super) fn up_send(
        &mut self,
        session: SessionId,
        send: UpSend,
        now: Millis,
        actions: &mut Vec<Action>,
    ) {
        let (full, too_large) = (self.is_full_for(&send), self.is_too_large(&send));
        let limit = self.config.session_sends;
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        let mut refuse = |id, reason, actions: &mut Vec<Action>| {
            self.results.count(Outcome::Rejected, Some(reason), None);
            let result = Down::Result { id, outcome: Outcome::Rejected, reason: Some(reason) };
            actions.push(Action::Down(session, result));
        };
        if too_large {
            return refuse(send.id, Reason::TooLarge, actions);
        }
        if let Some(order) = entry.open_send(&send.id) {
            // The open one's result answers both, if they are the same.
            if !self.up.is_same(order, &send) {
                refuse(send.id, Reason::IdReused, actions);
            }
            return;
        }
        // Beyond twice the limit that the terminal was told, where the shell stops reading it,
        // nothing honest arrives.
        if full || entry.open_sends() > limit * 2 {
            self.counters.refused += 1;
            return refuse(send.id, Reason::Overloaded, actions);
        }
        let deadline = now + Millis::from(self.config.deadline_ms);
        let partition = send.to.partition();
        let order = self.up.push(OpenSend::new(
            Asker::Session(session),
            entry.end.clone(),
            send.clone(),
            deadline,
            self.us,
        ));
        entry.opened_send(send.id, order);
        self.flush(partition, actions);
    }

    /// Tells the sender, if it is still there.
    pub(super) fn tell(
        &mut self,
        send: &OpenSend,
        outcome: Outcome,
        reason: Option<Reason>,
        actions: &mut Vec<Action>,
    ) {
        let us = self.us.saturating_sub(send.since_us);
        match send.asker {
            Asker::Session(session) => {
                if let Some(entry) = self.sessions.get_mut(&session) {
                    entry.closed_send(&send.id);
                    self.results.count(outcome, reason, Some(us));
                    let result = Down::Result { id: send.id.clone(), outcome, reason };
                    actions.push(Action::Down(session, result));
                }
            }
            Asker::Posts => {
                self.results.count(outcome, reason, Some(us));
                self.posted(send, outcome, reason, actions);
            }
        }
    }

    /// Whether this BS holds as many open sends as it may, or as many bytes with this one.
    pub(super) fn is_full_for(&self, send: &UpSend) -> bool {
        self.up.open_count() >= self.config.open_sends
            || self.up.open_bytes() + send.body.len() > self.config.open_bytes
    }

    pub(super) fn session_closed(&mut self, session: SessionId, actions: &mut Vec<Action>) {
        let Some(entry) = self.forget(session) else { return };
        if let Some(link) = entry.link {
            let epoch = self.epoch(entry.partition);
            let unregister = Unregister { epoch, end: entry.end, session };
            actions.push(Action::Send(link, ToMs::Unregister(unregister)));
        }
    }

    /// A session is over: its sends have nobody to be told, and are not sent again. (Sent later
    /// they could overtake what the terminal has meanwhile sent through another BS.)
    pub(super) fn forget(&mut self, session: SessionId) -> Option<Session> {
        let mut entry = self.sessions.remove(&session)?;
        for order in entry.take_open_sends() {
            self.counters.abandoned += 1;
            self.up.settle(order);
        }
        Some(entry)
    }
}

//! What arrives on links: the handshake, and what an item's epoch means.

use wardlink_defect::{Defect, planted};
use wardlink_wire::link::{
    ErrorCode, ErrorItem, Hello, Known, LINK_VERSION, Register, Send, SendResult, ToBs, ToMs,
    Welcome,
};
use wardlink_wire::{
    CloseCode, EndId, Epoch, Outcome, Partition, Reason, ServerId, SessionId, Stamp, ViewNumber,
};

use super::Core;
use super::api::{Action, LinkId, Millis, PlainItem};
use super::links::Verdict;
use crate::store::OpTime;

/// A view number further ahead of the database's operation time than this cannot be, in seconds.
const AHEAD_S: u64 = 24 * 3600;
/// The year 2100, in Unix seconds.
const ABSURD_S: u64 = 4_102_444_800;
/// What a plain BS's message may take until it is stored, in milliseconds: it has no deadline of its own.
const PLAIN_DEADLINE_MS: u32 = 10_000;

enum Gate {
    Open,
    /// Lower: dropped without an answer.
    Fenced,
    /// Higher: waits for the view.
    Park,
}

impl Core {
    pub(super) fn link_opened(
        &mut self,
        link: LinkId,
        plain: Option<ServerId>,
        now: Millis,
        actions: &mut Vec<Action>,
    ) {
        self.hub.links.open(link, plain, now);
        if plain.is_some() {
            if !self.serving() {
                self.close(link, CloseCode::GoingAway, now, actions);
            } else if !self.member.is_alone() {
                self.close(link, CloseCode::PlainWithSeveral, now, actions);
            }
        }
    }

    pub(super) fn item(
        &mut self,
        link: LinkId,
        item: ToMs,
        now: Millis,
        actions: &mut Vec<Action>,
    ) {
        let Some(entry) = self.hub.links.get(link) else {
            if planted(Defect::DeadLinkHandled) {
                self.dispatch(link, item, now, actions);
            }
            return;
        };
        match (&entry.hello, item) {
            // Who a BS is, is the shell's.
            (_, ToMs::Error(_) | ToMs::Token(_)) => {}
            (None, ToMs::Hello(hello)) => self.hello(link, hello, now, actions),
            (None, _) => self.error(link, "hello must come first", actions),
            (Some(_), ToMs::Hello(_)) => self.error(link, "hello came twice", actions),
            (Some(_), ToMs::Known(known)) => self.known(link, known, now, actions),
            (Some(_), item) => self.dispatch(link, item, now, actions),
        }
    }

    fn error(&self, link: LinkId, text: &str, actions: &mut Vec<Action>) {
        let item =
            ErrorItem { code: ErrorCode::OutOfPlace, text: text.to_owned(), about: String::new() };
        actions.push(Action::Send(link, ToBs::Error(item)));
    }

    fn hello(&mut self, link: LinkId, hello: Hello, now: Millis, actions: &mut Vec<Action>) {
        if hello.version == 0 {
            return self.close(link, CloseCode::Version, now, actions);
        }
        match self.hub.links.greet(link, &hello) {
            Verdict::Refuse => return self.close(link, CloseCode::LinkReplaced, now, actions),
            Verdict::Take(Some(old)) => self.close(old, CloseCode::LinkReplaced, now, actions),
            Verdict::Take(None) => {}
        }
        let welcome = Welcome {
            ms_id: self.member.me(),
            version: LINK_VERSION,
            credit: self.hub.config.credit,
            message_ttl: self.hub.config.message_ttl_s,
            clock: self.hub.clock.latest(now),
        };
        actions.push(Action::Send(link, ToBs::Welcome(welcome)));
        if self.serving() && !planted(Defect::LinkWithoutView) {
            self.send_view(link, actions);
        }
        self.hear_number(link, hello.view, now, actions);
    }

    fn known(&mut self, link: LinkId, known: Known, now: Millis, actions: &mut Vec<Action>) {
        if let Some(hello) = self.hub.links.get_mut(link).and_then(|entry| entry.hello.as_mut()) {
            if let Some(synced) = known.synced {
                hello.synced = hello.synced.max(synced);
            }
            if let Some(misses) = known.misses {
                hello.misses = misses;
            }
        }
        if let Some(epoch) = known.went_back
            && self.hear_number(link, ViewNumber(epoch.0), now, actions)
        {
            self.member.went_back(epoch);
        }
        if let Some(number) = known.view {
            self.hear_number(link, number, now, actions);
        }
    }

    fn hear_number(
        &mut self,
        link: LinkId,
        number: ViewNumber,
        now: Millis,
        actions: &mut Vec<Action>,
    ) -> bool {
        let possible = self.is_possible(number);
        if possible {
            self.member.hear(number);
        } else {
            self.close(link, CloseCode::ImpossibleView, now, actions);
        }
        possible
    }

    /// Whether a view number, or an epoch, can be: it comes from the database's operation time.
    /// Before the first reply of the database only what is absurd by any clock is not.
    pub(super) fn is_possible(&self, number: ViewNumber) -> bool {
        let known = self.hub.after.max(OpTime(self.member.view().map_or(0, |view| view.number.0)));
        match known {
            OpTime(0) => number.0 >> 32 < ABSURD_S,
            OpTime(known) => number.0 >> 32 <= (known >> 32) + AHEAD_S,
        }
    }

    fn gate(&self, partition: Partition, epoch: Epoch) -> Gate {
        let known = self.member.view().map_or(Epoch(0), |view| view.slot(partition).epoch);
        let own = self.parts[partition.index()].as_ref().map(|part| part.epoch());
        if !self.serving() {
            return Gate::Park;
        }
        if planted(Defect::LowerEpochAcceptedByMs) && epoch < known && own.is_some() {
            return Gate::Open;
        }
        if epoch > known {
            return match own {
                Some(_) if planted(Defect::HigherEpochHandled) => Gate::Open,
                _ if planted(Defect::HigherEpochDropped) => Gate::Fenced,
                _ => Gate::Park,
            };
        }
        // Equal, but this MS is not the owner: the peer is confused, and the view will mend it.
        if own == Some(epoch) { Gate::Open } else { Gate::Fenced }
    }

    fn dispatch(&mut self, link: LinkId, item: ToMs, now: Millis, actions: &mut Vec<Action>) {
        let (epoch, end) = match &item {
            ToMs::Register(r) => (r.epoch, &r.end),
            ToMs::Unregister(u) => (u.epoch, &u.end),
            ToMs::Send(s) => (s.epoch, &s.end),
            ToMs::Ack(a) => (a.epoch, &a.end),
            ToMs::Hello(_) | ToMs::Known(_) | ToMs::Error(_) | ToMs::Token(_) => return,
        };
        let stamp = match &item {
            ToMs::Register(register) => register.stamp.unwrap_or_default(),
            ToMs::Ack(ack) => ack.stamp,
            _ => Stamp::default(),
        };
        if !self.is_possible(ViewNumber(stamp.epoch.0)) {
            return self.close(link, CloseCode::ImpossibleView, now, actions);
        }
        let partition = end.partition();
        let max = self.hub.config.ends_max;
        if matches!(item, ToMs::Register(_) | ToMs::Unregister(_))
            && self.hub.links.get_mut(link).is_some_and(|entry| !entry.claim(max))
        {
            return self.close(link, CloseCode::Overloaded, now, actions);
        }
        let waits = self.hub.links.get(link).is_some_and(|l| l.parked.contains_key(&partition));
        match self.gate(partition, epoch) {
            Gate::Open if !waits => self.handle(link, partition, item, now, actions),
            Gate::Fenced if !waits => self.hub.counters.fenced += 1,
            Gate::Open | Gate::Fenced | Gate::Park => {
                // Named like a view number, it is read for until the view is there.
                if !self.hear_number(link, ViewNumber(epoch.0), now, actions) {
                    return;
                }
                self.member.want_view();
                let Some(entry) = self.hub.links.get_mut(link) else { return };
                self.hub.counters.parked += 1;
                if !entry.park(partition, item) {
                    self.close(link, CloseCode::Overloaded, now, actions);
                }
            }
        }
    }

    fn handle(
        &mut self,
        link: LinkId,
        partition: Partition,
        item: ToMs,
        now: Millis,
        actions: &mut Vec<Action>,
    ) {
        let Some(part) = self.parts[partition.index()].as_mut() else { return };
        let hub = &mut self.hub;
        match item {
            ToMs::Register(register) => {
                let end = register.end.clone();
                part.lane(hub, &end, true, now, actions, |lane, env| {
                    lane.register(env, link, register)
                });
            }
            ToMs::Unregister(unregister) => {
                part.lane(hub, &unregister.end, true, now, actions, |lane, env| {
                    lane.unregister(env, link, unregister.session);
                });
            }
            ToMs::Send(send) => {
                let credit = hub.config.credit as usize;
                if let Some(entry) = hub.links.get_mut(link)
                    && !entry.take_send(send.body.len(), credit)
                {
                    let outcome = if send.again { Outcome::Unknown } else { Outcome::Rejected };
                    let reason = Some(Reason::Overloaded);
                    hub.results.count(outcome, reason, None);
                    let result = SendResult { epoch: send.epoch, seq: send.seq, outcome, reason };
                    if !entry.plain {
                        actions.push(Action::Send(link, ToBs::Result(result)));
                    }
                    return;
                }
                let end = send.end.clone();
                part.lane(hub, &end, true, now, actions, |lane, env| lane.send(env, link, send));
            }
            ToMs::Ack(ack) => {
                part.lane(hub, &ack.end, false, now, actions, |lane, env| {
                    lane.ack(env, link, &ack)
                });
            }
            ToMs::Hello(_) | ToMs::Known(_) | ToMs::Error(_) | ToMs::Token(_) => {}
        }
    }

    pub(super) fn plain_item(
        &mut self,
        link: LinkId,
        item: PlainItem,
        now: Millis,
        actions: &mut Vec<Action>,
    ) {
        let Some(entry) = self.hub.links.get_mut(link) else { return };
        entry.heard = now;
        let end = match &item {
            PlainItem::Register(end) | PlainItem::Unregister(end) | PlainItem::Send { end, .. } => {
                end.clone()
            }
        };
        let partition = end.partition();
        let Some(part) = self.parts[partition.index()].as_mut() else {
            // The only member owns all; without a part the view is just changing.
            return self.close(link, CloseCode::GoingAway, now, actions);
        };
        let epoch = part.epoch();
        let session =
            part.peek(&end).and_then(|lane| lane.route()).filter(|route| route.link == link);
        let item = match item {
            PlainItem::Register(_) if session.is_some() => return,
            PlainItem::Register(end) => {
                let session = SessionId(self.member.fresh_id());
                ToMs::Register(Register { epoch, end, session, stamp: None, client: None, n: 0 })
            }
            PlainItem::Unregister(end) => {
                let Some(route) = session else { return };
                let session = route.session;
                ToMs::Unregister(wardlink_wire::link::Unregister { epoch, end, session })
            }
            PlainItem::Send { end, body, id } => ToMs::Send(Send {
                epoch,
                end,
                body,
                from: None,
                id,
                seq: 0,
                deadline_ms: PLAIN_DEADLINE_MS,
                ttl_s: None,
                again: false,
            }),
        };
        self.handle(link, partition, item, now, actions);
    }

    pub(super) fn plain_written(
        &mut self,
        link: LinkId,
        end: EndId,
        stamp: Stamp,
        now: Millis,
        actions: &mut Vec<Action>,
    ) {
        let partition = end.partition();
        let Some(part) = self.parts[partition.index()].as_mut() else { return };
        let epoch = part.epoch();
        let Some(route) = part.peek(&end).and_then(|lane| lane.route()) else { return };
        if route.link == link {
            let session = route.session;
            let ack = wardlink_wire::link::Ack { epoch, end, session, stamp, expired: false };
            self.handle(link, partition, ToMs::Ack(ack), now, actions);
        }
    }
}

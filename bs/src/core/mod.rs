//! The decisions of a BS, without I/O: an event and the time go in, actions come out.
//!
//! Owns `uwMap` (sessions by end), the links to the members of the view, and the open sends.
//! [`api`] is what crosses the border, `upstream` the open sends and the links, `session`
//! what one terminal was shown. [`crate::app`] is the thin shell around it.

pub mod api;
mod isolation;
mod session;
mod upstream;

use std::collections::HashMap;

use wardlink_defect::{Defect, planted};
use wardlink_view::View;
use wardlink_wire::link::{
    Ack, Deliver, Hello, Known, LINK_VERSION, Register, Registered, ToBs, ToMs, Unregister,
};
use wardlink_wire::terminal::{BODY_MAX_BYTES, Down, Limits, TerminalError, Up};
use wardlink_wire::{
    CloseCode, EndId, Epoch, MsId, Outcome, Partition, Reason, ServerId, SessionId, StartId,
    ViewNumber,
};

use self::api::{Action, Counters, Event, LinkId, Millis};
use self::isolation::{Isolation, SPREAD_MS};
use self::session::{Seen, Session};
use self::upstream::{OpenSend, Upstream};

/// [`Event::Tick`] comes at least so often, in milliseconds.
pub const TICK_MS: Millis = 50;
/// Between two pings of a link, in milliseconds.
const PING_MS: Millis = 500;
/// An MS that was silent for so long is counted as missing, in milliseconds: four pings.
const SILENT_MS: Millis = 2_000;
/// A tick that comes later than this says that this process stood still, in milliseconds: no
/// timer is believed then.
const LATE_MS: Millis = 1_000;
/// A register without an answer is repeated after so long, in milliseconds; a terminal is
/// welcomed after so long in any case.
const REGISTER_MS: Millis = 3_000;
/// Between two looks at all sessions, in milliseconds.
const SESSIONS_MS: Millis = 250;

/// What a core is told once.
#[derive(Debug, Clone)]
pub struct Config {
    /// This BS.
    pub server: ServerId,
    /// Random at each start of the process.
    pub start: StartId,
    /// Within so long each send of a live session has a result, in milliseconds.
    pub deadline_ms: u32,
    /// Sends that a session may have open.
    pub session_sends: usize,
    /// Sends that this BS holds at most.
    pub open_sends: usize,
    /// Seeds hash tables.
    pub seed: u64,
}

impl Config {
    /// Defaults for a BS of this identity.
    pub fn new(server: ServerId, start: StartId) -> Self {
        Self { server, start, deadline_ms: 10_000, session_sends: 256, open_sends: 65_536, seed: 0 }
    }
}

/// The core of one BS.
#[derive(Debug)]
pub struct Core {
    config: Config,
    view: Option<View>,
    up: Upstream,
    sessions: HashMap<SessionId, Session, ahash::RandomState>,
    /// Life of a message by the last welcome, in seconds.
    ttl_s: u32,
    isolation: Isolation,
    ready: bool,
    stopping: bool,
    now: Millis,
    ticked: Millis,
    pinged: Millis,
    sessions_at: Millis,
    counters: Counters,
}

impl Core {
    /// A core that has done nothing yet.
    pub fn new(config: Config, now: Millis) -> Self {
        let hasher = ahash::RandomState::with_seeds(config.seed, 1, 2, 3);
        Self {
            up: Upstream::new(config.seed),
            sessions: HashMap::with_hasher(hasher),
            config,
            view: None,
            ttl_s: 600,
            isolation: Isolation::default(),
            ready: false,
            stopping: false,
            now,
            ticked: now,
            pinged: now,
            sessions_at: now,
            counters: Counters::default(),
        }
    }

    /// Takes one event. `now` never goes back.
    pub fn on(&mut self, event: Event, now: Millis, actions: &mut Vec<Action>) {
        self.now = now;
        match event {
            Event::LinkOpened(link) => self.link_opened(link, now, actions),
            Event::Items(link, items) => {
                if let Some(entry) = self.up.link_mut(link) {
                    entry.heard = now;
                }
                for item in items {
                    self.item(link, item, now, actions);
                }
            }
            Event::Heard(link, clock) => {
                if let Some(entry) = self.up.link_mut(link) {
                    entry.heard = now;
                    if let Some(clock) = clock.filter(|clock| *clock > 0) {
                        entry.hear_clock(clock, now);
                    }
                }
            }
            Event::LinkClosed(link) => self.link_closed(link, actions),
            Event::SessionOpened { session, end, client, n, acks } => {
                let entry = Session::new(end, client, n, acks, now);
                self.sessions.insert(session, entry);
                self.register(session, now, actions);
            }
            Event::Up(session, Up::Send(send)) => self.up_send(session, send, now, actions),
            Event::Up(session, Up::Ack { seq }) => self.up_ack(session, seq, now, actions),
            // The shell checks a token before the core hears of the session, and refreshes it itself.
            Event::Up(_, Up::Token(_)) => {}
            Event::Written(session, seq) => {
                if self.sessions.get(&session).is_some_and(|s| !s.acks) {
                    self.up_ack(session, seq, now, actions);
                }
            }
            Event::SessionClosed(session) => self.session_closed(session, actions),
            Event::Tick => self.tick(now, actions),
            Event::Stop => self.stop(actions),
        }
    }

    /// Counters so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The newest view that this BS uses.
    pub fn view(&self) -> Option<&View> {
        self.view.as_ref()
    }

    /// Sessions here.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Sends that a session may have open, as it was told.
    pub fn session_sends(&self) -> usize {
        self.config.session_sends
    }

    /// Sends of one session without a result.
    pub fn open_sends_of(&self, session: SessionId) -> usize {
        self.sessions.get(&session).map_or(0, Session::open_sends)
    }

    /// Sends without a result.
    pub fn open_sends(&self) -> usize {
        self.up.open_count()
    }

    fn limits(&self) -> Limits {
        Limits {
            body_bytes: BODY_MAX_BYTES as u32,
            open_sends: self.config.session_sends as u32,
            ttl_s: self.ttl_s,
            deadline_ms: self.config.deadline_ms,
        }
    }

    fn epoch(&self, partition: Partition) -> Epoch {
        self.view.as_ref().map_or(Epoch(0), |view| view.slot(partition).epoch)
    }

    /// The welcomed link to the owner of a partition.
    fn owner_link(&self, partition: Partition) -> Option<LinkId> {
        self.up.of_member(self.view.as_ref()?.slot(partition).owner?)
    }

    fn tick(&mut self, now: Millis, actions: &mut Vec<Action>) {
        if now.saturating_sub(self.ticked) > LATE_MS {
            for (_, link) in self.up.links_mut() {
                link.heard = now;
            }
            self.isolation.start_anew();
        }
        self.ticked = now;
        if self.pinged + PING_MS <= now {
            self.pinged = now;
            let silent: Vec<LinkId> = self
                .up
                .links_mut()
                .filter(|(_, l)| l.heard + SILENT_MS <= now)
                .map(|(id, _)| id)
                .collect();
            for link in silent {
                self.counters.closed += 1;
                actions.push(Action::Close(link, CloseCode::Silent));
                self.link_closed(link, actions);
            }
            actions.extend(self.up.links_mut().map(|(id, _)| Action::Ping(id)));
        }
        self.look_at_isolation(now, actions);
        for send in self.up.expire(now) {
            self.counters.late += 1;
            let (outcome, reason) = match send.sent {
                true => (Outcome::Unknown, Reason::Deadline),
                false => (Outcome::Rejected, Reason::Unavailable),
            };
            self.tell(&send, outcome, Some(reason), actions);
        }
        if self.sessions_at + SESSIONS_MS <= now {
            self.sessions_at = now;
            self.look_at_sessions(now, actions);
        }
    }

    /// Cut off from what most reach, this BS sends its terminals elsewhere, spread over a while.
    fn look_at_isolation(&mut self, now: Millis, actions: &mut Vec<Action>) {
        match self.isolation.look(&self.misses(), now) {
            Some(true) => {
                if std::mem::take(&mut self.ready) {
                    actions.push(Action::Ready(false));
                }
                let all = self.sessions.len().max(1) as u64;
                for (i, session) in self.sessions.keys().enumerate() {
                    let after_ms = (i as u64 * SPREAD_MS / all) as u32;
                    actions.push(Action::Down(*session, Down::Reconnect { after_ms }));
                }
            }
            Some(false) => self.look_at_readiness(actions),
            None => {}
        }
    }

    fn look_at_sessions(&mut self, now: Millis, actions: &mut Vec<Action>) {
        let again: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, s)| {
                !s.registered && s.asked.is_some_and(|asked| asked + REGISTER_MS <= now)
            })
            .map(|(id, _)| *id)
            .collect();
        if !planted(Defect::RegisterNotRepeated) {
            for session in again {
                self.register(session, now, actions);
            }
        }
        let waited: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, s)| !s.welcomed && s.opened + REGISTER_MS <= now)
            .map(|(id, _)| *id)
            .collect();
        for session in waited {
            self.welcome(session, actions);
        }
    }

    fn stop(&mut self, actions: &mut Vec<Action>) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        actions.push(Action::Ready(false));
        let sessions: Vec<SessionId> = self.sessions.keys().copied().collect();
        for session in sessions {
            self.session_closed(session, actions);
            actions.push(Action::CloseSession(session, CloseCode::GoingAway));
        }
        actions.push(Action::Exit);
    }

    // Links and the view.

    fn link_opened(&mut self, link: LinkId, now: Millis, actions: &mut Vec<Action>) {
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

    fn misses(&self) -> Vec<MsId> {
        let members = self.view.as_ref().map_or(&[][..], |view| &view.members);
        members.iter().filter(|ms| self.up.of_member(**ms).is_none()).copied().collect()
    }

    fn say(&self, known: &Known, actions: &mut Vec<Action>) {
        for link in self.up.welcomed() {
            actions.push(Action::Send(link, ToMs::Known(known.clone())));
        }
    }

    fn link_closed(&mut self, link: LinkId, actions: &mut Vec<Action>) {
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

    fn item(&mut self, link: LinkId, item: ToBs, now: Millis, actions: &mut Vec<Action>) {
        if self.up.link_mut(link).is_none() {
            return;
        }
        match item {
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

    fn view_came(&mut self, link: LinkId, view: View, now: Millis, actions: &mut Vec<Action>) {
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
    fn adopt(&mut self, view: View, now: Millis, actions: &mut Vec<Action>) {
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
    fn follow_view(&mut self, link: LinkId, now: Millis, actions: &mut Vec<Action>) {
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

    fn look_at_readiness(&mut self, actions: &mut Vec<Action>) {
        let Some(view) = &self.view else { return };
        let reaches = |ms: &MsId| self.up.of_member(*ms).is_some();
        let all = view.slots.iter().all(|slot| slot.owner.as_ref().is_some_and(reaches));
        if all && !self.ready && !self.stopping {
            self.ready = true;
            actions.push(Action::Ready(true));
        }
    }

    /// Sends what waits for a partition, as far as link and credit go.
    fn flush(&mut self, partition: Partition, actions: &mut Vec<Action>) {
        let Some(link) = self.owner_link(partition) else { return };
        let epoch = self.epoch(partition);
        self.up.flush(partition, link, epoch, self.now, actions);
    }

    fn flush_blocked(&mut self, link: LinkId, actions: &mut Vec<Action>) {
        while let Some(partition) = self.up.next_blocked(link) {
            self.flush(partition, actions);
        }
    }

    // Sessions.

    fn register(&mut self, session: SessionId, now: Millis, actions: &mut Vec<Action>) {
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

    fn welcome(&mut self, session: SessionId, actions: &mut Vec<Action>) {
        let (server, limits) = (self.config.server, self.limits());
        if let Some(entry) = self.sessions.get_mut(&session)
            && !std::mem::replace(&mut entry.welcomed, true)
        {
            let end = entry.end.clone();
            actions.push(Action::Down(session, Down::Welcome { end, session, server, limits }));
        }
    }

    /// What an item of a lower, equal or higher epoch means.
    fn fence(&mut self, link: LinkId, item: ToBs, now: Millis, actions: &mut Vec<Action>) {
        let (epoch, end) = match &item {
            ToBs::Deliver(d) => (d.epoch, &d.end),
            ToBs::Registered(r) | ToBs::Superseded(r) => (r.epoch, &r.end),
            _ => return,
        };
        let partition = end.partition();
        let known = self.epoch(partition);
        let fenced = epoch < known && !planted(Defect::LowerEpochAcceptedByBs);
        if epoch > known || self.up.has_parked(link, partition) {
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

    fn registered(&mut self, registered: &Registered, actions: &mut Vec<Action>) {
        let Some(entry) = self.sessions.get_mut(&registered.session) else { return };
        entry.stamp = Some(registered.stamp);
        entry.registered = true;
        self.welcome(registered.session, actions);
    }

    fn deliver(&mut self, link: LinkId, deliver: Deliver, now: Millis, actions: &mut Vec<Action>) {
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
        let seen = entry.see(&deliver, self.config.seed);
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
                let message = entry.show(deliver, self.config.seed);
                let session = message.0;
                actions.push(Action::Down(session, Down::Message(message.1)));
            }
        }
    }

    fn up_ack(&mut self, session: SessionId, seq: u64, now: Millis, actions: &mut Vec<Action>) {
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        let Some(copies) = entry.ack(seq, now) else {
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

    fn up_send(
        &mut self,
        session: SessionId,
        send: wardlink_wire::terminal::UpSend,
        now: Millis,
        actions: &mut Vec<Action>,
    ) {
        let full = self.up.open_count() >= self.config.open_sends;
        let limit = self.config.session_sends;
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        let refuse = |id, reason, actions: &mut Vec<Action>| {
            let result = Down::Result { id, outcome: Outcome::Rejected, reason: Some(reason) };
            actions.push(Action::Down(session, result));
        };
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
            return refuse(send.id, Reason::Overloaded, actions);
        }
        let deadline = now + Millis::from(self.config.deadline_ms);
        let partition = send.to.partition();
        let order = self.up.push(OpenSend::new(session, entry.end.clone(), send.clone(), deadline));
        entry.opened_send(send.id, order);
        self.flush(partition, actions);
    }

    /// Tells the sender, if it is still there.
    fn tell(
        &mut self,
        send: &OpenSend,
        outcome: Outcome,
        reason: Option<Reason>,
        actions: &mut Vec<Action>,
    ) {
        if let Some(entry) = self.sessions.get_mut(&send.session) {
            entry.closed_send(&send.id);
            let result = Down::Result { id: send.id.clone(), outcome, reason };
            actions.push(Action::Down(send.session, result));
        }
    }

    fn session_closed(&mut self, session: SessionId, actions: &mut Vec<Action>) {
        let Some(entry) = self.forget(session) else { return };
        if let Some(link) = entry.link {
            let epoch = self.epoch(entry.partition);
            let unregister = Unregister { epoch, end: entry.end, session };
            actions.push(Action::Send(link, ToMs::Unregister(unregister)));
        }
    }

    /// A session is over: its sends have nobody to be told, and are not sent again. (Sent later
    /// they could overtake what the terminal has meanwhile sent through another BS.)
    fn forget(&mut self, session: SessionId) -> Option<Session> {
        let mut entry = self.sessions.remove(&session)?;
        for order in entry.take_open_sends() {
            self.up.settle(order);
        }
        Some(entry)
    }
}

/// Sessions of one BS by end; only for looking.
impl Core {
    /// The sessions of an end here.
    pub fn sessions_of(&self, end: &EndId) -> Vec<SessionId> {
        self.sessions.iter().filter(|(_, s)| s.end == *end).map(|(id, _)| *id).collect()
    }
}

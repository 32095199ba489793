//! The decisions of a BS, without I/O: an event and the time go in, actions come out.
//!
//! Owns `uwMap` (the sessions, each with its end), the links to the members of the view, and the open sends.
//! [`api`] is what crosses the border, `upstream` the open sends and the links, `follow` what a
//! link or a view brings, `terminals` what a terminal does, `session` what one was shown, `drain`
//! how terminals are sent elsewhere, `posts` what comes without a session, `snapshot` what may be
//! looked at. [`crate::app`] is the thin shell around it.

pub mod api;
mod drain;
mod follow;
mod isolation;
mod measure;
mod posts;
mod session;
mod snapshot;
mod terminals;
mod upstream;

use std::collections::HashMap;

use wardlink_defect::{Defect, planted};
use wardlink_view::View;
use wardlink_wire::terminal::{BODY_MAX_BYTES, Down, Limits, Up, UpSend};
use wardlink_wire::{CloseCode, Epoch, Outcome, Partition, Reason, ServerId, SessionId, StartId};

use self::api::{Action, Counters, Event, LinkId, Millis};
use self::drain::Drain;
use self::isolation::{Isolation, SPREAD_MS};
pub use self::measure::{Held, Results};
use self::posts::Posts;
use self::session::Session;
pub use self::snapshot::{Member, Snapshot};
use self::upstream::Upstream;

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
    /// Bytes of bodies that this BS holds at most.
    pub open_bytes: usize,
    /// Largest body that is taken from terminals and callers, in bytes: at most
    /// [`BODY_MAX_BYTES`].
    pub body_max_bytes: usize,
    /// At the stop, terminals are sent elsewhere within so long, in milliseconds.
    pub drain_ms: Millis,
    /// Posts that wait for a result at most.
    pub posts: usize,
    /// Posts of one caller that wait for a result at most.
    pub posts_of_one: usize,
    /// Seeds hash tables.
    pub seed: u64,
}

impl Config {
    /// Defaults for a BS of this identity.
    pub fn new(server: ServerId, start: StartId) -> Self {
        Self {
            server,
            start,
            deadline_ms: 10_000,
            session_sends: 256,
            open_sends: 65_536,
            open_bytes: 64 << 20,
            body_max_bytes: BODY_MAX_BYTES,
            drain_ms: 30_000,
            posts: 4_096,
            posts_of_one: 256,
            seed: 0,
        }
    }
}

/// The core of one BS.
#[derive(Debug)]
pub struct Core {
    config: Config,
    view: Option<View>,
    up: Upstream,
    sessions: HashMap<SessionId, Session, ahash::RandomState>,
    posts: Posts,
    /// Life of a message by the last welcome, in seconds.
    ttl_s: u32,
    isolation: Isolation,
    ready: bool,
    drain: Option<Drain>,
    now: Millis,
    ticked: Millis,
    pinged: Millis,
    sessions_at: Millis,
    counters: Counters,
    /// The clock by which times are measured, in microseconds.
    us: u64,
    results: Results,
}

impl Core {
    /// A core that has done nothing yet.
    pub fn new(config: Config, now: Millis) -> Self {
        let hasher = ahash::RandomState::with_seeds(config.seed, 1, 2, 3);
        Self {
            up: Upstream::new(config.seed),
            sessions: HashMap::with_hasher(hasher),
            posts: Posts::new(config.seed),
            config,
            view: None,
            ttl_s: 600,
            isolation: Isolation::default(),
            ready: false,
            drain: None,
            now,
            ticked: now,
            pinged: now,
            sessions_at: now,
            counters: Counters::default(),
            us: 0,
            results: Results::default(),
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
                if self.drain.is_some() {
                    // It was on its way when this BS stopped accepting.
                    return actions.push(Action::CloseSession(session, CloseCode::GoingAway));
                }
                if self.isolation.found() {
                    let reconnect = Down::Reconnect { after_ms: SPREAD_MS as u32 };
                    actions.push(Action::Down(session, reconnect));
                }
                let entry = Session::new(end, client, n, acks, now);
                self.sessions.insert(session, entry);
                self.register(session, now, actions);
            }
            Event::Up(session, Up::Send(send)) => self.up_send(session, send, now, actions),
            Event::Up(session, Up::Ack { seq }) => self.up_ack(session, seq, now, actions),
            // Identity is the shell's.
            Event::Up(_, Up::Token(_)) => {}
            Event::Written(session, seq) => {
                if self.sessions.get(&session).is_some_and(|s| !s.acks) {
                    self.up_ack(session, seq, now, actions);
                }
            }
            Event::SessionClosed(session) => self.session_closed(session, actions),
            Event::Post { request, caller, from, send } => {
                self.post(request, caller, from, send, now, actions)
            }
            Event::PostGone(request) => self.post_gone(request),
            Event::Tick => self.tick(now, actions),
            Event::Stop => self.stop(now, actions),
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

    /// Posts that wait for a result.
    pub fn posts(&self) -> usize {
        self.posts.waiting()
    }

    fn limits(&self) -> Limits {
        Limits {
            body_bytes: self.config.body_max_bytes as u32,
            open_sends: self.config.session_sends as u32,
            ttl_s: self.ttl_s,
            deadline_ms: self.config.deadline_ms,
        }
    }

    /// Whether a message is larger than this BS takes.
    fn is_too_large(&self, send: &UpSend) -> bool {
        send.body.len() > self.config.body_max_bytes
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
            self.posts.forget_old(now);
            self.look_at_sessions(now, actions);
        }
        self.look_at_drain(now, actions);
    }

    /// Cut off from what most reach, this BS sends its terminals elsewhere, spread over a while.
    fn look_at_isolation(&mut self, now: Millis, actions: &mut Vec<Action>) {
        match self.isolation.look(&self.misses(), now) {
            Some(true) => {
                if std::mem::take(&mut self.ready) {
                    actions.push(Action::Ready(false));
                }
                // Those of a stopping one are on their way already.
                if self.drain.is_none() {
                    self.send_away(SPREAD_MS, actions);
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
}

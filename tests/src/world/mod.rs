//! A world of MSs, BSs, terminals, links and one database, all in memory, around the real
//! decision cores. One number decides everything that happens in it, so that a history in which
//! a promise is broken can be played again.
//!
//! [`run`] plays one history: first with faults, then to a fault-free end, and checks promises
//! P1 to P7 on the way and liveness at the end. `profile` draws what the world is like, `faults`
//! brings trouble, `db` is the database, `store` decides how each operation on it goes, `net`
//! carries items, `servers` drives the cores, `terminal` plays the terminals, `oracle` judges.

/// Writes a step down, where a trace was asked for: who, and what.
macro_rules! say {
    ($world:expr, $who:expr, $what:expr $(,)?) => {
        if $world.trace.on {
            let (who, what): (String, String) = ($who, $what);
            $world.trace.line($world.now, &who, &what);
        }
    };
}

mod cover;
mod db;
mod drive;
mod fair;
mod faults;
mod model;
mod net;
mod oracle;
mod profile;
mod quiet;
mod rng;
mod servers;
mod store;
mod terminal;
#[cfg(test)]
mod tests;
mod themes;
mod times;
mod trace;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rustc_hash::FxHashMap;
use wardlink_ms::core::api::{OpId, StoreReply};
use wardlink_wire::{EndId, Stamp};

pub use self::cover::Cover;
use self::cover::Reached;
use self::db::Db;
use self::faults::Fault;
use self::model::{
    Bs, DownMail, FromTerminal, Link, Message, Ms, Program, Session, ToTerminal, UpMail,
};
use self::profile::Profile;
use self::rng::Rng;
use self::store::Flight;
use self::trace::Trace;

/// Something that will happen.
#[derive(Debug)]
enum Ev {
    MsStart(usize),
    BsStart(usize),
    MsTick(usize, u32),
    BsTick(usize, u32),
    MsResume(usize, u32),
    BsResume(usize, u32),
    Dial(usize, u32, usize),
    LinkAtMs(usize),
    LinkAtBs(usize),
    Up(usize, UpMail),
    Down(usize, DownMail),
    /// The MS's (true) or the BS's side of a link sees that it is gone.
    Gone(usize, bool),
    Apply(usize),
    Expire(usize),
    Reply(usize, u32, OpId, StoreReply),
    FromTerminal(usize, FromTerminal),
    ToTerminal(usize, ToTerminal),
    Written(usize, u64),
    Ack(usize),
    Act(usize),
    Connect(usize),
    Return(usize),
    Fault(Fault),
    TtlPass,
    Deadline(usize, usize),
    /// A message to a session of its end that is connected must be on its way.
    OnItsWay {
        msg: usize,
        from: usize,
        to: usize,
    },
    Quiet,
    Poll,
}

/// A promise that was broken.
#[derive(Debug, Clone)]
pub struct Violation {
    /// The promise: `P1` to `P7`, or `live`.
    pub promise: &'static str,
    /// What was seen.
    pub text: String,
    /// When, in milliseconds since the world began.
    pub at_ms: u64,
}

/// How a history went.
#[derive(Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// What it was about.
    pub theme: String,
    /// The first promise that was broken.
    pub violation: Option<Violation>,
    /// What happened, where a trace was asked for.
    pub lines: Vec<String>,
    /// Follows from everything that happened.
    pub hash: u64,
    /// What it reached.
    pub cover: Cover,
    /// How long it was, in milliseconds of the world.
    pub lasted_ms: u64,
}

/// Plays the history of `seed`. With `trace`, every step is written down.
pub fn run(seed: u64, trace: bool) -> Outcome {
    let mut world = World::new(seed, trace);
    world.begin();
    while world.step() {}
    world.close();
    Outcome {
        seed,
        theme: format!("{:?}", world.profile.theme),
        violation: world.violation,
        lines: world.trace.lines,
        hash: world.trace.hash,
        cover: world.cover,
        lasted_ms: world.now,
    }
}

/// A time, a number that keeps the order of one moment, a slot.
type Entry = Reverse<(u64, u64, u32)>;

struct World {
    now: u64,
    rng: Rng,
    profile: Profile,
    queue: BinaryHeap<Entry>,
    events: Vec<Option<Ev>>,
    free: Vec<u32>,
    sequence: u64,
    db: Db,
    db_down_until: u64,
    flights: Vec<Flight>,
    /// Writes that wait for the next operation on their end.
    held: Vec<usize>,
    /// Which message an owner handed out under which stamp, by end.
    stamps: FxHashMap<(usize, Stamp), usize>,
    /// Who has the route of each end, as its owner said last.
    routes: Vec<Option<oracle::Route>>,
    ends: Vec<EndId>,
    ms: Vec<Ms>,
    bs: Vec<Bs>,
    links: Vec<Link>,
    /// The open (or half-open) link of each BS to each MS, and until when its path is blocked.
    paths: [[Path; 3]; 3],
    programs: Vec<Program>,
    sessions: Vec<Session>,
    messages: Vec<Message>,
    ids: u128,
    hooks_left: u32,
    quiet: bool,
    quiet_since: u64,
    /// When something was last broken that delays messages, and when before that.
    broken: [u64; 2],
    settled: u32,
    /// Documents that wait at the end, and when their number changed.
    waiting: usize,
    moved: u64,
    over: bool,
    violation: Option<Violation>,
    cover: Cover,
    trace: Trace,
    fair: fair::Fair,
}

/// The way from one BS to one MS.
#[derive(Debug, Clone, Copy, Default)]
struct Path {
    link: Option<usize>,
    blocked: u64,
}

impl World {
    fn new(seed: u64, trace: bool) -> Self {
        let mut rng = Rng::new(seed);
        let profile = Profile::draw(&mut rng);
        let ends: Vec<EndId> = (0..profile.ends).map(model::end_id).collect();
        Self {
            now: 0,
            db: Db::new(ends.clone(), profile.ttl_s),
            rng,
            queue: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
            sequence: 0,
            db_down_until: 0,
            flights: Vec::new(),
            held: Vec::new(),
            stamps: FxHashMap::default(),
            routes: vec![None; ends.len()],
            ends,
            ms: Vec::new(),
            bs: Vec::new(),
            links: Vec::new(),
            paths: Default::default(),
            programs: Vec::new(),
            sessions: Vec::new(),
            messages: Vec::new(),
            ids: 0,
            hooks_left: profile.hooks,
            quiet: false,
            quiet_since: 0,
            broken: [0; 2],
            settled: 0,
            waiting: 0,
            moved: 0,
            over: false,
            violation: None,
            cover: Cover::default(),
            trace: Trace { on: trace, ..Trace::default() },
            fair: fair::Fair::default(),
            profile,
        }
    }

    fn at(&mut self, time: u64, event: Ev) {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.events.push(None);
                (self.events.len() - 1) as u32
            }
        };
        self.events[slot as usize] = Some(event);
        self.sequence += 1;
        self.queue.push(Reverse((time.max(self.now), self.sequence, slot)));
    }

    fn after(&mut self, delay: u64, event: Ev) {
        self.at(self.now + delay, event);
    }

    fn fresh_id(&mut self) -> uuid::Uuid {
        self.ids += 1;
        uuid::Uuid::from_u128(self.ids)
    }

    fn hit(&mut self, what: Reached) {
        self.cover.hit(what);
    }

    fn violate(&mut self, promise: &'static str, text: String) {
        if self.violation.is_none() {
            say!(self, "!!!".to_owned(), format!("{promise} broken: {text}"));
            self.violation = Some(Violation { promise, text, at_ms: self.now });
        }
    }

    fn begin(&mut self) {
        if self.trace.on {
            let text = format!("{:?}", self.profile);
            self.trace.line(0, "world", &text);
        }
        self.begin_servers();
        self.begin_terminals();
        self.begin_faults();
        let active = self.profile.active;
        self.at(active, Ev::Quiet);
    }

    /// One event. False when the history is over.
    fn step(&mut self) -> bool {
        if self.violation.is_some() || self.over {
            return false;
        }
        let Some(Reverse((time, _, slot))) = self.queue.pop() else { return false };
        self.now = time;
        let Some(event) = self.events[slot as usize].take() else { return true };
        self.free.push(slot);
        self.trace.mix(time);
        self.happen(event);
        true
    }

    fn happen(&mut self, event: Ev) {
        match event {
            Ev::MsStart(m) => self.ms_start(m),
            Ev::BsStart(b) => self.bs_start(b),
            Ev::MsTick(m, inc) => self.ms_tick(m, inc),
            Ev::BsTick(b, inc) => self.bs_tick(b, inc),
            Ev::MsResume(m, inc) => self.ms_resume(m, inc),
            Ev::BsResume(b, inc) => self.bs_resume(b, inc),
            Ev::Dial(b, inc, m) => self.dial(b, inc, m),
            Ev::LinkAtMs(link) => self.link_at_ms(link),
            Ev::LinkAtBs(link) => self.link_at_bs(link),
            Ev::Up(link, mail) => self.up(link, mail),
            Ev::Down(link, mail) => self.down(link, mail),
            Ev::Gone(link, at_ms) => self.gone(link, at_ms),
            Ev::Apply(flight) => self.apply(flight),
            Ev::Expire(flight) => self.expire(flight),
            Ev::Reply(m, inc, id, reply) => self.store_reply(m, inc, id, reply),
            Ev::FromTerminal(session, what) => self.bs_hears(session, what),
            Ev::ToTerminal(session, what) => self.terminal_hears(session, what),
            Ev::Written(session, seq) => self.written(session, seq),
            Ev::Ack(session) => self.ack(session),
            Ev::Act(program) => self.act(program),
            Ev::Connect(program) => self.connect(program),
            Ev::Return(program) => self.come_again(program),
            Ev::Fault(fault) => self.fault(fault),
            Ev::TtlPass => self.ttl_pass(),
            Ev::Deadline(session, place) => self.check_deadline(session, place),
            Ev::OnItsWay { msg, from, to } => self.check_on_its_way(msg, from, to),
            Ev::Quiet => self.begin_quiet(),
            Ev::Poll => self.poll(),
        }
    }
}

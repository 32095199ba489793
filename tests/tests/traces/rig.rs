//! The rig: real cores of MSs, a played database, and links whose far ends the test plays.
//!
//! Nothing happens by itself. Time passes when [`Rig::pass`] says so, items arrive when the test
//! hands them over. Database operations are applied and answered at once, except those of a kind
//! that is held for an MS: these the test takes and answers as and when it likes.

mod links;

use std::collections::{BTreeMap, VecDeque};

use uuid::Uuid;
use wardlink_ms::core::api::{
    Action, Counters, Event, LinkId, Millis, OpId, Snapshot, StoreOp, StoreReply,
};
use wardlink_ms::core::{Config, Core, TICK_MS};
use wardlink_ms::store::{OpTime, StoreError};
use wardlink_wire::link::ToBs;
use wardlink_wire::{ClientId, CloseCode, EndId, Epoch, MsId, SessionId, Stamp};

pub(crate) use self::links::server;
use crate::database::Database;

/// Operations that follow from one event at most; more is a loop.
const SETTLE_MAX: usize = 20_000;

/// A kind of database operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    ReadView,
    ChangeView,
    Renew,
    ReadRow,
    WriteRow,
    Append,
    ReadMailbox,
    Delete,
    Other,
}

impl Kind {
    fn of(op: &StoreOp) -> Self {
        match op {
            StoreOp::ReadView { .. } => Kind::ReadView,
            StoreOp::ChangeView(_) => Kind::ChangeView,
            StoreOp::Renew(_) => Kind::Renew,
            StoreOp::ReadRow { .. } => Kind::ReadRow,
            StoreOp::WriteRow(_) => Kind::WriteRow,
            StoreOp::Append(_) => Kind::Append,
            StoreOp::ReadMailbox { .. } => Kind::ReadMailbox,
            StoreOp::Delete { .. } => Kind::Delete,
            _ => Kind::Other,
        }
    }
}

/// One MS of the rig.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ms(usize);

/// One link of the rig: the test is the BS at its far end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Link(usize, LinkId);

/// An operation that has begun and has no answer yet.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    ms: Ms,
    id: OpId,
    /// The operation.
    pub(crate) op: StoreOp,
}

/// A terminal's session as a BS registers it.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// Its id.
    pub(crate) id: SessionId,
    /// The stamp of an earlier registration.
    pub(crate) stamp: Option<Stamp>,
    client: Option<ClientId>,
    n: u64,
}

impl Session {
    /// A session of a program that names itself not.
    pub(crate) fn new(number: u128) -> Self {
        Self {
            id: SessionId(Uuid::from_u128(0x5e55 << 64 | number)),
            stamp: None,
            client: None,
            n: 0,
        }
    }

    /// The `n`th connection of one program.
    pub(crate) fn nth(n: u64) -> Self {
        Self { client: Some("tablet".parse().unwrap()), n, ..Self::new(u128::from(n)) }
    }
}

#[derive(Debug)]
struct Node {
    core: Core,
    hold: Vec<Kind>,
    held: Vec<(OpId, StoreOp)>,
    /// It does not run: no ticks.
    paused: bool,
}

#[derive(Debug, Default)]
struct Wire {
    came: Vec<ToBs>,
    seqs: BTreeMap<u64, String>,
    closed: Option<CloseCode>,
    cut: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Rig {
    /// The database.
    pub(crate) db: Database,
    /// The database answers nobody.
    pub(crate) down: bool,
    /// What the MSs that are started from now on are told.
    pub(crate) config: Config,
    now: Millis,
    nodes: Vec<Node>,
    wires: BTreeMap<Link, Wire>,
    ready_ops: VecDeque<(usize, OpId, StoreOp)>,
    links: u64,
}

/// No messages.
pub(crate) const NOTHING: [&str; 0] = [];

/// The end that the messages are for.
pub(crate) fn b() -> EndId {
    "H1-A1-b".parse().unwrap()
}

/// The end that the messages are from.
pub(crate) fn a() -> EndId {
    "H1-A1-a".parse().unwrap()
}

impl Rig {
    /// Nothing but an empty database.
    pub(crate) fn new() -> Self {
        Self { now: 1_000, ..Self::default() }
    }

    /// A rig whose MSs hand out `window_max` messages at a time and spill from the
    /// `queue_spill`th waiting one on.
    pub(crate) fn narrow(window_max: usize, queue_spill: usize) -> Self {
        let config = Config { window_max, queue_spill, ..Config::default() };
        Self { config, ..Self::new() }
    }

    /// Starts an MS; it is in the view and serves. The first one owns everything.
    pub(crate) fn ms(&mut self) -> Ms {
        let seed = self.nodes.len() as u64 * 1_000 + 7;
        let core = Core::new(Config { seed, ..self.config.clone() }, self.now);
        self.nodes.push(Node { core, hold: vec![], held: vec![], paused: false });
        let ms = Ms(self.nodes.len() - 1);
        self.pass(2 * TICK_MS);
        // The members before it meet the new view with their next renewal.
        self.pass(500);
        ms
    }

    /// Two MSs that know each other; the first owns everything.
    pub(crate) fn two(&mut self) -> (Ms, Ms) {
        (self.ms(), self.ms())
    }

    /// The only MS.
    pub(crate) fn only(&self) -> Ms {
        assert_eq!(self.nodes.len(), 1);
        Ms(0)
    }

    /// The id of an MS.
    pub(crate) fn id(&self, ms: Ms) -> MsId {
        self.snapshot(ms).me
    }

    /// What an MS shows of itself.
    pub(crate) fn snapshot(&self, ms: Ms) -> Snapshot {
        self.nodes[ms.0].core.snapshot()
    }

    /// Counters of an MS.
    pub(crate) fn counters(&self, ms: Ms) -> Counters {
        self.nodes[ms.0].core.counters()
    }

    /// The view document makes `ms` the owner of B. Nobody is told. The new epoch.
    pub(crate) fn give(&mut self, ms: Ms) -> Epoch {
        let id = self.id(ms);
        self.db.give(&b(), id)
    }

    /// The newest epoch of B.
    pub(crate) fn epoch(&self) -> Epoch {
        self.db.epoch(&b())
    }

    // The database's answers.

    /// From now on operations of this kind wait for the test.
    pub(crate) fn hold(&mut self, ms: Ms, kind: Kind) {
        self.nodes[ms.0].hold.push(kind);
    }

    /// What is held of this kind is applied and answered, and what comes as well.
    pub(crate) fn release(&mut self, ms: Ms, kind: Kind) {
        self.nodes[ms.0].hold.retain(|held| *held != kind);
        while self.holds(ms, kind) {
            let op = self.held(ms, kind);
            self.answer(op);
        }
    }

    /// Whether an operation of this kind is held.
    pub(crate) fn holds(&self, ms: Ms, kind: Kind) -> bool {
        self.nodes[ms.0].held.iter().any(|(_, op)| Kind::of(op) == kind)
    }

    /// Takes the oldest held operation of this kind.
    pub(crate) fn held(&mut self, ms: Ms, kind: Kind) -> Held {
        let held = &mut self.nodes[ms.0].held;
        let at = held.iter().position(|(_, op)| Kind::of(op) == kind);
        let (id, op) = held.remove(at.unwrap_or_else(|| panic!("no {kind:?} is under way")));
        Held { ms, id, op }
    }

    /// Applies an operation and answers it.
    pub(crate) fn answer(&mut self, held: Held) {
        let reply = self.db.apply(&held.op);
        self.reply(held, reply);
    }

    /// Answers an operation with this.
    pub(crate) fn reply(&mut self, held: Held, reply: StoreReply) {
        self.event(held.ms, Event::Reply(held.id, reply));
    }

    /// Applies an operation; its answer is lost.
    pub(crate) fn lose_answer(&mut self, held: Held) {
        self.db.apply(&held.op);
        self.fail(held, StoreError::Unknown);
    }

    /// There is no answer, or a definite no; nothing is applied (yet).
    pub(crate) fn fail(&mut self, held: Held, error: StoreError) {
        self.reply(held, StoreReply { time: OpTime(0), value: Err(error) });
    }

    // Time.

    /// An MS stands still: time passes without it.
    pub(crate) fn pause(&mut self, ms: Ms, paused: bool) {
        self.nodes[ms.0].paused = paused;
    }

    /// Twice the time until a partition that is new takes an end for away, and a renewal.
    pub(crate) fn settle(&mut self) {
        self.pass(1_500);
    }

    /// Time passes, tick by tick, with pongs on all links.
    pub(crate) fn pass(&mut self, ms: Millis) {
        for _ in 0..ms / TICK_MS {
            self.now += TICK_MS;
            self.db.pass(TICK_MS);
            for i in 0..self.nodes.len() {
                if !self.nodes[i].paused {
                    self.hear(Ms(i));
                    self.tick(Ms(i));
                }
            }
        }
    }

    /// Pongs arrive on all links of an MS.
    pub(crate) fn hear(&mut self, ms: Ms) {
        let open = |link: &Link, wire: &Wire| link.0 == ms.0 && wire.closed.is_none() && !wire.cut;
        let links: Vec<Link> =
            self.wires.iter().filter(|(link, wire)| open(link, wire)).map(|(l, _)| *l).collect();
        for link in links {
            self.event(ms, Event::Heard(link.1));
        }
    }

    /// One tick of one MS.
    pub(crate) fn tick(&mut self, ms: Ms) {
        self.event(ms, Event::Tick);
    }

    /// One event at one MS, and all that follows from it.
    pub(crate) fn event(&mut self, ms: Ms, event: Event) {
        self.one(ms.0, event);
        for _ in 0..SETTLE_MAX {
            let Some((node, id, op)) = self.ready_ops.pop_front() else { return };
            let reply = match self.down {
                true => StoreReply { time: OpTime(0), value: Err(StoreError::Unknown) },
                false => self.db.apply(&op),
            };
            self.one(node, Event::Reply(id, reply));
        }
        panic!("one event leads to database operations without end");
    }

    fn one(&mut self, node: usize, event: Event) {
        let mut actions = Vec::new();
        self.nodes[node].core.on(event, self.now, &mut actions);
        for action in actions {
            match action {
                Action::Send(link, item) => {
                    if let Some(wire) = self.wires.get_mut(&Link(node, link)) {
                        wire.came.push(item);
                    }
                }
                Action::Store(id, op) if self.nodes[node].hold.contains(&Kind::of(&op)) => {
                    self.nodes[node].held.push((id, op));
                }
                Action::Store(id, op) => self.ready_ops.push_back((node, id, op)),
                Action::Close(link, code) => {
                    if let Some(wire) = self.wires.get_mut(&Link(node, link)) {
                        wire.closed = Some(code);
                    }
                }
                Action::SendPlain { .. } | Action::Ping(..) | Action::Ready(_) | Action::Exit => {}
            }
        }
    }
}

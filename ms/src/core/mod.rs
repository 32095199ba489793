//! The decisions of an MS, without I/O: an event and the time go in, actions come out.
//!
//! Owns `swMap`, the lanes of the partitions that this MS owns, and its membership. It has no
//! clock, no randomness and no database of its own: [`crate::app`] is the thin shell that brings
//! events and carries actions out, and the simulated world drives the very same code.
//!
//! [`api`] is what crosses the border, `lane` one end's work, `part` the lanes of a partition,
//! `member` the view (read, entered, renewed, judged, left), `gate` what an item's epoch means.

pub mod api;
mod clock;
mod gate;
mod lane;
mod links;
mod measure;
mod member;
mod part;
mod sweep;

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use wardlink_view::View;
use wardlink_wire::link::ToBs;
use wardlink_wire::{CloseCode, EndId, Epoch, MsId, PARTITIONS, Partition};

use self::api::{
    Action, Counters, Event, Ids, LinkId, Millis, OpId, Snapshot, StoreOp, ViewReason,
};
use self::clock::DbClock;
use self::lane::Effect;
use self::links::Links;
pub use self::measure::{Held, Results};
use self::member::Member;
use self::part::Part;
use self::sweep::Sweep;
use crate::store::{OpTime, ViewKey};

/// [`Event::Tick`] comes at least so often, in milliseconds.
pub const TICK_MS: Millis = 50;
/// Between two looks at all lanes, in milliseconds: how late a deadline may be noticed.
const LANES_MS: Millis = 100;
/// Between two pings of a link, in milliseconds.
const PING_MS: Millis = 500;
/// A link that was silent for so long, or has not said hello, is closed, in milliseconds: ten pings.
const SILENT_MS: Millis = 5_000;
/// A tick that comes later than this says that this process stood still, in milliseconds: no
/// timer is believed then.
const LATE_MS: Millis = 1_000;
/// Between two counts of what each link has here, in milliseconds.
const COUNT_MS: Millis = 1_000;
/// A partition that is new here waits at most so long for the linked BSs, in milliseconds.
const SETTLE_MS: Millis = 1_000;

/// What a core is told once.
#[derive(Debug, Clone)]
pub struct Config {
    /// Life of a message, and the most that a sender may ask for, in seconds.
    pub message_ttl_s: u32,
    /// Sends that a link may have open: as many as a BS holds at all, so that messages to
    /// terminals that do not acknowledge hold up nobody else's. A BS bounds their bytes.
    pub credit: u32,
    /// Routes, registers and unregisters of one link. A BS takes 100,000 terminals: a route each,
    /// and between two counts, which are a second apart, a register for each of two views and one
    /// that is repeated.
    pub ends_max: usize,
    /// While there are more lanes than this, one at rest gives its memory back at once: as many as
    /// two BSs have terminals. Each end that is sent to has a lane, also one that does not exist.
    pub lanes_rest: usize,
    /// Messages that a mailbox may hold.
    pub mailbox_max: usize,
    /// More waiting messages of one end than this go to the mailbox.
    pub queue_spill: usize,
    /// Messages of one end that are handed out and not acked. 256 carry 100,000 a second at 2 ms.
    pub window_max: usize,
    /// Documents of a page of a mailbox, beside those that are in the window.
    pub page_max: usize,
    /// Between two looks at the sessions' rows and mailboxes, in milliseconds.
    pub sweep_ms: Millis,
    /// The store's nature proves that this MS is alone: it takes out whoever is named.
    pub exclusive: bool,
    /// Seeds ids and hash tables.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            message_ttl_s: 600,
            credit: 65_536,
            ends_max: 400_000,
            lanes_rest: 200_000,
            mailbox_max: 10_000,
            queue_spill: 512,
            window_max: 256,
            page_max: 256,
            sweep_ms: 60_000,
            exclusive: false,
            seed: 0,
        }
    }
}

/// Which operation an answer belongs to.
#[derive(Debug)]
enum Pending {
    Lane { partition: Partition, epoch: Epoch, end: EndId },
    ReadView,
    ChangeView { to: View, why: ViewReason },
    Renew { number: u64, timed: bool, begun: Millis, key: ViewKey },
    Touch,
    Quiet,
    RowsOf,
    Other,
}

/// What partitions, membership and sweeps share.
#[derive(Debug)]
struct Hub {
    config: Config,
    clock: DbClock,
    /// Highest operation time of any reply.
    after: OpTime,
    links: Links,
    counters: Counters,
    /// The clock by which times are measured, in microseconds.
    us: u64,
    results: Results,
    effects: Vec<Effect>,
    next_op: u64,
    pending: FxHashMap<OpId, Pending>,
    /// Renewals begun.
    renewals: u64,
    /// Lanes with something durable that waits for a renewal.
    unconfirmed: Vec<(Partition, Epoch, EndId)>,
    /// Lanes that wait for the view to be read.
    need_view: Vec<(Partition, Epoch, EndId)>,
    /// A stamp of a higher epoch than one's own was met in the database.
    anew: Option<(Partition, Epoch)>,
    /// Whether lanes at rest keep what they know of their mailbox for a while.
    may_rest: bool,
}

impl Hub {
    fn begin(&mut self, what: Pending, op: StoreOp, actions: &mut Vec<Action>) {
        self.next_op += 1;
        let id = OpId(self.next_op);
        self.pending.insert(id, what);
        actions.push(Action::Store(id, op));
    }

    /// Carries out what a lane asked for.
    fn run_effects(
        &mut self,
        partition: Partition,
        epoch: Epoch,
        end: &EndId,
        actions: &mut Vec<Action>,
    ) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Op(op) => {
                    self.begin(Pending::Lane { partition, epoch, end: end.clone() }, op, actions);
                }
                Effect::Unconfirmed => self.unconfirmed.push((partition, epoch, end.clone())),
                Effect::NeedView => self.need_view.push((partition, epoch, end.clone())),
                Effect::Anew(higher) => self.anew = Some((partition, higher)),
            }
        }
        self.effects = effects;
    }
}

/// The core of one MS.
#[derive(Debug)]
pub struct Core {
    hub: Hub,
    parts: Vec<Option<Part>>,
    member: Member,
    sweep: Sweep,
    ticked: Millis,
    lanes_at: Millis,
    pinged: Millis,
    counted: Millis,
}

impl Core {
    /// A core that has done nothing yet. Its first tick begins to enter the view.
    pub fn new(config: Config, now: Millis) -> Self {
        let mut ids = Ids::new(config.seed);
        let me = MsId(ids.uuid());
        let links = Links::new(config.seed);
        let hub = Hub {
            config,
            clock: DbClock::default(),
            after: OpTime(0),
            links,
            counters: Counters::default(),
            us: 0,
            results: Results::default(),
            effects: Vec::new(),
            next_op: 0,
            pending: FxHashMap::default(),
            renewals: 0,
            unconfirmed: Vec::new(),
            need_view: Vec::new(),
            anew: None,
            may_rest: true,
        };
        Self {
            hub,
            parts: (0..PARTITIONS).map(|_| None).collect(),
            member: Member::new(me, ids, now),
            sweep: Sweep::new(now),
            ticked: now,
            lanes_at: now,
            pinged: now,
            counted: now,
        }
    }

    /// Takes one event. `now` never goes back.
    pub fn on(&mut self, event: Event, now: Millis, actions: &mut Vec<Action>) {
        match event {
            Event::LinkOpened { link, plain } => self.link_opened(link, plain, now, actions),
            Event::Items(link, items) => {
                if let Some(entry) = self.hub.links.get_mut(link) {
                    entry.heard = now;
                }
                for item in items {
                    self.item(link, item, now, actions);
                }
            }
            Event::Plain(link, items) => {
                for item in items {
                    self.plain_item(link, item, now, actions);
                }
            }
            Event::PlainWritten(link, end, stamp) => {
                self.plain_written(link, end, stamp, now, actions)
            }
            Event::Heard(link) => {
                if let Some(entry) = self.hub.links.get_mut(link) {
                    entry.heard = now;
                }
            }
            Event::LinkClosed(link) => self.link_closed(link, now, actions),
            Event::Reply(id, reply) => {
                self.hub.after = self.hub.after.max(reply.time);
                self.reply(id, reply, now, actions);
            }
            Event::Tick => self.tick(now, actions),
            Event::Stop => self.stop(now),
        }
        self.follow_up(now, actions);
    }

    /// Counters so far.
    pub fn counters(&self) -> Counters {
        self.hub.counters
    }

    /// Whether the database did not answer the last renewal: what must be stored or registered
    /// waits, and is refused at its deadline.
    pub fn is_degraded(&self) -> bool {
        self.member.is_degraded()
    }

    /// What a person or a test may look at.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            me: self.member.me(),
            view: self.member.view().cloned(),
            beats: self.member.beats().to_vec(),
            links: self.hub.links.count() as usize,
            lanes: self.lanes(),
            operations: self.hub.pending.len(),
            open_sends: self.hub.links.depths().0,
            parked: self.hub.links.depths().1,
        }
    }

    fn lanes(&self) -> usize {
        self.parts.iter().flatten().map(Part::len).sum()
    }

    /// Counts the routes and claims of each link.
    fn count_ends(&mut self) {
        let mut ends = FxHashMap::default();
        for part in self.parts.iter().flatten() {
            part.count_ends(&self.hub.links, &mut ends);
        }
        self.hub.links.counted(&ends);
    }

    fn tick(&mut self, now: Millis, actions: &mut Vec<Action>) {
        if now.saturating_sub(self.ticked) > LATE_MS {
            for (_, link) in self.hub.links.iter_mut() {
                link.heard = now;
            }
            self.member.start_timers_anew(now);
        }
        self.ticked = now;
        if self.pinged + PING_MS <= now {
            self.pinged = now;
            self.close_silent(now, actions);
            let clock = self.hub.clock.latest(now);
            for (link, _, _) in self.hub.links.greeted() {
                actions.push(Action::Ping(link, clock));
            }
        }
        if self.counted + COUNT_MS <= now {
            self.counted = now;
            self.count_ends();
            self.send_counts(actions);
        }
        if self.lanes_at + LANES_MS <= now {
            self.lanes_at = now;
            self.hub.may_rest = self.lanes() <= self.hub.config.lanes_rest;
            for part in self.parts.iter_mut().flatten() {
                part.tick(&mut self.hub, self.member.view(), now, actions);
            }
        }
        self.member_tick(now, actions);
        self.sweep_tick(now, actions);
    }

    fn close_silent(&mut self, now: Millis, actions: &mut Vec<Action>) {
        let silent: Vec<LinkId> = self
            .hub
            .links
            .iter_mut()
            .filter(|(_, link)| {
                let greeted = link.hello.is_some() || link.opened + SILENT_MS > now;
                link.heard + SILENT_MS <= now || !greeted
            })
            .map(|(id, _)| id)
            .collect();
        for link in silent {
            self.close(link, CloseCode::Silent, now, actions);
        }
    }

    fn close(&mut self, link: LinkId, code: CloseCode, now: Millis, actions: &mut Vec<Action>) {
        self.hub.counters.closed += 1;
        actions.push(Action::Close(link, code));
        self.link_closed(link, now, actions);
    }

    fn link_closed(&mut self, link: LinkId, now: Millis, actions: &mut Vec<Action>) {
        // Without a hello nothing here can hang on it.
        if self.hub.links.remove(link).is_none_or(|closed| closed.hello.is_none()) {
            return;
        }
        for part in self.parts.iter_mut().flatten() {
            part.each(&mut self.hub, now, actions, |lane, env| lane.link_closed(env, link));
        }
    }

    fn send_counts(&mut self, actions: &mut Vec<Action>) {
        let links: Vec<(MsId, u32)> = self.member.link_counts();
        let counts = wardlink_wire::link::Counts { links };
        for (link, entry, _) in self.hub.links.greeted() {
            if !entry.plain {
                actions.push(Action::Send(link, ToBs::Counts(counts.clone())));
            }
        }
    }

    /// Adopts the slots of a view: lanes of a partition whose epoch changed are forgotten.
    fn take_slots(&mut self, view: &View, now: Millis) {
        let me = self.member.me();
        let sweep_ms = self.hub.config.sweep_ms;
        for partition in Partition::all() {
            let slot = view.slot(partition);
            let part = &mut self.parts[partition.index()];
            let mine = (slot.owner == Some(me)).then_some(slot.epoch);
            if part.as_ref().map(Part::epoch) == mine {
                continue;
            }
            if let (Some(old), Some(epoch)) = (part.as_mut(), mine)
                && wardlink_defect::planted(wardlink_defect::Defect::LaneKeptOverAba)
            {
                old.rename(epoch);
                continue;
            }
            if let Some(old) = part.take() {
                old.dissolve(&mut self.hub.links);
            }
            *part =
                mine.map(|epoch| Part::new(partition, epoch, self.hub.config.seed, now, sweep_ms));
        }
    }

    fn drop_slots(&mut self) {
        for part in &mut self.parts {
            if let Some(old) = part.take() {
                old.dissolve(&mut self.hub.links);
            }
        }
    }

    /// Items that waited for a view, by link, partition by partition.
    fn unpark(&mut self, now: Millis, actions: &mut Vec<Action>) {
        let mut parked = BTreeMap::new();
        for (id, link) in self.hub.links.iter_mut() {
            if !link.parked.is_empty() {
                parked.insert(id, link.unpark());
            }
        }
        for (link, partitions) in parked {
            for item in partitions.into_values().flatten() {
                self.item(link, item, now, actions);
            }
        }
    }
}

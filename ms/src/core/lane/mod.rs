//! One end's work at its owner: registrations and messages, in order, one database operation at
//! a time.
//!
//! Owns the route, what is known of the row, the window (handed out, not acked), the queue
//! (arrived, not handed out) and what waits for a confirmation. A lane lives in one epoch of its
//! partition; when that ends it is dropped whole, and answers to its operations mean nothing.
//!
//! What is handed out, and what is appended, is always the oldest. [`claim`] decides who has the
//! route, [`post`] moves messages, [`mail`] keeps and fetches them, [`due`] says what must be kept or
//! given up, [`held`] is one message.

mod claim;
mod due;
mod held;
mod mail;
mod post;

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use wardlink_defect::{Defect, planted};
use wardlink_wire::link::{SendResult, ToBs};
use wardlink_wire::{ClientId, EndId, Epoch, Outcome, Reason, ServerId, SessionId, Stamp};

use self::claim::Claim;
pub(super) use self::held::Waiter;
use self::held::{Held, Kept};
use super::api::{Action, Counters, LinkId, Millis, StoreOp, StoreValue};
use super::clock::DbClock;
use super::links::Links;
use crate::core::{Config, Held as HeldNow, Results};
use crate::store::{DocKey, OpTime, StoreError};

/// Pause of a lane after a database operation that failed, in milliseconds: a fifth of the time
/// between two renewals.
const RETRY_MS: Millis = 100;

/// A lane at rest for so long gives its working memory back, in milliseconds. Until then it knows
/// how full its mailbox is.
const REST_MS: Millis = 10_000;

/// What a lane works with; borrowed from the core for one call.
pub(super) struct Env<'a> {
    pub(super) now: Millis,
    pub(super) end: &'a EndId,
    pub(super) epoch: Epoch,
    /// Counts the stamps of the partition in this epoch.
    pub(super) count: &'a mut u64,
    pub(super) clock: &'a DbClock,
    pub(super) after: OpTime,
    pub(super) config: &'a Config,
    /// The partition is new and not all linked BSs have registered their sessions yet.
    pub(super) settling: bool,
    /// There are few enough lanes that one at rest may keep its memory for a while.
    pub(super) may_rest: bool,
    /// Renewals begun so far.
    pub(super) renewals: u64,
    pub(super) links: &'a mut Links,
    pub(super) actions: &'a mut Vec<Action>,
    pub(super) effects: &'a mut Vec<Effect>,
    pub(super) counters: &'a mut Counters,
    /// The clock by which times are measured, in microseconds.
    pub(super) us: u64,
    pub(super) results: &'a mut Results,
}

/// What a lane asks of the core.
#[derive(Debug)]
pub(super) enum Effect {
    /// Begin an operation.
    Op(StoreOp),
    /// Something is durable and waits for a confirmation.
    Unconfirmed,
    /// Read the view, then call [`Lane::view_was_read`].
    NeedView,
    /// A stamp of a higher epoch was met: take the partition anew.
    Anew(Epoch),
}

impl Env<'_> {
    fn stamp(&mut self) -> Stamp {
        *self.count += 1;
        Stamp { epoch: self.epoch, count: *self.count }
    }

    pub(super) fn result(&mut self, waiter: Waiter, outcome: Outcome, reason: Option<Reason>) {
        let us = self.us.saturating_sub(waiter.since_us);
        self.results.count(outcome, reason, Some(us));
        if self.links.settle(waiter.link, waiter.bytes) {
            let result = SendResult { epoch: self.epoch, seq: waiter.seq, outcome, reason };
            self.actions.push(Action::Send(waiter.link, ToBs::Result(result)));
        }
    }
}

/// The one link and session that messages of the end go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) link: LinkId,
    pub(super) session: SessionId,
    pub(super) stamp: Stamp,
}

/// What a row says, as far as it was read or written under this epoch.
#[derive(Debug, Clone)]
struct Holder {
    server: ServerId,
    session: SessionId,
    stamp: Stamp,
    client: Option<ClientId>,
    n: u64,
}

#[derive(Debug, Clone)]
enum Known {
    Unread,
    Row(Option<Box<Holder>>),
}

/// The operation in flight.
#[derive(Debug)]
enum Op {
    ReadRow,
    WriteRow {
        holder: Box<Holder>,
        link: LinkId,
    },
    DeleteRow,
    SweepRow,
    RewriteRow,
    Count,
    /// Stamps of the statements, in order.
    Append(Vec<Stamp>),
    Read {
        limit: usize,
        spoiled: bool,
    },
    SweepRead,
    Delete(usize),
}

/// All that a lane needs only while something goes on.
#[derive(Debug, Default)]
struct Work {
    window: VecDeque<Held>,
    window_bytes: usize,
    queue: VecDeque<Held>,
    queue_bytes: usize,
    /// Durable, out of the queue, waiting for a confirmation.
    confirming: VecDeque<Held>,
    /// Documents to be removed: acked or expired.
    gone: Vec<DocKey>,
    claims: VecDeque<Claim>,
    /// Whom the row named before a write whose answer is not there yet: to be told `superseded`.
    displaced: Option<(ServerId, SessionId)>,
    op: Option<Op>,
    /// Messages of the window up to this stamp are to be appended.
    window_must: Option<Stamp>,
    /// Messages of the queue up to this stamp are to be appended.
    queue_must: Option<Stamp>,
    /// How many of each key hash are held: spares a search for every arrival.
    keys: FxHashMap<u64, u16>,
    /// Documents in the mailbox, once counted.
    counted: Option<usize>,
    counted_at: Millis,
    retry_at: Millis,
    await_view: bool,
    sweep_row: bool,
    sweep_mail: bool,
    /// When something last went on.
    touched: Millis,
    /// Planted defect `Cursor` only.
    cursor: Option<Stamp>,
    /// Planted defect `AckDeadlineOutOfOrder` only.
    only: Option<Stamp>,
}

/// One end at its owner, in one epoch.
#[derive(Debug)]
pub(super) struct Lane {
    route: Option<Route>,
    known: Known,
    /// The mailbox holds nothing but what is in the window.
    direct: bool,
    work: Option<Box<Work>>,
}

impl Lane {
    pub(super) fn new() -> Self {
        Self { route: None, known: Known::Unread, direct: false, work: None }
    }

    pub(super) fn route(&self) -> Option<Route> {
        self.route
    }

    fn work(&mut self) -> &mut Work {
        self.work.get_or_insert_default()
    }

    /// Whether there is nothing that a new lane would not have.
    pub(super) fn is_void(&self) -> bool {
        self.route.is_none() && self.work.is_none()
    }

    /// Whether something goes on.
    pub(super) fn is_busy(&self) -> bool {
        self.work.is_some()
    }

    /// Adds its route and its claims to what their links have here.
    pub(super) fn count_ends(&self, links: &Links, ends: &mut FxHashMap<LinkId, usize>) {
        if let Some(route) = self.route {
            *ends.entry(route.link).or_insert(0) += 1;
        }
        for claim in self.work.iter().flat_map(|work| &work.claims) {
            if let Some(link) = claim.link(links) {
                *ends.entry(link).or_insert(0) += 1;
            }
        }
    }

    /// Whether a register of `session` waits or is under way.
    pub(super) fn claims(&self, session: SessionId) -> bool {
        self.work.as_ref().is_some_and(|w| w.claims.iter().any(|c| c.is_register_of(session)))
    }

    /// The answer to the operation in flight.
    pub(super) fn op_done(&mut self, env: &mut Env<'_>, value: Result<StoreValue, StoreError>) {
        let Some(op) = self.work().op.take() else { return };
        if value.is_err() {
            self.work().retry_at = env.now + RETRY_MS;
        }
        match (op, value) {
            (Op::ReadRow, Ok(StoreValue::Row(row))) => self.row_read(row),
            (Op::WriteRow { holder, link }, value) => self.row_written(env, holder, link, value),
            (Op::SweepRow, Ok(StoreValue::Row(row))) => self.row_swept(env, row),
            (Op::Count, Ok(StoreValue::Count(n))) => {
                let now = env.now;
                let work = self.work();
                work.counted = Some(n);
                work.counted_at = now;
            }
            (Op::Append(stamps), value) => self.appended(env, &stamps, value),
            (Op::Read { limit, spoiled }, Ok(StoreValue::Page(page))) => {
                self.page_read(env, page, limit, spoiled);
            }
            (Op::SweepRead, Ok(StoreValue::Page(page))) => self.mail_swept(env, page),

            (Op::Delete(n), Ok(_)) => {
                let work = self.work();
                work.gone.drain(..n);
                work.counted = work.counted.map(|c| c.saturating_sub(n));
            }
            (Op::Delete(n), Err(_)) => self.work().keep_what_came_again(n),
            (Op::SweepRow, Err(_)) => self.work().sweep_row = false,
            // A read that failed is tried again by `pump`, a delete of a row by the sweep.
            _ => {}
        }
        self.pump(env);
    }

    /// A renewal with this number succeeded under the lane's epoch.
    pub(super) fn confirmed(&mut self, env: &mut Env<'_>, renewal: u64) {
        let Some(work) = self.work.as_deref_mut() else { return };
        let confirms = |held: &Held| match held.kept {
            Kept::Durable(since) => since < renewal || planted(Defect::ConfirmBeforeAppend),
            _ => false,
        };
        for held in work.window.iter_mut().filter(|held| confirms(held)) {
            held.kept = Kept::Confirmed;
            for waiter in held.waiters.drain(..) {
                env.result(waiter, Outcome::Stored, None);
            }
        }
        for held in work.queue.iter_mut().filter(|held| confirms(held)) {
            held.kept = Kept::Confirmed;
            for waiter in held.waiters.drain(..) {
                env.result(waiter, Outcome::Stored, None);
            }
        }
        while work.confirming.front().is_some_and(confirms) {
            let Some(mut held) = work.confirming.pop_front() else { break };
            work.forget_key(held.hash);
            for waiter in held.waiters.drain(..) {
                env.result(waiter, Outcome::Stored, None);
            }
        }
        if work.confirming.iter().chain(&work.window).chain(&work.queue).any(Held::is_unconfirmed) {
            env.effects.push(Effect::Unconfirmed);
        }
        self.pump(env);
    }

    /// The view was read after [`Effect::NeedView`], and the epoch is still the same.
    pub(super) fn view_was_read(&mut self, env: &mut Env<'_>) {
        if let Some(work) = self.work.as_deref_mut()
            && work.await_view
        {
            work.await_view = false;
            self.pump(env);
        }
    }

    /// A link is gone: its registers are void, and a route over it ends.
    pub(super) fn link_closed(&mut self, env: &mut Env<'_>, link: LinkId) {
        if let Some(work) = self.work.as_deref_mut() {
            let writing = matches!(work.op, Some(Op::WriteRow { .. }));
            let mut first = true;
            work.claims.retain(|claim| {
                // The head stays while its write is under way: the answer finds its link gone.
                let keep = (first && writing) || !claim.is_on(link);
                first = false;
                keep
            });
        }
        if self.route.is_some_and(|route| route.link == link)
            && !planted(Defect::RouteKeptWithoutLink)
        {
            self.leave();
        }
        self.pump(env);
    }

    /// Looks at the row and the mailbox of a registered end.
    pub(super) fn sweep(&mut self, env: &mut Env<'_>) {
        if self.route.is_none() {
            return;
        }
        let direct = self.direct;
        let work = self.work();
        work.sweep_row = !planted(Defect::NoSweepOfMissingRows);
        work.sweep_mail = direct;
        self.pump(env);
    }

    /// Time passed: deadlines, retries, expiry.
    pub(super) fn tick(&mut self, env: &mut Env<'_>) {
        if self.work.is_none() {
            return;
        }
        self.expire_claims(env);
        self.deadlines(env);
        self.pump(env);
        let (now, drained) = (env.now, self.direct || self.route.is_none());
        let rest = if env.may_rest { REST_MS } else { 0 };
        if self.work.as_ref().is_some_and(|w| drained && w.is_idle() && w.touched + rest < now) {
            self.work = None;
        }
    }

    /// Does all that can be done now: decides what must be appended, hands out, begins the next
    /// operation.
    fn pump(&mut self, env: &mut Env<'_>) {
        if self.work.is_none() && (self.direct || self.route.is_none()) {
            return;
        }
        self.decide_must(env);
        self.hand_out(env);
        let now = env.now;
        let work = self.work();
        if !work.is_idle() {
            work.touched = now;
        }
        if work.op.is_some() || work.retry_at > now {
            return;
        }
        if let Some((op, request)) = self.next_op(env) {
            self.work().op = Some(op);
            env.effects.push(Effect::Op(request));
        }
    }

    fn next_op(&mut self, env: &mut Env<'_>) -> Option<(Op, StoreOp)> {
        self.claim_op(env)
            .or_else(|| self.append_op(env))
            .or_else(|| self.delete_op(env))
            .or_else(|| self.read_op(env))
            .or_else(|| self.sweep_op(env))
    }

    /// Adds what is held here.
    pub(super) fn measure(&self, now: &mut HeldNow) {
        let routed = self.route.is_some();
        now.routes += usize::from(routed);
        now.lanes_behind += usize::from(routed && !self.direct);
        let Some(work) = self.work.as_deref() else { return };
        now.lanes_in_database += usize::from(work.op.is_some());
        now.window += work.window.len();
        now.window_largest = now.window_largest.max(work.window.len());
        now.window_bytes += work.window_bytes;
        now.queue += work.queue.len();
        now.queue_largest = now.queue_largest.max(work.queue.len());
        now.queue_bytes += work.queue_bytes;
        now.confirming += work.confirming.len();
        now.claims += work.claims.len();
        now.gone += work.gone.len();
        now.mailbox_largest = now.mailbox_largest.max(work.counted.unwrap_or(0));
    }

    /// Forgets the lane; its waiters' sends are not open here any more.
    pub(super) fn dissolve(&mut self, links: &mut Links) {
        if let Some(work) = self.work.take() {
            let Work { window, queue, confirming, .. } = *work;
            for waiter in window.iter().chain(&queue).chain(&confirming).flat_map(|h| &h.waiters) {
                links.settle(waiter.link, waiter.bytes);
            }
        }
    }
}

impl Work {
    fn is_idle(&self) -> bool {
        self.window.is_empty()
            && self.queue.is_empty()
            && self.confirming.is_empty()
            && self.gone.is_empty()
            && self.claims.is_empty()
            && self.op.is_none()
            && !self.sweep_row
            && !self.sweep_mail
    }

    fn remember_key(&mut self, hash: u64) {
        *self.keys.entry(hash).or_insert(0) += 1;
    }

    fn forget_key(&mut self, hash: u64) {
        if let Some(count) = self.keys.get_mut(&hash) {
            *count -= 1;
            if *count == 0 {
                self.keys.remove(&hash);
            }
        }
    }

    fn queue_is_to_be_appended(&self) -> bool {
        self.queue.front().is_some_and(|held| Some(held.stamp) <= self.queue_must)
    }
}

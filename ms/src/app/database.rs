//! Carries out the core's operations: those of many lanes in one call of the store, in tasks of
//! their own, bounded in number and time.
//!
//! What waits here is bounded by the core: a lane has one operation at a time. A call is given
//! up after [`GIVE_UP`]; it may still be applied, so its operations are answered `Unknown`. An
//! operation whose call could not even begin in that time is answered `NotDone`.

use std::collections::VecDeque;
use std::iter::repeat_with;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use wardlink_wire::EndId;

use super::input::Input;
use super::metrics::{Metrics, OpKind, OpResult};
use crate::core::api::{OpId, StoreOp, StoreReply, StoreValue};
use crate::store::{OpTime, Reply, Store, StoreError};

/// A call without an answer for so long is given up: half of a send's deadline, so that there is
/// time for the next try.
const GIVE_UP: Duration = Duration::from_secs(5);
/// Operations of one kind in one call. Time grows linearly beyond, latency too.
const BATCH: usize = 500;
/// Mailbox reads in one call: each may bring a page.
const READ_BATCH: usize = 128;
/// Calls of one kind under way. Two overlap their round trips; more only wait inside the database.
const CALLS: usize = 2;

/// Kinds of operations that share calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    ReadRow,
    WriteRow,
    DeleteRow,
    Append,
    Count,
    ReadMailbox,
    Delete,
    /// The view and the servers: a call each.
    Single,
}

const KINDS: [Kind; 8] = [
    Kind::ReadRow,
    Kind::WriteRow,
    Kind::DeleteRow,
    Kind::Append,
    Kind::Count,
    Kind::ReadMailbox,
    Kind::Delete,
    Kind::Single,
];

impl Kind {
    fn of(op: &StoreOp) -> Self {
        match op {
            StoreOp::ReadRow { .. } => Kind::ReadRow,
            StoreOp::WriteRow(_) => Kind::WriteRow,
            StoreOp::DeleteRow { .. } => Kind::DeleteRow,
            StoreOp::Append(_) => Kind::Append,
            StoreOp::Count { .. } => Kind::Count,
            StoreOp::ReadMailbox { .. } => Kind::ReadMailbox,
            StoreOp::Delete { .. } => Kind::Delete,
            _ => Kind::Single,
        }
    }

    fn batch(self) -> usize {
        match self {
            Kind::ReadMailbox => READ_BATCH,
            Kind::Single => 1,
            _ => BATCH,
        }
    }

    /// View read, view change and renewal are one at a time each by the core; servers and rows
    /// of the sweep beside them.
    fn calls(self) -> usize {
        if self == Kind::Single { 8 } else { CALLS }
    }
}

#[derive(Debug)]
struct Line {
    waiting: VecDeque<(OpId, StoreOp, Instant)>,
    calls: Arc<Semaphore>,
}

/// The operations of one engine.
#[derive(Debug)]
pub(super) struct Database {
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    inputs: mpsc::Sender<Input>,
    lines: Vec<Line>,
    /// When the mailbox as a whole was last looked at, and the one look that may be under way.
    sampled: Option<Instant>,
    look: Arc<Semaphore>,
}

type Batch = Vec<(OpId, StoreOp)>;

impl Database {
    pub(super) fn new(
        store: Arc<dyn Store>,
        metrics: Arc<Metrics>,
        inputs: mpsc::Sender<Input>,
    ) -> Self {
        let line = |kind: Kind| Line {
            waiting: VecDeque::new(),
            calls: Arc::new(Semaphore::new(kind.calls())),
        };
        let lines = KINDS.into_iter().map(line).collect();
        let look = Arc::new(Semaphore::new(1));
        Self { store, metrics, inputs, lines, sampled: None, look }
    }

    /// Takes an operation; [`Self::start`] begins it.
    pub(super) fn push(&mut self, id: OpId, op: StoreOp) {
        let line = &mut self.lines[Kind::of(&op) as usize];
        line.waiting.push_back((id, op, Instant::now()));
    }

    /// Begins as many calls as may run.
    pub(super) fn start(&mut self) {
        for kind in KINDS {
            let line = &mut self.lines[kind as usize];
            while !line.waiting.is_empty()
                && let Ok(permit) = line.calls.clone().try_acquire_owned()
            {
                let n = line.waiting.len().min(kind.batch());
                let batch: Batch = line.waiting.drain(..n).map(|(id, op, _)| (id, op)).collect();
                let (store, metrics) = (self.store.clone(), self.metrics.clone());
                tokio::spawn(call(store, metrics, kind, batch, permit, self.inputs.clone()));
            }
        }
    }

    /// Looks at the mailbox as a whole, if the last look is `every` ago and has ended.
    pub(super) fn sample(&mut self, every: Duration, clock_ms: u64) {
        if clock_ms > 0
            && self.sampled.is_none_or(|at| at.elapsed() >= every)
            && let Ok(permit) = self.look.clone().try_acquire_owned()
        {
            self.sampled = Some(Instant::now());
            tokio::spawn(look(self.store.clone(), self.metrics.clone(), clock_ms, permit));
        }
    }

    /// Shows what waits.
    pub(super) fn publish(&self) {
        let waiting: usize = self.lines.iter().map(|line| line.waiting.len()).sum();
        self.metrics.database.waiting.set(waiting as i64);
        let lines = self.lines.iter().zip(KINDS);
        let calls = lines.map(|(line, kind)| kind.calls() - line.calls.available_permits());
        self.metrics.database.under_way.set(calls.sum::<usize>() as i64);
        self.metrics.database.store(&*self.store);
    }

    /// Operations whose call could not begin in time.
    pub(super) fn overdue(&mut self) -> Vec<(OpId, StoreReply)> {
        let mut late = Vec::new();
        for line in &mut self.lines {
            while line.waiting.front().is_some_and(|(_, _, since)| since.elapsed() >= GIVE_UP) {
                let Some((id, op, _)) = line.waiting.pop_front() else { break };
                self.metrics.database.ended(OpKind::of(&op), OpResult::NotBegun, 1);
                late.push((id, failed(StoreError::NotDone)));
            }
        }
        late
    }
}

/// How much the mailboxes hold, by a look that costs the database next to nothing.
async fn look(
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    clock_ms: u64,
    permit: OwnedSemaphorePermit,
) {
    // A look that fails is no news: the operations' results say how the database is.
    if let Ok(Reply { value, .. }) = store.mailbox_size().await {
        let age = value.oldest_ms.map_or(0, |oldest| clock_ms.saturating_sub(oldest));
        metrics.database.mailbox(value.documents, age);
    }
    drop(permit);
}

fn failed(error: StoreError) -> StoreReply {
    StoreReply { time: OpTime(0), value: Err(error) }
}

/// One call: the driver's future runs to its end in a task of its own, whatever becomes of the
/// answer; the permit is free only then.
async fn call(
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    kind: Kind,
    batch: Batch,
    permit: OwnedSemaphorePermit,
    inputs: mpsc::Sender<Input>,
) {
    let Some(op) = batch.first().map(|(_, op)| OpKind::of(op)) else { return };
    let begun = Instant::now();
    let ids: Vec<OpId> = batch.iter().map(|(id, _)| *id).collect();
    let running = tokio::spawn(async move {
        let replies = carry_out(&*store, kind, batch.into_iter().map(|(_, op)| op).collect()).await;
        drop(permit);
        replies
    });
    let replies = match timeout(GIVE_UP, running).await {
        Ok(Ok(replies)) => replies,
        // Timed out, or the call panicked: nobody knows.
        _ => ids.iter().map(|_| failed(StoreError::Unknown)).collect(),
    };
    // Every operation is answered, also if the store had too few answers.
    let replies = replies.into_iter().chain(repeat_with(|| failed(StoreError::Unknown)));
    let answers: Vec<(OpId, StoreReply)> = ids.into_iter().zip(replies).collect();
    metrics.database.called(op, begun.elapsed().as_secs_f64());
    for (_, answer) in &answers {
        let result = match answer.value {
            Ok(_) => OpResult::Done,
            Err(StoreError::NotDone) => OpResult::NotDone,
            Err(StoreError::Unknown) => OpResult::Unknown,
        };
        metrics.database.ended(op, result, 1);
    }
    // The engine is gone only at the end of the process.
    let _ = inputs.send(Input::Replies(answers)).await;
}

/// The same error for each of `n` operations.
fn all_failed(n: usize, error: StoreError) -> Vec<StoreReply> {
    (0..n).map(|_| failed(error)).collect()
}

/// One reply for each of `n` operations out of a reply for all.
fn spread<T>(
    n: usize,
    result: Result<Reply<Vec<T>>, StoreError>,
    value: impl Fn(T) -> Result<StoreValue, StoreError>,
) -> Vec<StoreReply> {
    match result {
        Ok(Reply { value: values, time }) => {
            values.into_iter().map(|v| StoreReply { time, value: value(v) }).collect()
        }
        Err(error) => all_failed(n, error),
    }
}

fn single<T>(
    result: Result<Reply<T>, StoreError>,
    value: impl Fn(T) -> StoreValue,
) -> Vec<StoreReply> {
    vec![match result {
        Ok(reply) => StoreReply { time: reply.time, value: Ok(value(reply.value)) },
        Err(error) => failed(error),
    }]
}

fn done(n: usize, result: Result<Reply<()>, StoreError>) -> Vec<StoreReply> {
    match result {
        Ok(Reply { time, .. }) => {
            (0..n).map(|_| StoreReply { time, value: Ok(StoreValue::Done) }).collect()
        }
        Err(error) => all_failed(n, error),
    }
}

async fn carry_out(store: &dyn Store, kind: Kind, ops: Vec<StoreOp>) -> Vec<StoreReply> {
    let n = ops.len();
    let mut latest = OpTime(0);
    match kind {
        Kind::ReadRow => {
            let ends = ops.into_iter().filter_map(|op| match op {
                StoreOp::ReadRow { end, after } => Some(newest(&mut latest, after, end)),
                _ => None,
            });
            let ends: Vec<EndId> = ends.collect();
            spread(n, store.read_rows(ends, latest).await, |row| Ok(StoreValue::Row(row)))
        }
        Kind::WriteRow => {
            let rows = ops.into_iter().filter_map(|op| match op {
                StoreOp::WriteRow(row) => Some(row),
                _ => None,
            });
            let result = store.write_rows(rows.collect()).await;
            spread(n, result, |written| written.map(StoreValue::Applied))
        }
        Kind::DeleteRow => {
            let rows = ops.into_iter().filter_map(|op| match op {
                StoreOp::DeleteRow { end, server, session } => Some((end, server, session)),
                _ => None,
            });
            done(n, store.delete_rows(rows.collect()).await)
        }
        Kind::Append => {
            let appends = ops.into_iter().filter_map(|op| match op {
                StoreOp::Append(append) => Some(append),
                _ => None,
            });
            let result = store.append(appends.collect()).await;
            spread(n, result, |appended| Ok(StoreValue::Appended(appended)))
        }
        Kind::Count => {
            let ends = ops.into_iter().filter_map(|op| match op {
                StoreOp::Count { end, after } => Some(newest(&mut latest, after, end)),
                _ => None,
            });
            let ends: Vec<EndId> = ends.collect();
            spread(n, store.count(ends, latest).await, |count| Ok(StoreValue::Count(count)))
        }
        Kind::ReadMailbox => {
            let reads = ops.into_iter().filter_map(|op| match op {
                StoreOp::ReadMailbox { read, after } => Some(newest(&mut latest, after, read)),
                _ => None,
            });
            let reads: Vec<_> = reads.collect();
            spread(n, store.read_mailboxes(reads, latest).await, |page| Ok(StoreValue::Page(page)))
        }
        Kind::Delete => {
            let keys = ops.into_iter().filter_map(|op| match op {
                StoreOp::Delete { end, keys } => {
                    Some(keys.into_iter().map(move |key| (end.clone(), key)))
                }
                _ => None,
            });
            done(n, store.delete_documents(keys.flatten().collect()).await)
        }
        Kind::Single => match ops.into_iter().next() {
            Some(op) => one(store, op).await,
            None => Vec::new(),
        },
    }
}

fn newest<T>(latest: &mut OpTime, after: OpTime, value: T) -> T {
    *latest = (*latest).max(after);
    value
}

async fn one(store: &dyn Store, op: StoreOp) -> Vec<StoreReply> {
    match op {
        StoreOp::ReadView { after } => single(store.read_view(after).await, StoreValue::View),
        StoreOp::ChangeView(change) => single(store.change_view(change).await, StoreValue::Applied),
        StoreOp::Renew(renewal) => single(store.renew(renewal).await, StoreValue::Renewed),
        StoreOp::Touch(servers) => done(1, store.touch_servers(servers).await),
        StoreOp::Quiet { quiet_ms, limit, after } => {
            single(store.quiet_servers(quiet_ms, limit, after).await, StoreValue::Servers)
        }
        StoreOp::DeleteRowsOf(server) => done(1, store.delete_rows_of(server).await),
        StoreOp::RowsOf { servers, above, limit, after } => {
            single(store.rows_of(servers, above, limit, after).await, StoreValue::Rows)
        }
        _ => all_failed(1, StoreError::NotDone),
    }
}

//! The one thread that writes: all that waits becomes one transaction with one fsync.
//!
//! Where the disk fails (it is full, or worse) the file is opened anew, which tells what became
//! of the failed transaction, and the callers are answered accordingly: `NotDone` if it is not
//! there. After that one is tried now and then, what only removes before all else; between the
//! attempts jobs are answered `NotDone` at once.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redb::Durability;
use tokio::sync::{mpsc, oneshot};
use wardlink_service::backoff::Backoff;

use super::Shared;
use super::tables::{TIME, Tables};
use crate::store::{OpTime, Reply, StoreError, StoreResult};

/// Jobs that wait. The callers bound how many calls run at once, to far less; beyond, they wait.
const QUEUE: usize = 1_024;
/// Jobs of one transaction: it bounds how long the first one waits for the last one's work.
const BATCH_MAX: usize = 256;
/// Bounds of the time between two attempts while the disk fails. Each failed one costs a read of
/// the whole file; the upper one is half of a send's deadline.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// After so long without a failure the trouble is over: a disk that is nearly full takes one
/// transaction and not the next.
const QUIET: Duration = Duration::from_secs(5);

/// One caller's work in a transaction.
pub(super) trait Job: Send {
    /// Whether it only removes, so that there is more space after it.
    fn removes(&self) -> bool;

    /// Has it carried out; not durable before the transaction is.
    fn work(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::Error>;

    /// Tells the caller what became of the transaction.
    fn finish(self: Box<Self>, result: Result<OpTime, StoreError>);
}

struct Call<T, W, F> {
    removes: bool,
    work: Option<W>,
    value: Option<T>,
    then: F,
    answer: oneshot::Sender<StoreResult<T>>,
}

impl<T, W, F> Job for Call<T, W, F>
where
    T: Send,
    W: FnOnce(&mut Tables<'_>) -> Result<T, redb::Error> + Send,
    F: FnOnce(&T) + Send,
{
    fn removes(&self) -> bool {
        self.removes
    }

    fn work(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        if let Some(work) = self.work.take() {
            self.value = Some(work(tables)?);
        }
        Ok(())
    }

    fn finish(self: Box<Self>, result: Result<OpTime, StoreError>) {
        let Self { value, then, answer, .. } = *self;
        let reply = result.and_then(|time| {
            let value = value.ok_or(StoreError::Unknown)?;
            then(&value);
            Ok(Reply { value, time })
        });
        // Nobody waits any more where the caller was dropped.
        let _ = answer.send(reply);
    }
}

/// Wraps work into a job that answers.
pub(super) fn job<T: Send + 'static>(
    removes: bool,
    work: impl FnOnce(&mut Tables<'_>) -> Result<T, redb::Error> + Send + 'static,
    then: impl FnOnce(&T) + Send + 'static,
    answer: oneshot::Sender<StoreResult<T>>,
) -> Box<dyn Job> {
    Box::new(Call { removes, work: Some(work), value: None, then, answer })
}

/// Handle to the thread. Dropping it waits for what was handed over.
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// `durable`: the time of the last transaction in the file.
    pub(super) fn spawn(shared: Arc<Shared>, durable: OpTime) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new().name("store-writer".into()).spawn(move || {
            Thread { shared: &shared, durable, trouble: None }.run(queue);
        })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Where jobs go in.
    pub(super) fn jobs(&self) -> Option<mpsc::Sender<Box<dyn Job>>> {
        self.jobs.clone()
    }

    /// Jobs that wait.
    pub(super) fn waiting(&self) -> usize {
        self.jobs.as_ref().map_or(0, |jobs| jobs.max_capacity() - jobs.capacity())
    }

    /// Has `work` carried out, and `then` once that is on disk; answers after both. Dropped
    /// half-way, both may happen all the same.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        removes: bool,
        work: impl FnOnce(&mut Tables<'_>) -> Result<T, redb::Error> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> StoreResult<T> {
        let (answer, answered) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(StoreError::NotDone)?;
        jobs.send(job(removes, work, then, answer)).await.map_err(|_| StoreError::NotDone)?;
        // Dropped unanswered: the thread is gone.
        answered.await.unwrap_or(Err(StoreError::Unknown))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported there.
            let _ = thread.join();
        }
    }
}

/// The disk fails, or did so a moment ago.
struct Trouble {
    since: Instant,
    /// The last failure.
    last: Instant,
    /// Before this nothing is tried.
    next: Instant,
    backoff: Backoff,
    /// The file could not be opened again.
    closed: bool,
}

/// The thread's own state.
struct Thread<'a> {
    shared: &'a Shared,
    /// Time of the last transaction that is on disk.
    durable: OpTime,
    trouble: Option<Trouble>,
}

impl Thread<'_> {
    fn run(mut self, mut queue: mpsc::Receiver<Box<dyn Job>>) {
        let mut waiting = Vec::with_capacity(BATCH_MAX);
        while queue.blocking_recv_many(&mut waiting, BATCH_MAX) > 0 {
            let jobs = std::mem::replace(&mut waiting, Vec::with_capacity(BATCH_MAX));
            if self.trouble.is_none() {
                self.write(jobs);
            } else {
                let (removals, others): (Vec<_>, _) =
                    jobs.into_iter().partition(|job| job.removes());
                let reserve = self.shared.disk.reserve();
                if !removals.is_empty() && self.may_try() {
                    reserve.release();
                }
                self.write(removals);
                // Nothing that needs more space is to use it up.
                reserve.make();
                self.write(others);
            }
        }
    }

    /// Carries jobs out as one transaction, and answers them.
    fn write(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        if jobs.is_empty() {
            return;
        }
        let result =
            if self.may_try() { self.attempt(&mut jobs) } else { Err(StoreError::NotDone) };
        for job in jobs {
            job.finish(result);
        }
    }

    fn may_try(&mut self) -> bool {
        match &self.trouble {
            None => true,
            Some(trouble) if Instant::now() < trouble.next => false,
            Some(trouble) => !trouble.closed || self.reopen().is_some(),
        }
    }

    fn attempt(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<OpTime, StoreError> {
        let time = next_time(self.shared);
        // A damaged file may make redb panic; it is opened anew then, too.
        let done = catch_unwind(AssertUnwindSafe(|| transact(self.shared, time, jobs)))
            .unwrap_or_else(|_| Err(Failure { error: None, committing: true }));
        let Failure { error, committing } = match done {
            Ok(()) => {
                self.succeeded(time);
                return Ok(time);
            }
            Err(failure) => failure,
        };
        self.shared.failures.fetch_add(1, Ordering::Relaxed);
        if let (Some(error @ redb::Error::Corrupted(_)), false) = (&error, committing) {
            // Rolled back. The same work would meet the same damage in a file opened anew.
            tracing::error!(%error, "store is damaged");
            return Err(StoreError::NotDone);
        }
        self.failed(error);
        Err(match self.reopen() {
            Some(found) if found < time => StoreError::NotDone,
            None if !committing => StoreError::NotDone,
            // It is whole or not at all: there, though its fsync failed, or nobody knows yet.
            _ => StoreError::Unknown,
        })
    }

    fn succeeded(&mut self, time: OpTime) {
        self.shared.time.store(time.0, Ordering::Release);
        self.durable = time;
        let Some(trouble) = &mut self.trouble else { return };
        trouble.next = Instant::now();
        if trouble.last.elapsed() >= QUIET {
            tracing::info!(after = ?trouble.since.elapsed(), "store is written to again");
            self.shared.degraded.store(false, Ordering::Relaxed);
            self.trouble = None;
        }
    }

    fn failed(&mut self, error: Option<redb::Error>) {
        let now = Instant::now();
        let trouble = self.trouble.get_or_insert_with(|| {
            let error = error.map_or("a panic".to_owned(), |error| error.to_string());
            tracing::warn!(error, "store is degraded, what it cannot take is refused");
            self.shared.degraded.store(true, Ordering::Relaxed);
            let backoff = Backoff::new(RETRY.0, RETRY.1);
            Trouble { since: now, last: now, next: now, backoff, closed: false }
        });
        trouble.last = now;
    }

    /// Opens the file anew, takes over what is in it, and gives the time of its last transaction.
    fn reopen(&mut self) -> Option<OpTime> {
        let opened = self.shared.disk.reopen();
        if let Some(trouble) = &mut self.trouble {
            trouble.next = Instant::now() + trouble.backoff.next_delay();
            trouble.closed = opened.is_err();
        }
        let loaded = match opened {
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::error!(%error, "store cannot be opened again, trying on");
                return None;
            }
        };
        let found = OpTime(loaded.time);
        if found < self.durable {
            tracing::error!("store has lost what its disk had confirmed");
        }
        self.durable = found;
        self.shared.time.fetch_max(found.0, Ordering::AcqRel);
        self.shared.live.follow(loaded.view.as_ref());
        Some(found)
    }
}

struct Failure {
    /// `None`: a panic.
    error: Option<redb::Error>,
    /// The commit had begun.
    committing: bool,
}

impl<E: Into<redb::Error>> From<E> for Failure {
    /// Before the commit: the transaction is rolled back.
    fn from(error: E) -> Self {
        Self { error: Some(error.into()), committing: false }
    }
}

fn transact(shared: &Shared, time: OpTime, jobs: &mut [Box<dyn Job>]) -> Result<(), Failure> {
    let mut transaction = shared.disk.begin_write()?;
    transaction.set_durability(Durability::Immediate).map_err(redb::Error::from)?;
    {
        let mut tables = Tables::open(&transaction)?;
        for job in jobs {
            job.work(&mut tables)?;
        }
        tables.meta.insert(TIME, time.0)?;
    }
    let committed = transaction.commit();
    committed.map_err(|error| Failure { error: Some(error.into()), committing: true })
}

/// Seconds in the upper half, and above all that was given before, whatever the clock says.
fn next_time(shared: &Shared) -> OpTime {
    let seconds = shared.clock.now_ms() / 1_000;
    let last = shared.time().0;
    OpTime((seconds << 32).max(last + 1))
}

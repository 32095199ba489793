//! The one thread that writes: all that waits becomes one transaction with one fsync.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use redb::Durability;
use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::tables::{TIME, Tables};
use crate::store::{OpTime, Reply, StoreError, StoreResult};

/// Jobs that wait. The callers bound how many calls run at once, to far less; beyond, they wait.
const QUEUE: usize = 1_024;
/// Jobs of one transaction: it bounds how long the first one waits for the last one's work.
const BATCH_MAX: usize = 256;

/// Tells one caller what became of the transaction.
type Finish = Box<dyn FnOnce(Result<OpTime, StoreError>) + Send>;
/// One caller's work in a transaction.
pub(super) type Job = Box<dyn FnOnce(&mut Tables<'_>) -> Result<Finish, redb::Error> + Send>;

/// Handle to the thread. Dropping it waits for what was handed over.
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    broken: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn spawn(shared: Arc<Shared>) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let broken = Arc::new(AtomicBool::new(false));
        let flag = broken.clone();
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || run(&shared, queue, &flag))?;
        Ok(Self { jobs: Some(jobs), broken, thread: Some(thread) })
    }

    /// Where jobs go in.
    pub(super) fn jobs(&self) -> Option<mpsc::Sender<Job>> {
        self.jobs.clone()
    }

    /// Jobs that wait.
    pub(super) fn waiting(&self) -> usize {
        self.jobs.as_ref().map_or(0, |jobs| jobs.max_capacity() - jobs.capacity())
    }

    /// Whether the last transaction failed. After a failed commit all further ones do.
    pub(super) fn broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Has `work` carried out, and `then` once that is on disk; answers after both. Dropped
    /// half-way, both may happen all the same.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tables<'_>) -> Result<T, redb::Error> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> StoreResult<T> {
        let (answer, answered) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(StoreError::NotDone)?;
        jobs.send(job(work, then, answer)).await.map_err(|_| StoreError::NotDone)?;
        // Dropped unanswered: behind a failed job, or the thread is gone.
        answered.await.unwrap_or(Err(StoreError::Unknown))
    }
}

/// Wraps work into a job that answers.
pub(super) fn job<T: Send + 'static>(
    work: impl FnOnce(&mut Tables<'_>) -> Result<T, redb::Error> + Send + 'static,
    then: impl FnOnce(&T) + Send + 'static,
    answer: oneshot::Sender<StoreResult<T>>,
) -> Job {
    Box::new(move |tables| {
        let value = match work(tables) {
            Ok(value) => value,
            Err(error) => {
                let _ = answer.send(Err(StoreError::NotDone));
                return Err(error);
            }
        };
        Ok(Box::new(move |result: Result<OpTime, StoreError>| {
            let reply = result.map(|time| {
                then(&value);
                Reply { value, time }
            });
            // Nobody waits any more where the caller was dropped.
            let _ = answer.send(reply);
        }) as Finish)
    })
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

fn run(shared: &Shared, mut queue: mpsc::Receiver<Job>, broken: &AtomicBool) {
    let mut waiting = Vec::with_capacity(BATCH_MAX);
    while queue.blocking_recv_many(&mut waiting, BATCH_MAX) > 0 {
        let mut finishes = Vec::with_capacity(waiting.len());
        let result = transact(shared, &mut waiting, &mut finishes);
        waiting.clear();
        let result = match result {
            Ok(time) => {
                shared.time.store(time.0, Ordering::Release);
                broken.store(false, Ordering::Relaxed);
                Ok(time)
            }
            Err(failure) => {
                tracing::error!(error = %failure.error, "writing the store failed");
                broken.store(true, Ordering::Relaxed);
                Err(failure.means)
            }
        };
        for finish in finishes {
            finish(result);
        }
    }
}

struct Failure {
    error: redb::Error,
    means: StoreError,
}

impl<E: Into<redb::Error>> From<E> for Failure {
    /// Before the commit: the transaction is rolled back.
    fn from(error: E) -> Self {
        Self { error: error.into(), means: StoreError::NotDone }
    }
}

fn transact(
    shared: &Shared,
    jobs: &mut Vec<Job>,
    finishes: &mut Vec<Finish>,
) -> Result<OpTime, Failure> {
    let mut transaction = shared.database.begin_write()?;
    transaction.set_durability(Durability::Immediate).map_err(redb::Error::from)?;
    let time = next_time(shared);
    {
        let mut tables = Tables::open(&transaction)?;
        for job in jobs.drain(..) {
            finishes.push(job(&mut tables)?);
        }
        tables.meta.insert(TIME, time.0)?;
    }
    transaction.commit().map_err(|error| Failure {
        error: error.into(),
        // It is whole or not at all, but nobody knows which.
        means: StoreError::Unknown,
    })?;
    Ok(time)
}

/// Seconds in the upper half, and above all that was given before, whatever the clock says.
fn next_time(shared: &Shared) -> OpTime {
    let seconds = shared.clock.now_ms() / 1_000;
    let last = shared.time().0;
    OpTime((seconds << 32).max(last + 1))
}

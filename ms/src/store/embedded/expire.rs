//! Removes what has outlived its time to live, and writes down when servers were seen.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use redb::ReadableTable;
use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::append::remove;
use super::tables::{EXPIRY, Tables};
use super::writer::{Job, job};
use crate::store::layout::parse_doc_id;

/// How often a pass runs. What expired is not shown meanwhile: reads and owners check by
/// themselves.
const EVERY: Duration = Duration::from_secs(5);
/// Documents of one pass, so that it does not hold up the writer; a full one is followed at once.
const PASS_MAX: usize = 2_000;
/// For how long a server is remembered that nobody touches. As in MongoDB.
const SEEN_MS: u64 = 3_600_000;

/// Handle to the thread. Dropping it stops the thread after a last pass.
pub(super) struct Sweeper {
    /// Never used; its drop is the signal.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sweeper {
    pub(super) fn spawn(
        shared: Arc<Shared>,
        jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    ) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new().name("store-sweeper".into()).spawn(move || {
            if let Some(jobs) = jobs {
                run(&shared, &jobs, &stopped);
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported there.
            let _ = thread.join();
        }
    }
}

fn run(shared: &Arc<Shared>, jobs: &mpsc::Sender<Box<dyn Job>>, stopped: &Receiver<()>) {
    let mut last = false;
    while !last {
        // The last pass writes down when servers were seen.
        last = stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Disconnected);
        while needed(shared) {
            let (answer, answered) = oneshot::channel();
            let with = shared.clone();
            let pass = job(true, move |tables| pass(tables, &with), |_| {}, answer);
            if jobs.blocking_send(pass).is_err() {
                return;
            }
            // A failure was logged by the writer; the next pass tries again.
            match answered.blocking_recv() {
                Ok(Ok(more)) if more.value && !last => {}
                _ => break,
            }
        }
    }
}

fn cutoff(shared: &Shared) -> u64 {
    shared.clock.now_ms().saturating_sub(shared.ttl_ms.load(Ordering::Relaxed))
}

/// Whether a pass would change anything: an idle store is not written to, unless it is to be
/// seen whether it can be.
fn needed(shared: &Shared) -> bool {
    let oldest = || -> Result<Option<u64>, redb::Error> {
        let transaction = shared.disk.begin_read()?;
        let table = transaction.open_table(EXPIRY)?;
        Ok(table.first()?.map(|(key, _)| key.value().0))
    };
    shared.degraded.load(Ordering::Relaxed)
        || shared.live.seen_changed()
        || oldest().is_ok_and(|oldest| oldest.is_some_and(|at| at <= cutoff(shared)))
}

/// One bounded pass. Whether there may be more to remove.
fn pass(tables: &mut Tables<'_>, shared: &Shared) -> Result<bool, redb::Error> {
    let end = (cutoff(shared).saturating_add(1), "");
    let mut expired = Vec::new();
    for entry in tables.expiry.range(..end)?.take(PASS_MAX) {
        let (created, id) = entry.map(|(key, _)| (key.value().0, key.value().1.to_owned()))?;
        expired.push((created, id));
    }
    for (created, id) in &expired {
        if let Some((end, _)) = parse_doc_id(id) {
            remove(tables, end.as_str(), id)?;
        }
        tables.expiry.remove((*created, id.as_str()))?;
    }
    let forget = shared.clock.now_ms().saturating_sub(SEEN_MS);
    if let Some(seen) = shared.live.take_seen(forget) {
        tables.seen.retain(|_, _| false)?;
        for (server, at) in seen {
            tables.seen.insert(server.0.as_u128(), at)?;
        }
    }
    Ok(expired.len() == PASS_MAX)
}

//! The store in one file, for one MS on one machine.
//!
//! `DIR/wardlink.redb` holds the rows, the mailboxes and the view. One thread writes: all that
//! waits becomes one transaction with one fsync, and nobody is answered before that. Renewals and
//! touches of servers stay in memory: the lock on the file proves that this MS is alone, so
//! nobody else could read them, and what follows a restart has a new MS id.

mod append;
mod expire;
mod file;
mod live;
mod read;
mod rows;
mod tables;
mod view;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use redb::ReadTransaction;
use wardlink_view::View;
use wardlink_wire::{EndId, ServerId, SessionId};

use self::expire::Sweeper;
use self::file::Disk;
use self::live::{Clock, Live};
use self::tables::Tables;
use self::writer::Writer;
use super::{
    Append, Appended, Applied, DocKey, MailboxRead, MailboxSize, OpTime, Page, PrepareError,
    Renewal, Renewed, Reply, Row, Store, StoreError, StoreResult, ViewChange,
};

/// [`Store`] in a file. Dropping it waits for what was handed to the writer, then gives the lock
/// back.
pub struct EmbeddedStore {
    // Fields are dropped in this order: the sweeper hands jobs to the writer.
    _sweeper: Sweeper,
    writer: Writer,
    shared: Arc<Shared>,
    dir: PathBuf,
}

/// What the threads and the calls have in common.
struct Shared {
    disk: Disk,
    clock: Clock,
    /// The last operation time that is on disk.
    time: AtomicU64,
    live: Live,
    /// Time to live of a message, in milliseconds.
    ttl_ms: AtomicU64,
    /// Transactions that failed.
    failures: AtomicU64,
    /// The last one failed, or one did so a moment ago.
    degraded: AtomicBool,
}

impl Shared {
    fn time(&self) -> OpTime {
        OpTime(self.time.load(Ordering::Acquire))
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl EmbeddedStore {
    /// Opens the store in `dir`, which is made if it is not there. `message_ttl_s` is the time to
    /// live of stored messages, in seconds. Blocks: after a crash the whole file is checked.
    ///
    /// # Errors
    /// The directory cannot be used, another process has the store open, the disk is full (then a
    /// later attempt may succeed), or the file is damaged. The text names the directory.
    pub fn open(dir: impl AsRef<Path>, message_ttl_s: u32) -> Result<Self, PrepareError> {
        let dir = dir.as_ref().to_owned();
        let (disk, loaded) = Disk::open(&dir)?;
        let clock = Clock::not_before((loaded.time >> 32) * 1_000);
        // A folder that is new begins above what one that is gone has given: by the clock.
        let time = loaded.time.max((clock.now_ms() / 1_000) << 32);
        let shared = Arc::new(Shared {
            disk,
            clock,
            time: AtomicU64::new(time),
            live: Live::new(loaded.view.as_ref(), loaded.seen),
            ttl_ms: AtomicU64::new(u64::from(message_ttl_s) * 1_000),
            failures: AtomicU64::new(0),
            degraded: AtomicBool::new(false),
        });
        let failed = |error: std::io::Error| PrepareError {
            text: format!("store directory {}: no thread: {error}", dir.display()),
            retry: false,
        };
        let writer = Writer::spawn(shared.clone(), OpTime(loaded.time)).map_err(failed)?;
        let sweeper = Sweeper::spawn(shared.clone(), writer.jobs()).map_err(failed)?;
        Ok(Self { _sweeper: sweeper, writer, shared, dir })
    }

    /// Has the writer carry out `work`; answers when it is on disk.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tables<'_>) -> Result<T, redb::Error> + Send + 'static,
    ) -> StoreResult<T> {
        self.writer.write(false, work, |_| {}).await
    }

    /// The same for work that only removes: it goes first where the disk is full.
    async fn remove(
        &self,
        work: impl FnOnce(&mut Tables<'_>) -> Result<(), redb::Error> + Send + 'static,
    ) -> StoreResult<()> {
        self.writer.write(true, work, |()| {}).await
    }

    /// Reads a state that has all that was answered before this call.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error> + Send + 'static,
    ) -> StoreResult<T> {
        let shared = self.shared.clone();
        let read = tokio::task::spawn_blocking(move || {
            let time = shared.time();
            let transaction = shared.disk.begin_read()?;
            Ok::<_, redb::Error>(Reply { value: work(&transaction)?, time })
        });
        match read.await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => {
                tracing::warn!(error = %error, "reading the store failed");
                Err(StoreError::NotDone)
            }
            Err(_) => Err(StoreError::NotDone),
        }
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    fn exclusive(&self) -> bool {
        true
    }

    async fn prepare(&self, _ensure: bool, message_ttl_s: u32) -> Result<(), PrepareError> {
        self.shared.ttl_ms.store(u64::from(message_ttl_s) * 1_000, Ordering::Relaxed);
        Ok(())
    }

    async fn read_view(&self, _after: OpTime) -> StoreResult<Option<View>> {
        self.read(view::find).await
    }

    async fn change_view(&self, change: ViewChange) -> StoreResult<Applied> {
        let shared = self.shared.clone();
        let after = change.clone();
        self.writer
            .write(
                false,
                move |tables| view::change(tables, &change),
                move |applied| {
                    if *applied == Applied::Yes {
                        shared.live.change(&after);
                    }
                },
            )
            .await
    }

    async fn renew(&self, renewal: Renewal) -> StoreResult<Option<Renewed>> {
        let clock_ms = self.shared.clock.now_ms();
        let beats = self.shared.live.renew(&renewal);
        let value = beats.map(|beats| Renewed { beats, clock_ms });
        Ok(Reply { value, time: self.shared.time() })
    }

    async fn read_rows(&self, ends: Vec<EndId>, _after: OpTime) -> StoreResult<Vec<Option<Row>>> {
        self.read(move |transaction| read::rows(transaction, &ends)).await
    }

    async fn write_rows(
        &self,
        rows: Vec<Row>,
    ) -> Result<Reply<Vec<Result<Applied, StoreError>>>, StoreError> {
        self.write(move |tables| rows::write(tables, &rows)).await
    }

    async fn delete_rows(&self, rows: Vec<(EndId, ServerId, SessionId)>) -> StoreResult<()> {
        self.remove(move |tables| rows::delete(tables, &rows)).await
    }

    async fn append(&self, appends: Vec<Append>) -> Result<Reply<Vec<Appended>>, StoreError> {
        self.write(move |tables| append::append(tables, &appends)).await
    }

    async fn count(&self, ends: Vec<EndId>, _after: OpTime) -> StoreResult<Vec<usize>> {
        self.read(move |transaction| read::count(transaction, &ends)).await
    }

    async fn read_mailboxes(
        &self,
        reads: Vec<MailboxRead>,
        _after: OpTime,
    ) -> StoreResult<Vec<Page>> {
        self.read(move |transaction| read::pages(transaction, &reads)).await
    }

    async fn delete_documents(&self, keys: Vec<(EndId, DocKey)>) -> StoreResult<()> {
        self.remove(move |tables| append::delete(tables, &keys)).await
    }

    async fn touch_servers(&self, servers: Vec<ServerId>) -> StoreResult<()> {
        self.shared.live.touch(&servers, self.shared.clock.now_ms());
        Ok(Reply { value: (), time: self.shared.time() })
    }

    async fn quiet_servers(
        &self,
        quiet_ms: u64,
        limit: usize,
        _after: OpTime,
    ) -> StoreResult<Vec<ServerId>> {
        let cutoff = self.shared.clock.now_ms().saturating_sub(quiet_ms);
        let mut servers = self.read(read::servers).await?;
        servers.value.retain(|server| self.shared.live.seen(*server).is_none_or(|at| at <= cutoff));
        servers.value.truncate(limit);
        Ok(servers)
    }

    async fn rows_of(
        &self,
        servers: Vec<ServerId>,
        above: Option<EndId>,
        limit: usize,
        _after: OpTime,
    ) -> StoreResult<Vec<Row>> {
        self.read(move |transaction| read::rows_of(transaction, &servers, above.as_ref(), limit))
            .await
    }

    async fn delete_rows_of(&self, server: ServerId) -> StoreResult<()> {
        self.remove(move |tables| rows::delete_of(tables, server)).await
    }

    async fn mailbox_size(&self) -> StoreResult<MailboxSize> {
        self.read(read::mailbox_size).await
    }

    fn jobs(&self) -> usize {
        self.writer.waiting()
    }

    fn write_failures(&self) -> u64 {
        self.shared.failures.load(Ordering::Relaxed)
    }

    fn degraded(&self) -> bool {
        self.shared.degraded.load(Ordering::Relaxed)
    }
}

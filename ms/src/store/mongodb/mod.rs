//! The store on a MongoDB replica set (6.0 or later). The only module that names the driver.
//!
//! Each call is one command (a few where a batch must be cut), sent by `call` with majority
//! concern and a bounded time, and never repeated here: what an unanswered write means is for
//! those who decide. Names of fields are those of the older deployments, spelling included.

mod call;
mod connect;
mod delete;
mod indexes;
mod mailbox;
mod names;
mod page;
mod rows;
mod servers;
mod values;
mod view;

use std::fmt;
use std::sync::atomic::AtomicU64;

use ::mongodb::Database;
use async_trait::async_trait;
use wardlink_view::View;
use wardlink_wire::{EndId, ServerId, SessionId};

pub use self::names::{Names, parse_collection, parse_database};
use super::{
    Append, Appended, Applied, DocKey, MailboxRead, MailboxSize, OpTime, Page, PrepareError,
    Renewal, Renewed, Reply, Row, Store, StoreError, StoreResult, ViewChange,
};

/// [`Store`] on MongoDB. Cheap to share; its connections close when the last user drops it.
pub struct MongoStore {
    database: Database,
    names: Names,
    /// When a failed call was last logged as a warning, in milliseconds since `epoch`.
    warned_ms: AtomicU64,
    epoch: std::time::Instant,
}

impl fmt::Debug for MongoStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's own Debug would show the options, and with them credentials.
        f.debug_struct("MongoStore")
            .field("database", &self.database.name())
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for MongoStore {
    fn exclusive(&self) -> bool {
        false
    }

    async fn prepare(&self, ensure: bool, message_ttl_s: u32) -> Result<(), PrepareError> {
        self.prepare_indexes(ensure, message_ttl_s).await
    }

    async fn read_view(&self, after: OpTime) -> StoreResult<Option<View>> {
        self.find_view(after).await
    }

    async fn change_view(&self, change: ViewChange) -> StoreResult<Applied> {
        self.set_view(change).await
    }

    async fn renew(&self, renewal: Renewal) -> StoreResult<Option<Renewed>> {
        self.set_beat(renewal).await
    }

    async fn read_rows(&self, ends: Vec<EndId>, after: OpTime) -> StoreResult<Vec<Option<Row>>> {
        self.find_rows(ends, after).await
    }

    async fn write_rows(
        &self,
        rows: Vec<Row>,
    ) -> Result<Reply<Vec<Result<Applied, StoreError>>>, StoreError> {
        self.upsert_rows(rows).await
    }

    async fn delete_rows(&self, rows: Vec<(EndId, ServerId, SessionId)>) -> StoreResult<()> {
        self.remove_rows(rows).await
    }

    async fn append(&self, appends: Vec<Append>) -> Result<Reply<Vec<Appended>>, StoreError> {
        self.append_all(appends).await
    }

    async fn count(&self, ends: Vec<EndId>, after: OpTime) -> StoreResult<Vec<usize>> {
        self.count_mailboxes(ends, after).await
    }

    async fn read_mailboxes(
        &self,
        reads: Vec<MailboxRead>,
        after: OpTime,
    ) -> StoreResult<Vec<Page>> {
        self.pages(reads, after).await
    }

    async fn delete_documents(&self, keys: Vec<(EndId, DocKey)>) -> StoreResult<()> {
        self.remove_documents(keys).await
    }

    async fn touch_servers(&self, servers: Vec<ServerId>) -> StoreResult<()> {
        self.set_seen(servers).await
    }

    async fn quiet_servers(
        &self,
        quiet_ms: u64,
        limit: usize,
        after: OpTime,
    ) -> StoreResult<Vec<ServerId>> {
        self.find_quiet(quiet_ms, limit, after).await
    }

    async fn rows_of(
        &self,
        servers: Vec<ServerId>,
        above: Option<EndId>,
        limit: usize,
        after: OpTime,
    ) -> StoreResult<Vec<Row>> {
        self.find_rows_of(servers, above, limit, after).await
    }

    async fn delete_rows_of(&self, server: ServerId) -> StoreResult<()> {
        self.remove_rows_of(server).await
    }

    async fn mailbox_size(&self) -> StoreResult<MailboxSize> {
        self.measure_mailboxes().await
    }
}

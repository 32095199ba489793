//! What an MS keeps in its database: the view, the registry, the mailbox, the servers.
//!
//! Owns the [`Store`] trait and the data that crosses it. Two implementations keep the same
//! promises and pass the same suite: `mongodb` (only that module names the driver) and
//! `embedded` (one file, one MS). Nothing here decides anything: what is read or written when,
//! and what an answer means, is for `crate::core`.

pub mod embedded;
pub mod layout;
pub mod mongodb;

mod uri;

pub use uri::StoreUri;

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;
pub use wardlink_view::Beat;
use wardlink_view::View;
use wardlink_wire::{ClientId, EndId, MessageId, MsId, ServerId, SessionId, Stamp, ViewNumber};

/// The database's operation time: seconds in the upper half, an increment in the lower one. It
/// grows with every write, and each reply carries it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpTime(pub u64);

/// An answer, and the operation time that came with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply<T> {
    /// The answer.
    pub value: T,
    /// Operation time of the reply.
    pub time: OpTime,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Nothing was sent, or the database said that nothing was applied: a definite no, and
    /// another attempt may succeed.
    #[error("database did not take the operation")]
    NotDone,
    /// A time-out, a network error, or a write concern that was not met: it may have been
    /// applied, or may be later. Never "no".
    #[error("nobody knows whether the operation was applied")]
    Unknown,
}

/// Result of one call.
pub type StoreResult<T> = Result<Reply<T>, StoreError>;

/// A view's identity: its number and its random id. A compare-and-set names both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ViewKey {
    /// Number of the view.
    pub number: ViewNumber,
    /// Random id of the view.
    pub id: Uuid,
}

impl ViewKey {
    /// Identity of `view`.
    pub fn of(view: &View) -> Self {
        Self { number: view.number, id: view.id }
    }
}

/// A compare-and-set of the view document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewChange {
    /// What the document must be; `None`: there must be no document.
    pub expect: Option<ViewKey>,
    /// Number, id and partitions are taken from here. `members` is `expect`'s plus `added` less
    /// `removed`; where `expect` is `None`, it is all of `to.members`.
    pub to: View,
    /// Members to add, with 0 renewals and 0 links. Other members' beats are not touched.
    pub added: Vec<MsId>,
    /// Members to remove.
    pub removed: Vec<MsId>,
}

/// A member's conditional write to the view: heartbeat, news and confirmation in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    /// The write succeeds only if the document still is this.
    pub expect: ViewKey,
    /// The member that renews; it must be in the document.
    pub me: MsId,
    /// How many BSs are linked to it.
    pub links: u32,
}

/// Answer to a renewal that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewed {
    /// What all members last said, this one included.
    pub beats: Vec<Beat>,
    /// The database's clock, in Unix milliseconds.
    pub clock_ms: u64,
}

/// A row of the registry: who is where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The end; unique.
    pub end: EndId,
    /// The BS that has it.
    pub server: ServerId,
    /// Its session there. Nil (all zeros) in a row of an older deployment.
    pub session: SessionId,
    /// Stamp of the registration. Default (0.0) in a row of an older deployment: older than all.
    pub stamp: Stamp,
    /// The terminal program.
    pub client: Option<ClientId>,
    /// Counts the connections of `client`.
    pub n: u64,
}

/// Answer to one row write or row delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The condition held; done (or, for a delete, there was nothing left to do).
    Yes,
    /// The condition did not hold: nothing was written.
    No,
}

/// Names a document of the mailbox: `_id` is `end/from/id`. Where `from` is `None` it is
/// `end//id`, or, in a document of an older deployment, `id` itself (the text of its `_id`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DocKey {
    /// The sender.
    pub from: Option<EndId>,
    /// The sender's id of the message.
    pub id: MessageId,
}

/// A message in the mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Sender and id. The end is named beside it.
    pub key: DocKey,
    /// Given by the owner that accepted it. In a document of an older deployment epoch 0 with a
    /// count that is unique in the mailbox and grows with `create_at_ms`.
    pub stamp: Stamp,
    /// Whether it was handed out before.
    pub redelivered: bool,
    /// JSON text of the body. Content of an older deployment that is not JSON is given as a JSON
    /// string.
    pub body: Bytes,
    /// When it was accepted, by the database's clock, in Unix milliseconds.
    pub create_at_ms: u64,
    /// Time to live in seconds, only where shorter than the collection's.
    pub ttl_s: Option<u32>,
}

/// One statement of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// Upsert of a document. Where one is there under this key, the lower stamp is kept,
    /// `redelivered` is set if either has it, and all else stays.
    Document(Document),
    /// Sets `redelivered` on a document, if it is there.
    Mark(DocKey),
}

/// What is to be written of one lane, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The lane.
    pub end: EndId,
    /// Its statements, in order.
    pub puts: Vec<Put>,
}

/// Answer for one lane of an append: a prefix was applied, and perhaps one statement failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// So many statements, from the first on, are durable.
    pub applied: usize,
    /// Why the next one is not. `None` if all were applied, or if it was not tried.
    pub error: Option<PutError>,
}

/// Why a statement failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutError {
    /// The database refuses it for good: too large.
    Refused,
    /// It was not applied; another attempt may succeed.
    NotDone,
    /// Nobody knows.
    Unknown,
}

/// A read of one mailbox, lowest stamp first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxRead {
    /// The lane.
    pub end: EndId,
    /// At most so many documents. A page may have fewer (a reply has a size limit) without being
    /// the end: [`Page::end`] says whether it is.
    pub limit: usize,
    /// The page ends after the document with which its bodies are at least so many bytes.
    pub bytes: usize,
    /// Documents created at or before this time (database's clock, Unix milliseconds) have
    /// outlived the collection's TTL and are left out.
    pub created_after_ms: u64,
}

/// A page of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Documents by stamp. Some may have outlived a `ttl_s` of their own.
    pub documents: Vec<Document>,
    /// The mailbox holds nothing (unexpired) above the last of these.
    pub end: bool,
}

/// How much all mailboxes hold together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MailboxSize {
    /// Documents, expired ones that are not removed yet among them. May be an estimate.
    pub documents: u64,
    /// When the oldest one was created, by the database's clock, in Unix milliseconds.
    pub oldest_ms: Option<u64>,
}

/// The database behind an MS. All reads and writes are of the primary and majority (the embedded
/// store: fsync). A read begun with `after` does not show a state older than that.
///
/// Calls are not cancel safe: a dropped future leaves it unknown whether the operation is
/// applied, and may close a connection. Run each call in a task of its own, and time out on the
/// task's handle. The callers bound how many run at once.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug + 'static {
    /// Whether this MS is alone by the nature of the store (a lock on a file).
    fn exclusive(&self) -> bool;

    /// Makes and repairs the indexes (or, with `ensure` false, waits for nothing and fails where
    /// they are missing), and checks that the database can keep the promises at all.
    ///
    /// # Errors
    /// What is wrong, for people, and whether a later attempt may succeed.
    async fn prepare(&self, ensure: bool, message_ttl_s: u32) -> Result<(), PrepareError>;

    /// Reads the view document. `None`: there is none. A document that cannot be understood is an
    /// error.
    async fn read_view(&self, after: OpTime) -> StoreResult<Option<View>>;

    /// Changes the view by compare-and-set. `No`: the document is not as expected.
    async fn change_view(&self, change: ViewChange) -> StoreResult<Applied>;

    /// Renews. `None`: refused, number, id or membership is not as expected.
    async fn renew(&self, renewal: Renewal) -> StoreResult<Option<Renewed>>;

    /// Reads rows; the answer has one entry for each end, in order.
    async fn read_rows(&self, ends: Vec<EndId>, after: OpTime) -> StoreResult<Vec<Option<Row>>>;

    /// Writes each row where the one that is there (if any) has no higher stamp. One result each,
    /// in order.
    async fn write_rows(
        &self,
        rows: Vec<Row>,
    ) -> Result<Reply<Vec<Result<Applied, StoreError>>>, StoreError>;

    /// Deletes the row of each end where it names this session (and server).
    async fn delete_rows(&self, rows: Vec<(EndId, ServerId, SessionId)>) -> StoreResult<()>;

    /// Appends. Of one lane nothing passes a failed statement. One result for each lane, in order.
    async fn append(&self, appends: Vec<Append>) -> Result<Reply<Vec<Appended>>, StoreError>;

    /// Counts each mailbox; one number each, in order.
    async fn count(&self, ends: Vec<EndId>, after: OpTime) -> StoreResult<Vec<usize>>;

    /// Reads mailboxes; one page each, in order.
    async fn read_mailboxes(
        &self,
        reads: Vec<MailboxRead>,
        after: OpTime,
    ) -> StoreResult<Vec<Page>>;

    /// Deletes documents by key. Those that are not there are no error.
    async fn delete_documents(&self, keys: Vec<(EndId, DocKey)>) -> StoreResult<()>;

    /// Notes that these servers are linked, at the database's time.
    async fn touch_servers(&self, servers: Vec<ServerId>) -> StoreResult<()>;

    /// Of all servers that rows name, those that no MS has touched for `quiet_ms` by the
    /// database's clock (never, or not within that time). At most `limit`.
    async fn quiet_servers(
        &self,
        quiet_ms: u64,
        limit: usize,
        after: OpTime,
    ) -> StoreResult<Vec<ServerId>>;

    /// Rows of these servers, at most `limit`, from the lowest end id above `above` on.
    async fn rows_of(
        &self,
        servers: Vec<ServerId>,
        above: Option<EndId>,
        limit: usize,
        after: OpTime,
    ) -> StoreResult<Vec<Row>>;

    /// Deletes all rows of a server.
    async fn delete_rows_of(&self, server: ServerId) -> StoreResult<()>;

    /// How much all mailboxes hold. For people: it may be a little old, and costs next to nothing.
    async fn mailbox_size(&self) -> StoreResult<MailboxSize>;

    /// Writes that wait inside the store for others to be done.
    fn jobs(&self) -> usize {
        0
    }

    /// Transactions that failed by the disk's fault, from the start on. 0 where the store has none
    /// of its own.
    fn write_failures(&self) -> u64 {
        0
    }

    /// Whether such a failure is not over yet.
    fn degraded(&self) -> bool {
        false
    }
}

impl Page {
    /// A page of these documents, by stamp, cut where its bodies reach `bytes`. `end`: nothing is
    /// beyond them.
    pub fn cut(mut documents: Vec<Document>, bytes: usize, end: bool) -> Self {
        let mut held = 0;
        let fits = documents.iter().take_while(|document| {
            let room = held < bytes.max(1);
            held += document.body.len();
            room
        });
        let fits = fits.count();
        let end = end && fits == documents.len();
        documents.truncate(fits);
        documents.shrink_to_fit();
        Self { documents, end }
    }
}

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct PrepareError {
    /// For people.
    pub text: String,
    /// Whether it may succeed later without anybody changing a setting.
    pub retry: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_where_its_bodies_are_enough_and_has_one_document_at_least() {
        let document = |count| Document {
            key: DocKey {
                from: None,
                id: MessageId::from_uuid(Uuid::from_u128(u128::from(count))),
            },
            stamp: Stamp { count, ..Stamp::default() },
            redelivered: false,
            body: Bytes::from_static(b"1234567890"),
            create_at_ms: 0,
            ttl_s: None,
        };
        let cut = |bytes| {
            let page = Page::cut((0..4).map(document).collect(), bytes, true);
            (page.documents.len(), page.end)
        };
        assert_eq!(
            [cut(0), cut(10), cut(11), cut(31), cut(usize::MAX)],
            [(1, false), (1, false), (2, false), (4, true), (4, true)]
        );
    }
}

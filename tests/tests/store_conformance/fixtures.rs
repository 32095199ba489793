//! Fresh stores, and values for them.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::sync::Mutex;
use uuid::Uuid;
use wardlink_ms::store::embedded::EmbeddedStore;
use wardlink_ms::store::mongodb::{MongoStore, Names};
use wardlink_ms::store::{
    Append, DocKey, Document, MailboxRead, OpTime, Page, Put, Row, Store, ViewChange, ViewKey,
};
use wardlink_tests::database::Database;
use wardlink_view::{Slot, View};
use wardlink_wire::{
    EndId, Epoch, MessageId, MsId, PARTITIONS, ServerId, SessionId, Stamp, ViewNumber,
};

/// Time to live of messages in all checks, in seconds.
pub(crate) const TTL_S: u32 = 600;
/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A store, and what it stands on.
pub(crate) struct Fixture {
    pub(crate) store: Arc<dyn Store>,
    _ground: Ground,
}

enum Ground {
    Dir { _dir: TempDir },
    Database { _database: Arc<Database> },
}

pub(crate) fn embedded() -> Fixture {
    let dir = TempDir::new().unwrap();
    let store = Arc::new(EmbeddedStore::open(dir.path(), TTL_S).unwrap());
    Fixture { store, _ground: Ground::Dir { _dir: dir } }
}

pub(crate) async fn mongo() -> Fixture {
    let database = shared_database().await;
    let store = open_mongo(&database.uri(&fresh_name())).await;
    store.prepare(true, TTL_S).await.unwrap();
    Fixture { store: Arc::new(store), _ground: Ground::Database { _database: database } }
}

pub(crate) async fn open_mongo(uri: &str) -> MongoStore {
    MongoStore::open(uri, Names::default(), None).await.unwrap()
}

/// A name for a database that nobody else uses.
pub(crate) fn fresh_name() -> String {
    format!("t{}", Uuid::new_v4().simple())
}

/// One process for all checks that run at a time; it ends with the last of them.
pub(crate) async fn shared_database() -> Arc<Database> {
    static SHARED: Mutex<Weak<Database>> = Mutex::const_new(Weak::new());
    let mut shared = SHARED.lock().await;
    if let Some(database) = shared.upgrade() {
        return database;
    }
    let database = Arc::new(Database::start().await.unwrap());
    *shared = Arc::downgrade(&database);
    database
}

/// Waits until `check` holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !check().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

pub(crate) fn end(uid: impl std::fmt::Display) -> EndId {
    format!("H1-A2-{uid}").parse().unwrap()
}

pub(crate) fn id(text: &str) -> MessageId {
    text.parse().unwrap()
}

pub(crate) fn stamp(epoch: u64, count: u64) -> Stamp {
    Stamp { epoch: Epoch(epoch), count }
}

pub(crate) fn ms() -> MsId {
    MsId(Uuid::new_v4())
}

pub(crate) fn server() -> ServerId {
    ServerId(Uuid::new_v4())
}

pub(crate) fn row(end: &EndId, server: ServerId, stamp: Stamp) -> Row {
    let session = SessionId(Uuid::new_v4());
    Row { end: end.clone(), server, session, stamp, client: None, n: 0 }
}

pub(crate) fn document(text: &str, stamp: Stamp) -> Document {
    Document {
        key: DocKey { from: Some(end("sender")), id: id(text) },
        stamp,
        redelivered: false,
        body: Bytes::from(format!("{{\"text\": \"{text}\"}}")),
        create_at_ms: now_ms(),
        ttl_s: None,
    }
}

pub(crate) fn append_of(end: &EndId, documents: Vec<Document>) -> Append {
    Append { end: end.clone(), puts: documents.into_iter().map(Put::Document).collect() }
}

/// Appends documents that the store takes.
pub(crate) async fn store_all(store: &dyn Store, end: &EndId, documents: Vec<Document>) -> OpTime {
    let count = documents.len();
    let reply = store.append(vec![append_of(end, documents)]).await.unwrap();
    assert_eq!((reply.value[0].applied, reply.value[0].error), (count, None));
    reply.time
}

pub(crate) fn read_of(end: &EndId, limit: usize) -> MailboxRead {
    MailboxRead {
        end: end.clone(),
        limit,
        bytes: usize::MAX,
        created_after_ms: now_ms() - u64::from(TTL_S) * 1_000,
    }
}

/// One page of one mailbox.
pub(crate) async fn page(store: &dyn Store, end: &EndId, limit: usize) -> Page {
    let reads = vec![read_of(end, limit)];
    store.read_mailboxes(reads, OpTime(0)).await.unwrap().value.remove(0)
}

pub(crate) fn ids(page: &Page) -> Vec<&str> {
    page.documents.iter().map(|document| document.key.id.as_str()).collect()
}

/// A view in which each member owns every so many-th partition.
pub(crate) fn view(number: u64, members: &[MsId]) -> View {
    let mut members = members.to_vec();
    members.sort_unstable();
    let mut slots = Box::new([Slot { owner: None, epoch: Epoch(number) }; PARTITIONS]);
    for (i, slot) in slots.iter_mut().enumerate() {
        slot.owner = members.get(i % members.len().max(1)).copied();
        slot.epoch = Epoch(number - (i as u64 % 3).min(number));
    }
    View { number: ViewNumber(number), id: Uuid::new_v4(), members, slots }
}

/// The change that makes the first view.
pub(crate) fn first(to: &View) -> ViewChange {
    ViewChange { expect: None, to: to.clone(), added: Vec::new(), removed: Vec::new() }
}

/// The change from one view to another, by their members.
pub(crate) fn change(from: &View, to: &View) -> ViewChange {
    let missing = |of: &View, all: &View| {
        all.members.iter().copied().filter(|ms| !of.members.contains(ms)).collect()
    };
    ViewChange {
        expect: Some(ViewKey::of(from)),
        to: to.clone(),
        added: missing(from, to),
        removed: missing(to, from),
    }
}

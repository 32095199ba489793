//! Talks to one database: sees its indexes and does what `plan` and `order` say.
//!
//! Each command has a bounded time and is sent to the primary; what changes something waits for a
//! majority. Every step is safe to repeat, and a step that was begun by somebody else does no harm.
//!
//! What is used of `listIndexes` (code 26 for a collection that is not there) and of `collMod` (an
//! index without a time to live is given one, as since MongoDB 5.1) is the same at MongoDB and at
//! the wire server of the tests. Only there it was run.

use std::time::Duration;

use ::mongodb::Database;
use ::mongodb::bson::{Bson, Document, doc};
use ::mongodb::options::{ReadPreference, SelectionCriteria};
use tokio::time::timeout;

use super::metrics::{Metrics, Operation, Outcome};
use super::plan::{Seen, Step, Wanted, early_expiry, step, wanted};
use super::trouble::Trouble;
use super::{Mode, StorageRequest, ttl_order};
use crate::model::StorageState;

/// What one command may take. An index of a large collection may take longer: the database goes
/// on by itself, and a later check finds it.
const COMMAND: Duration = Duration::from_secs(10);
/// First version of the wire protocol that is understood: that of MongoDB 6.0.
const WIRE_MIN: i64 = 17;
/// How often the unique index is tried when double rows come while they are being removed.
const UNIQUE_TRIES: usize = 5;
/// Rows that one command removes.
const CHUNK: usize = 1_000;

const NAMESPACE_NOT_FOUND: i32 = 26;
const INDEX_NOT_FOUND: i32 = 27;
const DUPLICATE_KEY: i32 = 11_000;
/// Codes by which `collMod` refuses an index that it can not give a time to live.
const NOT_POSSIBLE: [i32; 3] = [2, 72, 303];

/// How the database was found, or is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) state: StorageState,
    pub(super) message: String,
    /// What the TTL index of the mailbox has now.
    pub(super) index_ttl_s: Option<i32>,
}

impl From<Trouble> for Finding {
    fn from(trouble: Trouble) -> Self {
        Self { state: trouble.state, message: trouble.text, index_ttl_s: None }
    }
}

/// One look at a database.
pub(super) struct Session<'a> {
    pub(super) database: Database,
    pub(super) request: &'a StorageRequest,
    pub(super) metrics: &'a Metrics,
}

impl Session<'_> {
    /// Looks, and does what is to be done where the request says so.
    pub(super) async fn check(&self) -> Finding {
        let result = self.checked().await;
        let outcome = match &result {
            Ok(finding) if finding.state == StorageState::Ready => Outcome::Ok,
            Ok(_) | Err(_) => Outcome::Failed,
        };
        self.metrics.count(Operation::Check, outcome);
        result.unwrap_or_else(Finding::from)
    }

    async fn checked(&self) -> Result<Finding, Trouble> {
        self.check_server().await?;
        let request = self.request;
        let mailbox = self.indexes(&request.collections.mailbox).await?;
        let seen = ttl_seen(request, &mailbox);
        let next =
            ttl_order(request.message_ttl_seconds, seen, request.told, request.settled).index;
        let mut found = Found { ttl_s: seen, ..Found::default() };
        for index in wanted(&request.collections, next) {
            let there = if index.collection == request.collections.mailbox {
                mailbox.clone()
            } else {
                self.indexes(&index.collection).await?
            };
            found.conflicts.extend(early_expiry(&index, &there));
            let done = self.one(&index, &there, &mut found).await?;
            if done && index.collection == request.collections.mailbox && index.expire_s.is_some() {
                found.ttl_s = Some(next);
            }
        }
        Ok(found.finding(request.mode))
    }

    /// Whether the index is there now.
    async fn one(
        &self,
        index: &Wanted,
        there: &[Seen],
        found: &mut Found,
    ) -> Result<bool, Trouble> {
        let step = step(index, there);
        match step {
            Step::Done => return Ok(true),
            Step::Conflict(words) => {
                found.conflicts.push(words);
                return Ok(false);
            }
            Step::Create | Step::Expire if self.request.mode != Mode::Manage => {
                found.missing.push(index.to_string());
                return Ok(false);
            }
            Step::Create => {
                self.counted(Operation::CreateIndex, self.create(index)).await?;
            }
            Step::Expire => match self.counted(Operation::ChangeTtl, self.expire(index)).await {
                Err(trouble) if trouble.code.is_some_and(|code| NOT_POSSIBLE.contains(&code)) => {
                    found
                        .conflicts
                        .push(format!("{index} cannot be given a time to live: {}", trouble.text));
                    return Ok(false);
                }
                done => done?,
            },
        }
        tracing::info!(
            namespace = self.request.cluster.namespace,
            cluster = self.request.cluster.name,
            index = %index,
            expire_s = index.expire_s,
            "index made or changed"
        );
        Ok(true)
    }

    async fn check_server(&self) -> Result<(), Trouble> {
        let hello = self.command(doc! { "hello": 1 }, "reaching the database").await?;
        let sharded = hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid");
        if hello.get_str("setName").is_err() && !sharded {
            let text = "the database is a standalone server: a replica set is required (one node \
                        is enough)";
            return Err(Trouble::new(StorageState::NotReplicaSet, text));
        }
        let wire = int(hello.get("maxWireVersion")).unwrap_or(0);
        if wire < WIRE_MIN {
            let text = format!("the database is older than MongoDB 6.0 (wire version {wire})");
            return Err(Trouble::new(StorageState::NotReplicaSet, &text));
        }
        Ok(())
    }

    async fn indexes(&self, collection: &str) -> Result<Vec<Seen>, Trouble> {
        // A collection has 64 indexes at most, which one batch holds.
        let command = doc! { "listIndexes": collection, "cursor": { "batchSize": 1_000 } };
        match self.command(command, "listing indexes").await {
            Ok(reply) => Ok(first_batch(&reply).map(seen).collect()),
            Err(Trouble { code: Some(NAMESPACE_NOT_FOUND), .. }) => Ok(Vec::new()),
            Err(trouble) => Err(trouble),
        }
    }

    async fn create(&self, wanted: &Wanted) -> Result<(), Trouble> {
        let mut index = doc! { "key": key(wanted), "name": wanted.name };
        if wanted.unique {
            index.insert("unique", true);
        }
        if let Some(expire_s) = wanted.expire_s {
            index.insert("expireAfterSeconds", expire_s);
        }
        let command = doc! {
            "createIndexes": &wanted.collection,
            "indexes": [index],
            "writeConcern": { "w": "majority" },
        };
        let what = format!("making the index {wanted}");
        for _ in 0..UNIQUE_TRIES {
            if wanted.unique {
                self.counted(Operation::RemoveDoubles, self.remove_doubles(wanted)).await?;
            }
            match self.command(command.clone(), &what).await {
                Err(Trouble { code: Some(DUPLICATE_KEY), .. }) => {}
                done => return done.map(drop),
            }
        }
        let text = format!("{wanted}: double rows come faster than they are removed");
        Err(Trouble::new(StorageState::IndexFailed, &text))
    }

    async fn expire(&self, wanted: &Wanted) -> Result<(), Trouble> {
        let command = doc! {
            "collMod": &wanted.collection,
            "index": { "keyPattern": key(wanted), "expireAfterSeconds": wanted.expire_s },
            "writeConcern": { "w": "majority" },
        };
        self.command(command, &format!("changing the index {wanted}")).await.map(drop)
    }

    /// Of rows of one end keeps the one with the highest stamp, as a Message Server does.
    async fn remove_doubles(&self, wanted: &Wanted) -> Result<(), Trouble> {
        let what = "removing double rows";
        let command = doc! {
            "aggregate": &wanted.collection,
            "pipeline": [
                { "$sort": { "endIdentifer": 1, "stamp": -1 } },
                { "$group": { "_id": "$endIdentifer", "rows": { "$push": { "_id": "$_id", "stamp": "$stamp" } }, "n": { "$sum": 1 } } },
                { "$match": { "n": { "$gt": 1 } } },
                { "$limit": 10_000 },
            ],
            "cursor": { "batchSize": 10_000 },
            "allowDiskUse": true,
            "readConcern": { "level": "majority" },
        };
        let reply = self.command(command, what).await?;
        // Each with its stamp: one that a Message Server has raised meanwhile is another row now.
        // None, as an older deployment's rows have, is found by null.
        let doubles: Vec<Document> = first_batch(&reply)
            .filter_map(|group| group.get_array("rows").ok())
            .flat_map(|rows| rows.iter().skip(1).filter_map(Bson::as_document))
            .map(|row| {
                let part = |key| row.get(key).cloned().unwrap_or(Bson::Null);
                doc! { "q": { "_id": part("_id"), "stamp": part("stamp") }, "limit": 1 }
            })
            .collect();
        if !doubles.is_empty() {
            tracing::warn!(rows = doubles.len(), "removing double rows of the registry");
        }
        for chunk in doubles.chunks(CHUNK) {
            let command = doc! {
                "delete": &wanted.collection,
                "deletes": chunk.to_vec(),
                "writeConcern": { "w": "majority" },
            };
            self.command(command, what).await?;
        }
        Ok(())
    }

    /// Drops the TTL index of the mailbox, where it is as the operator makes it.
    pub(super) async fn drop_index(&self) -> Result<(), Trouble> {
        let collection = &self.request.collections.mailbox;
        let work = async {
            let there = self.indexes(collection).await?;
            let wanted = wanted(&self.request.collections, self.request.message_ttl_seconds);
            let ttl = wanted.iter().filter(|index| index.collection == *collection);
            let Some(ttl) = ttl.into_iter().find(|index| index.expire_s.is_some()) else {
                return Ok(());
            };
            let ours = there.iter().filter(|index| {
                ttl.same_key(index) && ttl.objection(index).is_none() && index.expire_s.is_some()
            });
            for index in ours {
                let command = doc! { "dropIndexes": collection, "index": &index.name,
                "writeConcern": { "w": "majority" } };
                match self.command(command, "dropping the TTL index").await {
                    Err(Trouble { code: Some(NAMESPACE_NOT_FOUND | INDEX_NOT_FOUND), .. }) => {}
                    done => drop(done?),
                }
            }
            Ok(())
        };
        self.counted(Operation::DropIndex, work).await
    }

    async fn counted(
        &self,
        operation: Operation,
        work: impl Future<Output = Result<(), Trouble>>,
    ) -> Result<(), Trouble> {
        let result = work.await;
        let outcome = if result.is_ok() { Outcome::Ok } else { Outcome::Failed };
        self.metrics.count(operation, outcome);
        result
    }

    /// One command, and the reply where it was carried out. The driver's `run_command` looks
    /// neither at `writeErrors` nor at `writeConcernError`.
    async fn command(&self, command: Document, what: &str) -> Result<Document, Trouble> {
        let primary = SelectionCriteria::ReadPreference(ReadPreference::Primary);
        let call = self.database.run_command(command).selection_criteria(primary);
        match timeout(COMMAND, async { call.await }).await {
            Err(_) => {
                let text = format!("the database does not answer in time: {what}");
                Err(Trouble::new(StorageState::Unreachable, &text))
            }
            Ok(Err(error)) => Err(Trouble::of(&error, what)),
            Ok(Ok(reply)) => {
                if reply.contains_key("writeErrors") || reply.contains_key("writeConcernError") {
                    let text = format!("{what}: no majority of the database has it yet");
                    return Err(Trouble::new(StorageState::IndexFailed, &text));
                }
                Ok(reply)
            }
        }
    }
}

/// What a look found.
#[derive(Debug, Default)]
struct Found {
    conflicts: Vec<String>,
    missing: Vec<String>,
    ttl_s: Option<i32>,
}

impl Found {
    fn finding(self, mode: Mode) -> Finding {
        let (state, message) = if !self.conflicts.is_empty() {
            (StorageState::IndexConflict, self.conflicts.join("; "))
        } else if !self.missing.is_empty() {
            let missing = self.missing.join(", ");
            let why = if mode == Mode::Watch { " (the operator is paused)" } else { "" };
            (StorageState::IndexFailed, format!("indexes are missing or differ: {missing}{why}"))
        } else {
            (StorageState::Ready, "the database answers and has the indexes".to_owned())
        };
        Finding { state, message, index_ttl_s: self.ttl_s }
    }
}

/// What the TTL index has, where there is one that can be changed.
fn ttl_seen(request: &StorageRequest, mailbox: &[Seen]) -> Option<i32> {
    let wanted = wanted(&request.collections, request.message_ttl_seconds);
    let ttl = wanted.iter().find(|index| {
        index.collection == request.collections.mailbox && index.expire_s.is_some()
    })?;
    let ours = |seen: &&Seen| ttl.same_key(seen) && ttl.objection(seen).is_none();
    let expire_s = mailbox.iter().filter(ours).find_map(|seen| seen.expire_s)?;
    i32::try_from(expire_s).ok().filter(|expire_s| *expire_s >= 0)
}

fn key(wanted: &Wanted) -> Document {
    wanted.key.iter().map(|field| ((*field).to_owned(), Bson::Int32(1))).collect()
}

fn seen(index: &Document) -> Seen {
    let key = index.get_document("key").cloned().unwrap_or_default();
    let set = |name: &str| index.get_bool(name).unwrap_or(false);
    let option = [
        ("partial", index.contains_key("partialFilterExpression")),
        ("sparse", set("sparse")),
        ("collation", index.contains_key("collation")),
    ];
    Seen {
        name: index.get_str("name").unwrap_or_default().to_owned(),
        key: key.iter().map(|(field, way)| (field.clone(), int(Some(way)) == Some(1))).collect(),
        unique: set("unique"),
        expire_s: index.get("expireAfterSeconds").map(|value| int(Some(value)).unwrap_or(-1)),
        option: option.into_iter().find_map(|(name, there)| there.then_some(name)),
    }
}

/// The documents of a cursor's first batch.
fn first_batch(reply: &Document) -> impl Iterator<Item = &Document> {
    let batch = reply.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
    batch.map(Vec::as_slice).unwrap_or_default().iter().filter_map(Bson::as_document)
}

/// A whole number in whatever type a server or a shell has written it.
fn int(value: Option<&Bson>) -> Option<i64> {
    match value? {
        Bson::Int32(int) => Some(i64::from(*int)),
        Bson::Int64(int) => Some(*int),
        #[allow(clippy::cast_possible_truncation)]
        Bson::Double(double) if double.fract() == 0.0 && double.abs() < 9e15 => {
            Some(*double as i64)
        }
        _ => None,
    }
}

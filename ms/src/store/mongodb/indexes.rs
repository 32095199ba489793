//! What must be there before the first call: a replica set, the collections, their indexes.
//!
//! Makes what is missing and repairs what differs, without ever dropping an index: the time to
//! live is changed with `collMod`.

use ::mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use ::mongodb::error::{Error, ErrorKind};

use super::MongoStore;
use super::call::{DUPLICATE_KEY, describe, first_batch};
use super::values::int;
use crate::store::PrepareError;

/// First version of the wire protocol that is understood: that of MongoDB 6.0.
const WIRE_MIN: i64 = 17;
/// Time to live of `wsservers`, in seconds.
const SEEN_S: i64 = 3_600;
/// How often the unique index is tried when double rows come while they are being removed.
const UNIQUE_TRIES: usize = 5;

/// Codes of an index that exists with other options or another name.
const CONFLICT: [i32; 2] = [85, 86];
const NAMESPACE_EXISTS: i32 = 48;
const NAMESPACE_NOT_FOUND: i32 = 26;
/// Not allowed; a user without this right does not get it by waiting.
const UNAUTHORIZED: [i32; 2] = [13, 18];

/// One index as it must be.
struct Wanted<'a> {
    collection: &'a str,
    name: &'static str,
    key: Document,
    unique: bool,
    expire_s: Option<i64>,
}

impl MongoStore {
    pub(super) async fn prepare_indexes(
        &self,
        ensure: bool,
        ttl_s: u32,
    ) -> Result<(), PrepareError> {
        self.check_server().await?;
        let wanted = self.wanted(i64::from(ttl_s));
        if !ensure {
            return self.check_all(&wanted).await;
        }
        for collection in
            [&self.names.registry, &self.names.mailbox, &self.names.servers, &self.names.views]
        {
            match self.command(doc! { "create": collection }).await {
                Err(Refusal { code: Some(NAMESPACE_EXISTS), .. }) | Ok(_) => {}
                Err(refusal) => return Err(refusal.prepare("making a collection")),
            }
        }
        for index in &wanted {
            self.ensure(index).await?;
        }
        Ok(())
    }

    fn wanted(&self, ttl_s: i64) -> Vec<Wanted<'_>> {
        let index =
            |collection, name, key| Wanted { collection, name, key, unique: false, expire_s: None };
        let (registry, mailbox) = (self.names.registry.as_str(), self.names.mailbox.as_str());
        vec![
            Wanted { unique: true, ..index(registry, "wardlink_end", doc! { "endIdentifer": 1 }) },
            index(registry, "wardlink_server", doc! { "serverIdentifer": 1 }),
            Wanted {
                expire_s: Some(ttl_s),
                ..index(mailbox, "wardlink_ttl", doc! { "createAt": 1 })
            },
            index(mailbox, "wardlink_mailbox", doc! { "endIdentifer": 1, "stamp": 1 }),
            Wanted {
                expire_s: Some(SEEN_S),
                ..index(&self.names.servers, "wardlink_seen", doc! { "seenAt": 1 })
            },
        ]
    }

    async fn check_server(&self) -> Result<(), PrepareError> {
        let hello = self.command(doc! { "hello": 1 }).await;
        let hello = hello.map_err(|refusal| refusal.prepare("reaching the database"))?;
        let sharded = hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid");
        if hello.get_str("setName").is_err() && !sharded {
            return Err(PrepareError {
                text: "the database is a standalone server: a replica set is required \
                       (one node is enough: start mongod with --replSet and run rs.initiate())"
                    .into(),
                retry: false,
            });
        }
        let wire = int(&hello, "maxWireVersion").unwrap_or(0);
        if wire < WIRE_MIN {
            return Err(PrepareError {
                text: format!(
                    "the database is too old (wire version {wire}): MongoDB 6.0 or later"
                ),
                retry: false,
            });
        }
        Ok(())
    }

    async fn check_all(&self, wanted: &[Wanted<'_>]) -> Result<(), PrepareError> {
        let mut missing = Vec::new();
        for index in wanted {
            let there = self.indexes(index.collection).await?;
            if !there.iter().any(|found| index.enough(found)) {
                missing.push(index.to_string());
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err(PrepareError {
            text: format!("indexes are missing or differ: {}", missing.join(", ")),
            retry: true,
        })
    }

    async fn ensure(&self, index: &Wanted<'_>) -> Result<(), PrepareError> {
        for _ in 0..UNIQUE_TRIES {
            let there = self.indexes(index.collection).await?;
            if there.iter().any(|found| index.matches(found)) {
                return Ok(());
            }
            if index.expire_s.is_some() && there.iter().any(|found| index.same_key(found)) {
                return self.change_expiry(index).await;
            }
            if index.unique {
                self.remove_double_rows().await?;
            }
            match self.command(index.create()).await {
                Ok(_) => return Ok(()),
                Err(Refusal { code: Some(DUPLICATE_KEY), .. }) => {}
                Err(refusal) => return Err(refusal.prepare(&format!("making the index {index}"))),
            }
        }
        Err(PrepareError {
            text: format!("{index}: double rows come faster than they are removed"),
            retry: true,
        })
    }

    async fn change_expiry(&self, index: &Wanted<'_>) -> Result<(), PrepareError> {
        let expire_s = index.expire_s.unwrap_or_default();
        let command = doc! {
            "collMod": index.collection,
            "index": { "keyPattern": index.key.clone(), "expireAfterSeconds": expire_s },
        };
        tracing::info!(collection = index.collection, expire_s, "changing the time to live");
        let changed = self.command(command).await;
        changed.map(drop).map_err(|refusal| refusal.prepare(&format!("changing the index {index}")))
    }

    /// Of rows of one end keeps the one with the highest stamp.
    async fn remove_double_rows(&self) -> Result<(), PrepareError> {
        let what = "removing double rows";
        let command = doc! {
            "aggregate": &self.names.registry,
            "pipeline": [
                { "$sort": { "endIdentifer": 1, "stamp": -1 } },
                { "$group": { "_id": "$endIdentifer", "rows": { "$push": "$_id" }, "n": { "$sum": 1 } } },
                { "$match": { "n": { "$gt": 1 } } },
                { "$limit": 10_000 },
            ],
            "cursor": { "batchSize": 10_000 },
            "allowDiskUse": true,
        };
        let reply = self.command(command).await.map_err(|refusal| refusal.prepare(what))?;
        let (groups, _) = first_batch(reply).map_err(|_| Refusal::unknown().prepare(what))?;
        let doubles: Vec<Bson> = groups
            .into_iter()
            .filter_map(|mut group| match group.remove("rows") {
                Some(Bson::Array(rows)) => Some(rows.into_iter().skip(1)),
                _ => None,
            })
            .flatten()
            .collect();
        if !doubles.is_empty() {
            tracing::warn!(rows = doubles.len(), "removing double rows of the registry");
        }
        for chunk in doubles.chunks(1_000) {
            let command = doc! {
                "delete": &self.names.registry,
                "deletes": [{ "q": { "_id": { "$in": chunk.to_vec() } }, "limit": 0 }],
                "writeConcern": { "w": "majority" },
            };
            self.command(command).await.map_err(|refusal| refusal.prepare(what))?;
        }
        Ok(())
    }

    async fn indexes(&self, collection: &str) -> Result<Vec<Document>, PrepareError> {
        match self.command(doc! { "listIndexes": collection, "cursor": {} }).await {
            Ok(reply) => first_batch(reply)
                .map(|(indexes, _)| indexes)
                .map_err(|_| Refusal::unknown().prepare("listing indexes")),
            Err(Refusal { code: Some(NAMESPACE_NOT_FOUND), .. }) => Ok(Vec::new()),
            Err(refusal) => Err(refusal.prepare("listing indexes")),
        }
    }

    async fn command(&self, command: Document) -> Result<Document, Refusal> {
        let command = RawDocumentBuf::try_from(&command).map_err(|_| Refusal::unknown())?;
        match self.send(command).await {
            None => Err(Refusal::unknown()),
            Some(Err(error)) => Err(Refusal::of(&error)),
            Some(Ok(reply)) => {
                let refused =
                    reply.contains_key("writeErrors") || reply.contains_key("writeConcernError");
                if refused { Err(Refusal::unknown()) } else { Ok(reply) }
            }
        }
    }
}

/// Why a command of this module was not carried out.
struct Refusal {
    code: Option<i32>,
    text: String,
}

impl Refusal {
    fn unknown() -> Self {
        Self { code: None, text: "no usable reply".into() }
    }

    fn of(error: &Error) -> Self {
        let code = match &*error.kind {
            ErrorKind::Command(command) => Some(command.code),
            ErrorKind::Authentication { .. } => Some(UNAUTHORIZED[1]),
            _ => None,
        };
        Self { code, text: describe(error) }
    }

    fn prepare(self, what: &str) -> PrepareError {
        let retry = !self.code.is_some_and(|c| CONFLICT.contains(&c) || UNAUTHORIZED.contains(&c));
        PrepareError { text: format!("{what}: {}", self.text), retry }
    }
}

impl std::fmt::Display for Wanted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{{", self.collection)?;
        for (i, field) in self.key.keys().enumerate() {
            write!(f, "{}{field}", if i == 0 { "" } else { ", " })?;
        }
        write!(f, "}}")?;
        if self.unique {
            write!(f, " unique")?;
        }
        self.expire_s.map_or(Ok(()), |s| write!(f, " expiring after {s} s"))
    }
}

impl Wanted<'_> {
    fn create(&self) -> Document {
        let mut index = doc! { "key": self.key.clone(), "name": self.name };
        if self.unique {
            index.insert("unique", true);
        }
        if let Some(expire_s) = self.expire_s {
            index.insert("expireAfterSeconds", expire_s);
        }
        doc! { "createIndexes": self.collection, "indexes": [index],
        "writeConcern": { "w": "majority" } }
    }

    fn same_key(&self, found: &Document) -> bool {
        let Ok(key) = found.get_document("key") else { return false };
        key.len() == self.key.len()
            && key.keys().zip(self.key.keys()).all(|(mine, theirs)| mine == theirs)
            && key.keys().all(|field| int(key, field) == Some(1))
            && !found.contains_key("partialFilterExpression")
    }

    fn matches(&self, found: &Document) -> bool {
        self.enough(found)
            && (self.expire_s.is_none() || int(found, "expireAfterSeconds") == self.expire_s)
    }

    /// Whether it serves, if not as it should be: a longer time to live removes nothing too early.
    /// While a life is changed the index is the longer one, and somebody else sees to it.
    fn enough(&self, found: &Document) -> bool {
        self.same_key(found)
            && (!self.unique || found.get_bool("unique").unwrap_or(false))
            && (self.expire_s.is_none() || int(found, "expireAfterSeconds") >= self.expire_s)
    }
}

//! Appends: many lanes in one ordered command, and what became of each lane.
//!
//! A document that was never handed out is most likely not there yet. It goes by `insert`, which
//! costs the server a small part of an upsert (it writes a batch at once); where it is there all
//! the same, the unique `_id` says so and it goes again, by upsert. Marks, and documents that
//! carry one, go by `update` from the start. Of each lane one command after the other takes what
//! comes next, so nothing of a lane passes anything of it.

use ::mongodb::bson::{DateTime, RawArrayBuf, RawDocumentBuf, cstr, rawdoc};
use rustc_hash::FxHashSet;
use wardlink_wire::EndId;

use super::MongoStore;
use super::call::{DUPLICATE_KEY, Failure, Written, for_good};
use super::delete::id_filter;
use super::values::stamp_doc;
use crate::store::layout::{DOCUMENT_BODY_MAX_BYTES, doc_id};
use crate::store::{Append, Appended, Document, OpTime, Put, PutError, Reply, StoreError};

/// Most statements of one command. The server's limit is 100,000; fewer keep a command short.
const STATEMENTS_MAX: usize = 500;
/// Most bytes of statements in one command, but for a single one that is larger. Half of the
/// 16 MiB that a command may have.
const COMMAND_MAX_BYTES: usize = 8 << 20;
/// After so many documents that were there already, all further ones of the call go by upsert.
const DUPLICATES_MAX: usize = 2;

/// How a statement goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Insert,
    Update,
}

/// Statements of one command, and the lane of each.
struct Chunk {
    way: Way,
    statements: RawArrayBuf,
    lanes: Vec<usize>,
}

impl MongoStore {
    pub(super) async fn append_all(
        &self,
        appends: Vec<Append>,
    ) -> Result<Reply<Vec<Appended>>, StoreError> {
        let mut progress = Progress::new(&appends);
        while let Some(chunk) = progress.chunk() {
            let name = self.names.mailbox.as_str();
            let command = match chunk.way {
                Way::Insert => rawdoc! { "insert": name, "ordered": true },
                Way::Update => rawdoc! { "update": name, "ordered": true },
            };
            let durable = match self.write(command, chunk.statements, chunk.lanes.len()).await {
                Ok(written) => progress.take(chunk.way, &chunk.lanes, &written)?,
                Err(failure) => {
                    progress.fail(&chunk.lanes, failure)?;
                    false
                }
            };
            if !durable {
                break;
            }
        }
        Ok(Reply { value: progress.lanes, time: progress.time.unwrap_or_default() })
    }
}

/// What is known of each lane.
struct Progress<'a> {
    appends: &'a [Append],
    lanes: Vec<Appended>,
    /// Documents that were there already: lane and index.
    there: FxHashSet<(usize, usize)>,
    time: Option<OpTime>,
}

impl<'a> Progress<'a> {
    fn new(appends: &'a [Append]) -> Self {
        let lanes = vec![Appended { applied: 0, error: None }; appends.len()];
        Self { appends, lanes, there: FxHashSet::default(), time: None }
    }

    /// How a statement must go; `None` behind the last one.
    fn way(&self, lane: usize, index: usize) -> Option<Way> {
        Some(match self.appends[lane].puts.get(index)? {
            Put::Document(document)
                if !document.redelivered
                    && self.there.len() < DUPLICATES_MAX
                    && !self.there.contains(&(lane, index)) =>
            {
                Way::Insert
            }
            _ => Way::Update,
        })
    }

    /// What the next command takes: of each lane that goes on, the statements from the next one
    /// on that go the same way. Lanes that can't are marked.
    fn chunk(&mut self) -> Option<Chunk> {
        let open = |this: &Self, lane: usize| this.lanes[lane].error.is_none();
        // Updates first: marks precede new documents, whose inserts then make one command.
        let heads = (0..self.lanes.len())
            .filter(|lane| open(self, *lane))
            .filter_map(|lane| self.way(lane, self.lanes[lane].applied));
        let way = heads.reduce(|a, b| if a == Way::Update { a } else { b })?;
        let mut chunk = Chunk { way, statements: RawArrayBuf::new(), lanes: Vec::new() };
        let mut bytes = 0;
        'lanes: for lane in
            (0..self.lanes.len()).filter(|lane| open(self, *lane)).collect::<Vec<_>>()
        {
            let first = self.lanes[lane].applied;
            for index in first.. {
                if self.way(lane, index) != Some(way) {
                    break;
                }
                let Some(statement) = statement(&self.appends[lane], index, way) else {
                    // What comes before it is sent; refused is it when it is next.
                    if index == first {
                        self.lanes[lane].error = Some(PutError::Refused);
                    }
                    break;
                };
                bytes += statement.as_bytes().len();
                let count = chunk.lanes.len();
                if count > 0 && (bytes > COMMAND_MAX_BYTES || count >= STATEMENTS_MAX) {
                    break 'lanes;
                }
                chunk.statements.push(statement);
                chunk.lanes.push(lane);
            }
        }
        if chunk.lanes.is_empty() { self.chunk() } else { Some(chunk) }
    }

    /// Notes a reply. Whether to go on.
    fn take(&mut self, way: Way, lanes: &[usize], written: &Written) -> Result<bool, StoreError> {
        self.time = self.time.max(Some(written.done.time));
        let failed = written.errors.first().copied();
        let tried = failed.map_or(lanes.len(), |(index, _)| index);
        for &lane in lanes.get(..tried).ok_or(StoreError::Unknown)? {
            if written.durable {
                self.lanes[lane].applied += 1;
            } else {
                self.lanes[lane].error = Some(PutError::Unknown);
            }
        }
        // What follows a failed statement was not tried.
        if let Some((index, code)) = failed {
            let lane = *lanes.get(index).ok_or(StoreError::Unknown)?;
            let state = &mut self.lanes[lane];
            if code == DUPLICATE_KEY && way == Way::Insert {
                self.there.insert((lane, state.applied));
            } else {
                let error = if for_good(code) { PutError::Refused } else { PutError::NotDone };
                state.error.get_or_insert(error);
            }
        }
        Ok(written.durable)
    }

    /// Notes a command without a usable reply.
    fn fail(&mut self, lanes: &[usize], failure: Failure) -> Result<(), StoreError> {
        let error = match failure {
            // A command with a single statement is as large as that statement.
            Failure::NotDone(Some(code)) if for_good(code) && lanes.len() == 1 => PutError::Refused,
            Failure::NotDone(_) => PutError::NotDone,
            Failure::Unknown => PutError::Unknown,
        };
        if self.time.is_none() && error != PutError::Refused {
            return Err(failure.into());
        }
        for &lane in lanes {
            self.lanes[lane].error = Some(error);
        }
        Ok(())
    }
}

/// A statement, or `None` if no server would take it.
fn statement(append: &Append, index: usize, way: Way) -> Option<RawDocumentBuf> {
    match (&append.puts[index], way) {
        (Put::Document(document), _) if document.body.len() > DOCUMENT_BODY_MAX_BYTES => None,
        (Put::Document(document), Way::Insert) => insert(&append.end, document),
        (Put::Document(document), Way::Update) => upsert(&append.end, document),
        (Put::Mark(key), _) => Some(rawdoc! {
            "q": id_filter(&append.end, key), "u": { "$set": { "redelivered": true } },
        }),
    }
}

/// Adds the fields that a document has from the start and keeps.
fn add_fixed(to: &mut RawDocumentBuf, end: &EndId, document: &Document) -> Option<()> {
    to.append(cstr!("endIdentifer"), end.as_str());
    to.append(cstr!("messageContent"), std::str::from_utf8(&document.body).ok()?);
    if let Some(from) = &document.key.from {
        to.append(cstr!("from"), from.as_str());
    }
    to.append(cstr!("id"), document.key.id.as_str());
    let created = i64::try_from(document.create_at_ms).ok()?;
    to.append(cstr!("createAt"), DateTime::from_millis(created));
    if let Some(ttl) = document.ttl_s {
        to.append(cstr!("ttl"), i64::from(ttl));
    }
    Some(())
}

fn insert(end: &EndId, document: &Document) -> Option<RawDocumentBuf> {
    let mut insert = rawdoc! { "_id": doc_id(end, &document.key) };
    add_fixed(&mut insert, end, document)?;
    insert.append(cstr!("stamp"), stamp_doc(document.stamp));
    Some(insert)
}

/// Keeps the lower stamp and either mark; all else only where the document is new.
fn upsert(end: &EndId, document: &Document) -> Option<RawDocumentBuf> {
    let mut fixed = RawDocumentBuf::new();
    add_fixed(&mut fixed, end, document)?;
    let mut update = rawdoc! { "$min": { "stamp": stamp_doc(document.stamp) } };
    if document.redelivered {
        update.append(cstr!("$set"), rawdoc! { "redelivered": true });
    }
    update.append(cstr!("$setOnInsert"), fixed);
    Some(rawdoc! { "q": { "_id": doc_id(end, &document.key) }, "u": update, "upsert": true })
}

//! One command, its bounded time, and what its reply or its failure means.
//!
//! The driver's `run_command` adds no concern of its own and looks neither at `writeErrors` nor
//! at `writeConcernError`; both are read here. Nothing is repeated here.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ::mongodb::bson::{Bson, Document, RawArrayBuf, RawDocumentBuf, cstr, rawdoc};
use ::mongodb::error::{Error, ErrorKind};
use ::mongodb::options::{ReadPreference, SelectionCriteria};

use super::MongoStore;
use super::values::{int, op_time, timestamp};
use crate::store::{OpTime, StoreError};

/// What the server may take for one command, waiting for a majority included.
const SERVER_MS: i64 = 5_000;
/// After this a call is given up and its connection closed: the server did not even say that it
/// is late. Reached only where neither it nor the driver's monitor noticed.
const HARD: Duration = Duration::from_secs(10);

/// Why a command gave no reply that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing was sent, or the server refused it before it did anything. With the server's code.
    NotDone(Option<i32>),
    /// Nobody knows.
    Unknown,
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotDone(_) => Self::NotDone,
            Failure::Unknown => Self::Unknown,
        }
    }
}

/// A reply with `ok: 1`.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) body: Document,
    pub(super) time: OpTime,
}

/// Reply to a command of write statements.
#[derive(Debug)]
pub(super) struct Written {
    /// Its reply.
    pub(super) done: Done,
    /// Statements that were refused: index and code. A refused statement changed nothing.
    pub(super) errors: Vec<(usize, i32)>,
    /// Whether a majority has what was applied. If not, nobody knows what becomes of it.
    pub(super) durable: bool,
    /// How many statements the command had.
    count: usize,
}

impl Written {
    /// Number of documents that matched, were upserted or deleted.
    pub(super) fn n(&self) -> i64 {
        int(&self.done.body, "n").unwrap_or(0)
    }

    /// Whether something was upserted.
    pub(super) fn upserted(&self) -> bool {
        self.done.body.get_array("upserted").is_ok_and(|list| !list.is_empty())
    }

    /// All statements were applied, and a majority has them.
    pub(super) fn all(self) -> Result<Done, StoreError> {
        match (self.durable, self.errors.is_empty()) {
            (true, true) => Ok(self.done),
            (true, false) if self.count == 1 => Err(StoreError::NotDone),
            // Some were applied, or may be.
            _ => Err(StoreError::Unknown),
        }
    }
}

/// `{w: "majority"}` with a bound.
fn write_concern() -> RawDocumentBuf {
    rawdoc! { "w": "majority", "wtimeout": SERVER_MS }
}

/// Majority, not older than `after`.
fn read_concern(after: OpTime) -> RawDocumentBuf {
    let mut concern = rawdoc! { "level": "majority" };
    if after > OpTime(0) {
        concern.append(cstr!("afterClusterTime"), timestamp(after.0));
    }
    concern
}

impl MongoStore {
    /// Runs a read (`find`, `aggregate`) with majority concern at or after `after`.
    pub(super) async fn read(
        &self,
        mut command: RawDocumentBuf,
        after: OpTime,
    ) -> Result<Done, Failure> {
        command.append(cstr!("readConcern"), read_concern(after));
        self.run(command, true).await
    }

    /// Runs an `insert`, `update` or `delete` of these statements.
    pub(super) async fn write(
        &self,
        mut command: RawDocumentBuf,
        statements: RawArrayBuf,
        count: usize,
    ) -> Result<Written, Failure> {
        let kind = command.iter().next().and_then(Result::ok).map(|(name, _)| name.as_str());
        let field = match kind {
            Some("insert") => cstr!("documents"),
            Some("delete") => cstr!("deletes"),
            _ => cstr!("updates"),
        };
        command.append(field, statements);
        command.append(cstr!("writeConcern"), write_concern());
        // A batch that is refused as a whole may have been applied in part.
        let done = self.run(command, count == 1).await?;
        let errors = write_errors(&done.body)?;
        let durable = !done.body.contains_key("writeConcernError");
        if !durable {
            self.note("write", &format!("write concern not met: {}", concern_code(&done.body)));
        }
        if let Some((_, code)) = errors.iter().find(|(_, code)| *code != DUPLICATE_KEY) {
            self.note("write", &format!("{} statements refused, code {code}", errors.len()));
        }
        Ok(Written { done, errors, durable, count })
    }

    /// Runs a `findAndModify`.
    pub(super) async fn modify(&self, mut command: RawDocumentBuf) -> Result<Done, Failure> {
        command.append(cstr!("writeConcern"), write_concern());
        let done = self.run(command, true).await?;
        if done.body.contains_key("writeConcernError") {
            self.note("modify", &format!("write concern not met: {}", concern_code(&done.body)));
            return Err(Failure::Unknown);
        }
        Ok(done)
    }

    /// Asks the primary who and what it is.
    pub(super) async fn hello(&self) -> Result<Done, Failure> {
        self.run_bare(rawdoc! { "hello": 1 }, true).await
    }

    pub(super) async fn run(
        &self,
        mut command: RawDocumentBuf,
        one: bool,
    ) -> Result<Done, Failure> {
        command.append(cstr!("maxTimeMS"), SERVER_MS);
        self.run_bare(command, one).await
    }

    async fn run_bare(&self, command: RawDocumentBuf, one: bool) -> Result<Done, Failure> {
        let reply = self.send(command).await;
        let Some(reply) = reply else {
            self.note("command", "no reply in time");
            return Err(Failure::Unknown);
        };
        match reply {
            Ok(body) => {
                let time = body.get_timestamp("operationTime").map(op_time).unwrap_or_default();
                Ok(Done { body, time })
            }
            Err(error) => {
                self.note("command", &describe(&error));
                Err(classify(&error, one))
            }
        }
    }

    /// Sends one command; `None` if it took longer than anything here may.
    pub(super) async fn send(&self, command: RawDocumentBuf) -> Option<Result<Document, Error>> {
        let call = self
            .database
            .run_raw_command(command)
            .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary));
        tokio::time::timeout(HARD, async { call.await }).await.ok()
    }

    /// Logs the cause of a failed call, for it does not travel further: one warning a second.
    fn note(&self, what: &str, cause: &str) {
        let now = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let last = self.warned_ms.load(Ordering::Relaxed);
        let due = last == 0 || now.saturating_sub(last) >= 1_000;
        if due
            && self
                .warned_ms
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            tracing::warn!(call = what, cause, "database call failed");
        } else {
            tracing::debug!(call = what, cause, "database call failed");
        }
    }
}

/// Code of a violated unique index.
pub(super) const DUPLICATE_KEY: i32 = 11_000;
/// Codes of "too large" and of other refusals that another attempt will meet again: the document
/// (10334, 17419, 17420), an index key (17280), a collection's validator (121).
const FOR_GOOD: [i32; 5] = [10_334, 17_419, 17_420, 17_280, 121];

/// Whether the same statement would be refused again.
pub(super) fn for_good(code: i32) -> bool {
    FOR_GOOD.contains(&code)
}

/// Codes of a command that was refused before it began: no such thing (2, 9, 14, 59, 72, 73),
/// not allowed (13, 18), too large (10334).
const NOT_BEGUN: [i32; 9] = [2, 9, 13, 14, 18, 59, 72, 73, 10_334];
/// Codes by which a node says, at the first statement, that it is no primary. Of a single
/// statement this is a no; a batch may have been applied in part.
const NO_PRIMARY: [i32; 3] = [10_107, 13_435, 13_436];

fn classify(error: &Error, one: bool) -> Failure {
    // The server says it of a command, the driver of a connection that was not made.
    let untouched = ["NoWritesPerformed", "SystemOverloadedError"];
    let code = match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        _ => None,
    };
    if untouched.iter().any(|label| error.contains_label(label)) {
        return Failure::NotDone(code);
    }
    match &*error.kind {
        ErrorKind::ServerSelection { .. }
        | ErrorKind::Authentication { .. }
        | ErrorKind::DnsResolve { .. }
        | ErrorKind::InvalidTlsConfig { .. }
        | ErrorKind::InvalidArgument { .. }
        | ErrorKind::IncompatibleServer { .. }
        | ErrorKind::SessionsNotSupported
        | ErrorKind::Shutdown => Failure::NotDone(None),
        ErrorKind::Command(command)
            if NOT_BEGUN.contains(&command.code) || one && NO_PRIMARY.contains(&command.code) =>
        {
            Failure::NotDone(code)
        }
        _ => Failure::Unknown,
    }
}

/// The error in a few words, without texts of the server: they may hold data.
pub(super) fn describe(error: &Error) -> String {
    match &*error.kind {
        ErrorKind::Command(command) => format!("{} ({})", command.code_name, command.code),
        ErrorKind::Write(_) | ErrorKind::InsertMany(_) => "write refused".into(),
        ErrorKind::ServerSelection { message, .. } => no_server(message),
        kind => kind.to_string(),
    }
}

/// The driver lists all servers with all that it knows of each: what it waited for, and the first
/// server's trouble, are enough.
fn no_server(message: &str) -> String {
    let (head, topology) = message.split_once(" Topology: ").unwrap_or((message, ""));
    let cause = topology.split_once("Error: Kind: ").map(|(_, rest)| rest);
    match cause.and_then(|rest| rest.split(", labels: ").next()) {
        Some(cause) => format!("{head} {cause}"),
        None => head.to_owned(),
    }
}

fn concern_code(body: &Document) -> i64 {
    body.get_document("writeConcernError").ok().and_then(|doc| int(doc, "code")).unwrap_or(0)
}

fn write_errors(body: &Document) -> Result<Vec<(usize, i32)>, Failure> {
    let Some(list) = body.get("writeErrors") else { return Ok(Vec::new()) };
    let Bson::Array(list) = list else { return Err(Failure::Unknown) };
    list.iter()
        .map(|entry| {
            let entry = entry.as_document()?;
            let index = usize::try_from(int(entry, "index")?).ok()?;
            Some((index, i32::try_from(int(entry, "code")?).ok()?))
        })
        .collect::<Option<Vec<_>>>()
        .ok_or(Failure::Unknown)
}

/// The documents of a cursor's first batch, and whether the server has more.
pub(super) fn first_batch(mut body: Document) -> Result<(Vec<Document>, i64), StoreError> {
    let Some(Bson::Document(mut cursor)) = body.remove("cursor") else {
        return Err(StoreError::Unknown);
    };
    let id = int(&cursor, "id").unwrap_or(0);
    let Some(Bson::Array(batch)) = cursor.remove("firstBatch") else {
        return Err(StoreError::Unknown);
    };
    let documents = batch
        .into_iter()
        .map(|entry| match entry {
            Bson::Document(document) => Ok(document),
            _ => Err(StoreError::Unknown),
        })
        .collect::<Result<_, _>>()?;
    Ok((documents, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_servers_is_cut_to_the_first_ones_trouble() {
        let message = "Server selection timeout: No available servers. Topology: { Type: Unknown, \
            Servers: [ { Address: 127.0.0.1:1, Type: Unknown, Error: Kind: I/O error: Connection \
            refused (os error 111), labels: {} }, { Address: 127.0.0.1:2, Type: Unknown } ] }";
        assert_eq!(
            no_server(message),
            "Server selection timeout: No available servers. I/O error: Connection refused (os \
             error 111)"
        );
        assert_eq!(no_server("no."), "no.");
    }
}

//! Appends: many lanes in one ordered command, and what became of each lane.

use ::mongodb::bson::{DateTime, RawArrayBuf, RawDocumentBuf, cstr, rawdoc};
use wardlink_wire::EndId;

use super::MongoStore;
use super::call::{Failure, Written, for_good};
use super::delete::id_filter;
use super::values::stamp_doc;
use crate::store::layout::{BODY_MAX_BYTES, doc_id};
use crate::store::{Append, Appended, Document, OpTime, Put, PutError, Reply, StoreError};

/// Most statements of one command. The server's limit is 100,000; fewer keep a command short.
const STATEMENTS_MAX: usize = 500;
/// Most bytes of statements in one command, but for a single one that is larger. Half of the
/// 16 MiB that a command may have.
const COMMAND_MAX_BYTES: usize = 8 << 20;

/// One statement, and which lane it is of.
struct Statement {
    lane: usize,
    text: RawDocumentBuf,
}

impl MongoStore {
    pub(super) async fn append_all(
        &self,
        appends: Vec<Append>,
    ) -> Result<Reply<Vec<Appended>>, StoreError> {
        let mut progress = Progress::new(&appends);
        let mut next = 0;
        while let Some(chunk) = progress.chunk(&mut next) {
            let mut statements = RawArrayBuf::new();
            for statement in &chunk {
                statements.push(progress.statements[*statement].text.clone());
            }
            let command = rawdoc! { "update": self.names.mailbox.as_str(), "ordered": true };
            match self.write(command, statements, chunk.len()).await {
                Ok(written) => {
                    if !progress.take(&chunk, &written, &mut next)? {
                        break;
                    }
                }
                Err(failure) => {
                    progress.fail(&chunk, failure)?;
                    break;
                }
            }
        }
        Ok(progress.finish())
    }
}

/// What is known of each lane.
struct Progress {
    statements: Vec<Statement>,
    lanes: Vec<Appended>,
    /// For each lane where its first statement is that is too large to be sent.
    too_large: Vec<Option<usize>>,
    time: Option<OpTime>,
}

impl Progress {
    fn new(appends: &[Append]) -> Self {
        let mut statements = Vec::new();
        let mut too_large = vec![None; appends.len()];
        for (lane, append) in appends.iter().enumerate() {
            for (index, put) in append.puts.iter().enumerate() {
                if matches!(put, Put::Document(document) if document.body.len() > BODY_MAX_BYTES) {
                    too_large[lane] = Some(index);
                    break;
                }
                match statement(&append.end, put) {
                    Some(text) => statements.push(Statement { lane, text }),
                    None => {
                        too_large[lane] = Some(index);
                        break;
                    }
                }
            }
        }
        let lanes = vec![Appended { applied: 0, error: None }; appends.len()];
        Self { statements, lanes, too_large, time: None }
    }

    /// The next statements that one command takes, without those of lanes that failed. Moves
    /// `next` behind them.
    fn chunk(&self, next: &mut usize) -> Option<Vec<usize>> {
        let mut chunk = Vec::new();
        let mut bytes = 0;
        while let Some(statement) = self.statements.get(*next) {
            if self.lanes[statement.lane].error.is_none() {
                bytes += statement.text.as_bytes().len();
                if !chunk.is_empty() && (bytes > COMMAND_MAX_BYTES || chunk.len() >= STATEMENTS_MAX)
                {
                    break;
                }
                chunk.push(*next);
            }
            *next += 1;
        }
        (!chunk.is_empty()).then_some(chunk)
    }

    /// Notes a reply. Whether to go on, from `next` on.
    fn take(
        &mut self,
        chunk: &[usize],
        written: &Written,
        next: &mut usize,
    ) -> Result<bool, StoreError> {
        self.time = self.time.max(Some(written.done.time));
        let failed = written.errors.first().copied();
        let tried = failed.map_or(chunk.len(), |(index, _)| index);
        let applied = chunk.get(..tried).ok_or(StoreError::Unknown)?;
        for &statement in applied {
            let lane = &mut self.lanes[self.statements[statement].lane];
            if written.durable {
                lane.applied += 1;
            } else {
                lane.error = Some(PutError::Unknown);
            }
        }
        let Some((index, code)) = failed else { return Ok(written.durable) };
        let statement = *chunk.get(index).ok_or(StoreError::Unknown)?;
        let error = if for_good(code) { PutError::Refused } else { PutError::NotDone };
        self.lanes[self.statements[statement].lane].error.get_or_insert(error);
        // What follows was not tried.
        *next = statement + 1;
        Ok(written.durable)
    }

    /// Notes a command without a usable reply.
    fn fail(&mut self, chunk: &[usize], failure: Failure) -> Result<(), StoreError> {
        let error = match failure {
            // A command with a single statement is as large as that statement.
            Failure::NotDone(Some(code)) if for_good(code) && chunk.len() == 1 => PutError::Refused,
            Failure::NotDone(_) => PutError::NotDone,
            Failure::Unknown => PutError::Unknown,
        };
        if self.time.is_none() && error != PutError::Refused {
            return Err(failure.into());
        }
        for &statement in chunk {
            self.lanes[self.statements[statement].lane].error = Some(error);
        }
        Ok(())
    }

    fn finish(mut self) -> Reply<Vec<Appended>> {
        for (lane, too_large) in self.lanes.iter_mut().zip(self.too_large) {
            if lane.error.is_none() && too_large == Some(lane.applied) {
                lane.error = Some(PutError::Refused);
            }
        }
        Reply { value: self.lanes, time: self.time.unwrap_or_default() }
    }
}

fn statement(end: &EndId, put: &Put) -> Option<RawDocumentBuf> {
    match put {
        Put::Document(document) => upsert(end, document),
        Put::Mark(key) => Some(rawdoc! {
            "q": id_filter(end, key), "u": { "$set": { "redelivered": true } },
        }),
    }
}

/// Keeps the lower stamp and either mark; all else only where the document is new.
fn upsert(end: &EndId, document: &Document) -> Option<RawDocumentBuf> {
    let key = &document.key;
    let mut insert = rawdoc! {
        "endIdentifer": end.as_str(),
        "messageContent": std::str::from_utf8(&document.body).ok()?,
        "id": key.id.as_str(),
        "createAt": DateTime::from_millis(i64::try_from(document.create_at_ms).ok()?),
    };
    if let Some(from) = &key.from {
        insert.append(cstr!("from"), from.as_str());
    }
    if let Some(ttl) = document.ttl_s {
        insert.append(cstr!("ttl"), i64::from(ttl));
    }
    let mut update = rawdoc! { "$min": { "stamp": stamp_doc(document.stamp) } };
    if document.redelivered {
        update.append(cstr!("$set"), rawdoc! { "redelivered": true });
    }
    update.append(cstr!("$setOnInsert"), insert);
    Some(rawdoc! { "q": { "_id": doc_id(end, key) }, "u": update, "upsert": true })
}

//! The registry: rows by end, and rows by server.

use ::mongodb::bson::{Document, RawArrayBuf, RawDocumentBuf, cstr, rawdoc};
use rustc_hash::FxHashMap;
use uuid::Uuid;
use wardlink_wire::{EndId, ServerId, SessionId};

use super::MongoStore;
use super::call::{DUPLICATE_KEY, first_batch};
use super::values::{int, stamp_doc, stamp_of};
use crate::store::{Applied, OpTime, Reply, Row, StoreError, StoreResult};

/// Most ends of one command: a row is below 1 KiB, so a reply stays far below 16 MiB.
const ENDS_MAX: usize = 1_000;

impl MongoStore {
    pub(super) async fn find_rows(
        &self,
        ends: Vec<EndId>,
        after: OpTime,
    ) -> StoreResult<Vec<Option<Row>>> {
        let mut found: FxHashMap<EndId, Row> = FxHashMap::default();
        let mut time = OpTime::default();
        for chunk in ends.chunks(ENDS_MAX) {
            let count = chunk.len() as i64;
            let command = rawdoc! {
                "find": self.names.registry.as_str(),
                "filter": { "endIdentifer": { "$in": texts(chunk) } },
                "limit": count, "batchSize": count, "singleBatch": true,
            };
            let done = self.read(command, after).await?;
            time = time.max(done.time);
            for document in first_batch(done.body)?.0 {
                if let Some(row) = parse(&document) {
                    found.insert(row.end.clone(), row);
                }
            }
        }
        Ok(Reply { value: ends.iter().map(|end| found.get(end).cloned()).collect(), time })
    }

    pub(super) async fn upsert_rows(
        &self,
        rows: Vec<Row>,
    ) -> Result<Reply<Vec<Result<Applied, StoreError>>>, StoreError> {
        let mut results = Vec::with_capacity(rows.len());
        let mut time = OpTime::default();
        for chunk in rows.chunks(ENDS_MAX) {
            let mut statements = RawArrayBuf::new();
            for row in chunk {
                statements.push(upsert(row));
            }
            let command = rawdoc! { "update": self.names.registry.as_str(), "ordered": false };
            let written = match self.write(command, statements, chunk.len()).await {
                Ok(written) => written,
                Err(failure) if results.is_empty() => return Err(failure.into()),
                Err(failure) => {
                    results.extend(chunk.iter().map(|_| Err(failure.into())));
                    continue;
                }
            };
            time = time.max(written.done.time);
            let applied = if written.durable { Ok(Applied::Yes) } else { Err(StoreError::Unknown) };
            let first = results.len();
            results.extend(chunk.iter().map(|_| applied));
            for &(index, code) in &written.errors {
                // The condition left no row to update, and the unique key none to insert.
                let result =
                    if code == DUPLICATE_KEY { Ok(Applied::No) } else { Err(StoreError::NotDone) };
                *results.get_mut(first + index).ok_or(StoreError::Unknown)? = result;
            }
        }
        Ok(Reply { value: results, time })
    }

    pub(super) async fn remove_rows(
        &self,
        rows: Vec<(EndId, ServerId, SessionId)>,
    ) -> StoreResult<()> {
        let mut time = OpTime::default();
        for chunk in rows.chunks(ENDS_MAX) {
            let mut statements = RawArrayBuf::new();
            for (end, server, session) in chunk {
                statements.push(removal(end, *server, *session));
            }
            let command = rawdoc! { "delete": self.names.registry.as_str(), "ordered": false };
            time = time.max(self.write(command, statements, chunk.len()).await?.all()?.time);
        }
        Ok(Reply { value: (), time })
    }

    pub(super) async fn find_rows_of(
        &self,
        servers: Vec<ServerId>,
        above: Option<EndId>,
        limit: usize,
        after: OpTime,
    ) -> StoreResult<Vec<Row>> {
        let mut servers_in = RawArrayBuf::new();
        for server in &servers {
            servers_in.push(server.to_string());
        }
        let mut above = above.map(|end| end.as_str().to_owned());
        let mut rows = Vec::new();
        let mut time = OpTime::default();
        while rows.len() < limit {
            let wanted = (limit - rows.len()).min(ENDS_MAX);
            let mut filter = rawdoc! { "serverIdentifer": { "$in": servers_in.clone() } };
            if let Some(above) = &above {
                filter.append(cstr!("endIdentifer"), rawdoc! { "$gt": above.as_str() });
            }
            let command = rawdoc! {
                "find": self.names.registry.as_str(), "filter": filter,
                "sort": { "endIdentifer": 1 },
                "limit": wanted as i64, "batchSize": wanted as i64, "singleBatch": true,
            };
            let done = self.read(command, after).await?;
            time = time.max(done.time);
            let (documents, _) = first_batch(done.body)?;
            let got = documents.len();
            if let Some(Ok(last)) = documents.last().map(|doc| doc.get_str("endIdentifer")) {
                above = Some(last.to_owned());
            }
            rows.extend(documents.iter().filter_map(parse));
            // Rows that cannot be read must not look like the end.
            if got < wanted {
                break;
            }
        }
        Ok(Reply { value: rows, time })
    }

    pub(super) async fn remove_rows_of(&self, server: ServerId) -> StoreResult<()> {
        let mut statements = RawArrayBuf::new();
        statements.push(rawdoc! { "q": { "serverIdentifer": server.to_string() }, "limit": 0 });
        let command = rawdoc! { "delete": self.names.registry.as_str() };
        // One statement, but of many rows: refused half-way, some are gone. That is no harm.
        let done = self.write(command, statements, 1).await?.all()?;
        Ok(Reply { value: (), time: done.time })
    }
}

/// Ends as an array.
pub(super) fn texts(ends: &[EndId]) -> RawArrayBuf {
    let mut array = RawArrayBuf::new();
    for end in ends {
        array.push(end.as_str());
    }
    array
}

/// Where a row has a higher stamp, the filter misses it and the insert that follows meets the
/// unique key. `$not` `$gt` holds also for a row without a stamp, which `$lte` would miss.
fn upsert(row: &Row) -> RawDocumentBuf {
    let stamp = stamp_doc(row.stamp);
    let mut set = rawdoc! {
        "serverIdentifer": row.server.to_string(),
        "session": row.session.to_string(),
        "stamp": stamp.clone(),
    };
    let mut gone = RawDocumentBuf::new();
    match &row.client {
        Some(client) => set.append(cstr!("client"), client.as_str()),
        None => gone.append(cstr!("client"), ""),
    }
    match row.n {
        0 => gone.append(cstr!("n"), ""),
        n => set.append(cstr!("n"), n as i64),
    }
    let mut update = rawdoc! { "$set": set, "$currentDate": { "registeredAt": true } };
    if !gone.is_empty() {
        update.append(cstr!("$unset"), gone);
    }
    rawdoc! {
        "q": { "endIdentifer": row.end.as_str(), "stamp": { "$not": { "$gt": stamp } } },
        "u": update,
        "upsert": true,
    }
}

fn removal(end: &EndId, server: ServerId, session: SessionId) -> RawDocumentBuf {
    let mut query = rawdoc! {
        "endIdentifer": end.as_str(), "serverIdentifer": server.to_string(),
    };
    let text = session.to_string();
    if session.0.is_nil() {
        // A row of an older deployment has none; null matches that.
        query.append(cstr!("session"), rawdoc! { "$in": [null, text] });
    } else {
        query.append(cstr!("session"), text);
    }
    rawdoc! { "q": query, "limit": 1 }
}

/// A row; `None` where its end or its server is none that could be registered here.
fn parse(document: &Document) -> Option<Row> {
    let session = document.get_str("session").ok().and_then(|text| text.parse().ok());
    let row = Row {
        end: document.get_str("endIdentifer").ok()?.parse().ok()?,
        server: document.get_str("serverIdentifer").ok()?.parse().ok()?,
        session: session.unwrap_or(SessionId(Uuid::nil())),
        stamp: stamp_of(document).unwrap_or_default(),
        client: document.get_str("client").ok().and_then(|text| text.parse().ok()),
        n: int(document, "n").unwrap_or(0) as u64,
    };
    Some(row)
}

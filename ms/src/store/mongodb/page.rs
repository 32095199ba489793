//! Reads of mailboxes: pages in the order of stamps, and counts.
//!
//! Most mailboxes are empty, so many ends are asked for in one command; those whose page may be
//! cut are read again one by one.

use ::mongodb::bson::{Bson, DateTime, Document as Fields, RawArrayBuf, rawdoc};
use bytes::Bytes;
use futures_util::future::try_join_all;
use rustc_hash::FxHashMap;
use wardlink_wire::{EndId, Epoch, Stamp};

use super::MongoStore;
use super::call::first_batch;
use super::delete::hashed;
use super::rows::texts;
use super::values::{int, stamp_of};
use crate::store::layout::parse_doc_id;
use crate::store::{
    DocKey, Document, MailboxRead, MailboxSize, OpTime, Page, Reply, StoreError, StoreResult,
};

/// Most ends of one command.
const ENDS_MAX: usize = 200;
/// Most documents of one command for many ends. At 64 KiB each it is cut by size, and noticed.
const DOCUMENTS_MAX: usize = 2_000;
/// Most documents of one page; the bound of a mailbox is far lower.
const PAGE_MAX: usize = 100_000;
/// Single reads that run at once.
const AT_ONCE: usize = 8;

impl MongoStore {
    pub(super) async fn count_mailboxes(
        &self,
        ends: Vec<EndId>,
        after: OpTime,
    ) -> StoreResult<Vec<usize>> {
        let mut counts: FxHashMap<EndId, usize> = FxHashMap::default();
        let mut time = OpTime::default();
        for chunk in ends.chunks(ENDS_MAX) {
            let command = rawdoc! {
                "aggregate": self.names.mailbox.as_str(),
                "pipeline": [
                    { "$match": { "endIdentifer": { "$in": texts(chunk) } } },
                    { "$group": { "_id": "$endIdentifer", "n": { "$sum": 1_i64 } } },
                ],
                "cursor": { "batchSize": chunk.len() as i64 + 1 },
            };
            let done = self.read(command, after).await?;
            time = time.max(done.time);
            for group in first_batch(done.body)?.0 {
                let end = group.get_str("_id").ok().and_then(|text| text.parse().ok());
                let count = int(&group, "n").and_then(|n| usize::try_from(n).ok());
                if let (Some(end), Some(count)) = (end, count) {
                    counts.insert(end, count);
                }
            }
        }
        let value = ends.iter().map(|end| counts.get(end).copied().unwrap_or(0)).collect();
        Ok(Reply { value, time })
    }

    /// The number comes from the collection's metadata, the oldest from the index of the TTL.
    pub(super) async fn measure_mailboxes(&self) -> StoreResult<MailboxSize> {
        let count = rawdoc! { "count": self.names.mailbox.as_str() };
        let counted = self.run(count, true).await?;
        let documents = int(&counted.body, "n").and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        let find = rawdoc! {
            "find": self.names.mailbox.as_str(),
            "sort": { "createAt": 1 }, "projection": { "createAt": 1 },
            "limit": 1_i64, "singleBatch": true,
        };
        let found = self.run(find, true).await?;
        let time = found.time;
        let oldest = first_batch(found.body)?.0.into_iter().next();
        let at = oldest.and_then(|oldest| oldest.get_datetime("createAt").ok().copied());
        let oldest_ms = at.and_then(|at| u64::try_from(at.timestamp_millis()).ok());
        Ok(Reply { value: MailboxSize { documents, oldest_ms }, time })
    }

    pub(super) async fn pages(
        &self,
        reads: Vec<MailboxRead>,
        after: OpTime,
    ) -> StoreResult<Vec<Page>> {
        let mut pages: Vec<Option<Page>> = vec![None; reads.len()];
        let mut time = OpTime::default();
        if reads.len() > 1 {
            for first in (0..reads.len()).step_by(ENDS_MAX) {
                let range = first..reads.len().min(first + ENDS_MAX);
                let many = self.read_many(&reads[range.clone()], after).await?;
                time = time.max(many.time);
                pages[range].clone_from_slice(&many.value);
            }
        }
        let open: Vec<usize> = (0..reads.len()).filter(|i| pages[*i].is_none()).collect();
        for some in open.chunks(AT_ONCE) {
            let calls = some.iter().map(|i| self.read_one(&reads[*i], after));
            for (i, page) in some.iter().zip(try_join_all(calls).await?) {
                time = time.max(page.time);
                pages[*i] = Some(page.value);
            }
        }
        let value = pages.into_iter().collect::<Option<_>>().ok_or(StoreError::Unknown)?;
        Ok(Reply { value, time })
    }

    /// One command for many ends. `None` for those of which it may not have brought enough.
    async fn read_many(
        &self,
        reads: &[MailboxRead],
        after: OpTime,
    ) -> StoreResult<Vec<Option<Page>>> {
        let mut ends = RawArrayBuf::new();
        for read in reads {
            ends.push(read.end.as_str());
        }
        let oldest = reads.iter().map(|read| read.created_after_ms).min().unwrap_or(0);
        let command = rawdoc! {
            "find": self.names.mailbox.as_str(),
            "filter": { "endIdentifer": { "$in": ends }, "createAt": { "$gt": date(oldest) } },
            "sort": { "endIdentifer": 1, "stamp": 1 },
            "limit": DOCUMENTS_MAX as i64, "batchSize": DOCUMENTS_MAX as i64,
        };
        let done = self.read(command, after).await?;
        let (fields, cursor) = first_batch(done.body)?;
        self.close_cursor(cursor).await;
        let cut = cursor != 0 || fields.len() >= DOCUMENTS_MAX;
        let last =
            fields.last().and_then(|doc| doc.get_str("endIdentifer").ok()).map(str::to_owned);
        let mut found: FxHashMap<String, Vec<Fields>> = FxHashMap::default();
        for document in fields {
            let Ok(end) = document.get_str("endIdentifer") else { return Err(StoreError::Unknown) };
            found.entry(end.to_owned()).or_default().push(document);
        }
        let page = |read: &MailboxRead| {
            let end = read.end.as_str();
            // Complete are the ends before the one at which it was cut.
            if cut && last.as_deref().is_none_or(|last| end >= last) {
                return None;
            }
            let mut documents = found.remove(end).unwrap_or_default();
            documents.retain(|doc| created(doc).is_some_and(|at| at > read.created_after_ms));
            let end = documents.len() <= read.limit;
            documents.truncate(read.limit);
            Some(Page::cut(documents_of(&read.end, documents), read.bytes, end))
        };
        Ok(Reply { value: reads.iter().map(page).collect(), time: done.time })
    }

    async fn read_one(&self, read: &MailboxRead, after: OpTime) -> StoreResult<Page> {
        // To the server 0 would mean no limit.
        let limit = read.limit.clamp(1, PAGE_MAX);
        let command = rawdoc! {
            "find": self.names.mailbox.as_str(),
            "filter": {
                "endIdentifer": read.end.as_str(),
                "createAt": { "$gt": date(read.created_after_ms) },
            },
            "sort": { "stamp": 1 },
            "limit": limit as i64, "batchSize": limit as i64,
        };
        let done = self.read(command, after).await?;
        let (fields, cursor) = first_batch(done.body)?;
        self.close_cursor(cursor).await;
        // The first batch is cut where it would be larger than 16 MiB.
        let end = cursor == 0 && fields.len() < limit;
        let mut documents = documents_of(&read.end, fields);
        documents.truncate(read.limit);
        Ok(Reply { value: Page::cut(documents, read.bytes, end), time: done.time })
    }

    /// Tells the server to forget a cursor that it kept. If it does not hear, it forgets by itself.
    async fn close_cursor(&self, cursor: i64) {
        if cursor != 0 {
            let command =
                rawdoc! { "killCursors": self.names.mailbox.as_str(), "cursors": [cursor] };
            let _ = self.send(command).await;
        }
    }
}

fn date(ms: u64) -> DateTime {
    DateTime::from_millis(i64::try_from(ms).unwrap_or(i64::MAX))
}

fn created(document: &Fields) -> Option<u64> {
    u64::try_from(document.get_datetime("createAt").ok()?.timestamp_millis()).ok()
}

fn documents_of(end: &EndId, fields: Vec<Fields>) -> Vec<Document> {
    let mut documents: Vec<Document> =
        fields.into_iter().filter_map(|fields| parse(end, fields)).collect();
    documents.sort_by_key(|document| document.stamp);
    // Two old documents of one millisecond may have got the same count.
    for i in 1..documents.len() {
        let (before, after) = (documents[i - 1].stamp, &mut documents[i].stamp);
        if *after <= before {
            *after = Stamp { count: before.count + 1, ..before };
        }
    }
    documents
}

fn parse(end: &EndId, mut fields: Fields) -> Option<Document> {
    let create_at_ms = created(&fields)?;
    let id = fields.remove("_id")?;
    let stamp = stamp_of(&fields).unwrap_or_else(|| old_stamp(create_at_ms, &id));
    let ttl_s = int(&fields, "ttl").and_then(|ttl| u32::try_from(ttl).ok());
    let redelivered = fields.get_bool("redelivered").unwrap_or(false);
    let body = body_of(fields.remove("messageContent").unwrap_or(Bson::Null))?;
    Some(Document { key: key_of(end, &id)?, stamp, redelivered, body, create_at_ms, ttl_s })
}

fn key_of(end: &EndId, id: &Bson) -> Option<DocKey> {
    let text = match id {
        Bson::String(text) => match parse_doc_id(text) {
            Some((of, key)) if of == *end => return Some(key),
            _ => text.clone(),
        },
        Bson::ObjectId(id) => id.to_hex(),
        _ => String::new(),
    };
    let id = text.parse().or_else(|_| hashed(id).parse()).ok()?;
    Some(DocKey { from: None, id })
}

/// Older than all that an owner gives: epoch 0. The count grows with the creation time, and
/// within a millisecond differs by 22 bits of the `_id`.
fn old_stamp(create_at_ms: u64, id: &Bson) -> Stamp {
    let low = match id {
        Bson::ObjectId(id) => {
            let [.., a, b, c] = id.bytes();
            u64::from(u32::from_be_bytes([0, a, b, c]))
        }
        other => xxhash_rust::xxh3::xxh3_64(hashed(other).as_bytes()),
    };
    Stamp { epoch: Epoch(0), count: create_at_ms << 22 | low & 0x3f_ffff }
}

/// The JSON text of a body; what is no JSON is shown as a string.
fn body_of(content: Bson) -> Option<Bytes> {
    match content {
        Bson::String(text) => {
            if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() {
                Some(Bytes::from(text.into_bytes()))
            } else {
                serde_json::to_vec(&text).ok().map(Bytes::from)
            }
        }
        other => serde_json::to_vec(&json_of(other)).ok().map(Bytes::from),
    }
}

fn json_of(value: Bson) -> serde_json::Value {
    match value {
        Bson::Null | Bson::Undefined => serde_json::Value::Null,
        Bson::Boolean(value) => value.into(),
        Bson::Int32(value) => value.into(),
        Bson::Int64(value) => value.into(),
        Bson::Double(value) => value.into(),
        Bson::String(value) => value.into(),
        Bson::ObjectId(value) => value.to_hex().into(),
        Bson::Array(values) => values.into_iter().map(json_of).collect(),
        Bson::Document(fields) => {
            fields.into_iter().map(|(name, value)| (name, json_of(value))).collect()
        }
        other => other.to_string().into(),
    }
}

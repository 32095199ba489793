//! The view document: read, compare-and-set, renewal.

use ::mongodb::bson::{
    Binary, Bson, Document, RawArrayBuf, RawDocumentBuf, doc, rawdoc, spec::BinarySubtype,
};
use uuid::Uuid;
use wardlink_view::View;
use wardlink_wire::{MsId, ViewNumber};

use super::MongoStore;
use super::call::{DUPLICATE_KEY, first_batch};
use super::values::{int, number, timestamp};
use crate::store::layout::{decode_view, encode_slots};
use crate::store::{
    Applied, Beat, OpTime, Renewal, Renewed, Reply, StoreError, StoreResult, ViewChange, ViewKey,
};

/// `_id` of the one document.
const ID: &str = "view";

impl MongoStore {
    pub(super) async fn find_view(&self, after: OpTime) -> StoreResult<Option<View>> {
        let command = rawdoc! {
            "find": self.names.views.as_str(), "filter": { "_id": ID }, "limit": 1,
            "singleBatch": true,
        };
        let done = self.read(command, after).await?;
        let (mut documents, _) = first_batch(done.body)?;
        let value = match documents.pop() {
            None => None,
            Some(document) => Some(parse(&document).ok_or_else(|| {
                tracing::error!("the view document cannot be understood");
                StoreError::NotDone
            })?),
        };
        Ok(Reply { value, time: done.time })
    }

    pub(super) async fn set_view(&self, change: ViewChange) -> StoreResult<Applied> {
        let statement = match change.expect {
            Some(expect) => changed(expect, &change),
            None => created(&change.to),
        };
        let statement = RawDocumentBuf::try_from(&statement).map_err(|_| StoreError::NotDone)?;
        let mut statements = RawArrayBuf::new();
        statements.push(statement);
        let command = rawdoc! { "update": self.names.views.as_str() };
        let written = self.write(command, statements, 1).await?;
        if let Some((_, code)) = written.errors.first() {
            let time = written.done.time;
            return match *code {
                DUPLICATE_KEY => Ok(Reply { value: Applied::No, time }),
                _ => Err(StoreError::NotDone),
            };
        }
        let yes = if change.expect.is_some() { written.n() == 1 } else { written.upserted() };
        let time = written.all()?.time;
        Ok(Reply { value: if yes { Applied::Yes } else { Applied::No }, time })
    }

    pub(super) async fn set_beat(&self, renewal: Renewal) -> StoreResult<Option<Renewed>> {
        let member = format!("members.{}", renewal.me);
        let mut query = key_filter(renewal.expect);
        query.insert(&member, doc! { "$exists": true });
        let mut inc = Document::new();
        inc.insert(format!("{member}.renewals"), 1_i64);
        let mut set = Document::new();
        set.insert(format!("{member}.links"), i64::from(renewal.links));
        let command = doc! {
            "findAndModify": &self.names.views, "query": query,
            "update": { "$inc": inc, "$set": set, "$currentDate": { "at": true } },
            "new": true, "fields": { "members": 1, "at": 1 },
        };
        let command = RawDocumentBuf::try_from(&command).map_err(|_| StoreError::NotDone)?;
        let done = self.modify(command).await?;
        let value = match done.body.get("value") {
            Some(Bson::Document(document)) => {
                // It was applied; a reply that cannot be read confirms nothing.
                Some(renewed(document).ok_or(StoreError::Unknown)?)
            }
            Some(Bson::Null) | None => None,
            Some(_) => return Err(StoreError::Unknown),
        };
        Ok(Reply { value, time: done.time })
    }
}

fn key_filter(key: ViewKey) -> Document {
    doc! { "_id": ID, "number": timestamp(key.number.0), "id": key.id.to_string() }
}

fn no_beat() -> Document {
    doc! { "renewals": 0_i64, "links": 0_i64 }
}

/// Number, id and partitions of a view as fields.
fn head(view: &View) -> Document {
    let (owners, partitions) = encode_slots(view);
    doc! {
        "number": timestamp(view.number.0),
        "id": view.id.to_string(),
        "owners": owners.iter().map(MsId::to_string).collect::<Vec<_>>(),
        "partitions": Binary { subtype: BinarySubtype::Generic, bytes: partitions },
    }
}

/// The statement that changes the document if it still is `expect`. Members are touched one by
/// one, so that renewals of the others are not undone.
fn changed(expect: ViewKey, change: &ViewChange) -> Document {
    let mut set = head(&change.to);
    for ms in change.added.iter().filter(|ms| !change.removed.contains(ms)) {
        set.insert(format!("members.{ms}"), no_beat());
    }
    let mut update = doc! { "$set": set };
    if !change.removed.is_empty() {
        let gone: Document =
            change.removed.iter().map(|ms| (format!("members.{ms}"), Bson::from(""))).collect();
        update.insert("$unset", gone);
    }
    doc! { "q": key_filter(expect), "u": update, "upsert": false, "multi": false }
}

/// The statement that makes the document if there is none.
fn created(to: &View) -> Document {
    let mut insert = head(to);
    let members: Document =
        to.members.iter().map(|ms| (ms.to_string(), Bson::from(no_beat()))).collect();
    insert.insert("members", members);
    doc! { "q": { "_id": ID }, "u": { "$setOnInsert": insert }, "upsert": true, "multi": false }
}

fn parse(document: &Document) -> Option<View> {
    let key = ViewKey {
        number: ViewNumber(number(document.get_timestamp("number").ok()?)),
        id: Uuid::parse_str(document.get_str("id").ok()?).ok()?,
    };
    let members = document.get_document("members").ok()?;
    let members = members.keys().map(|id| id.parse().ok()).collect::<Option<Vec<MsId>>>()?;
    let owners = document.get_array("owners").ok()?;
    let owners =
        owners.iter().map(|id| id.as_str()?.parse().ok()).collect::<Option<Vec<MsId>>>()?;
    let partitions = document.get_binary_generic("partitions").ok()?;
    decode_view(key, members, &owners, partitions)
}

fn renewed(document: &Document) -> Option<Renewed> {
    let at = document.get_datetime("at").ok()?.timestamp_millis();
    let members = document.get_document("members").ok()?;
    let beats = members
        .iter()
        .map(|(id, beat)| {
            let beat = beat.as_document()?;
            Some(Beat {
                ms: id.parse().ok()?,
                renewals: int(beat, "renewals")? as u64,
                links: u32::try_from(int(beat, "links")?).ok()?,
            })
        })
        .collect::<Option<Vec<_>>>()?;
    Some(Renewed { beats, clock_ms: u64::try_from(at).ok()? })
}

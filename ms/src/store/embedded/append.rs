//! Writes to the mailboxes.

use redb::ReadableTable;
use wardlink_wire::{EndId, Epoch, Stamp};

use super::tables::Tables;
use crate::store::layout::{DOCUMENT_BODY_MAX_BYTES, doc_id};
use crate::store::{Append, Appended, DocKey, Document, Put, PutError};

pub(super) fn append(
    tables: &mut Tables<'_>,
    appends: &[Append],
) -> Result<Vec<Appended>, redb::Error> {
    appends.iter().map(|append| append_lane(tables, append)).collect()
}

fn append_lane(tables: &mut Tables<'_>, append: &Append) -> Result<Appended, redb::Error> {
    for (applied, put) in append.puts.iter().enumerate() {
        match put {
            Put::Document(document) if document.body.len() > DOCUMENT_BODY_MAX_BYTES => {
                return Ok(Appended { applied, error: Some(PutError::Refused) });
            }
            Put::Document(document) => upsert(tables, &append.end, document)?,
            Put::Mark(key) => {
                let id = doc_id(&append.end, key);
                if let Some(stamp) = stamp_of(tables, &id)? {
                    rewrite(tables, &append.end, &id, stamp, stamp, true)?;
                }
            }
        }
    }
    Ok(Appended { applied: append.puts.len(), error: None })
}

fn upsert(tables: &mut Tables<'_>, end: &EndId, document: &Document) -> Result<(), redb::Error> {
    let id = doc_id(end, &document.key);
    if let Some(stamp) = stamp_of(tables, &id)? {
        let lower = stamp.min(document.stamp);
        if lower != stamp || document.redelivered {
            rewrite(tables, end, &id, stamp, lower, document.redelivered)?;
        }
        return Ok(());
    }
    let Stamp { epoch, count } = document.stamp;
    let value = (
        document.redelivered,
        document.create_at_ms,
        document.ttl_s.unwrap_or(0),
        document.body.as_ref(),
    );
    tables.mail.insert((end.as_str(), epoch.0, count, id.as_str()), value)?;
    tables.docs.insert(id.as_str(), (epoch.0, count))?;
    tables.expiry.insert((document.create_at_ms, id.as_str()), ())?;
    Ok(())
}

fn stamp_of(tables: &Tables<'_>, id: &str) -> Result<Option<Stamp>, redb::Error> {
    Ok(tables.docs.get(id)?.map(|stamp| {
        let (epoch, count) = stamp.value();
        Stamp { epoch: Epoch(epoch), count }
    }))
}

/// Moves a document from one stamp to another, which may be the same, and marks it if asked to.
fn rewrite(
    tables: &mut Tables<'_>,
    end: &EndId,
    id: &str,
    from: Stamp,
    to: Stamp,
    mark: bool,
) -> Result<(), redb::Error> {
    let removed = tables.mail.remove((end.as_str(), from.epoch.0, from.count, id))?;
    let Some((marked, create_at_ms, ttl_s, body)) = removed.map(|value| {
        let (marked, create_at_ms, ttl_s, body) = value.value();
        (marked, create_at_ms, ttl_s, body.to_vec())
    }) else {
        return Err(redb::Error::Corrupted("a document is missing in its mailbox".into()));
    };
    let value = (marked || mark, create_at_ms, ttl_s, body.as_slice());
    tables.mail.insert((end.as_str(), to.epoch.0, to.count, id), value)?;
    tables.docs.insert(id, (to.epoch.0, to.count))?;
    Ok(())
}

pub(super) fn delete(tables: &mut Tables<'_>, keys: &[(EndId, DocKey)]) -> Result<(), redb::Error> {
    for (end, key) in keys {
        remove(tables, end.as_str(), &doc_id(end, key))?;
    }
    Ok(())
}

/// Removes a document wherever it is named.
pub(super) fn remove(tables: &mut Tables<'_>, end: &str, id: &str) -> Result<(), redb::Error> {
    let Some((epoch, count)) = tables.docs.remove(id)?.map(|stamp| stamp.value()) else {
        return Ok(());
    };
    let created = tables.mail.remove((end, epoch, count, id))?.map(|value| value.value().1);
    if let Some(created) = created {
        tables.expiry.remove((created, id))?;
    }
    Ok(())
}

//! Reads, each from one transaction.

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata};
use uuid::Uuid;
use wardlink_wire::{EndId, Epoch, ServerId, Stamp};

use super::rows::range_of;
use super::tables::{BY_SERVER, EXPIRY, MAIL, MailKey, MailValue, ROWS, document_of, row_of};
use crate::store::layout::parse_doc_id;
use crate::store::{Document, MailboxRead, MailboxSize, Page, Row};

/// Above every `_id`: none has a character above `~`.
const LAST_ID: &str = "~";

pub(super) fn rows(
    transaction: &ReadTransaction,
    ends: &[EndId],
) -> Result<Vec<Option<Row>>, redb::Error> {
    let table = transaction.open_table(ROWS)?;
    ends.iter()
        .map(|end| Ok(table.get(end.as_str())?.map(|value| row_of(end.clone(), value.value()))))
        .collect()
}

pub(super) fn count(
    transaction: &ReadTransaction,
    ends: &[EndId],
) -> Result<Vec<usize>, redb::Error> {
    let table = transaction.open_table(MAIL)?;
    ends.iter().map(|end| Ok(mailbox(&table, end)?.count())).collect()
}

pub(super) fn mailbox_size(transaction: &ReadTransaction) -> Result<MailboxSize, redb::Error> {
    let documents = transaction.open_table(MAIL)?.len()?;
    let oldest = transaction.open_table(EXPIRY)?;
    let oldest_ms = oldest.first()?.map(|(key, _)| key.value().0);
    Ok(MailboxSize { documents, oldest_ms })
}

fn mailbox<'a>(
    table: &'a ReadOnlyTable<MailKey, MailValue>,
    end: &EndId,
) -> Result<redb::Range<'a, MailKey, MailValue>, redb::StorageError> {
    table.range((end.as_str(), 0, 0, "")..=(end.as_str(), u64::MAX, u64::MAX, LAST_ID))
}

pub(super) fn pages(
    transaction: &ReadTransaction,
    reads: &[MailboxRead],
) -> Result<Vec<Page>, redb::Error> {
    let table = transaction.open_table(MAIL)?;
    reads.iter().map(|read| page(&table, read)).collect()
}

fn page(
    table: &ReadOnlyTable<MailKey, MailValue>,
    read: &MailboxRead,
) -> Result<Page, redb::Error> {
    let mut documents: Vec<Document> = Vec::new();
    let mut held = 0;
    for entry in mailbox(table, &read.end)? {
        let (place, value) = entry?;
        let (value, (_, epoch, count, id)) = (value.value(), place.value());
        if value.1 <= read.created_after_ms {
            continue;
        }
        if documents.len() >= read.limit || held >= read.bytes.max(1) {
            return Ok(Page { documents, end: false });
        }
        let Some((_, key)) = parse_doc_id(id) else {
            return Err(redb::Error::Corrupted("an id in a mailbox cannot be understood".into()));
        };
        let document = document_of(key, Stamp { epoch: Epoch(epoch), count }, value);
        held += document.body.len();
        documents.push(document);
    }
    Ok(Page { documents, end: true })
}

/// All servers that rows name, in order.
pub(super) fn servers(transaction: &ReadTransaction) -> Result<Vec<ServerId>, redb::Error> {
    let table = transaction.open_table(BY_SERVER)?;
    let mut servers = Vec::new();
    let mut next = Some(0_u128);
    while let Some(from) = next {
        let first = table.range((from, "")..)?.next().transpose()?;
        let Some(id) = first.map(|(key, _)| key.value().0) else { break };
        servers.push(ServerId(Uuid::from_u128(id)));
        next = id.checked_add(1);
    }
    Ok(servers)
}

pub(super) fn rows_of(
    transaction: &ReadTransaction,
    servers: &[ServerId],
    above: Option<&EndId>,
    limit: usize,
) -> Result<Vec<Row>, redb::Error> {
    let by_server = transaction.open_table(BY_SERVER)?;
    let from = above.map_or("", EndId::as_str);
    let mut ends: Vec<EndId> = Vec::new();
    for server in servers {
        let mut taken = 0;
        for entry in by_server.range(range_of(*server, from))? {
            let key = entry?.0;
            let end = key.value().1;
            if end == from {
                continue;
            }
            if taken == limit {
                break;
            }
            taken += 1;
            ends.extend(end.parse::<EndId>());
        }
    }
    ends.sort_unstable();
    ends.dedup();
    ends.truncate(limit);
    Ok(rows(transaction, &ends)?.into_iter().flatten().collect())
}

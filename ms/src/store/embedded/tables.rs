//! The tables of the file, and what is loaded from them at start.

use redb::{
    Database, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError, WriteTransaction,
};
use uuid::Uuid;
use wardlink_view::View;
use wardlink_wire::{ClientId, EndId, Epoch, MsId, ServerId, SessionId, Stamp, ViewNumber};

use crate::store::layout::decode_view;
use crate::store::{DocKey, Document, Row, ViewKey};

/// Numbers by name: [`TIME`].
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// The last operation time.
pub(super) const TIME: &str = "time";

/// Number, id, members, owners, partitions.
pub(super) type ViewValue = (u64, u128, Vec<u128>, Vec<u128>, &'static [u8]);
/// The view, once.
pub(super) const VIEW: TableDefinition<(), ViewValue> = TableDefinition::new("view");

/// Server, session, epoch and count of the stamp, client (empty: none), n.
pub(super) type RowValue = (u128, u128, u64, u64, &'static str, u64);
/// Rows by end.
pub(super) const ROWS: TableDefinition<&str, RowValue> = TableDefinition::new("rows");
/// Ends by server.
pub(super) const BY_SERVER: TableDefinition<(u128, &str), ()> = TableDefinition::new("by_server");

/// End, epoch and count of the stamp, `_id`.
pub(super) type MailKey = (&'static str, u64, u64, &'static str);
/// Redelivered, creation time, time to live (0: none of its own), body.
pub(super) type MailValue = (bool, u64, u32, &'static [u8]);
/// Mailboxes, by stamp.
pub(super) const MAIL: TableDefinition<MailKey, MailValue> = TableDefinition::new("mail");
/// Epoch and count of the stamp of each document, by `_id`.
pub(super) const DOCS: TableDefinition<&str, (u64, u64)> = TableDefinition::new("docs");
/// Documents by creation time.
pub(super) const EXPIRY: TableDefinition<(u64, &str), ()> = TableDefinition::new("expiry");
/// When each server was last touched.
pub(super) const SEEN: TableDefinition<u128, u64> = TableDefinition::new("seen");

/// All tables, open in one write transaction.
pub(super) struct Tables<'t> {
    pub(super) meta: Table<'t, &'static str, u64>,
    pub(super) view: Table<'t, (), ViewValue>,
    pub(super) rows: Table<'t, &'static str, RowValue>,
    pub(super) by_server: Table<'t, (u128, &'static str), ()>,
    pub(super) mail: Table<'t, MailKey, MailValue>,
    pub(super) docs: Table<'t, &'static str, (u64, u64)>,
    pub(super) expiry: Table<'t, (u64, &'static str), ()>,
    pub(super) seen: Table<'t, u128, u64>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, TableError> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            view: transaction.open_table(VIEW)?,
            rows: transaction.open_table(ROWS)?,
            by_server: transaction.open_table(BY_SERVER)?,
            mail: transaction.open_table(MAIL)?,
            docs: transaction.open_table(DOCS)?,
            expiry: transaction.open_table(EXPIRY)?,
            seen: transaction.open_table(SEEN)?,
        })
    }
}

/// What a start takes from the file.
pub(super) struct Loaded {
    pub(super) time: u64,
    pub(super) view: Option<View>,
    pub(super) seen: Vec<(ServerId, u64)>,
}

/// Makes the tables and reads what is kept in memory.
pub(super) fn load(database: &Database) -> Result<Loaded, redb::Error> {
    let transaction = match database.begin_read()? {
        // All tables are made in one transaction. A full disk must not keep a file from being read.
        made if made.list_tables()?.next().is_some() => made,
        _ => {
            let transaction = database.begin_write()?;
            Tables::open(&transaction)?;
            transaction.commit()?;
            database.begin_read()?
        }
    };
    let time = transaction.open_table(META)?.get(TIME)?.map_or(0, |time| time.value());
    let view = match transaction.open_table(VIEW)?.get(())? {
        Some(value) => view_of(value.value()),
        None => None,
    };
    let mut seen = Vec::new();
    for entry in transaction.open_table(SEEN)?.iter()? {
        let (server, at) = entry?;
        seen.push((ServerId(Uuid::from_u128(server.value())), at.value()));
    }
    Ok(Loaded { time, view, seen })
}

/// The view in the table; `None` where it is not whole.
pub(super) fn view_of(value: (u64, u128, Vec<u128>, Vec<u128>, &[u8])) -> Option<View> {
    let (number, id, members, owners, partitions) = value;
    let ids = |ids: Vec<u128>| -> Vec<MsId> {
        ids.into_iter().map(|id| MsId(Uuid::from_u128(id))).collect()
    };
    let key = ViewKey { number: ViewNumber(number), id: Uuid::from_u128(id) };
    decode_view(key, ids(members), &ids(owners), partitions)
}

/// A row as a value.
pub(super) fn row_value(row: &Row) -> (u128, u128, u64, u64, &str, u64) {
    let client = row.client.as_ref().map_or("", ClientId::as_str);
    let Stamp { epoch, count } = row.stamp;
    (row.server.0.as_u128(), row.session.0.as_u128(), epoch.0, count, client, row.n)
}

/// A value as a row.
pub(super) fn row_of(end: EndId, value: (u128, u128, u64, u64, &str, u64)) -> Row {
    let (server, session, epoch, count, client, n) = value;
    Row {
        end,
        server: ServerId(Uuid::from_u128(server)),
        session: SessionId(Uuid::from_u128(session)),
        stamp: Stamp { epoch: Epoch(epoch), count },
        client: client.parse().ok(),
        n,
    }
}

/// A document from its place and its value.
pub(super) fn document_of(
    key: DocKey,
    stamp: Stamp,
    (redelivered, create_at_ms, ttl_s, body): (bool, u64, u32, &[u8]),
) -> Document {
    Document {
        key,
        stamp,
        redelivered,
        body: bytes::Bytes::copy_from_slice(body),
        create_at_ms,
        ttl_s: (ttl_s != 0).then_some(ttl_s),
    }
}

//! Writes to the registry.

use redb::ReadableTable;
use uuid::Uuid;
use wardlink_wire::{EndId, Epoch, ServerId, SessionId, Stamp};

use super::tables::{Tables, row_value};
use crate::store::{Applied, Row, StoreError};

type Results = Vec<Result<Applied, StoreError>>;

pub(super) fn write(tables: &mut Tables<'_>, rows: &[Row]) -> Result<Results, redb::Error> {
    rows.iter().map(|row| write_one(tables, row).map(Ok)).collect()
}

fn write_one(tables: &mut Tables<'_>, row: &Row) -> Result<Applied, redb::Error> {
    let end = row.end.as_str();
    let there = tables.rows.get(end)?.map(|value| {
        let (server, _, epoch, count, ..) = value.value();
        (server, Stamp { epoch: Epoch(epoch), count })
    });
    if let Some((server, stamp)) = there {
        if stamp > row.stamp {
            return Ok(Applied::No);
        }
        tables.by_server.remove((server, end))?;
    }
    tables.rows.insert(end, row_value(row))?;
    tables.by_server.insert((row.server.0.as_u128(), end), ())?;
    Ok(Applied::Yes)
}

pub(super) fn delete(
    tables: &mut Tables<'_>,
    rows: &[(EndId, ServerId, SessionId)],
) -> Result<(), redb::Error> {
    for (end, server, session) in rows {
        let (server, session) = (server.0.as_u128(), session.0.as_u128());
        let there = tables.rows.get(end.as_str())?.map(|value| {
            let (server, session, ..) = value.value();
            (server, session)
        });
        if there == Some((server, session)) {
            tables.rows.remove(end.as_str())?;
            tables.by_server.remove((server, end.as_str()))?;
        }
    }
    Ok(())
}

pub(super) fn delete_of(tables: &mut Tables<'_>, server: ServerId) -> Result<(), redb::Error> {
    let mut ends = Vec::new();
    for entry in tables.by_server.range(range_of(server, ""))? {
        ends.push(entry?.0.value().1.to_owned());
    }
    for end in ends {
        tables.rows.remove(end.as_str())?;
        tables.by_server.remove((server.0.as_u128(), end.as_str()))?;
    }
    Ok(())
}

/// The keys of a server's ends, from the text `above` on. No end id has a character above `~`.
pub(super) fn range_of(server: ServerId, above: &str) -> std::ops::RangeInclusive<(u128, &str)> {
    let id = Uuid::as_u128(&server.0);
    (id, above)..=(id, "~")
}

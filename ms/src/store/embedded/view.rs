//! The view in the file: read, and compare-and-set.

use redb::{ReadTransaction, ReadableTable};
use wardlink_view::View;
use wardlink_wire::{MsId, ViewNumber};

use super::tables::{Tables, VIEW, view_of};
use crate::store::layout::encode_slots;
use crate::store::{Applied, ViewChange, ViewKey};

pub(super) fn find(transaction: &ReadTransaction) -> Result<Option<View>, redb::Error> {
    match transaction.open_table(VIEW)?.get(())? {
        None => Ok(None),
        Some(value) => view_of(value.value()).map(Some).ok_or_else(|| {
            redb::Error::Corrupted("the view in the store cannot be understood".into())
        }),
    }
}

pub(super) fn change(tables: &mut Tables<'_>, change: &ViewChange) -> Result<Applied, redb::Error> {
    let there = tables.view.get(())?.map(|value| {
        let (number, id, members, ..) = value.value();
        let key = ViewKey { number: ViewNumber(number), id: uuid::Uuid::from_u128(id) };
        (key, members)
    });
    if there.as_ref().map(|(key, _)| *key) != change.expect {
        return Ok(Applied::No);
    }
    let to_u128 = |ms: &MsId| ms.0.as_u128();
    let mut members: Vec<u128> = match there {
        None => change.to.members.iter().map(to_u128).collect(),
        Some((_, members)) => members.into_iter().chain(change.added.iter().map(to_u128)).collect(),
    };
    if change.expect.is_some() {
        members.retain(|member| !change.removed.iter().any(|ms| to_u128(ms) == *member));
    }
    members.sort_unstable();
    members.dedup();
    let (owners, partitions) = encode_slots(&change.to);
    let owners: Vec<u128> = owners.iter().map(to_u128).collect();
    let (number, id) = (change.to.number.0, change.to.id.as_u128());
    tables.view.insert((), (number, id, members, owners, partitions.as_slice()))?;
    Ok(Applied::Yes)
}

//! Shapes that both databases store alike: the text of a document's `_id` and the compact form
//! of a view's partitions.
//!
//! Both are promises to those who read the data later (an older or a newer version, the operator,
//! a person), so they change only together with a way to read what was there before.

use wardlink_view::{Slot, View};
use wardlink_wire::{EndId, Epoch, MessageId, MsId, PARTITIONS};

use super::{DocKey, ViewKey};

/// Largest body that a store takes, in bytes: MongoDB's 16 MiB for a document less ample room
/// for its other fields. Far above what a terminal may send (64 KiB).
pub const DOCUMENT_BODY_MAX_BYTES: usize = 15 << 20;

/// Bytes of one partition: 2 for the owner's index, 8 for the epoch, both big-endian.
const SLOT_BYTES: usize = 10;
/// Index of "no owner".
const NO_OWNER: u16 = u16::MAX;

/// The text of a document's `_id`: `end/from/id`, or `end//id` without a sender.
pub(super) fn doc_id(end: &EndId, key: &DocKey) -> String {
    let from = key.from.as_ref().map_or("", EndId::as_str);
    format!("{end}/{from}/{}", key.id)
}

/// Takes such a text apart. No part can hold a slash, so this is unambiguous.
pub(super) fn parse_doc_id(text: &str) -> Option<(EndId, DocKey)> {
    let mut parts = text.splitn(3, '/');
    let end = parts.next()?.parse().ok()?;
    let from = match parts.next()? {
        "" => None,
        from => Some(from.parse().ok()?),
    };
    let id: MessageId = parts.next()?.parse().ok()?;
    Some((end, DocKey { from, id }))
}

/// The owners of a view, each once, sorted, and its partitions, which name them by index. They
/// are written together, so a member that comes or goes meanwhile shifts nothing.
pub(super) fn encode_slots(view: &View) -> (Vec<MsId>, Vec<u8>) {
    let mut owners: Vec<MsId> = view.slots.iter().filter_map(|slot| slot.owner).collect();
    owners.sort_unstable();
    owners.dedup();
    let mut bytes = Vec::with_capacity(PARTITIONS * SLOT_BYTES);
    for slot in view.slots.iter() {
        let index = slot.owner.and_then(|owner| owners.binary_search(&owner).ok());
        let index = index.and_then(|i| u16::try_from(i).ok()).unwrap_or(NO_OWNER);
        bytes.extend_from_slice(&index.to_be_bytes());
        bytes.extend_from_slice(&slot.epoch.0.to_be_bytes());
    }
    (owners, bytes)
}

/// Builds a view from what was stored. `None` where it is not whole or contradicts itself.
///
/// An owner that is no member is read as no owner: the next view change gives the partition away.
pub(super) fn decode_view(
    key: ViewKey,
    mut members: Vec<MsId>,
    owners: &[MsId],
    partitions: &[u8],
) -> Option<View> {
    if partitions.len() != PARTITIONS * SLOT_BYTES {
        return None;
    }
    members.sort_unstable();
    members.dedup();
    let mut slots = Box::new([Slot { owner: None, epoch: Epoch(0) }; PARTITIONS]);
    for (slot, bytes) in slots.iter_mut().zip(partitions.chunks_exact(SLOT_BYTES)) {
        let (index, epoch) = bytes.split_at(2);
        let index = u16::from_be_bytes(index.try_into().ok()?);
        slot.epoch = Epoch(u64::from_be_bytes(epoch.try_into().ok()?));
        if slot.epoch.0 > key.number.0 {
            return None;
        }
        if index != NO_OWNER {
            let owner = *owners.get(usize::from(index))?;
            slot.owner = members.binary_search(&owner).is_ok().then_some(owner);
        }
    }
    Some(View { number: key.number, id: key.id, members, slots })
}

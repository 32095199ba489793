//! The view: member MSs, and for each partition its owner and epoch.

use std::fmt;

use uuid::Uuid;
use wardlink_wire::link::ViewItem;
use wardlink_wire::{Epoch, MsId, PARTITIONS, Partition, ViewNumber};

/// One partition's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The one MS that serves the partition; `None` only in a view that nobody could repair yet.
    pub owner: Option<MsId>,
    /// Number of the view that made it so.
    pub epoch: Epoch,
}

/// The numbered document that names the member MSs and each partition's owner.
#[derive(Clone, PartialEq, Eq)]
pub struct View {
    /// Grows with each change.
    pub number: ViewNumber,
    /// Random, new with each change: two views of one number are told apart by it.
    pub id: Uuid,
    /// Member MSs, sorted.
    pub members: Vec<MsId>,
    /// One slot for each partition; always [`PARTITIONS`] of them.
    pub slots: Box<[Slot; PARTITIONS]>,
}

/// Why a received view cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// Not exactly one entry for each partition.
    #[error("view must have {PARTITIONS} partitions")]
    Partitions,
    /// An owner that is no member.
    #[error("owner of a partition is no member")]
    Owner,
    /// An epoch above the view's own number.
    #[error("epoch is above the view's number")]
    Epoch,
}

impl View {
    /// The slot of one partition.
    pub fn slot(&self, partition: Partition) -> Slot {
        self.slots[partition.index()]
    }

    /// Whether `ms` is a member.
    pub fn has(&self, ms: MsId) -> bool {
        self.members.binary_search(&ms).is_ok()
    }

    /// Number of partitions that `ms` owns.
    pub fn owned_by(&self, ms: MsId) -> usize {
        self.slots.iter().filter(|slot| slot.owner == Some(ms)).count()
    }

    /// The first partition whose epoch in `self` is below the one in `known`: proof that the
    /// document was lost or restored.
    pub fn goes_back_from(&self, known: &View) -> Option<Epoch> {
        self.slots
            .iter()
            .zip(known.slots.iter())
            .find(|(mine, theirs)| mine.epoch < theirs.epoch)
            .map(|(_, theirs)| theirs.epoch)
    }

    /// The view as it travels on a link.
    pub fn to_item(&self) -> ViewItem {
        let index = |owner: MsId| self.members.binary_search(&owner).map_or(-1, |i| i as i32);
        ViewItem {
            number: self.number,
            id: self.id,
            members: self.members.clone(),
            partitions: self
                .slots
                .iter()
                .map(|slot| (slot.owner.map_or(-1, index), slot.epoch))
                .collect(),
        }
    }

    /// Checks and takes a view from a link.
    ///
    /// # Errors
    /// Where it is not whole or contradicts itself.
    pub fn from_item(item: &ViewItem) -> Result<Self, ViewError> {
        if item.partitions.len() != PARTITIONS {
            return Err(ViewError::Partitions);
        }
        let empty = Slot { owner: None, epoch: Epoch(0) };
        let mut slots = Box::new([empty; PARTITIONS]);
        for (slot, &(owner, epoch)) in slots.iter_mut().zip(&item.partitions) {
            slot.owner = match owner {
                -1 => None,
                i => {
                    let i = usize::try_from(i).map_err(|_| ViewError::Owner)?;
                    Some(*item.members.get(i).ok_or(ViewError::Owner)?)
                }
            };
            if epoch.0 > item.number.0 {
                return Err(ViewError::Epoch);
            }
            slot.epoch = epoch;
        }
        let mut members = item.members.clone();
        members.sort_unstable();
        members.dedup();
        Ok(Self { number: item.number, id: item.id, members, slots })
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owned: Vec<_> = self.members.iter().map(|ms| (ms, self.owned_by(*ms))).collect();
        f.debug_struct("View")
            .field("number", &self.number.0)
            .field("id", &self.id)
            .field("owned", &owned)
            .finish()
    }
}

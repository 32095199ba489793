//! How one view follows from another. Every function is pure; each new view has a higher number
//! and a new id, and every partition whose owner or reason changes gets that number as its epoch.

use std::collections::BTreeMap;

use uuid::Uuid;
use wardlink_wire::{Epoch, MsId, PARTITIONS, ViewNumber};

use crate::view::{Slot, View};

/// Identity of the view to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// Its number; see [`next_number`].
    pub number: ViewNumber,
    /// Its random id.
    pub id: Uuid,
}

/// The number of a change: the database's operation time in the reply that the change is based
/// on, or one above all that the writer and its BSs know, if that is more.
pub fn next_number(operation_time: u64, known: ViewNumber) -> ViewNumber {
    ViewNumber(operation_time.max(known.0.saturating_add(1)))
}

/// The first view: `me` is the only member and owns everything.
pub fn found(me: MsId, next: Next) -> View {
    let slot = Slot { owner: Some(me), epoch: Epoch(next.number.0) };
    View {
        number: next.number,
        id: next.id,
        members: vec![me],
        slots: Box::new([slot; PARTITIONS]),
    }
}

/// `me` enters without partitions; with all of them where there is no member.
pub fn enter(view: &View, me: MsId, next: Next) -> View {
    if view.members.is_empty() {
        return found(me, next);
    }
    let mut to = renamed(view, next);
    if let Err(at) = to.members.binary_search(&me) {
        to.members.insert(at, me);
    }
    to
}

/// Members in `out` go; partitions of members in `out` and in `lose`, and those without an owner,
/// go each to the member that then has the fewest: of `preferred` if any of them stays, else of
/// all that stay.
pub fn reassign(view: &View, lose: &[MsId], out: &[MsId], preferred: &[MsId], next: Next) -> View {
    let mut to = renamed(view, next);
    to.members.retain(|ms| !out.contains(ms));
    let stays = |ms: &&MsId| !lose.contains(ms);
    let mut takers: Vec<MsId> =
        to.members.iter().filter(|ms| preferred.contains(ms)).filter(stays).copied().collect();
    if takers.is_empty() {
        takers = to.members.iter().filter(stays).copied().collect();
    }
    if takers.is_empty() {
        takers.clone_from(&to.members);
    }
    let keeps = |slot: &Slot| {
        slot.owner.is_some_and(|owner| to.members.contains(&owner) && !lose.contains(&owner))
    };
    let mut load: BTreeMap<MsId, usize> = takers.iter().map(|ms| (*ms, 0)).collect();
    for slot in to.slots.iter().filter(|slot| keeps(slot)) {
        if let Some(count) = slot.owner.and_then(|owner| load.get_mut(&owner)) {
            *count += 1;
        }
    }
    let homeless: Vec<usize> = (0..PARTITIONS).filter(|i| !keeps(&to.slots[*i])).collect();
    for i in homeless {
        let fewest = load.iter().min_by_key(|(ms, count)| (**count, **ms)).map(|(ms, _)| *ms);
        if let Some(count) = fewest.and_then(|ms| load.get_mut(&ms)) {
            *count += 1;
        }
        to.slots[i] = Slot { owner: fewest, epoch: Epoch(next.number.0) };
    }
    to
}

/// Evens out among `eligible` members with the fewest moves; others keep what they have. `None`
/// where nothing has to move.
pub fn even_out(view: &View, eligible: &[MsId], next: Next) -> Option<View> {
    let mut load: BTreeMap<MsId, Vec<usize>> =
        view.members.iter().filter(|ms| eligible.contains(ms)).map(|ms| (*ms, vec![])).collect();
    for (i, slot) in view.slots.iter().enumerate() {
        if let Some(owned) = slot.owner.and_then(|owner| load.get_mut(&owner)) {
            owned.push(i);
        }
    }
    let mut to = renamed(view, next);
    let mut moved = false;
    loop {
        let most =
            load.iter().max_by_key(|(ms, owned)| (owned.len(), **ms)).map(|(ms, o)| (*ms, o.len()));
        let fewest =
            load.iter().min_by_key(|(ms, owned)| (owned.len(), **ms)).map(|(ms, o)| (*ms, o.len()));
        let (Some((giver, high)), Some((taker, low))) = (most, fewest) else { return None };
        if high - low < 2 {
            return moved.then_some(to);
        }
        let i = load.get_mut(&giver).and_then(Vec::pop)?;
        load.entry(taker).or_default().push(i);
        to.slots[i] = Slot { owner: Some(taker), epoch: Epoch(next.number.0) };
        moved = true;
    }
}

/// The same members and owners, with every epoch new: what is written where the document was
/// lost, restored, or holds a number or an epoch below one that is known.
pub fn anew(view: &View, next: Next) -> View {
    let mut to = renamed(view, next);
    for slot in to.slots.iter_mut() {
        slot.epoch = Epoch(next.number.0);
    }
    to
}

fn renamed(view: &View, next: Next) -> View {
    View { number: next.number, id: next.id, ..view.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(n: u128) -> MsId {
        MsId(Uuid::from_u128(n))
    }

    fn next(number: u64) -> Next {
        Next { number: ViewNumber(number), id: Uuid::from_u128(u128::from(number)) }
    }

    #[test]
    fn a_number_is_above_all_that_is_known_and_not_below_the_operation_time() {
        assert_eq!(next_number(100, ViewNumber(7)), ViewNumber(100));
        assert_eq!(next_number(7, ViewNumber(100)), ViewNumber(101));
    }

    #[test]
    fn the_first_member_gets_all_and_the_second_none() {
        let one = found(ms(1), next(1));
        assert_eq!(one.owned_by(ms(1)), PARTITIONS);
        let two = enter(&one, ms(2), next(2));
        assert_eq!(two.owned_by(ms(2)), 0);
        assert_eq!(two.slots, one.slots, "entering moves nothing");
    }

    #[test]
    fn the_last_member_that_leaves_leaves_partitions_without_an_owner() {
        let one = found(ms(1), next(1));
        let none = reassign(&one, &[], &[ms(1)], &[], next(2));
        assert!(none.members.is_empty() && none.slots.iter().all(|s| s.owner.is_none()));
        let back = enter(&none, ms(2), next(3));
        assert_eq!(back.owned_by(ms(2)), PARTITIONS);
        assert!(back.slots.iter().all(|s| s.epoch == Epoch(3)));
    }

    #[test]
    fn who_loses_its_partitions_stays_a_member_and_gets_none_back() {
        let view = enter(&found(ms(1), next(1)), ms(2), next(2));
        let to = reassign(&view, &[ms(1)], &[], &[ms(1), ms(2)], next(3));
        assert!(to.has(ms(1)));
        assert_eq!((to.owned_by(ms(1)), to.owned_by(ms(2))), (0, PARTITIONS));
    }

    proptest! {
        #[test]
        fn evening_out_moves_as_few_as_possible_and_raises_only_moved_epochs(
            members in 1usize..6, eligible in 1usize..6, seed in any::<u64>()
        ) {
            let ids: Vec<MsId> = (1..=members as u128).map(ms).collect();
            let mut view = found(ids[0], next(1));
            view.members = ids.clone();
            for (i, slot) in view.slots.iter_mut().enumerate() {
                slot.owner = Some(ids[(seed.rotate_left(i as u32) % members as u64) as usize]);
            }
            let eligible = &ids[..eligible.min(members)];
            let before: Vec<usize> = eligible.iter().map(|m| view.owned_by(*m)).collect();
            let to = even_out(&view, eligible, next(2)).unwrap_or_else(|| view.clone());
            let after: Vec<usize> = eligible.iter().map(|m| to.owned_by(*m)).collect();
            let (high, low) = (after.iter().max().unwrap(), after.iter().min().unwrap());
            prop_assert!(high - low < 2);
            let total: usize = before.iter().sum();
            let (share, rest) = (total / eligible.len(), total % eligible.len());
            let mut sorted = before.clone();
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            let least: usize = sorted.iter().enumerate()
                .map(|(i, n)| n.saturating_sub(share + usize::from(i < rest))).sum();
            let moved = view.slots.iter().zip(to.slots.iter()).filter(|(a, b)| a.owner != b.owner).count();
            prop_assert_eq!(moved, least);
            for (a, b) in view.slots.iter().zip(to.slots.iter()) {
                prop_assert_eq!(a.owner == b.owner, a.epoch == b.epoch);
            }
        }

        #[test]
        fn reassigning_leaves_no_partition_behind_and_touches_no_other(out in 0usize..4, lose in 0usize..4) {
            let ids: Vec<MsId> = (1..=4).map(ms).collect();
            let mut view = found(ids[0], next(1));
            view.members = ids.clone();
            for (i, slot) in view.slots.iter_mut().enumerate() {
                slot.owner = Some(ids[i % 4]);
            }
            let to = reassign(&view, &ids[lose..=lose], &ids[out..=out], &ids, next(9));
            for (a, b) in view.slots.iter().zip(to.slots.iter()) {
                let goes = a.owner == Some(ids[out]) || a.owner == Some(ids[lose]);
                prop_assert_eq!(goes, b.epoch == Epoch(9));
                prop_assert!(b.owner.is_some_and(|o| o != ids[out] && o != ids[lose]));
                prop_assert!(goes || a == b);
            }
        }
    }
}

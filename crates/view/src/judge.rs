//! The judgement of members: who loses its partitions, who is taken out, when to even out.
//!
//! Every member runs one. It counts only the timed renewals of its own MS that succeeded, never
//! a clock of another machine: while nobody can renew, nobody is judged. Safety rests on none of
//! this; only how long an end stays without a reachable owner does.

use std::collections::BTreeMap;

use wardlink_defect::{Defect, planted};
use wardlink_wire::MsId;

use crate::view::View;

/// A member that did not move in so many timed renewals of the judge in a row is taken out.
/// Ten of half a second: an MS paused for less keeps its membership.
const STILL_LIMIT: u32 = 10;
/// A member missed by more BSs than are linked to it, so many times in a row, loses its partitions.
pub const MISSED_LIMIT: u32 = 2;
/// Quiet time without a change of the view before the judge evens out, in milliseconds. Less
/// lets a crash-looping MS move everybody.
const EVEN_AFTER_MS: u64 = 10_000;

/// What a member last said of itself in its renewals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// The member.
    pub ms: MsId,
    /// Counts its renewals; 0 before the first.
    pub renewals: u64,
    /// How many BSs are linked to it.
    pub links: u32,
}

/// What is to be changed in the view.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Members that lose their partitions and stay members.
    pub lose: Vec<MsId>,
    /// Members that are taken out.
    pub out: Vec<MsId>,
    /// Whether to even out.
    pub even: bool,
    /// Members to which more BSs are linked than miss it: they are given partitions.
    pub healthy: Vec<MsId>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    renewals: u64,
    known: bool,
    still: u32,
    missed: u32,
}

/// One MS's observation of all members.
#[derive(Debug)]
pub struct Judge {
    me: MsId,
    seen: BTreeMap<MsId, Seen>,
    /// Link counts by the last observation; a member that stood still says none.
    links: BTreeMap<MsId, u32>,
}

impl Judge {
    /// A judge that has seen nothing yet.
    pub fn new(me: MsId) -> Self {
        Self { me, seen: BTreeMap::new(), links: BTreeMap::new() }
    }

    /// Link counts of the members by the last observation; 0 for one that stood still.
    pub fn links(&self) -> &BTreeMap<MsId, u32> {
        &self.links
    }

    /// Observes the answer to a timed renewal that succeeded. `misses` says how many of the BSs
    /// linked here miss a member; `quiet_ms` is the time since this MS last saw the view change.
    /// `None`: this MS is not the judge, or nothing is to be done.
    pub fn observe(
        &mut self,
        view: &View,
        beats: &[Beat],
        misses: impl Fn(MsId) -> u32,
        quiet_ms: u64,
    ) -> Option<Verdict> {
        self.seen.retain(|ms, _| view.has(*ms));
        self.links.clear();
        let mut moved_members = Vec::new();
        for &ms in &view.members {
            let beat = beats.iter().find(|beat| beat.ms == ms);
            let seen = self.seen.entry(ms).or_default();
            // The first look at a member's counter only notes it; none stands still.
            let moved = ms == self.me
                || beat.is_some_and(|b| {
                    if seen.known { b.renewals != seen.renewals } else { b.renewals > 0 }
                });
            seen.renewals = beat.map_or(0, |beat| beat.renewals);
            seen.known = true;
            seen.still = if moved { 0 } else { seen.still + 1 };
            let links = if moved { beat.map_or(0, |beat| beat.links) } else { 0 };
            if moved {
                moved_members.push(ms);
            }
            self.links.insert(ms, links);
            let too_many = if planted(Defect::ReportsOfLinkedOnly) {
                misses(ms) > 0
            } else {
                misses(ms) > links
            };
            seen.missed = if too_many && ms != self.me { seen.missed + 1 } else { 0 };
        }
        let judge = moved_members.iter().max_by_key(|ms| (self.links[ms], std::cmp::Reverse(**ms)));
        if judge != Some(&self.me) {
            return None;
        }
        self.verdict(view, misses, quiet_ms)
    }

    fn verdict(&self, view: &View, misses: impl Fn(MsId) -> u32, quiet_ms: u64) -> Option<Verdict> {
        let still = |ms: &MsId| self.seen[ms].still;
        let out: Vec<MsId> =
            view.members.iter().filter(|ms| still(ms) >= STILL_LIMIT).copied().collect();
        let lose: Vec<MsId> = view
            .members
            .iter()
            .filter(|ms| self.seen[ms].missed >= MISSED_LIMIT && view.owned_by(**ms) > 0)
            .filter(|ms| !out.contains(ms))
            .copied()
            .collect();
        let healthy: Vec<MsId> =
            view.members.iter().filter(|ms| self.links[ms] > misses(**ms)).copied().collect();
        let homeless = view.slots.iter().any(|s| s.owner.is_none_or(|owner| !view.has(owner)));
        if !out.is_empty() || !lose.is_empty() || homeless {
            return Some(Verdict { lose, out, even: false, healthy });
        }
        let loads: Vec<usize> = healthy.iter().map(|ms| view.owned_by(*ms)).collect();
        let uneven =
            loads.iter().max().zip(loads.iter().min()).is_some_and(|(high, low)| high - low >= 2);
        (quiet_ms >= EVEN_AFTER_MS && uneven).then_some(Verdict {
            lose: vec![],
            out: vec![],
            even: true,
            healthy,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{Next, enter, found, reassign};
    use uuid::Uuid;
    use wardlink_wire::ViewNumber;

    fn ms(n: u128) -> MsId {
        MsId(Uuid::from_u128(n))
    }

    fn view(members: u128) -> View {
        let next = |n: u64| Next { number: ViewNumber(n), id: Uuid::from_u128(9) };
        (2..=members).fold(found(ms(1), next(1)), |view, n| enter(&view, ms(n), next(n as u64)))
    }

    fn beat(n: u128, renewals: u64, links: u32) -> Beat {
        Beat { ms: ms(n), renewals, links }
    }

    #[test]
    fn a_member_that_stands_still_ten_times_is_taken_out_by_the_one_with_most_links() {
        let view = view(3);
        let mut judge = Judge::new(ms(2));
        for i in 1..=10 {
            let verdict =
                judge.observe(&view, &[beat(1, 7, 9), beat(2, i, 5), beat(3, i, 4)], |_| 0, 0);
            // The first look only notes the counter, so the tenth standstill is the eleventh look.
            assert_eq!(verdict, None, "look {i}");
        }
        let verdict =
            judge.observe(&view, &[beat(1, 7, 9), beat(2, 11, 5), beat(3, 11, 4)], |_| 0, 0);
        assert_eq!(verdict.unwrap().out, vec![ms(1)]);
    }

    #[test]
    fn who_cannot_renew_judges_nobody() {
        let view = view(2);
        let mut judge = Judge::new(ms(2));
        judge.observe(&view, &[beat(1, 1, 3), beat(2, 1, 3)], |_| 0, 0);
        // Twelve seconds in which nobody renewed are one look at a counter that stands still.
        assert_eq!(judge.observe(&view, &[beat(1, 1, 3), beat(2, 2, 3)], |_| 0, 12_000), None);
    }

    #[test]
    fn missed_by_more_than_are_linked_twice_in_a_row_costs_partitions() {
        let view = view(2);
        let mut judge = Judge::new(ms(2));
        let misses = |m: MsId| if m == ms(1) { 3 } else { 0 };
        assert_eq!(judge.observe(&view, &[beat(1, 1, 2), beat(2, 1, 3)], misses, 0), None);
        let verdict = judge.observe(&view, &[beat(1, 2, 2), beat(2, 2, 3)], misses, 0).unwrap();
        assert_eq!((verdict.lose, verdict.out), (vec![ms(1)], vec![]));
        let few = |m: MsId| if m == ms(1) { 2 } else { 0 };
        let mut calm = Judge::new(ms(2));
        for i in 1..5 {
            assert_eq!(calm.observe(&view, &[beat(1, i, 2), beat(2, i, 3)], few, 0), None);
        }
    }

    #[test]
    fn only_the_member_with_the_most_links_judges_and_of_equals_the_lowest() {
        let view = view(2);
        let misses = |m: MsId| if m == ms(2) { 9 } else { 0 };
        let (mut first, mut second) = (Judge::new(ms(1)), Judge::new(ms(2)));
        let beats = |i| [beat(1, i, 3), beat(2, i, 3)];
        for i in 1..4 {
            first.observe(&view, &beats(i), misses, 0);
            assert_eq!(second.observe(&view, &beats(i), |_| 9, 0), None);
        }
    }

    #[test]
    fn evens_out_after_ten_quiet_seconds_among_healthy_members() {
        let view = view(3);
        let mut judge = Judge::new(ms(1));
        let misses = |m: MsId| if m == ms(3) { 4 } else { 0 };
        let beats = |i| [beat(1, i, 5), beat(2, i, 5), beat(3, i, 4)];
        assert_eq!(judge.observe(&view, &beats(1), misses, 9_999), None);
        let verdict = judge.observe(&view, &beats(2), misses, 10_000).unwrap();
        assert!(verdict.even);
        assert_eq!(verdict.healthy, vec![ms(1), ms(2)]);
    }

    #[test]
    fn partitions_without_an_owner_are_given_away_at_once() {
        let next = Next { number: ViewNumber(9), id: Uuid::from_u128(1) };
        let view = reassign(&view(1), &[], &[ms(1)], &[], next);
        let view = View { members: vec![ms(2)], ..view };
        let verdict = Judge::new(ms(2)).observe(&view, &[beat(2, 1, 1)], |_| 0, 0);
        assert_eq!(verdict.unwrap().healthy, vec![ms(2)]);
    }
}

//! Whether this BS is the one that is cut off: it misses a member to which most BSs are linked.
//!
//! Such a BS can reach none of that member's ends, and nothing in the view will change for its
//! sake. It sends its terminals elsewhere instead.

use std::collections::BTreeMap;

use wardlink_wire::MsId;
use wardlink_wire::link::Counts;

use super::api::{LinkId, Millis};

/// A member must be missed for so long, in milliseconds: twice what it takes to lose partitions,
/// to be taken out, and to be noticed.
const MISSED_MS: Millis = 10_000;
/// Link counts that are older than this say nothing, in milliseconds: two of them.
const FRESH_MS: Millis = 2_000;
/// All terminals are sent away within so long, in milliseconds, so that they do not arrive
/// elsewhere all at once. With 2 s until silence is noticed and the time above they are served
/// elsewhere within 15 s.
pub(super) const SPREAD_MS: u64 = 2_000;

/// What the members say of each other, and since when which member is missed.
#[derive(Debug, Default)]
pub(super) struct Isolation {
    counts: BTreeMap<LinkId, (Counts, Millis)>,
    missed: BTreeMap<MsId, Millis>,
    found: bool,
}

impl Isolation {
    pub(super) fn heard(&mut self, link: LinkId, counts: Counts, now: Millis) {
        self.counts.insert(link, (counts, now));
    }

    pub(super) fn link_closed(&mut self, link: LinkId) {
        self.counts.remove(&link);
    }

    /// Whether this BS is cut off, as far as it knows.
    pub(super) fn found(&self) -> bool {
        self.found
    }

    /// A timer that fired late starts anew.
    pub(super) fn start_anew(&mut self) {
        self.missed.clear();
    }

    /// What is missed now; whether this BS is cut off, where that has changed.
    pub(super) fn look(&mut self, misses: &[MsId], now: Millis) -> Option<bool> {
        self.missed.retain(|ms, _| misses.contains(ms));
        for ms in misses {
            self.missed.entry(*ms).or_insert(now);
        }
        let long = self.missed.iter().filter(|(_, since)| **since + MISSED_MS <= now);
        let found = long.into_iter().any(|(ms, _)| self.most_are_linked_to(*ms, now));
        (std::mem::replace(&mut self.found, found) != found).then_some(found)
    }

    /// BSs linked to `ms`, by the newest count that says something of it.
    pub(super) fn links_to(&self, ms: MsId, now: Millis) -> Option<u32> {
        let fresh = self.counts.values().filter(|(_, heard)| *heard + FRESH_MS >= now);
        let said = fresh.filter_map(|(counts, heard)| {
            let (_, links) = counts.links.iter().find(|(id, _)| *id == ms)?;
            Some((*heard, *links))
        });
        said.max().map(|(_, links)| links)
    }

    /// More than half of the BSs: as many as the best linked member has, at least.
    fn most_are_linked_to(&self, ms: MsId, now: Millis) -> bool {
        let fresh = self.counts.values().filter(|(_, heard)| *heard + FRESH_MS >= now);
        fresh.into_iter().any(|(counts, _)| {
            let of =
                |ms: MsId| counts.links.iter().find(|(id, _)| *id == ms).map_or(0, |(_, n)| *n);
            let all = counts.links.iter().map(|(_, n)| *n).max().unwrap_or(0);
            of(ms) * 2 > all && of(ms) > 0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn ms(n: u128) -> MsId {
        MsId(Uuid::from_u128(n))
    }

    fn counts(of: &[(u128, u32)]) -> Counts {
        Counts { links: of.iter().map(|(n, links)| (ms(*n), *links)).collect() }
    }

    #[test]
    fn who_misses_what_most_reach_for_ten_seconds_is_cut_off() {
        let mut isolation = Isolation::default();
        assert_eq!(isolation.look(&[ms(1)], 0), None);
        isolation.heard(LinkId(1), counts(&[(1, 4), (2, 5)]), 9_000);
        assert_eq!(isolation.look(&[ms(1)], 9_999), None);
        assert_eq!(isolation.look(&[ms(1)], 10_000), Some(true));
        assert_eq!(isolation.look(&[ms(1)], 10_500), None, "said once");
        assert_eq!(isolation.look(&[], 10_600), Some(false));
    }

    #[test]
    fn a_member_that_nobody_reaches_says_nothing_of_this_server() {
        let mut isolation = Isolation::default();
        isolation.look(&[ms(1)], 0);
        isolation.heard(LinkId(1), counts(&[(1, 0), (2, 5)]), 10_000);
        assert_eq!(isolation.look(&[ms(1)], 10_000), None);
        isolation.heard(LinkId(1), counts(&[(1, 5), (2, 5)]), 10_000);
        assert_eq!(isolation.look(&[ms(1)], 12_001), None, "stale counts");
    }

    #[test]
    fn the_newest_count_says_how_many_are_linked() {
        let mut isolation = Isolation::default();
        assert_eq!(isolation.links_to(ms(1), 0), None);
        isolation.heard(LinkId(2), counts(&[(1, 4)]), 1_000);
        isolation.heard(LinkId(1), counts(&[(1, 5), (2, 3)]), 1_500);
        assert_eq!(isolation.links_to(ms(1), 2_000), Some(5));
        assert_eq!(isolation.links_to(ms(3), 2_000), None);
        assert_eq!(isolation.links_to(ms(1), 3_501), None, "stale counts");
    }

    #[test]
    fn a_process_that_stood_still_counts_anew() {
        let mut isolation = Isolation::default();
        isolation.look(&[ms(1)], 0);
        isolation.start_anew();
        isolation.heard(LinkId(1), counts(&[(1, 5)]), 20_000);
        assert_eq!(isolation.look(&[ms(1)], 20_000), None);
    }
}

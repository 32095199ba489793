//! Traces 20 and 21: who judges whom, and by what.

use wardlink_defect::Defect;
use wardlink_view::{Beat, Judge, MISSED_LIMIT};
use wardlink_wire::MsId;

use crate::bs::{ms, view};
use crate::holds;
use crate::rig::{Link, Ms, Rig, b};

/// Number of the view document, and whom it names.
fn members(rig: &Rig) -> (u64, Vec<MsId>) {
    let view = rig.db.view.clone().expect("there is a view");
    (view.number.0, view.members)
}

/// Three MSs, and three BSs that are linked to all of them.
fn three() -> (Rig, [Ms; 3], Vec<Link>) {
    let mut rig = Rig::new();
    let all = [rig.ms(), rig.ms(), rig.ms()];
    let links = (1..=3).flat_map(|bs| all.map(|ms| (ms, bs))).collect::<Vec<_>>();
    let links = links.into_iter().map(|(ms, bs)| rig.link(ms, bs)).collect();
    rig.pass(2_000);
    (rig, all, links)
}

/// For twelve seconds nobody can renew; who gets through first sees all others stand still.
#[test]
fn trace_20_after_a_fail_over_of_the_database_nobody_is_taken_out() {
    fn scenario() {
        let (mut rig, [_, m2, m3], _) = three();
        let before = members(&rig);
        let others = [m2, m3];
        others.into_iter().for_each(|ms| rig.pause(ms, true));
        rig.pass(600);
        rig.down = true;
        rig.pass(12_000);
        rig.down = false;
        rig.pass(900);
        others.into_iter().for_each(|ms| rig.pause(ms, false));
        rig.pass(3_000);
        assert_eq!(members(&rig).1, before.1, "members are taken out for an outage");
    }
    holds(scenario, &[(Defect::BeatByClock, "members are taken out for an outage")]);
}

/// One MS renews after each of many appends, in no time; the others renew twice a second.
#[test]
fn trace_20_renewals_after_appends_judge_nobody() {
    let (mut rig, [m1, m2, _], links) = three();
    rig.pass(2_000);
    let before = members(&rig);
    let sender = links[0];
    let renewals = |rig: &Rig, ms: Ms| {
        let id = rig.id(ms);
        rig.snapshot(m1).beats.iter().find(|beat| beat.ms == id).map_or(0, |beat| beat.renewals)
    };
    rig.send(sender, rig.epoch(), "m0");
    let (mine, theirs) = (renewals(&rig, m1), renewals(&rig, m2));
    for i in 1..60 {
        rig.send(sender, rig.epoch(), &format!("m{i}"));
    }
    assert!(renewals(&rig, m1) >= mine + 50, "it renewed after its appends");
    assert_eq!(renewals(&rig, m2), theirs, "M2 stands still meanwhile");
    rig.pass(1_000);
    assert_eq!(members(&rig), before);
}

/// A member that is gone, also one that never renewed, is taken out by ten renewals of the judge.
#[test]
fn trace_20_a_member_that_stands_still_ten_times_is_taken_out() {
    let (mut rig, [m1, _, m3], _) = three();
    rig.pause(m3, true);
    rig.pass(4_500);
    assert_eq!(members(&rig).1.len(), 3);
    rig.pass(1_500);
    assert!(!members(&rig).1.contains(&rig.id(m3)));
    assert!(members(&rig).1.contains(&rig.id(m1)));
    // When it wakes it notices by itself and enters under a new id.
    let old = rig.id(m3);
    rig.pause(m3, false);
    rig.pass(1_500);
    assert_ne!(rig.id(m3), old);
    assert!(members(&rig).1.contains(&rig.id(m3)));
}

/// One BS has linked to the fresh M3 and cannot reach M1; M1 has three others.
#[test]
fn trace_21_one_bs_that_misses_a_member_moves_nothing() {
    fn scenario() {
        let mut rig = Rig::new();
        let (m1, m2) = rig.two();
        let three = [1, 2, 3].map(|bs| rig.link(m1, bs));
        let other = [1, 2].map(|bs| rig.link(m2, bs));
        let m3 = rig.ms();
        let fresh = rig.link(m3, 4);
        rig.give(m2);
        // The fourth cannot reach M1; the third, which M1 hears, cannot reach M2.
        rig.miss(fresh, &[m1]);
        rig.miss(three[2], &[m2]);
        rig.pass(4_000);
        let now = rig.db.view.clone().unwrap();
        assert_eq!(now.slot(b().partition()).owner, Some(rig.id(m2)), "M2 loses its partitions");
        assert_eq!(now.owned_by(rig.id(m1)), 255, "M1 loses its partitions");
        assert_eq!(now.members.len(), 3);
        assert!(rig.closed(other[0]).is_none());
    }
    holds(scenario, &[(Defect::ReportsOfLinkedOnly, "M2 loses its partitions")]);
}

/// Two BSs reach only M1, two only M2: each side misses the other, for seventy seconds.
#[test]
fn trace_21_a_symmetric_partition_does_not_make_members_expel_each_other() {
    for (left, right) in [(2, 2), (3, 2), (3, 1)] {
        let mut rig = Rig::new();
        let (m1, m2) = rig.two();
        for bs in 0..left {
            let link = rig.link(m1, 10 + bs);
            rig.miss(link, &[m2]);
        }
        for bs in 0..right {
            let link = rig.link(m2, 20 + bs);
            rig.miss(link, &[m1]);
        }
        rig.give(m2);
        let before = rig.counters(m1).views;
        rig.pass(70_000);
        assert_eq!(members(&rig).1.len(), 2, "nobody is taken out");
        assert!(rig.counters(m1).views <= before + 2, "the view goes to and fro");
    }
}

/// The rule itself: more must miss a member than are linked to it, twice in a row, and only the
/// member with the most links says so.
#[test]
fn trace_21_only_the_member_with_the_most_links_judges() {
    let view = view(9, 2, 1);
    let (mut first, mut second) = (Judge::new(ms(1)), Judge::new(ms(2)));
    let misses_of = |missed: u128, by: u32| move |of: MsId| if of == ms(missed) { by } else { 0 };
    for look in 1..=u64::from(MISSED_LIMIT) + 2 {
        let beats = [beat(1, look, 2), beat(2, look, 4)];
        assert_eq!(first.observe(&view, &beats, misses_of(2, 9), 0), None, "M1 is no judge");
        let verdict = second.observe(&view, &beats, misses_of(1, 3), 0);
        assert_eq!(verdict.is_some(), look >= u64::from(MISSED_LIMIT), "look {look}");
        assert!(verdict.is_none_or(|v| v.out.is_empty() && v.lose == [ms(1)]));
    }
}

fn beat(n: u128, renewals: u64, links: u32) -> Beat {
    Beat { ms: ms(n), renewals, links }
}

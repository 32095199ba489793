//! Traces 18 and 19 (and what of 3 concerns links): numbers, ids and epochs of views.

use uuid::Uuid;
use wardlink_defect::Defect;
use wardlink_ms::store::{StoreError, ViewKey};
use wardlink_view::View;
use wardlink_view::change::{Next, reassign};
use wardlink_wire::link::{Known, ToBs, ToMs};
use wardlink_wire::{Epoch, ViewNumber};

use crate::bs::{Bs, given, view};
use crate::holds;
use crate::rig::{Kind, Ms, NOTHING, Rig, Session, a, b};

/// The view that an MS goes by.
fn view_of(rig: &Rig, ms: Ms) -> View {
    rig.snapshot(ms).view.expect("it has a view")
}

/// The view document.
fn document(rig: &Rig) -> View {
    rig.db.view.clone().expect("there is a view")
}

/// The document is restored and written anew under the number that M1 knows, with M2 as owner.
#[test]
fn trace_18_two_views_of_one_number_are_told_apart_by_their_ids() {
    fn scenario() {
        let mut rig = Rig::new();
        let (m1, m2) = rig.two();
        let sender = rig.link(m1, 1);
        let mut other = document(&rig);
        let (number, old) = (other.number, rig.epoch());
        other.id = Uuid::from_u128(58);
        let owner = Some(rig.id(m2));
        for slot in other.slots.iter_mut() {
            (slot.owner, slot.epoch) = (owner, Epoch(number.0));
        }
        rig.db.restore(Some(other));
        rig.send(sender, old, "m1");
        assert_eq!(rig.result(sender, "m1"), None, "M1's renewal is of another view");
        rig.pass(1_500);
        let now = document(&rig);
        assert_eq!(
            ViewKey::of(&view_of(&rig, m1)),
            ViewKey::of(&now),
            "M1 goes on under a view that is none"
        );
        assert_eq!(ViewKey::of(&view_of(&rig, m2)), ViewKey::of(&now));
        assert!(now.number > number, "a number comes twice");
        assert!(now.slots.iter().all(|slot| slot.epoch.0 == now.number.0), "every epoch is new");
    }
    holds(scenario, &[(Defect::ViewByNumberOnly, "under a view that is none")]);
}

/// The database's clock goes back by an hour, and the document is lost.
#[test]
fn trace_18_a_number_is_above_all_that_is_known_also_when_the_clock_goes_back() {
    let mut rig = Rig::new();
    let (m1, _) = rig.two();
    let known = document(&rig).number;
    rig.db.step_back(3_600);
    rig.db.restore(None);
    rig.pass(1_000);
    assert!(document(&rig).number > known);
    assert_eq!(rig.counters(m1).healed, 1);
    assert!(document(&rig).slots.iter().all(|slot| slot.epoch.0 > known.0));
}

/// A BS knows a number that no document has any more, and would take none below it.
#[test]
fn trace_18_a_number_is_above_what_a_bs_names() {
    let mut rig = Rig::new();
    let m1 = rig.ms();
    let link = rig.link(m1, 1);
    let higher = ViewNumber(document(&rig).number.0 + (1_000 << 32));
    rig.items(link, vec![ToMs::Known(Known { view: Some(higher), ..Known::default() })]);
    assert!(document(&rig).number > higher);
    let sent = rig.came(link).iter().rev().find_map(|item| match item {
        ToBs::View(view) => Some(view.number),
        _ => None,
    });
    assert_eq!(sent, Some(document(&rig).number), "and the BS is sent it");
}

/// M1 writes the lost document anew; nobody knows whether that was applied.
#[test]
fn trace_18_a_change_counts_only_once_a_majority_has_it() {
    let mut rig = Rig::new();
    let m1 = rig.ms();
    let link = rig.link(m1, 1);
    let known = document(&rig).number;
    let views = |rig: &Rig| rig.came(link).iter().filter(|i| matches!(i, ToBs::View(_))).count();
    let before = views(&rig);
    rig.hold(m1, Kind::ChangeView);
    rig.hold(m1, Kind::ReadView);
    rig.db.restore(None);
    rig.pass(600);
    let read = rig.held(m1, Kind::ReadView);
    rig.answer(read);
    let change = rig.held(m1, Kind::ChangeView);
    rig.db.apply(&change.op);
    rig.fail(change, StoreError::Unknown);
    assert_eq!(view_of(&rig, m1).number, known, "it goes by what it knows");
    assert_eq!(views(&rig), before, "and tells nobody");
    rig.release(m1, Kind::ReadView);
    rig.pass(200);
    assert_eq!(view_of(&rig, m1).number, document(&rig).number, "a read with majority counts");
    assert_eq!(views(&rig), before + 1);
}

/// M1 was taken out and is about to come back when the document is lost, and nobody else is there.
#[test]
fn trace_18_who_is_outside_and_writes_a_lost_view_anew_enters_it() {
    let mut rig = Rig::new();
    let (m1, m2) = rig.two();
    let number = ViewNumber(document(&rig).number.0 + 1);
    let out = [rig.id(m1)];
    let next = Next { number, id: Uuid::from_u128(59) };
    let without = reassign(&document(&rig), &[], &out, &[], next);
    rig.pause(m2, true);
    rig.hold(m1, Kind::ChangeView);
    rig.db.restore(Some(without));
    rig.pass(600);
    assert_ne!(rig.id(m1), out[0], "it comes back under a new id");
    rig.db.restore(None);
    rig.release(m1, Kind::ChangeView);
    rig.pass(600);
    assert!(document(&rig).has(rig.id(m1)), "it stays outside for ever");
}

/// A BS must know who owns what before anything on a link relies on it.
#[test]
fn trace_03_a_new_link_starts_with_the_view() {
    fn scenario() {
        let mut rig = Rig::new();
        let m1 = rig.ms();
        let link = rig.link(m1, 1);
        let came: Vec<&ToBs> = rig.came(link).iter().take(2).collect();
        assert!(matches!(came[..], [ToBs::Welcome(_), ToBs::View(_)]), "a link without a view");
    }
    holds(scenario, &[(Defect::LinkWithoutView, "a link without a view")]);
}

/// A backup is restored; a newcomer builds a good number on its old epochs; M1 knows higher ones.
#[test]
fn trace_19_who_knows_a_higher_epoch_writes_the_view_anew() {
    let mut rig = Rig::new();
    let (m1, m2) = rig.two();
    let backup = document(&rig);
    rig.give(m2);
    let known = rig.give(m1);
    rig.pass(600);
    rig.db.restore(Some(backup));
    rig.pause(m1, true);
    rig.pause(m2, true);
    rig.ms();
    let number = document(&rig).number;
    assert!(number.0 > known.0, "the newcomer's number {number} is good, above {known}");
    assert!(rig.epoch() < known, "on an old epoch");
    rig.pause(m1, false);
    rig.pass(1_100);
    assert!(rig.epoch() > known);
    assert_eq!(ViewKey::of(&view_of(&rig, m1)), ViewKey::of(&document(&rig)));
}

/// The same, and no MS is left that knows better, only a BS.
#[test]
fn trace_19_an_ms_that_a_bs_tells_of_a_higher_epoch_writes_the_view_anew() {
    let mut rig = Rig::new();
    let (m1, m2) = rig.two();
    let backup = document(&rig);
    rig.give(m2);
    let known = rig.give(m1);
    rig.pause(m1, true);
    rig.pause(m2, true);
    let newest = document(&rig);
    rig.db.restore(Some(backup));
    let m3 = rig.ms();
    let seen = view_of(&rig, m3);
    assert!(seen.number > newest.number && rig.epoch() < known);

    let mut bs = Bs::new();
    bs.link_to(rig.id(m1), &newest);
    let up = bs.link_to(rig.id(m3), &seen);
    assert_eq!(bs.view(), newest.number.0, "the BS does not use the view");
    let link = rig.link(m3, 1);
    let said = bs.known(up).into_iter().map(ToMs::Known).collect();
    rig.items(link, said);
    rig.pass(200);
    assert!(rig.epoch() > known, "the view stays as it is, and the BS waits for ever");
    // The complaint comes once more, late: there is nothing to mend.
    let mended = document(&rig).number;
    let said = bs.known(up).into_iter().map(ToMs::Known).collect();
    rig.items(link, said);
    rig.pass(200);
    assert_eq!(document(&rig).number, mended);
}

/// A stamp in the mailbox is of a higher epoch than the owner's own: the view has gone back, and
/// neither an MS nor a BS knows.
#[test]
fn trace_19_an_owner_that_meets_a_stamp_of_a_higher_epoch_takes_the_partition_anew() {
    let mut rig = Rig::new();
    let m1 = rig.ms();
    let sender = rig.link(m1, 1);
    rig.pass(1_100);
    let backup = document(&rig);
    let higher = rig.give(m1);
    rig.tell(sender);
    rig.send(sender, higher, "m1");
    rig.settle();
    assert_eq!(rig.db.mailbox(&b()), ["m1"]);

    rig.pause(m1, true);
    rig.db.restore(Some(backup));
    let m2 = rig.ms();
    rig.give(m2);
    let old = Epoch(higher.0 - 1);
    rig.db.view.as_mut().unwrap().slots[b().partition().index()].epoch = old;
    let (sender, target, s) = (rig.link(m2, 1), rig.link(m2, 2), Session::new(1));
    rig.tell(target);
    rig.hold(m2, Kind::ChangeView);
    rig.register(target, old, &s);
    rig.send(sender, old, "m2");
    rig.pass(500);
    assert_eq!(rig.counters(m2).fenced, 0, "M2 works under the epoch that went back");
    assert_eq!(rig.shown(target, &s), NOTHING, "m2 overtakes what the owner may not touch");
    rig.release(m2, Kind::ChangeView);
    rig.pass(1_500);
    let now = rig.epoch();
    assert!(now > higher, "the partition is taken anew");
    rig.register(target, now, &s);
    rig.send_again(sender, now, "m2");
    assert_eq!(rig.shown(target, &s), ["m1", "m2"]);
}

/// A BS hears of an older view on a new link, then of a higher number with a lower epoch.
#[test]
fn trace_19_a_bs_takes_no_lower_number_and_no_lower_epoch() {
    fn scenario() {
        let mut bs = Bs::new();
        let first = view(5, 2, 1);
        let second = given(&first, 7, 2);
        bs.link(2, &second);
        let old = bs.link(1, &first);
        assert_eq!(bs.view(), 7, "a lower view is taken");
        assert!(bs.known(old).iter().any(|k| k.view == Some(ViewNumber(7))), "and M1 is told");
        let restored = View { number: ViewNumber(9), ..first };
        bs.items(old, vec![ToBs::View(restored.to_item())]);
        assert_eq!(bs.view(), 7);
        assert_eq!(bs.epoch(b().partition()), Epoch(7));
        let said = bs.known(old).pop().expect("it says so");
        assert_eq!((said.went_back, said.view), (Some(Epoch(7)), Some(ViewNumber(7))));
        assert_ne!(a().partition(), b().partition());
    }
    holds(scenario, &[(Defect::LowerViewTaken, "a lower view is taken")]);
}

//! What a BS owes in traces 1, 2, 8 and 14: it takes back, sends again in order, registers anew.

use wardlink_bs::core::api::Event;
use wardlink_defect::Defect;
use wardlink_wire::{Epoch, Outcome};

use crate::bs::{Bs, deliver, given, view};
use crate::holds;
use crate::rig::{NOTHING, Session, b};

/// M2 becomes the owner while two messages are open at M1 and B's terminal is here.
#[test]
fn trace_01_a_bs_sends_what_is_open_to_the_new_owner_in_order_before_anything_later() {
    fn scenario() {
        let (mut bs, a, target) = (Bs::new(), Session::new(1), Session::new(2));
        let first = view(5, 2, 1);
        let (l1, l2) = (bs.link(1, &first), bs.link(2, &first));
        bs.connect(&a, true);
        bs.connect(&target, false);
        bs.registered(l1, 5, &target);
        bs.send(&a, "m1");
        bs.send(&a, "m2");
        bs.items(l1, vec![wardlink_wire::link::ToBs::View(given(&first, 7, 2).to_item())]);
        bs.send(&a, "m3");
        assert_eq!(bs.send_ids(l1), ["m1", "m2"]);
        assert_eq!(bs.send_ids(l2), ["m1 again", "m2 again", "m3"], "in order, marked");
        assert_eq!(bs.registers(l2, &target), [7], "B is not registered at its new owner");
        assert!(bs.sends(l2).iter().all(|send| send.epoch == Epoch(7)));
    }
    holds(
        scenario,
        &[
            (Defect::NoTakeBackOnView, "in order, marked"),
            (Defect::SentAgainOutOfOrder, "in order, marked"),
            (Defect::NoRegisterOnView, "not registered at its new owner"),
        ],
    );
}

/// M1 is the owner again, under another number: M1 has forgotten all.
#[test]
fn trace_02_a_bs_takes_back_what_is_open_also_when_the_owner_is_the_same() {
    fn scenario() {
        let (mut bs, a, target) = (Bs::new(), Session::new(1), Session::new(2));
        let first = view(5, 2, 1);
        let l1 = bs.link(1, &first);
        bs.connect(&a, true);
        bs.connect(&target, false);
        bs.registered(l1, 5, &target);
        bs.send(&a, "m1");
        bs.items(l1, vec![wardlink_wire::link::ToBs::View(given(&first, 8, 1).to_item())]);
        assert_eq!(bs.send_ids(l1), ["m1", "m1 again"], "m1 is not sent again");
        assert_eq!(bs.registers(l1, &target), [5, 8]);
    }
    holds(scenario, &[(Defect::BsKeepsOverAba, "m1 is not sent again")]);
}

/// A deliver and a result of an epoch that is over arrive late; facts always count.
#[test]
fn trace_02_a_bs_drops_what_a_former_epoch_says_except_facts() {
    fn scenario() {
        let (mut bs, a, target) = (Bs::new(), Session::new(1), Session::new(2));
        let first = view(5, 2, 1);
        let (l1, l2) = (bs.link(1, &first), bs.link(2, &first));
        bs.connect(&a, true);
        bs.connect(&target, false);
        bs.registered(l1, 5, &target);
        bs.send(&a, "m1");
        bs.send(&a, "m2");
        bs.items(l2, vec![wardlink_wire::link::ToBs::View(given(&first, 7, 2).to_item())]);
        bs.registered(l2, 7, &target);

        bs.deliver(l1, deliver(5, 1, "x1", &target));
        assert_eq!(bs.shown(&target), NOTHING, "a former owner's message is shown");
        bs.result(l1, 5, 1, Outcome::Rejected);
        assert_eq!(bs.told(&a, "m1"), None, "a former owner's rejected is believed");
        bs.result(l1, 5, 2, Outcome::Stored);
        assert_eq!(bs.told(&a, "m2"), Some(Outcome::Stored), "stored is a fact");
        bs.result(l2, 7, 1, Outcome::Delivered);
        assert_eq!(bs.told(&a, "m1"), Some(Outcome::Delivered));
    }
    holds(
        scenario,
        &[
            (Defect::LowerEpochAcceptedByBs, "a former owner's message is shown"),
            (Defect::LowerRejectedBelieved, "a former owner's rejected is believed"),
        ],
    );
}

/// A deliver of an epoch that the BS does not know yet waits for the view.
#[test]
fn trace_02_a_bs_lets_a_higher_epoch_wait_for_the_view() {
    let (mut bs, target) = (Bs::new(), Session::new(2));
    let first = view(5, 1, 1);
    let l1 = bs.link(1, &first);
    bs.connect(&target, false);
    bs.registered(l1, 5, &target);
    bs.deliver(l1, deliver(8, 1, "m1", &target));
    bs.deliver(l1, deliver(8, 2, "m2", &target));
    assert_eq!(bs.shown(&target), NOTHING);
    bs.items(l1, vec![wardlink_wire::link::ToBs::View(given(&first, 8, 1).to_item())]);
    assert_eq!(bs.shown(&target), ["m1", "m2"]);
    assert_eq!(bs.epoch(b().partition()), Epoch(8));
}

/// The link to the owner is gone, and comes back.
#[test]
fn trace_14_on_a_new_link_a_bs_sends_what_is_open_in_order_and_registers_its_sessions() {
    fn scenario() {
        let (mut bs, a, target) = (Bs::new(), Session::new(1), Session::new(2));
        let all = view(5, 1, 1);
        let old = bs.link(1, &all);
        bs.connect(&a, true);
        bs.connect(&target, false);
        bs.registered(old, 5, &target);
        bs.send(&a, "m1");
        bs.send(&a, "m2");
        bs.event(Event::LinkClosed(old));
        bs.send(&a, "m3");
        bs.result(old, 5, 1, Outcome::Rejected);
        assert_eq!(bs.told(&a, "m1"), None, "what comes on a link that is gone means nothing");
        let new = bs.link(1, &all);
        assert_eq!(bs.send_ids(new), ["m1 again", "m2 again", "m3"], "in order, marked");
        assert_eq!(bs.registers(new, &target), [5], "B is not registered on the new link");
    }
    holds(
        scenario,
        &[
            (Defect::NoTakeBackOnLink, "in order, marked"),
            (Defect::SentAgainOutOfOrder, "in order, marked"),
            (Defect::NoRegisterOnLink, "not registered on the new link"),
        ],
    );
}

/// The owner gives a register up, or never got it.
#[test]
fn trace_08_a_register_without_an_answer_is_repeated() {
    fn scenario() {
        let (mut bs, target) = (Bs::new(), Session::new(2));
        let link = bs.link(1, &view(5, 1, 1));
        bs.connect(&target, false);
        bs.pass(3_300, &[link]);
        assert!(bs.welcomed(&target), "the terminal does not wait for ever");
        assert_eq!(bs.registers(link, &target), [5, 5], "nobody asks again");
        bs.registered(link, 5, &target);
        bs.pass(7_000, &[link]);
        assert_eq!(bs.registers(link, &target).len(), 2, "answered is answered");
    }
    holds(scenario, &[(Defect::RegisterNotRepeated, "nobody asks again")]);
}

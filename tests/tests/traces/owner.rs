//! Traces 1 to 3: whose word counts when the owner changes.

use wardlink_defect::Defect;
use wardlink_ms::core::api::StoreOp;
use wardlink_wire::Outcome;

use crate::holds;
use crate::rig::{Kind, NOTHING, Rig, Session, b};

/// M2 owns B, and M1 and the sender's BS do not know it.
#[test]
fn trace_01_a_former_owner_that_goes_on_calls_nothing_stored() {
    fn scenario() {
        let mut rig = Rig::new();
        let (m1, m2) = rig.two();
        let (sender, target) = (rig.link(m1, 1), rig.link(m2, 2));
        let old = rig.epoch();
        let new = rig.give(m2);

        let s = Session::new(1);
        rig.register(target, new, &s);
        rig.send(sender, old, "m1");
        assert_eq!(rig.db.mailbox(&b()), ["m1"], "the former owner's append is durable");
        assert_eq!(rig.result(sender, "m1"), None, "m1 is called stored by a former owner");

        rig.send(target, new, "m2");
        assert_eq!(rig.shown(target, &s), ["m2"], "m1 comes second, for it was not accepted");
        rig.send(sender, old, "m3");
        assert_eq!(rig.result(sender, "m3"), None);
        assert_eq!(rig.counters(m1).fenced, 1, "M1 has read the view and drops the old epoch");
    }
    holds(
        scenario,
        &[
            (Defect::NoConfirm, "m1 is called stored"),
            (Defect::StoredBeforeDurable, "m1 is called stored"),
            (Defect::ConfirmComparesOwner, "m1 is called stored"),
        ],
    );
}

/// M1's renewal succeeds, then the owner changes, then M1's append is applied.
#[test]
fn trace_01_a_renewal_begun_before_the_append_confirms_nothing() {
    fn scenario() {
        let mut rig = Rig::new();
        let (m1, m2) = rig.two();
        let (sender, target) = (rig.link(m1, 1), rig.link(m2, 2));
        let old = rig.epoch();
        rig.hold(m1, Kind::Renew);
        rig.hold(m1, Kind::Append);
        rig.send(sender, old, "m1");
        rig.pass(1_100);
        let renewal = rig.held(m1, Kind::Renew);
        let append = rig.held(m1, Kind::Append);

        let yes = rig.db.apply(&renewal.op);
        let new = rig.give(m2);
        let s = Session::new(1);
        rig.register(target, new, &s);
        rig.send(target, new, "m2");
        assert_eq!(rig.shown(target, &s), ["m2"]);

        rig.answer(append);
        rig.reply(renewal, yes);
        assert_eq!(rig.result(sender, "m1"), None, "m1 is called stored, and m2 was shown");
        rig.release(m1, Kind::Renew);
        assert_eq!(rig.result(sender, "m1"), None, "m1 is called stored after a refusal");
    }
    holds(
        scenario,
        &[
            (Defect::ConfirmBeforeAppend, "m1 is called stored, and m2 was shown"),
            (Defect::NoConfirm, "m1 is called stored, and m2 was shown"),
        ],
    );
}

/// M1 owns B, then M2, then M1 again; M1 hears of neither change.
#[test]
fn trace_02_a_renewal_of_an_epoch_that_is_over_confirms_nothing_though_the_owner_is_the_same() {
    fn scenario() {
        let mut rig = Rig::new();
        let (m1, m2) = rig.two();
        let sender = rig.link(m1, 1);
        let first = rig.epoch();
        rig.hold(m1, Kind::ReadView);
        rig.give(m2);
        rig.give(m1);
        rig.send(sender, first, "m1");
        assert_eq!(rig.db.mailbox(&b()), ["m1"]);
        assert_eq!(rig.result(sender, "m1"), None, "m1 is called stored under an old epoch");
        rig.release(m1, Kind::ReadView);
        rig.pass(500);
        assert_eq!(rig.result(sender, "m1"), None, "the lane died with its epoch");
    }
    holds(scenario, &[(Defect::ConfirmComparesOwner, "under an old epoch")]);
}

/// The lane of the first time is direct; in between another owner has stored a message.
#[test]
fn trace_02_a_lane_dies_with_its_epoch_also_when_the_next_is_its_owners_again() {
    fn scenario() {
        let mut rig = Rig::new();
        let (m1, m2) = rig.two();
        let (l1, l2) = (rig.link(m1, 1), rig.link(m2, 1));
        let s = Session::new(1);
        rig.register(l1, rig.epoch(), &s);
        rig.hold(m1, Kind::Renew);
        rig.hold(m1, Kind::ReadView);
        let second = rig.give(m2);
        rig.tell(l2);
        rig.send(l2, second, "m1");
        rig.pass(1_100);
        assert_eq!(rig.result(l2, "m1"), Some(Outcome::Stored));

        let third = rig.give(m1);
        rig.tell(l1);
        rig.release(m1, Kind::ReadView);
        rig.register(l1, third, &s);
        rig.send(l1, third, "m2");
        assert_eq!(rig.shown(l1, &s), ["m1", "m2"], "m2 overtakes what was stored meanwhile");
    }
    holds(scenario, &[(Defect::LaneKeptOverAba, "m2 overtakes")]);
}

/// An append of the first time is answered in the second.
#[test]
fn trace_02_the_answer_to_an_operation_of_an_epoch_that_is_over_means_nothing() {
    fn scenario() {
        let mut rig = Rig::new();
        let (m1, m2) = rig.two();
        let sender = rig.link(m1, 1);
        rig.hold(m1, Kind::Append);
        rig.send(sender, rig.epoch(), "m1");
        rig.pass(1_100);
        let append = rig.held(m1, Kind::Append);
        rig.give(m2);
        rig.give(m1);
        rig.tell(sender);
        rig.answer(append);
        rig.pass(500);
        assert_eq!(rig.result(sender, "m1"), None, "an answer of an old epoch counts");
    }
    holds(scenario, &[(Defect::LaneKeptOverAba, "an answer of an old epoch counts")]);
}

/// A send of the first time arrives in the second, when its sender has sent it anew elsewhere.
#[test]
fn trace_02_an_item_of_the_first_time_is_dropped_in_the_second() {
    fn scenario() {
        let mut rig = Rig::new();
        let (m1, m2) = rig.two();
        let sender = rig.link(m1, 1);
        let first = rig.epoch();
        rig.give(m2);
        rig.give(m1);
        rig.tell(sender);
        rig.send(sender, first, "m1");
        rig.pass(1_100);
        assert_eq!(rig.db.mailbox(&b()), NOTHING, "an item of an old epoch is handled");
        assert_eq!(rig.result(sender, "m1"), None);
        assert_eq!(rig.counters(m1).fenced, 1);
    }
    holds(scenario, &[(Defect::LowerEpochAcceptedByMs, "an item of an old epoch is handled")]);
}

/// M1 still works under the first epoch when an item of the third arrives.
#[test]
fn trace_02_an_item_of_a_higher_epoch_waits_for_the_view_and_is_not_lost() {
    fn scenario() {
        let mut rig = Rig::new();
        let (m1, m2) = rig.two();
        let (l1, l2) = (rig.link(m1, 1), rig.link(m2, 1));
        let s = Session::new(1);
        rig.register(l1, rig.epoch(), &s);
        let second = rig.give(m2);
        rig.tell(l2);
        rig.send(l2, second, "m1");
        rig.hold(m1, Kind::Renew);
        rig.hold(m1, Kind::ReadView);
        rig.pass(1_100);
        assert_eq!(rig.result(l2, "m1"), Some(Outcome::Stored));

        let third = rig.give(m1);
        rig.send(l1, third, "m2");
        rig.register(l1, third, &s);
        assert_eq!(rig.shown(l1, &s), NOTHING, "m2 is handled before the view is read");
        rig.release(m1, Kind::ReadView);
        rig.release(m1, Kind::Renew);
        rig.pass(1_100);
        assert_eq!(rig.shown(l1, &s), ["m1", "m2"], "both come, in order");
    }
    holds(
        scenario,
        &[
            (Defect::HigherEpochHandled, "m2 is handled before the view is read"),
            (Defect::HigherEpochDropped, "both come, in order"),
        ],
    );
}

/// M2 hears of its epoch from a BS. Between that and its read of the view M1 stores a message.
#[test]
fn trace_03_the_first_mailbox_read_begins_after_the_view_was_read() {
    fn scenario() {
        let mut rig = Rig::new();
        let (m1, m2) = rig.two();
        let (l1, l2) = (rig.link(m1, 1), rig.link(m2, 2));
        let (s, old) = (Session::new(1), rig.epoch());
        rig.hold(m2, Kind::ReadView);
        rig.hold(m2, Kind::ReadMailbox);
        rig.send(l1, old, "m1");
        rig.pass(1_100);
        let new = rig.give(m2);
        rig.register(l2, new, &s);
        assert!(!rig.holds(m2, Kind::ReadMailbox), "the mailbox is read before the view");
        rig.release(m2, Kind::ReadView);
        assert!(rig.holds(m2, Kind::ReadMailbox));
        rig.release(m2, Kind::ReadMailbox);
        rig.send(l2, new, "m2");
        assert_eq!(rig.result(l1, "m1"), Some(Outcome::Stored));
        assert_eq!(rig.shown(l2, &s), ["m1", "m2"]);
    }
    scenario();
}

/// After a fail-over a majority read may show what was before the confirmed append.
#[test]
fn trace_03_the_first_mailbox_read_is_not_older_than_the_view() {
    fn scenario() {
        let mut rig = Rig::new();
        let (m1, m2) = rig.two();
        let (l1, l2) = (rig.link(m1, 1), rig.link(m2, 2));
        let before = rig.db.time();
        rig.send(l1, rig.epoch(), "m1");
        rig.pass(1_100);
        assert_eq!(rig.result(l1, "m1"), Some(Outcome::Stored));

        let new = rig.give(m2);
        rig.db.lags_at = Some(before);
        rig.hold(m2, Kind::ReadMailbox);
        let s = Session::new(1);
        rig.register(l2, new, &s);
        let read = rig.held(m2, Kind::ReadMailbox);
        let StoreOp::ReadMailbox { after, .. } = &read.op else { unreachable!() };
        assert!(after.0 >= new.0, "the read may be older than the view");
        rig.answer(read);
        rig.release(m2, Kind::ReadMailbox);
        rig.send(l2, new, "m2");
        assert_eq!(rig.shown(l2, &s), ["m1", "m2"], "what was called stored is missed");
    }
    holds(scenario, &[(Defect::MailboxReadBeforeView, "what was called stored is missed")]);
}

/// Without a read a new registration would be direct, past what is stored.
#[test]
fn trace_03_a_new_registration_is_direct_only_after_a_read() {
    fn scenario() {
        let mut rig = Rig::new();
        let m1 = rig.ms();
        let link = rig.link(m1, 1);
        rig.pass(1_100);
        rig.send(link, rig.epoch(), "m1");
        assert_eq!(rig.result(link, "m1"), Some(Outcome::Stored));
        rig.hold(m1, Kind::ReadMailbox);
        let s = Session::new(1);
        rig.register(link, rig.epoch(), &s);
        rig.send(link, rig.epoch(), "m2");
        assert_eq!(rig.shown(link, &s), NOTHING, "m2 is shown before the mailbox was read");
        rig.release(m1, Kind::ReadMailbox);
        assert_eq!(rig.shown(link, &s), ["m1", "m2"]);
    }
    holds(scenario, &[(Defect::RegisterDirectWithoutRead, "m2 is shown before the mailbox")]);
}

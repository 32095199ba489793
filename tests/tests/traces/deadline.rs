//! Trace 17: what is handed out and not acked.

use wardlink_defect::Defect;
use wardlink_ms::core::api::{StoreReply, StoreValue};
use wardlink_ms::store::{Appended, OpTime, PutError, StoreError};
use wardlink_wire::Outcome;
use wardlink_wire::link::{Send, ToMs};

use crate::holds;
use crate::rig::{Kind, NOTHING, Rig, Session, b};

/// m1 is not acked, and its append finds no database.
#[test]
fn trace_17_a_message_that_cannot_be_stored_does_not_hold_up_the_others() {
    let mut rig = Rig::new();
    let m1 = rig.ms();
    let (sender, target) = (rig.link(m1, 1), rig.link(m1, 2));
    let (s, epoch) = (Session::new(1), rig.epoch());
    rig.register(target, epoch, &s);
    rig.send(sender, epoch, "m1");
    rig.hold(m1, Kind::Append);
    rig.pass(6_500);
    for i in 2..=4 {
        let append = rig.held(m1, Kind::Append);
        rig.fail(append, StoreError::NotDone);
        rig.send(sender, epoch, &format!("m{i}"));
        rig.ack(target, &s, &format!("m{i}"));
        rig.pass(300);
    }
    assert_eq!(rig.shown(target, &s), ["m1", "m2", "m3", "m4"]);
    assert_eq!(rig.result(sender, "m4"), Some(Outcome::Delivered));
    // At its deadline it is given up, and still may be acked.
    rig.pass(2_500);
    assert_eq!(rig.result(sender, "m1"), Some(Outcome::Unknown));
    let append = rig.held(m1, Kind::Append);
    rig.fail(append, StoreError::NotDone);
    rig.pass(500);
    assert!(!rig.holds(m1, Kind::Append), "what was given up is not appended later");
    rig.ack(target, &s, "m1");
    assert_eq!(rig.results(sender).len(), 4, "each message has one result");
}

/// m1 has more time left than m2, which came after it. When m2's deadline is near, the owner dies.
#[test]
fn trace_17_at_an_ack_deadline_what_is_older_in_the_window_is_stored_first() {
    fn scenario() {
        let mut rig = Rig::new();
        let (m1, m2) = rig.two();
        let (sender, target) = (rig.link(m1, 1), rig.link(m1, 2));
        let (s, epoch) = (Session::new(1), rig.epoch());
        rig.register(target, epoch, &s);
        rig.send(sender, epoch, "m1");
        let hurried = Send { deadline_ms: 3_000, ..rig.message(sender, epoch, "m2") };
        rig.items(sender, vec![ToMs::Send(hurried)]);
        rig.hold(m1, Kind::Append);
        rig.pass(2_300);
        let append = rig.held(m1, Kind::Append);
        rig.answer(append);
        assert_eq!(rig.result(sender, "m2"), Some(Outcome::Stored));

        let (sender, target, epoch) = (rig.link(m2, 1), rig.link(m2, 2), rig.give(m2));
        rig.register(target, epoch, &s);
        rig.send_again(sender, epoch, "m1");
        assert_eq!(rig.shown(target, &s), ["m1", "m2"], "m2 is shown before m1");
    }
    holds(scenario, &[(Defect::AckDeadlineOutOfOrder, "m2 is shown before m1")]);
}

/// m1 is stored at its ack deadline; the terminal acks it later.
#[test]
fn trace_17_what_is_stored_at_its_ack_deadline_stays_in_the_window_and_a_late_ack_removes_it() {
    fn scenario() {
        let mut rig = Rig::new();
        let m1 = rig.ms();
        let (sender, target) = (rig.link(m1, 1), rig.link(m1, 2));
        let (s, epoch) = (Session::new(1), rig.epoch());
        rig.register(target, epoch, &s);
        rig.send(sender, epoch, "m1");
        rig.pass(6_500);
        assert_eq!(rig.result(sender, "m1"), Some(Outcome::Stored));
        assert!(rig.db.documents(&b())[0].redelivered, "it was handed out");
        rig.send(sender, epoch, "m2");
        assert_eq!(rig.shown(target, &s), ["m1", "m2"], "the lane is as it was");
        rig.ack(target, &s, "m1");
        assert_eq!(rig.db.mailbox(&b()), NOTHING, "an acked message stays in the mailbox");
    }
    holds(scenario, &[(Defect::AckDeadlineDropsFromWindow, "an acked message stays")]);
}

/// m1 is shown, its append at the ack deadline is refused for good.
#[test]
fn trace_17_what_was_shown_is_never_called_rejected() {
    fn scenario() {
        let mut rig = Rig::new();
        let m1 = rig.ms();
        let (sender, target) = (rig.link(m1, 1), rig.link(m1, 2));
        let (s, epoch) = (Session::new(1), rig.epoch());
        rig.register(target, epoch, &s);
        rig.send(sender, epoch, "m1");
        rig.hold(m1, Kind::Append);
        rig.pass(6_500);
        let append = rig.held(m1, Kind::Append);
        let refused = Appended { applied: 0, error: Some(PutError::Refused) };
        let value = Ok(StoreValue::Appended(refused));
        rig.reply(append, StoreReply { time: OpTime(0), value });
        assert_eq!(rig.result(sender, "m1"), Some(Outcome::Unknown), "m1 was shown");
        rig.pass(1_000);
        assert!(!rig.holds(m1, Kind::Append), "it is not appended later");
    }
    holds(scenario, &[(Defect::RejectedThoughShown, "m1 was shown")]);
}

/// The ack comes while the append is under way, and before one that has not begun.
#[test]
fn trace_17_an_ack_cancels_an_append_and_removes_what_one_has_written() {
    let mut rig = Rig::new();
    let m1 = rig.ms();
    let (sender, target) = (rig.link(m1, 1), rig.link(m1, 2));
    let (s, epoch) = (Session::new(1), rig.epoch());
    rig.register(target, epoch, &s);
    rig.send(sender, epoch, "m1");
    rig.hold(m1, Kind::Append);
    rig.pass(6_500);
    let append = rig.held(m1, Kind::Append);
    rig.ack(target, &s, "m1");
    assert_eq!(rig.result(sender, "m1"), Some(Outcome::Delivered));
    rig.answer(append);
    assert_eq!(rig.db.mailbox(&b()), NOTHING, "the document goes when the append is answered");
    assert_eq!(rig.results(sender), [Outcome::Delivered]);
    rig.send(sender, epoch, "m2");
    rig.ack(target, &s, "m2");
    rig.pass(6_500);
    assert!(!rig.holds(m1, Kind::Append), "nothing is left to append");
}

/// s2's row write is applied and its answer lost; s1's route is left at the second one's yes.
#[test]
fn trace_17_a_session_whose_route_is_left_is_told_though_a_row_writes_answer_was_lost() {
    let mut rig = Rig::new();
    let m1 = rig.ms();
    let (first, second) = (rig.link(m1, 1), rig.link(m1, 2));
    let (s1, s2, epoch) = (Session::nth(1), Session::nth(2), rig.epoch());
    rig.register(first, epoch, &s1);
    rig.hold(m1, Kind::WriteRow);
    rig.register(second, epoch, &s2);
    let write = rig.held(m1, Kind::WriteRow);
    rig.lose_answer(write);
    assert!(!rig.superseded(first, &s1), "nobody knows yet");
    rig.pass(300);
    rig.release(m1, Kind::WriteRow);
    assert!(rig.registered(second, &s2).is_some());
    assert!(rig.superseded(first, &s1), "s1 is told by its route");
}

/// The same where s1 has no route here any more, only the row names it: at a new owner.
#[test]
fn trace_17_the_session_that_the_row_named_is_told_though_a_row_writes_answer_was_lost() {
    let mut rig = Rig::new();
    let (m1, m2) = rig.two();
    let (s1, s2) = (Session::nth(1), Session::nth(2));
    let old = rig.link(m1, 1);
    rig.register(old, rig.epoch(), &s1);
    let (first, second, epoch) = (rig.link(m2, 1), rig.link(m2, 2), rig.give(m2));
    rig.hold(m2, Kind::WriteRow);
    rig.register(second, epoch, &s2);
    let write = rig.held(m2, Kind::WriteRow);
    rig.lose_answer(write);
    rig.pass(300);
    rig.release(m2, Kind::WriteRow);
    assert!(rig.registered(second, &s2).is_some());
    assert!(rig.superseded(first, &s1), "s1 is told by the row that named it");
}

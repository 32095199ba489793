//! Traces 12 (at the BS) to 16: one message, several copies.

use wardlink_bs::core::api::Event;
use wardlink_defect::Defect;
use wardlink_ms::core::api::{StoreReply, StoreValue};
use wardlink_ms::store::{Appended, OpTime, PutError};
use wardlink_wire::link::ToMs;
use wardlink_wire::{CloseCode, Outcome};

use crate::bs::{Bs, deliver, given, view};
use crate::holds;
use crate::rig::{Kind, NOTHING, Rig, Session, b};

/// At the BS: what was on its way to one session is not shown to another one there.
#[test]
fn trace_12_a_bs_shows_a_deliver_only_to_the_session_that_it_names() {
    let (mut bs, s1, s2) = (Bs::new(), Session::new(1), Session::new(2));
    let link = bs.link(1, &view(5, 1, 1));
    for s in [&s1, &s2] {
        bs.connect(s, false);
        bs.registered(link, 5, s);
    }
    bs.event(Event::SessionClosed(s1.id));
    bs.deliver(link, deliver(5, 1, "m1", &s1));
    bs.deliver(link, deliver(5, 2, "m1", &s2));
    bs.deliver(link, deliver(5, 3, "m2", &s2));
    assert_eq!(bs.shown(&s1), NOTHING);
    assert_eq!(bs.shown(&s2), ["m1", "m2"]);
}

/// A second copy of m1 reaches the session before the terminal has acked the first one.
#[test]
fn trace_13_a_bs_acks_a_repeat_only_when_the_terminal_has_acked_the_message() {
    fn scenario() {
        let (mut bs, s) = (Bs::new(), Session::new(1));
        let link = bs.link(1, &view(5, 2, 1));
        bs.connect(&s, false);
        bs.registered(link, 5, &s);
        bs.deliver(link, deliver(5, 1, "m1", &s));
        let newer = given(&view(5, 2, 1), 6, 2);
        let other = bs.link(2, &newer);
        bs.deliver(other, deliver(6, 9, "m1", &s));
        assert_eq!(bs.shown(&s), ["m1"], "m1 is shown twice");
        assert_eq!(bs.acks(other), [], "m1 is acked before its terminal has acked it");
        bs.ack(&s, 1);
        let counts: Vec<u64> = bs.acks(other).iter().map(|(stamp, _)| stamp.count).collect();
        assert_eq!(counts, [9], "the ack goes to the copy of the owner that is");
        bs.deliver(other, deliver(6, 10, "m1", &s));
        assert_eq!(bs.acks(other).len(), 2, "a repeat of an acked message is acked at once");
        assert_eq!(bs.shown(&s), ["m1"]);
    }
    holds(
        scenario,
        &[
            (Defect::DuplicateAckedEarly, "before its terminal has acked it"),
            (Defect::NoDedupe, "m1 is shown twice"),
        ],
    );
}

/// A stored message is handed out, and its session goes without an ack.
#[test]
fn trace_13_a_document_stays_until_its_message_is_acked() {
    fn scenario() {
        let mut rig = Rig::new();
        let m1 = rig.ms();
        let (sender, target) = (rig.link(m1, 1), rig.link(m1, 2));
        let (s1, s2, epoch) = (Session::nth(1), Session::nth(2), rig.epoch());
        rig.send(sender, epoch, "m1");
        assert_eq!(rig.result(sender, "m1"), Some(Outcome::Stored));
        rig.register(target, epoch, &s1);
        assert_eq!(rig.shown(target, &s1), ["m1"]);
        rig.pass(500);
        assert_eq!(rig.db.mailbox(&b()), ["m1"], "an accepted message is lost");
        rig.cut(target);
        let target = rig.link(m1, 3);
        rig.register(target, epoch, &s2);
        assert_eq!(rig.shown(target, &s2), ["m1"]);
        rig.ack(target, &s2, "m1");
        assert_eq!(rig.db.mailbox(&b()), NOTHING);
    }
    holds(scenario, &[(Defect::RemovedWhenHandedOut, "an accepted message is lost")]);
}

/// m1 lies in the socket buffer of a BS that died; it has meanwhile come another way, and is acked.
#[test]
fn trace_14_what_is_unbegun_on_a_link_that_is_gone_is_dropped() {
    fn scenario() {
        let mut rig = Rig::new();
        let m1 = rig.ms();
        let (dead, alive, target) = (rig.link(m1, 1), rig.link(m1, 2), rig.link(m1, 3));
        let (s1, s2, epoch) = (Session::nth(1), Session::nth(2), rig.epoch());
        rig.register(target, epoch, &s1);
        let buffered = rig.message(dead, epoch, "m1");
        rig.cut(dead);

        rig.send(alive, epoch, "m1");
        rig.ack(target, &s1, "m1");
        assert_eq!(rig.result(alive, "m1"), Some(Outcome::Delivered));
        rig.register(target, epoch, &s2);
        rig.items(dead, vec![ToMs::Send(buffered)]);
        assert_eq!(rig.shown(target, &s2), NOTHING, "m1 is shown again, unmarked");
    }
    holds(scenario, &[(Defect::DeadLinkHandled, "m1 is shown again, unmarked")]);
}

/// The BS has linked anew before its old link's end is seen, or has been started anew.
#[test]
fn trace_14_links_are_numbered_and_a_newer_one_closes_the_older() {
    fn scenario() {
        let mut rig = Rig::new();
        let (m1, bs, start) = (rig.ms(), 1, 1);
        let (s, epoch) = (Session::nth(1), rig.epoch());
        let old = rig.open(m1, bs, start, 4);
        let new = rig.open(m1, bs, start, 5);
        assert_eq!(rig.closed(old), Some(CloseCode::LinkReplaced));
        rig.send(old, epoch, "m1");
        assert_eq!(rig.db.mailbox(&b()), NOTHING, "an item of an older link is handled");

        let late = rig.open(m1, bs, start, 3);
        assert_eq!(rig.closed(late), Some(CloseCode::LinkReplaced));
        rig.register(new, epoch, &s);
        assert!(rig.registered(new, &s).is_some());
        let restarted = rig.open(m1, bs, 2, 1);
        assert_eq!(rig.closed(new), Some(CloseCode::LinkReplaced));
        rig.send(restarted, epoch, "m2");
        assert_eq!(rig.shown(new, &s), NOTHING, "the sessions of a start end with it");
        assert_eq!(rig.result(restarted, "m2"), Some(Outcome::Stored));
    }
    holds(scenario, &[(Defect::DeadLinkHandled, "an item of an older link is handled")]);
}

/// The database refuses m1 for good, the answer is lost with the link, m2 is stored; the BS sends
/// both again. What it cannot know it marks.
#[test]
fn trace_15_what_may_have_been_refused_is_sent_again_and_marked() {
    let mut rig = Rig::new();
    let m1 = rig.ms();
    let (mut bs, a) = (Bs::new(), Session::new(1));
    let seen = rig.db.view.clone().unwrap();
    let up = bs.link_to(rig.id(m1), &seen);
    bs.connect(&a, true);
    bs.send(&a, "m1");
    bs.send(&a, "m2");
    let wire = rig.link(m1, 1);
    rig.hold(m1, Kind::Append);
    rig.items(wire, bs.sends(up).into_iter().map(ToMs::Send).collect());
    let refused = rig.held(m1, Kind::Append);
    let answer = Appended { applied: 0, error: Some(PutError::Refused) };
    let answer = StoreReply { time: OpTime(0), value: Ok(StoreValue::Appended(answer)) };
    rig.reply(refused, answer);
    rig.release(m1, Kind::Append);
    let outcomes: Vec<Outcome> = rig.results(wire);
    assert_eq!(outcomes, [Outcome::Rejected, Outcome::Stored]);

    // None of these answers arrives.
    rig.cut(wire);
    bs.event(Event::LinkClosed(up));
    let up = bs.link_to(rig.id(m1), &seen);
    assert_eq!(bs.send_ids(up), ["m1 again", "m2 again"]);
    let wire = rig.link(m1, 1);
    rig.items(wire, bs.sends(up).into_iter().map(ToMs::Send).collect());
    let (target, s) = (rig.link(m1, 2), Session::new(2));
    rig.register(target, rig.epoch(), &s);
    assert_eq!(rig.shown(target, &s), ["m2", "m1"], "m1 was refused: it has lost its place");
    assert!(rig.delivers(target).iter().all(|d| d.redelivered), "both are marked");
    assert_eq!(rig.results(wire), [Outcome::Stored, Outcome::Stored]);
}

/// A session has documents in its window and ends; so has one whose terminal moves to another BS.
#[test]
fn trace_16_documents_that_were_handed_out_are_marked_for_the_next_session() {
    fn scenario() {
        let mut rig = Rig::new();
        let m1 = rig.ms();
        let (sender, target) = (rig.link(m1, 1), rig.link(m1, 2));
        let (s1, s2, epoch) = (Session::nth(1), Session::nth(2), rig.epoch());
        rig.send(sender, epoch, "m1");
        rig.register(target, epoch, &s1);
        assert_eq!(rig.delivers(target).iter().map(|d| d.redelivered).collect::<Vec<_>>(), [false]);
        rig.unregister(target, epoch, &s1);
        rig.settle();
        rig.register(target, epoch, &s2);
        assert_eq!(rig.shown(target, &s2), ["m1"]);
        let marks: Vec<bool> = rig.delivers(target).iter().map(|d| d.redelivered).collect();
        assert_eq!(marks, [false, true], "m1 is shown again, unmarked");
    }
    holds(scenario, &[(Defect::DocumentsNotMarked, "m1 is shown again, unmarked")]);
}

/// The same over a change of owner: the mark is in the document.
#[test]
fn trace_16_the_mark_is_stored_and_outlives_the_owner() {
    fn scenario() {
        let mut rig = Rig::new();
        let (m1, m2) = rig.two();
        let (sender, target) = (rig.link(m1, 1), rig.link(m1, 2));
        let (s1, s2, epoch) = (Session::nth(1), Session::nth(2), rig.epoch());
        rig.send(sender, epoch, "m1");
        rig.register(target, epoch, &s1);
        rig.cut(target);
        rig.settle();
        let (target, epoch) = (rig.link(m2, 3), rig.give(m2));
        rig.register(target, epoch, &s2);
        let marks: Vec<bool> = rig.delivers(target).iter().map(|d| d.redelivered).collect();
        assert_eq!(marks, [true], "m1 is shown again, unmarked");
    }
    holds(scenario, &[(Defect::DocumentsNotMarked, "m1 is shown again, unmarked")]);
}

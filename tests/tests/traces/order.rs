//! Traces 4 and 7: what is appended is always the oldest.

use wardlink_defect::Defect;
use wardlink_ms::core::api::{StoreOp, StoreReply, StoreValue};
use wardlink_ms::store::{Appended, OpTime, Put, PutError, StoreError};
use wardlink_wire::Outcome;

use crate::holds;
use crate::rig::{Held, Kind, NOTHING, Rig, Session, b};

/// Ids of the documents in an append.
fn puts(held: &Held) -> Vec<String> {
    let StoreOp::Append(append) = &held.op else { panic!("no append") };
    let id = |put: &Put| match put {
        Put::Document(document) => document.key.id.as_str().to_owned(),
        Put::Mark(key) => format!("mark {}", key.id.as_str()),
    };
    append.puts.iter().map(id).collect()
}

/// B drains slowly: one message is out, the others wait, and then too many do.
#[test]
fn trace_04_when_the_queue_is_full_all_that_waits_is_stored_oldest_first() {
    fn scenario() {
        let mut rig = Rig::narrow(1, 2);
        let m1 = rig.ms();
        let (sender, target) = (rig.link(m1, 1), rig.link(m1, 2));
        let (s, epoch) = (Session::new(1), rig.epoch());
        rig.register(target, epoch, &s);
        let all = ["m0", "m1", "m2", "m3"];
        for id in all {
            rig.send(sender, epoch, id);
        }
        assert_eq!(rig.shown(target, &s), ["m0"]);
        for id in all {
            rig.ack(target, &s, id);
        }
        assert_eq!(rig.shown(target, &s), all, "a later message overtakes");
        assert!(all.iter().all(|id| rig.result(sender, id).is_some()));
        assert_eq!(rig.db.mailbox(&b()), NOTHING);
    }
    scenario();
}

/// The same, and the owner dies when the first statement of its append is applied.
#[test]
fn trace_04_what_a_dying_owner_has_stored_is_the_oldest() {
    fn scenario() {
        let mut rig = Rig::narrow(1, 2);
        let (m1, m2) = rig.two();
        let (sender, target) = (rig.link(m1, 1), rig.link(m1, 2));
        let (s, epoch) = (Session::new(1), rig.epoch());
        rig.register(target, epoch, &s);
        rig.hold(m1, Kind::Append);
        for id in ["m0", "m1", "m2", "m3"] {
            rig.send(sender, epoch, id);
        }
        let append = rig.held(m1, Kind::Append);
        rig.db.apply(&first_of(append.op));

        let (sender, target, epoch) = (rig.link(m2, 1), rig.link(m2, 2), rig.give(m2));
        rig.register(target, epoch, &s);
        for id in ["m0", "m1", "m2", "m3"] {
            rig.send_again(sender, epoch, id);
        }
        assert_eq!(rig.shown(target, &s), ["m0"], "a later message is shown first");
    }
    holds(scenario, &[(Defect::OverflowAppendsArrivalOnly, "a later message is shown first")]);
}

/// An append with only its first statement.
fn first_of(op: StoreOp) -> StoreOp {
    let StoreOp::Append(mut append) = op else { panic!("no append") };
    append.puts.truncate(1);
    StoreOp::Append(append)
}

/// m1 is out and the BS never gets it; m2 waits and is stored; the owner changes.
#[test]
fn trace_04_before_the_queue_is_stored_the_window_is() {
    fn scenario() {
        let mut rig = Rig::narrow(1, 1);
        let (m1, m2) = rig.two();
        let (sender, target) = (rig.link(m1, 1), rig.link(m1, 2));
        let (s, old) = (Session::new(1), rig.epoch());
        rig.register(target, old, &s);
        for id in ["m1", "m2", "m3"] {
            rig.send(sender, old, id);
        }
        assert_eq!(rig.result(sender, "m3"), Some(Outcome::Stored));

        let (sender, target) = (rig.link(m2, 1), rig.link(m2, 2));
        let new = rig.give(m2);
        rig.register(target, new, &s);
        assert_eq!(rig.shown(target, &s), ["m1"], "m2 is the first that is shown");
        rig.send_again(sender, new, "m1");
        rig.ack(target, &s, "m1");
        assert_eq!(rig.shown(target, &s), ["m1", "m2"]);
    }
    holds(scenario, &[(Defect::OverflowLeavesWindow, "m2 is the first that is shown")]);
}

/// The session goes while one message is out and another waits.
#[test]
fn trace_04_when_the_route_ends_the_window_is_stored_before_the_queue() {
    fn scenario() {
        let mut rig = Rig::narrow(1, 9);
        let m1 = rig.ms();
        let (sender, target) = (rig.link(m1, 1), rig.link(m1, 2));
        let (s, epoch) = (Session::new(1), rig.epoch());
        rig.register(target, epoch, &s);
        rig.send(sender, epoch, "m1");
        rig.send(sender, epoch, "m2");
        rig.hold(m1, Kind::Append);
        rig.cut(target);
        rig.settle();
        assert!(rig.holds(m1, Kind::Append), "the route outlives its link");
        let append = rig.held(m1, Kind::Append);
        assert_eq!(puts(&append), ["m1", "m2"], "what was handed out is not stored first");
        rig.answer(append);
        assert_eq!(rig.result(sender, "m1"), Some(Outcome::Stored));
        assert_eq!(rig.result(sender, "m2"), Some(Outcome::Stored));
        let marks: Vec<bool> = rig.db.documents(&b()).iter().map(|d| d.redelivered).collect();
        assert_eq!(marks, [true, false], "only m1 was handed out");
    }
    holds(
        scenario,
        &[
            (Defect::QueueBeforeWindow, "not stored first"),
            (Defect::WindowForgotten, "not stored first"),
            (Defect::RouteKeptWithoutLink, "the route outlives its link"),
        ],
    );
}

/// The mailbox holds more than the window takes; a message arrives.
#[test]
fn trace_04_a_lane_goes_through_the_mailbox_until_a_read_finds_nothing() {
    fn scenario() {
        let mut rig = Rig::narrow(2, 9);
        let m1 = rig.ms();
        let (sender, target) = (rig.link(m1, 1), rig.link(m1, 2));
        let (s, epoch) = (Session::new(1), rig.epoch());
        rig.settle();
        for id in ["m1", "m2", "m3"] {
            rig.send(sender, epoch, id);
        }
        rig.register(target, epoch, &s);
        assert_eq!(rig.shown(target, &s), ["m1", "m2"]);
        rig.send(sender, epoch, "m4");
        rig.ack(target, &s, "m1");
        assert_eq!(rig.shown(target, &s), ["m1", "m2", "m3"], "m4 overtakes what is stored");
        for id in ["m2", "m3", "m4"] {
            rig.ack(target, &s, id);
        }
        assert_eq!(rig.shown(target, &s), ["m1", "m2", "m3", "m4"]);
    }
    holds(scenario, &[(Defect::DirectThoughStored, "m4 overtakes what is stored")]);
}

/// m1's append fails, m2 waits behind it, B registers.
#[test]
fn trace_07_nothing_passes_an_append_that_failed() {
    fn scenario() {
        let mut rig = Rig::new();
        let m1 = rig.ms();
        let (sender, target) = (rig.link(m1, 1), rig.link(m1, 2));
        let (s, epoch) = (Session::new(1), rig.epoch());
        rig.settle();
        rig.hold(m1, Kind::Append);
        rig.send(sender, epoch, "m1");
        rig.send(sender, epoch, "m2");
        let append = rig.held(m1, Kind::Append);
        rig.fail(append, StoreError::NotDone);
        rig.pass(300);
        let append = rig.held(m1, Kind::Append);
        assert_eq!(puts(&append), ["m1", "m2"], "m2 passes m1");
        rig.fail(append, StoreError::Unknown);
        rig.register(target, epoch, &s);
        rig.pass(300);
        assert_eq!(rig.shown(target, &s), NOTHING, "B waits for what is older");
        rig.release(m1, Kind::Append);
        assert_eq!(rig.shown(target, &s), ["m1", "m2"]);
        assert_eq!(rig.result(sender, "m1"), Some(Outcome::Stored));
    }
    holds(scenario, &[(Defect::FailedAppendOvertaken, "m2 passes m1")]);
}

/// One command holds m1, m2 and m3; the database stops after m1, and the owner dies.
#[test]
fn trace_07_of_one_command_only_a_prefix_counts_and_the_rest_goes_on_in_order() {
    let mut rig = Rig::new();
    let m1 = rig.ms();
    let (sender, epoch) = (rig.link(m1, 1), rig.epoch());
    rig.hold(m1, Kind::Append);
    for id in ["m1", "m2", "m3"] {
        rig.send(sender, epoch, id);
    }
    let append = rig.held(m1, Kind::Append);
    rig.fail(append, StoreError::NotDone);
    rig.pass(300);
    let append = rig.held(m1, Kind::Append);
    assert_eq!(puts(&append), ["m1", "m2", "m3"]);
    rig.db.apply(&first_of(append.op.clone()));
    let part = Appended { applied: 1, error: Some(PutError::NotDone) };
    rig.reply(append, StoreReply { time: OpTime(0), value: Ok(StoreValue::Appended(part)) });
    assert_eq!(rig.result(sender, "m1"), Some(Outcome::Stored));
    assert_eq!(rig.result(sender, "m2"), None);
    rig.pass(300);
    let append = rig.held(m1, Kind::Append);
    assert_eq!(puts(&append), ["m2", "m3"]);
    // The owner dies here, and what was stored is a prefix.
    let m2 = rig.ms();
    let (target, new, s) = (rig.link(m2, 2), rig.give(m2), Session::new(1));
    rig.register(target, new, &s);
    assert_eq!(rig.shown(target, &s), ["m1"]);
}

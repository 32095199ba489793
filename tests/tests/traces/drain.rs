//! Traces 5 and 6: how a mailbox is read.

use wardlink_defect::Defect;
use wardlink_wire::Outcome;

use crate::holds;
use crate::rig::{Kind, NOTHING, Rig, Session, b};

/// M2 has handed out d1, of its own epoch, when an append of the former owner is applied: m1,
/// which M2 was sent again, now has a stamp below d1's.
#[test]
fn trace_05_what_gets_a_lower_stamp_while_the_mailbox_is_drained_is_drained_too() {
    fn scenario() {
        let mut rig = Rig::narrow(1, 9);
        let (m1, m2) = rig.two();
        let (l1, l2, target) = (rig.link(m1, 1), rig.link(m2, 1), rig.link(m2, 2));
        rig.hold(m1, Kind::Append);
        rig.settle();
        rig.send(l1, rig.epoch(), "m1");
        let late = rig.held(m1, Kind::Append);

        let (s, epoch) = (Session::new(1), rig.give(m2));
        rig.tell(l2);
        rig.settle();
        rig.send(l2, epoch, "d1");
        rig.send(l2, epoch, "d2");
        rig.register(target, epoch, &s);
        assert_eq!(rig.shown(target, &s), ["d1"]);

        rig.db.apply(&late.op);
        rig.send_again(l2, epoch, "m1");
        // It waits until its deadline is near, then it is stored.
        rig.pass(6_500);
        assert_eq!(rig.result(l2, "m1"), Some(Outcome::Stored));
        rig.ack(target, &s, "d1");
        let mut left = vec!["m1", "d2"];
        while let Some(id) = rig.shown(target, &s).last().cloned() {
            if !left.contains(&id.as_str()) {
                break;
            }
            left.retain(|l| *l != id);
            rig.ack(target, &s, &id);
        }
        assert_eq!(rig.shown(target, &s).len(), 3, "m1 is called stored and nobody drains it");
        assert_eq!(rig.shown(target, &s), ["d1", "m1", "d2"], "m1 has not its older stamp");
        assert_eq!(rig.db.mailbox(&b()), NOTHING);
    }
    holds(
        scenario,
        &[
            (Defect::Cursor, "m1 is called stored and nobody drains it"),
            (Defect::HigherStampKept, "m1 has not its older stamp"),
        ],
    );
}

/// A read is under way and will find nothing; meanwhile a message waits so long that it is to be
/// stored.
#[test]
fn trace_06_a_read_begun_before_something_was_to_be_appended_decides_nothing() {
    fn scenario() {
        let mut rig = Rig::new();
        let m1 = rig.ms();
        let (sender, target) = (rig.link(m1, 1), rig.link(m1, 2));
        let (s, epoch) = (Session::new(1), rig.epoch());
        rig.settle();
        rig.hold(m1, Kind::ReadMailbox);
        rig.register(target, epoch, &s);
        let read = rig.held(m1, Kind::ReadMailbox);
        let nothing = rig.db.apply(&read.op);

        rig.send(sender, epoch, "m1");
        rig.pass(6_500);
        rig.reply(read, nothing);
        assert_eq!(rig.db.mailbox(&b()), ["m1"]);
        rig.send(sender, epoch, "m2");
        assert_eq!(rig.shown(target, &s), NOTHING, "the lane is direct, past its own appends");
        rig.release(m1, Kind::ReadMailbox);
        assert_eq!(rig.shown(target, &s), ["m1", "m2"]);
        assert_eq!(rig.result(sender, "m1"), Some(Outcome::Stored));
    }
    holds(scenario, &[(Defect::ReadBeforeAppendCounts, "past its own appends")]);
}

/// So much arrives during a read that it is to be stored; the same holds.
#[test]
fn trace_06_a_read_begun_before_an_overflow_decides_nothing() {
    let mut rig = Rig::narrow(9, 1);
    let m1 = rig.ms();
    let (sender, target) = (rig.link(m1, 1), rig.link(m1, 2));
    let (s, epoch) = (Session::new(1), rig.epoch());
    rig.settle();
    rig.hold(m1, Kind::ReadMailbox);
    rig.register(target, epoch, &s);
    let read = rig.held(m1, Kind::ReadMailbox);
    let nothing = rig.db.apply(&read.op);
    rig.send(sender, epoch, "m1");
    rig.send(sender, epoch, "m2");
    rig.reply(read, nothing);
    rig.send(sender, epoch, "m3");
    assert_eq!(rig.shown(target, &s), NOTHING);
    rig.release(m1, Kind::ReadMailbox);
    assert_eq!(rig.shown(target, &s), ["m1", "m2", "m3"]);
}

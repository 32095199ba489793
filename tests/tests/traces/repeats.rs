//! Trace 1 by another door: the repeat of a message that was read from the mailbox is called
//! stored only once a renewal has confirmed it. And what a peer must not be able to write into
//! the view for good.

use wardlink_wire::link::{Known, ToMs};
use wardlink_wire::{CloseCode, Epoch, Outcome, Stamp, ViewNumber};

use crate::rig::{Kind, Rig, Session, b};

#[test]
fn trace_01_a_repeat_of_what_was_read_from_the_mailbox_waits_for_a_renewal_too() {
    let mut rig = Rig::new();
    let m1 = rig.ms();
    let (sender, target) = (rig.link(m1, 1), rig.link(m1, 2));
    let (s1, epoch) = (Session::nth(1), rig.epoch());
    rig.tell(sender);
    rig.tell(target);
    rig.pass(1500);
    rig.hold(m1, Kind::Renew);
    rig.pass(600);
    rig.send(sender, epoch, "m1");
    assert_eq!(rig.db.mailbox(&b()), ["m1"], "appended, and not confirmed");
    rig.register(target, epoch, &s1);
    assert_eq!(rig.shown(target, &s1), ["m1"], "read from the mailbox");
    rig.cut(sender);
    let sender = rig.link(m1, 1);
    rig.send_again(sender, epoch, "m1");
    assert_eq!(rig.result(sender, "m1"), None, "no renewal has succeeded since the append");
    rig.release(m1, Kind::Renew);
    rig.pass(600);
    assert_eq!(rig.result(sender, "m1"), Some(Outcome::Stored));
}

#[test]
fn trace_01_a_former_owner_calls_the_repeat_of_a_late_append_nothing() {
    let mut rig = Rig::narrow(2, 1);
    let (m1, m2) = rig.two();
    let (sender, target) = (rig.link(m1, 1), rig.link(m1, 2));
    let target2 = rig.link(m2, 2);
    let mut s1 = Session::nth(1);
    let e1 = rig.epoch();
    rig.tell(sender);
    rig.tell(target);
    rig.settle();
    rig.register(target, e1, &s1);
    s1.stamp = rig.registered(target, &s1);
    rig.send(sender, e1, "x");
    rig.send(sender, e1, "y");
    for kind in [Kind::Append, Kind::Renew, Kind::ReadView] {
        rig.hold(m1, kind);
    }
    rig.pass(600);
    rig.send(sender, e1, "z1");
    rig.send(sender, e1, "z2");
    let e2 = rig.give(m2);
    rig.pause(m1, true);
    rig.tell(target2);
    rig.settle();
    rig.register(target2, e2, &s1);
    rig.ack(target, &s1, "x");
    rig.ack(target, &s1, "y");
    rig.release(m1, Kind::Append);
    assert!(rig.shown(target, &s1).contains(&"z1".to_owned()), "M1 has read its late append");
    rig.cut(sender);
    let again = rig.link(m1, 1);
    rig.send_again(again, e1, "z1");
    rig.pass(5000);
    assert_ne!(rig.result(again, "z1"), Some(Outcome::Stored));
}

#[test]
fn an_epoch_that_cannot_be_closes_the_link_and_leaves_the_view_alone() {
    let impossible = Epoch(u64::MAX);
    let mut rig = Rig::new();
    let m1 = rig.ms();
    rig.pass(1500);
    let number = |rig: &Rig| rig.snapshot(m1).view.map(|view| view.number);
    let before = number(&rig);
    let link = rig.link(m1, 1);
    let known = Known { went_back: Some(impossible), ..Known::default() };
    rig.items(link, vec![ToMs::Known(known)]);
    assert_eq!(rig.closed(link), Some(CloseCode::ImpossibleView));
    let link = rig.link(m1, 2);
    let epoch = rig.epoch();
    let mut s1 = Session::nth(1);
    s1.stamp = Some(Stamp { epoch: impossible, count: 1 });
    rig.register(link, epoch, &s1);
    assert_eq!(rig.closed(link), Some(CloseCode::ImpossibleView));
    rig.pass(2000);
    assert_eq!(number(&rig), before);
    assert!(before < Some(ViewNumber(u64::MAX)));
}

#[test]
fn a_repeat_with_less_time_does_not_take_it_from_the_first_copy() {
    let mut rig = Rig::new();
    let m1 = rig.ms();
    let (first, second) = (rig.link(m1, 1), rig.link(m1, 2));
    let epoch = rig.epoch();
    rig.tell(first);
    rig.tell(second);
    rig.pass(1500);
    rig.hold(m1, Kind::Append);
    rig.send(first, epoch, "m1");
    let mut hasty = rig.message(second, epoch, "m1");
    hasty.deadline_ms = 200;
    rig.items(second, vec![ToMs::Send(hasty)]);
    rig.pass(1000);
    assert_eq!(rig.result(first, "m1"), None, "it has its own time");
    rig.release(m1, Kind::Append);
    rig.pass(600);
    assert_eq!(rig.result(first, "m1"), Some(Outcome::Stored));
}

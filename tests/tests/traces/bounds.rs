//! What a peer may have here at most, and what it hears beyond; acks that are late, double, or
//! somebody else's.

use wardlink_ms::core::Config;
use wardlink_wire::link::{Ack, Deliver, Register, Send, ToMs};
use wardlink_wire::{CloseCode, EndId, Outcome, Reason};

use crate::bs::{Bs, view};
use crate::rig::{Kind, Link, NOTHING, Rig, Session, b};

const OVERLOADED: Option<(Outcome, Option<Reason>)> =
    Some((Outcome::Rejected, Some(Reason::Overloaded)));

fn end(n: usize) -> EndId {
    format!("H1-A1-n{n}").parse().unwrap()
}

/// A rig whose only MS was told this, with a link to send on. B is away.
fn rig(config: Config) -> (Rig, Link) {
    let mut rig = Rig::new();
    rig.config = config;
    let m1 = rig.ms();
    let sender = rig.link(m1, 1);
    rig.tell(sender);
    rig.settle();
    (rig, sender)
}

#[test]
fn a_link_with_twice_its_credit_open_hears_overloaded_until_results_make_room() {
    let (mut rig, sender) = rig(Config { credit: 2, ..Config::default() });
    let (m1, epoch) = (rig.only(), rig.epoch());
    rig.hold(m1, Kind::Append);
    for i in 1..=5 {
        rig.send(sender, epoch, &format!("m{i}"));
    }
    assert_eq!(rig.told(sender, "m5"), OVERLOADED);
    assert_eq!(rig.results(sender).len(), 1);
    rig.send_again(sender, epoch, "m6");
    assert_eq!(rig.result(sender, "m6"), Some(Outcome::Unknown), "an earlier owner may have it");
    rig.release(m1, Kind::Append);
    rig.pass(1_000);
    assert_eq!(rig.result(sender, "m4"), Some(Outcome::Stored));
    rig.send(sender, epoch, "m7");
    rig.pass(1_000);
    assert_eq!(rig.result(sender, "m7"), Some(Outcome::Stored));
}

#[test]
fn a_links_open_bodies_are_weighed() {
    let (mut rig, sender) = rig(Config::default());
    let (m1, epoch) = (rig.only(), rig.epoch());
    let (open, before) = (128 << 20, rig.snapshot(m1).open_sends);
    rig.hold(m1, Kind::Append);
    // Each to an end of its own, for an end's queue is bounded far below.
    let body = bytes::Bytes::from(vec![b'1'; 1 << 20]);
    for n in 0..=(open >> 20) {
        let message = rig.message(sender, epoch, &format!("m{n}"));
        let send = Send { end: end(n), body: body.clone(), ..message };
        rig.items(sender, vec![ToMs::Send(send)]);
    }
    assert_eq!(rig.told(sender, "m127"), None);
    assert_eq!(rig.told(sender, "m128"), OVERLOADED);
    assert_eq!(rig.snapshot(m1).open_sends, before + 128);
}

#[test]
fn a_link_that_registers_more_ends_than_a_server_can_have_is_closed() {
    let (mut rig, link) = rig(Config { ends_max: 10, ..Config::default() });
    let (m1, epoch) = (rig.only(), rig.epoch());
    let register = |n: usize| {
        let session = Session::new(n as u128 + 1).id;
        ToMs::Register(Register { epoch, end: end(n), session, stamp: None, client: None, n: 0 })
    };
    for n in 0..8 {
        rig.items(link, vec![register(n)]);
    }
    // Routes count on, a register that is answered does not.
    rig.pass(1_000);
    rig.items(link, vec![register(8), register(9)]);
    assert_eq!(rig.closed(link), None);
    rig.pass(1_000);
    rig.items(link, vec![register(10)]);
    assert_eq!(rig.closed(link), Some(CloseCode::Overloaded));
    rig.pass(11_000);
    assert_eq!(rig.snapshot(m1).lanes, 0, "its routes are gone with it");
}

#[test]
fn lanes_of_ends_that_do_not_exist_go_when_they_are_at_rest() {
    for (lanes_rest, kept) in [(200_000, 100), (50, 0)] {
        let (mut rig, sender) = rig(Config { lanes_rest, ..Config::default() });
        let (m1, epoch) = (rig.only(), rig.epoch());
        for n in 0..100 {
            let message = rig.message(sender, epoch, &format!("m{n}"));
            rig.items(sender, vec![ToMs::Send(Send { end: end(n), ..message })]);
        }
        rig.pass(2_000);
        assert_eq!(rig.results(sender), vec![Outcome::Stored; 100]);
        assert_eq!(rig.snapshot(m1).lanes, kept, "with room for {lanes_rest} at rest");
        rig.pass(11_000);
        assert_eq!(rig.snapshot(m1).lanes, 0);
    }
}

#[test]
fn a_business_server_refuses_what_it_cannot_hold() {
    let mut bs = Bs::with(|config| {
        (config.session_sends, config.open_sends, config.open_bytes) = (2, 8, 40);
    });
    let (one, two) = (Session::new(1), Session::new(2));
    bs.connect(&one, true);
    bs.connect(&two, true);
    // Without a link all wait. Beyond twice what it was told, a session hears so.
    for i in 1..=6 {
        bs.send(&one, &format!("m{i}"));
    }
    assert_eq!(bs.told(&one, "m5"), None);
    assert_eq!(bs.told(&one, "m6"), Some(Outcome::Rejected));
    for i in 7..=10 {
        bs.send(&two, &format!("m{i}"));
    }
    assert_eq!(bs.told(&two, "m9"), None);
    assert_eq!(bs.told(&two, "m10"), Some(Outcome::Rejected), "the server's own bound");
    assert_eq!(bs.counters().refused, 2);
    // A result makes room, and then the bytes are what is short: 32 are held.
    let link = bs.link(1, &view(5, 1, 1));
    bs.result(link, 5, 1, Outcome::Stored);
    bs.send(&two, "a-much-longer-message");
    assert_eq!(bs.told(&two, "a-much-longer-message"), Some(Outcome::Rejected));
    bs.send(&two, "m11");
    assert_eq!(bs.told(&two, "m11"), None);
}

#[test]
fn a_body_above_the_bound_of_a_business_server_is_too_large_and_the_bound_is_told() {
    let mut bs = Bs::with(|config| config.body_max_bytes = 6);
    let link = bs.link(1, &view(5, 1, 1));
    let session = Session::new(1);
    bs.connect(&session, true);
    bs.pass(3_000, &[link]);
    assert_eq!(bs.limits(&session).map(|limits| limits.body_bytes), Some(6));
    bs.send(&session, "1234");
    bs.send(&session, "12345");
    assert_eq!(bs.told(&session, "1234"), None);
    assert_eq!(bs.told(&session, "12345"), Some(Outcome::Rejected));
    assert_eq!(bs.send_ids(link), ["1234"]);
}

fn ack_of(deliver: &Deliver, session: &Session, expired: bool) -> ToMs {
    let Deliver { epoch, stamp, .. } = *deliver;
    ToMs::Ack(Ack { epoch, end: b(), session: session.id, stamp, expired })
}

#[test]
fn a_deliver_that_expires_on_its_way_is_rejected_only_if_it_cannot_arrive() {
    let (mut rig, sender) = rig(Config::default());
    let (m1, epoch) = (rig.only(), rig.epoch());
    let (target, s) = (rig.link(m1, 2), Session::new(1));
    rig.register(target, epoch, &s);
    rig.send(sender, epoch, "m1");
    rig.send_again(sender, epoch, "m2");
    rig.send(sender, epoch, "m3");
    rig.pass(6_500);
    assert_eq!(rig.result(sender, "m3"), Some(Outcome::Stored));
    assert_eq!(rig.db.mailbox(&b()), ["m1", "m2", "m3"]);
    rig.send(sender, epoch, "m4");
    for deliver in rig.delivers(target) {
        rig.items(target, vec![ack_of(&deliver, &s, true)]);
    }
    let expired = Some(Reason::Expired);
    assert_eq!(rig.told(sender, "m4"), Some((Outcome::Rejected, expired)), "its only hand-out");
    assert_eq!(rig.results(sender).len(), 4, "what was stored has its result");
    assert_eq!(rig.db.mailbox(&b()), NOTHING, "documents go with their expiry");
    rig.send_again(sender, epoch, "m5");
    let deliver = rig.delivers(target).pop().unwrap();
    rig.items(target, vec![ack_of(&deliver, &s, true)]);
    assert_eq!(rig.told(sender, "m5"), Some((Outcome::Unknown, expired)), "sent again");
}

#[test]
fn an_ack_that_is_late_or_double_or_of_a_foreign_session_or_link_counts_nothing() {
    let (mut rig, sender) = rig(Config::default());
    let (m1, epoch) = (rig.only(), rig.epoch());
    let (target, s, foreign) = (rig.link(m1, 2), Session::new(1), Session::new(2));
    rig.register(target, epoch, &s);
    rig.send(sender, epoch, "m1");
    let deliver = rig.delivers(target).pop().unwrap();
    rig.items(target, vec![ack_of(&deliver, &foreign, false)]);
    rig.items(sender, vec![ack_of(&deliver, &s, false)]);
    assert_eq!(rig.results(sender), [], "the ack of another session, or over another link");
    rig.ack(target, &s, "m1");
    rig.ack(target, &s, "m1");
    rig.items(target, vec![ack_of(&deliver, &s, true)]);
    assert_eq!(rig.results(sender), [Outcome::Delivered], "once");
    // Late: the session has left meanwhile, and the message is in the mailbox.
    rig.send(sender, epoch, "m2");
    let deliver = rig.delivers(target).pop().unwrap();
    rig.unregister(target, epoch, &s);
    rig.pass(1_000);
    rig.items(target, vec![ack_of(&deliver, &s, false)]);
    assert_eq!(rig.results(sender), [Outcome::Delivered, Outcome::Stored]);
    assert_eq!(rig.db.mailbox(&b()), ["m2"], "a later session gets it");
    assert_eq!((rig.closed(target), rig.closed(sender)), (None, None));
}

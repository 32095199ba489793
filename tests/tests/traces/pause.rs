//! Traces 22 and 23: what time does, and what it must not.

use wardlink_defect::Defect;
use wardlink_ms::core::Config;
use wardlink_wire::link::{Send, ToMs};
use wardlink_wire::{Outcome, Reason};

use crate::bs::{Bs, CLOCK_MS, deliver, view};
use crate::holds;
use crate::rig::{NOTHING, Rig, Session, b};

/// A BS stood still for ten seconds. Its timers fire before it reads what has come meanwhile.
#[test]
fn trace_22_a_bs_that_wakes_reports_nobody() {
    let (mut bs, all) = (Bs::new(), view(5, 2, 1));
    let links = [bs.link(1, &all), bs.link(2, &all)];
    bs.pass(2_000, &links);
    let said = bs.known(links[0]).len();
    bs.sleep(10_000);
    bs.event(wardlink_bs::core::api::Event::Tick);
    assert_eq!(bs.closed, [], "it takes what it has not read for silence");
    bs.pass(1_000, &links);
    assert_eq!((bs.closed.len(), bs.known(links[0]).len()), (0, said));
    // A real silence is still found.
    bs.pass(3_000, &links[..1]);
    assert_eq!(bs.closed.iter().map(|(link, _)| *link).collect::<Vec<_>>(), links[1..]);
}

/// An MS stood still for ten seconds, the same.
#[test]
fn trace_22_an_ms_that_wakes_closes_no_link_and_judges_nobody() {
    let mut rig = Rig::new();
    let (m1, m2) = rig.two();
    let link = rig.link(m1, 1);
    rig.pass(2_000);
    let members = rig.db.view.clone().unwrap().members;
    for ms in [m1, m2] {
        rig.pause(ms, true);
    }
    rig.pass(10_000);
    rig.tick(m1);
    assert_eq!(rig.closed(link), None);
    for ms in [m1, m2] {
        rig.pause(ms, false);
    }
    rig.pass(2_000);
    assert_eq!(rig.closed(link), None);
    assert_eq!(rig.db.view.clone().unwrap().members, members);
}

/// A BS wakes with a deliver in its buffer that has expired meanwhile.
#[test]
fn trace_22_a_bs_that_wakes_shows_nothing_expired_and_does_not_call_it_acked() {
    fn scenario() {
        let (mut bs, s) = (Bs::new(), Session::new(1));
        let link = bs.link(1, &view(5, 1, 1));
        bs.connect(&s, false);
        bs.registered(link, 5, &s);
        let mut short = deliver(5, 1, "m1", &s);
        short.expire_at_ms = CLOCK_MS + 2_000;
        bs.sleep(5_000);
        bs.deliver(link, short);
        assert_eq!(bs.shown(&s), NOTHING, "an expired message is shown");
        let said: Vec<bool> = bs.acks(link).iter().map(|(_, expired)| *expired).collect();
        assert_eq!(said, [true], "an expired message is acked");
        bs.deliver(link, deliver(5, 2, "m2", &s));
        assert_eq!(bs.shown(&s), ["m2"]);
    }
    holds(
        scenario,
        &[
            (Defect::ExpiryByDatabaseOnly, "an expired message is shown"),
            (Defect::ExpiredAnsweredAsAck, "an expired message is acked"),
        ],
    );
}

/// A message expires while it waits for its turn, another in the BS's hands.
#[test]
fn trace_22_what_expires_in_a_lane_is_not_handed_out_and_its_sender_is_told() {
    fn scenario() {
        let mut rig = Rig::narrow(1, 9);
        let m1 = rig.ms();
        let (sender, target) = (rig.link(m1, 1), rig.link(m1, 2));
        let (s, epoch) = (Session::new(1), rig.epoch());
        rig.register(target, epoch, &s);
        rig.send(sender, epoch, "m1");
        let short = Send { ttl_s: Some(1), ..rig.message(sender, epoch, "m2") };
        rig.items(sender, vec![ToMs::Send(short)]);
        rig.pass(2_000);
        rig.ack(target, &s, "m1");
        assert_eq!(rig.shown(target, &s), ["m1"], "an expired message is handed out");
        let rejected = (Outcome::Rejected, Some(Reason::Expired));
        assert_eq!(rig.told(sender, "m2"), Some(rejected));
    }
    holds(scenario, &[(Defect::ExpiryByDatabaseOnly, "an expired message is handed out")]);
}

/// A whole page of the mailbox has expired, and behind it is one that has not.
#[test]
fn trace_22_a_page_of_expired_documents_is_not_the_end_of_the_mailbox() {
    fn scenario() {
        let mut rig = Rig::new();
        rig.config = Config { page_max: 2, ..Config::default() };
        let m1 = rig.ms();
        let (sender, target) = (rig.link(m1, 1), rig.link(m1, 2));
        let (s, epoch) = (Session::new(1), rig.epoch());
        rig.settle();
        for id in ["m1", "m2"] {
            let short = Send { ttl_s: Some(1), ..rig.message(sender, epoch, id) };
            rig.items(sender, vec![ToMs::Send(short)]);
        }
        rig.send(sender, epoch, "m3");
        rig.pass(2_000);
        rig.register(target, epoch, &s);
        rig.send(sender, epoch, "m4");
        assert_eq!(rig.shown(target, &s), ["m3", "m4"], "m4 is taken for the oldest");
        assert_eq!(rig.db.mailbox(&b()), ["m3"], "what has expired is removed");
    }
    holds(scenario, &[(Defect::ExpiredPageIsEnd, "m4 is taken for the oldest")]);
}

/// At 100,000 messages a second a thousand of them are ten milliseconds; a retry comes later.
#[test]
fn trace_23_a_retry_seconds_later_is_known_however_many_messages_came_between() {
    fn scenario() {
        let (mut bs, s) = (Bs::new(), Session::new(1));
        let link = bs.link(1, &view(5, 1, 1));
        bs.connect(&s, false);
        bs.registered(link, 5, &s);
        for i in 1..=3_000 {
            bs.deliver(link, deliver(5, i, &format!("m{i}"), &s));
            bs.ack(&s, i);
        }
        bs.pass(5_000, &[link]);
        let acks = bs.acks(link).len();
        bs.deliver(link, deliver(5, 9_999, "m1", &s));
        assert_eq!(bs.shown(&s).len(), 3_000, "m1 is shown twice");
        assert_eq!(bs.acks(link).len(), acks + 1, "and its repeat is acked");
    }
    holds(scenario, &[(Defect::NoDedupe, "m1 is shown twice")]);
}

/// Two minutes later, too, while no more than a thousand came; and what is not acked, always.
#[test]
fn trace_23_the_window_is_time_or_messages_whichever_is_longer() {
    let (mut bs, s) = (Bs::new(), Session::new(1));
    let link = bs.link(1, &view(5, 1, 1));
    bs.connect(&s, false);
    bs.registered(link, 5, &s);
    for i in 1..=1_000 {
        bs.deliver(link, deliver(5, i, &format!("m{i}"), &s));
    }
    bs.ack(&s, 999);
    bs.pass(300_000, &[link]);
    bs.deliver(link, deliver(5, 9_001, "m1", &s));
    bs.deliver(link, deliver(5, 9_002, "m1000", &s));
    assert_eq!(bs.shown(&s).len(), 1_000);
}

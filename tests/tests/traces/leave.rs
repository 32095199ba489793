//! A BS that stops: its terminals go elsewhere one after the other, and are served until then.

use wardlink_bs::core::api::Event;
use wardlink_wire::link::ToMs;
use wardlink_wire::{CloseCode, Outcome};

use crate::bs::{Bs, deliver, view};
use crate::rig::Session;

/// A BS with a link, and B's and A's terminals registered there.
fn served() -> (Bs, wardlink_bs::core::api::LinkId, Session, Session) {
    let mut bs = Bs::with(|config| config.drain_ms = 10_000);
    let link = bs.link(1, &view(5, 1, 1));
    let (sender, target) = (Session::new(1), Session::new(2));
    bs.connect(&sender, true);
    bs.connect(&target, false);
    bs.registered(link, 5, &target);
    assert!(bs.ready);
    (bs, link, sender, target)
}

#[test]
fn terminals_are_sent_away_one_after_the_other_and_the_server_ends_with_the_last() {
    let mut bs = Bs::with(|config| config.drain_ms = 10_000);
    let link = bs.link(1, &view(5, 1, 1));
    let sessions: Vec<Session> = (1..=100).map(Session::new).collect();
    for session in &sessions {
        bs.connect(session, false);
    }
    bs.event(Event::Stop);
    assert!(!bs.ready && !bs.exited);
    let mut moments: Vec<u32> = sessions.iter().flat_map(|s| bs.sent_away(s)).collect();
    moments.sort_unstable();
    assert_eq!(moments.len(), 100, "each is told once");
    assert!(moments.iter().enumerate().all(|(i, at)| at / 90 == i as u32), "{moments:?}");
    bs.event(Event::Stop);
    assert_eq!(bs.counters().sent_away, 100, "a second word changes nothing");
    for session in &sessions {
        assert!(!bs.exited);
        bs.event(Event::SessionClosed(session.id));
        bs.pass(50, &[link]);
    }
    assert!(bs.exited && bs.ended.is_empty() && bs.counters().left_late == 0);
}

#[test]
fn a_stopping_server_serves_until_its_terminals_leave() {
    let (mut bs, link, sender, target) = served();
    bs.event(Event::Stop);
    bs.send(&sender, "m1");
    bs.deliver(link, deliver(5, 1, "m2", &target));
    bs.ack(&target, 1);
    assert_eq!((bs.send_ids(link), bs.acks(link).len()), (vec!["m1".to_owned()], 1));
    assert_eq!(bs.shown(&target), ["m2"]);
    bs.result(link, 5, 1, Outcome::Delivered);
    assert_eq!(bs.told(&sender, "m1"), Some(Outcome::Delivered));
    let late = Session::new(3);
    bs.connect(&late, false);
    assert_eq!(bs.ended, [(late.id, CloseCode::GoingAway)], "nobody new is taken");
    assert!(bs.registers(link, &late).is_empty());
    // Nor is it ready again when a view comes.
    let next = wardlink_wire::link::ToBs::View(view(6, 1, 1).to_item());
    bs.items(link, vec![next]);
    assert!(!bs.ready);
}

#[test]
fn who_is_left_at_the_end_of_the_window_is_closed_and_open_sends_get_their_result_first() {
    let (mut bs, link, sender, target) = served();
    bs.event(Event::Stop);
    bs.pass(5_000, &[link]);
    bs.send(&sender, "m1");
    bs.pass(4_950, &[link]);
    assert!(bs.ended.is_empty() && !bs.exited);
    bs.pass(50, &[link]);
    assert_eq!(bs.ended, [(target.id, CloseCode::GoingAway)], "m1 has no result yet");
    bs.pass(1_000, &[link]);
    assert!(!bs.exited);
    bs.result(link, 5, 1, Outcome::Stored);
    bs.pass(50, &[link]);
    assert_eq!(bs.told(&sender, "m1"), Some(Outcome::Stored));
    assert_eq!(bs.ended[1..], [(sender.id, CloseCode::GoingAway)]);
    assert!(bs.exited && bs.counters().left_late == 2);
    let unregistered = |item: &ToMs| matches!(item, ToMs::Unregister(_));
    assert_eq!(bs.sent(link).iter().filter(|item| unregistered(item)).count(), 2);
}

#[test]
fn a_send_without_a_result_does_not_hold_up_the_end_for_long() {
    let (mut bs, link, sender, _) = served();
    bs.event(Event::Stop);
    bs.pass(9_000, &[link]);
    bs.send(&sender, "m1");
    bs.pass(3_950, &[link]);
    assert!(!bs.exited);
    bs.pass(50, &[link]);
    assert!(bs.exited, "3 s after the window");
    assert_eq!(bs.told(&sender, "m1"), None, "the client library sends it again elsewhere");
}

#[test]
fn without_a_window_all_are_closed_at_once() {
    let mut bs = Bs::with(|config| config.drain_ms = 0);
    let link = bs.link(1, &view(5, 1, 1));
    let sender = Session::new(1);
    bs.connect(&sender, true);
    bs.send(&sender, "m1");
    bs.event(Event::Stop);
    assert!(bs.exited);
    assert_eq!(bs.ended, [(sender.id, CloseCode::GoingAway)]);
    assert_eq!(bs.send_ids(link), ["m1"]);
}

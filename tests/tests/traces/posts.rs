//! Sends without a session: several calls for one message, retries, callers that hang up, bounds,
//! and a change of owner under an open post.

use bytes::Bytes;
use wardlink_bs::core::api::{Event, RequestId};
use wardlink_wire::terminal::UpSend;
use wardlink_wire::{Outcome, Reason};

use crate::bs::{Bs, given, view};
use crate::rig::{Session, a, b};

/// A call posts a message of A to B.
fn post(bs: &mut Bs, request: u64, id: &str, body: &str) {
    let body = Bytes::from(format!("\"{body}\""));
    let send = UpSend { id: id.parse().unwrap(), to: b(), body, ttl_s: None };
    bs.event(Event::Post { request: RequestId(request), caller: a(), from: a(), send });
}

#[test]
fn two_calls_with_one_message_are_one_send_and_both_get_its_result() {
    let mut bs = Bs::new();
    let link = bs.link(1, &view(5, 1, 1));
    post(&mut bs, 1, "m1", "x");
    post(&mut bs, 2, "m1", "x");
    post(&mut bs, 3, "m1", "y");
    assert_eq!(bs.answers(3), [(Outcome::Rejected, Some(Reason::IdReused))]);
    assert_eq!(bs.send_ids(link), ["m1"]);
    assert!(bs.answers(1).is_empty() && bs.answers(2).is_empty());
    bs.result(link, 5, 1, Outcome::Stored);
    assert_eq!(bs.answers(1), [(Outcome::Stored, None)]);
    assert_eq!(bs.answers(2), [(Outcome::Stored, None)]);
    assert_eq!(bs.posts(), 0);
}

#[test]
fn a_retry_within_two_minutes_gets_the_first_answer_and_sends_nothing() {
    let mut bs = Bs::new();
    let link = bs.link(1, &view(5, 1, 1));
    post(&mut bs, 1, "m1", "x");
    bs.result(link, 5, 1, Outcome::Delivered);
    bs.pass(119_000, &[link]);
    post(&mut bs, 2, "m1", "x");
    assert_eq!(bs.answers(2), [(Outcome::Delivered, None)]);
    post(&mut bs, 3, "m1", "y");
    assert_eq!(bs.answers(3), [(Outcome::Rejected, Some(Reason::IdReused))]);
    assert_eq!(bs.send_ids(link), ["m1"]);
    bs.pass(2_000, &[link]);
    post(&mut bs, 4, "m1", "x");
    assert_eq!(bs.send_ids(link), ["m1", "m1"], "what was forgotten goes to the owner again");
}

#[test]
fn what_was_refused_is_not_remembered() {
    let mut bs = Bs::new();
    let link = bs.link(1, &view(5, 1, 1));
    for (seq, outcome) in [(1, Outcome::Rejected), (2, Outcome::Unknown), (3, Outcome::Stored)] {
        post(&mut bs, seq, "m1", "x");
        bs.result(link, 5, seq, outcome);
        assert_eq!(bs.answers(seq), [(outcome, None)]);
    }
    assert_eq!(bs.send_ids(link), ["m1", "m1", "m1"]);
}

#[test]
fn the_send_goes_with_the_last_call_that_waits_for_it() {
    let mut bs = Bs::new();
    post(&mut bs, 1, "m1", "x");
    post(&mut bs, 2, "m1", "x");
    post(&mut bs, 3, "m2", "x");
    bs.event(Event::PostGone(RequestId(1)));
    assert_eq!(bs.open_sends(), 2, "another call waits");
    bs.event(Event::PostGone(RequestId(2)));
    assert_eq!((bs.open_sends(), bs.posts()), (1, 1));
    let link = bs.link(1, &view(5, 1, 1));
    assert_eq!(bs.send_ids(link), ["m2"], "nothing is sent that nobody waits for");
    bs.event(Event::PostGone(RequestId(3)));
    bs.result(link, 5, 1, Outcome::Delivered);
    assert!([1, 2, 3].iter().all(|request| bs.answers(*request).is_empty()));
}

#[test]
fn an_open_post_follows_its_partition_to_the_new_owner() {
    let mut bs = Bs::new();
    let first = view(5, 2, 1);
    let (l1, l2) = (bs.link(1, &first), bs.link(2, &first));
    post(&mut bs, 1, "m1", "x");
    bs.items(l1, vec![wardlink_wire::link::ToBs::View(given(&first, 7, 2).to_item())]);
    assert_eq!(bs.send_ids(l2), ["m1 again"]);
    bs.result(l1, 5, 1, Outcome::Rejected);
    assert!(bs.answers(1).is_empty(), "a former owner's rejected is believed");
    bs.result(l2, 7, 1, Outcome::Delivered);
    assert_eq!(bs.answers(1), [(Outcome::Delivered, None)]);
}

#[test]
fn each_call_has_its_answer_by_the_deadline() {
    let mut bs = Bs::new();
    post(&mut bs, 1, "m1", "x");
    bs.pass(10_050, &[]);
    assert_eq!(bs.answers(1), [(Outcome::Rejected, Some(Reason::Unavailable))]);
    let link = bs.link(1, &view(5, 1, 1));
    post(&mut bs, 2, "m2", "x");
    bs.pass(10_050, &[link]);
    assert_eq!(bs.answers(2), [(Outcome::Unknown, Some(Reason::Deadline))]);
    assert_eq!((bs.open_sends(), bs.posts()), (0, 0));
}

#[test]
fn one_caller_cannot_have_more_calls_open_than_a_session_may_have_sends() {
    let mut bs = Bs::new();
    for n in 1..=300 {
        post(&mut bs, n, &format!("m{n}"), "x");
    }
    assert_eq!((bs.open_sends(), bs.posts()), (256, 256));
    assert!(bs.answers(256).is_empty());
    assert_eq!(bs.answers(257), [(Outcome::Rejected, Some(Reason::Overloaded))]);
    // Another caller is not hurt, nor are terminals.
    let send = UpSend { id: "m1".parse().unwrap(), to: a(), body: "1".into(), ttl_s: None };
    bs.event(Event::Post { request: RequestId(400), caller: b(), from: b(), send });
    assert_eq!((bs.open_sends(), bs.answers(400).len()), (257, 0));
    // One goes, one may come.
    bs.event(Event::PostGone(RequestId(1)));
    post(&mut bs, 500, "m500", "x");
    assert_eq!((bs.posts(), bs.answers(500).len()), (257, 0));
}

#[test]
fn as_many_calls_wait_for_one_message_as_may() {
    let mut bs = Bs::new();
    for n in 1..=20 {
        post(&mut bs, n, "m1", "x");
    }
    assert_eq!((bs.open_sends(), bs.posts()), (1, 16));
    assert_eq!(bs.answers(17), [(Outcome::Rejected, Some(Reason::Overloaded))]);
}

#[test]
fn a_server_that_stops_takes_no_more_and_waits_for_what_is_open() {
    let mut bs = Bs::new();
    let link = bs.link(1, &view(5, 1, 1));
    post(&mut bs, 1, "m1", "x");
    bs.event(Event::Stop);
    post(&mut bs, 2, "m2", "x");
    assert_eq!(bs.answers(2), [(Outcome::Rejected, Some(Reason::Stopping))]);
    bs.pass(500, &[link]);
    assert!(!bs.exited && bs.answers(1).is_empty());
    bs.result(link, 5, 1, Outcome::Delivered);
    bs.pass(100, &[link]);
    assert!(bs.exited);
    assert_eq!(bs.answers(1), [(Outcome::Delivered, None)]);
}

#[test]
fn a_server_that_ends_before_the_result_says_what_it_can() {
    for linked in [false, true] {
        let mut bs = Bs::with(|config| config.drain_ms = 1_000);
        if linked {
            bs.link(1, &view(5, 1, 1));
        }
        post(&mut bs, 1, "m1", "x");
        bs.event(Event::Stop);
        bs.pass(3_000, &[]);
        assert!(bs.exited);
        // What was sent may arrive.
        let outcome = if linked { Outcome::Unknown } else { Outcome::Rejected };
        assert_eq!(bs.answers(1), [(outcome, Some(Reason::Stopping))]);
    }
}

#[test]
fn a_post_and_a_terminal_of_the_same_end_share_no_results() {
    let (mut bs, session) = (Bs::new(), Session::new(1));
    let link = bs.link(1, &view(5, 1, 1));
    bs.connect(&session, true);
    bs.send(&session, "m1");
    post(&mut bs, 1, "m1", "m1");
    assert_eq!(bs.send_ids(link), ["m1", "m1"], "the owner knows them as repeats");
    bs.result(link, 5, 1, Outcome::Delivered);
    assert_eq!(bs.told(&session, "m1"), Some(Outcome::Delivered));
    assert!(bs.answers(1).is_empty());
    bs.result(link, 5, 2, Outcome::Delivered);
    assert_eq!(bs.answers(1), [(Outcome::Delivered, None)]);
}

#[test]
fn a_posted_body_above_the_bound_is_too_large_and_not_sent() {
    let mut bs = Bs::with(|config| config.body_max_bytes = 6);
    let link = bs.link(1, &view(5, 1, 1));
    post(&mut bs, 1, "m1", "12345");
    assert_eq!(bs.answers(1), [(Outcome::Rejected, Some(Reason::TooLarge))]);
    post(&mut bs, 2, "m1", "1234");
    assert_eq!(bs.send_ids(link), ["m1"], "what was refused has used no id");
}

mod moves;

use super::session::{STEADY, WELCOME_WAIT};
use super::*;

use wardlink_wire::MessageId;
use wardlink_wire::terminal::{Limits, Token};

type TestCore = Core<&'static str>;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn id(text: &str) -> MessageId {
    text.parse().expect("id")
}

fn up_send(name: &str) -> UpSend {
    UpSend { id: id(name), to: "H1-A1-b".parse().expect("end"), body: "1".into(), ttl_s: None }
}

fn actions(core: &mut TestCore) -> Vec<Action<&'static str>> {
    std::iter::from_fn(|| core.next_action()).collect()
}

fn writes(core: &mut TestCore) -> Vec<String> {
    std::iter::from_fn(|| core.next_write())
        .map(|up| match up {
            Up::Send(send) => send.id.to_string(),
            Up::Ack { seq } => format!("ack {seq}"),
            Up::Token(_) => "token".to_owned(),
        })
        .collect()
}

fn send(core: &mut TestCore, now: Duration, name: &'static str) {
    core.handle(now, Event::Send { send: up_send(name), handle: name });
}

fn down(core: &mut TestCore, now: Duration, down: Down) {
    let n = core.n;
    core.handle(now, Event::Down { n, down });
}

fn message(seq: u64, name: &str) -> Down {
    Down::Message(DownMessage {
        seq,
        id: id(name),
        from: Some("H1-A1-a".parse().expect("end")),
        body: "1".into(),
        at_ms: 0,
        redelivered: false,
    })
}

fn result(name: &str, outcome: Outcome, reason: Option<Reason>) -> Down {
    Down::Result { id: id(name), outcome, reason }
}

fn welcome(open_sends: u32) -> Down {
    welcome_of("H1-A1-a", open_sends)
}

fn welcome_of(end: &str, open_sends: u32) -> Down {
    Down::Welcome {
        end: end.parse().expect("end"),
        session: "6f1c8a52-2f0e-4a52-9d1c-5f0f3a8f8a01".parse().expect("session"),
        server: "6f1c8a52-2f0e-4a52-9d1c-5f0f3a8f8a02".parse().expect("server"),
        limits: Limits { body_bytes: 100, open_sends, ttl_s: 60, deadline_ms: 10_000 },
    }
}

/// A core whose connection 1 is open and welcomed at 0.
fn open(open_sends: u32) -> TestCore {
    open_with(CoreConfig::default(), open_sends)
}

fn open_with(config: CoreConfig, open_sends: u32) -> TestCore {
    let mut core = Core::new(config, ms(0));
    assert_eq!(actions(&mut core), [Action::Connect { n: 1, server: 0 }]);
    core.handle(ms(0), Event::Connected { n: 1, held: None });
    down(&mut core, ms(0), welcome(open_sends));
    assert!(matches!(actions(&mut core)[..], [Action::Welcomed(_)]));
    core
}

/// Loses the connection and opens the next one; returns the time.
fn reconnect(core: &mut TestCore, now: Duration, code: Option<u16>) -> Duration {
    let n = core.n;
    core.handle(now, Event::Closed { n, code });
    let at = core.timeout().expect("a next attempt");
    core.handle(at, Event::Tick);
    let wanted = Action::Connect { n: n + 1, server: 0 };
    assert!(actions(core).contains(&wanted), "no connection {}", n + 1);
    core.handle(at, Event::Connected { n: n + 1, held: None });
    at
}

fn shown(core: &mut TestCore) -> Vec<Ticket> {
    actions(core)
        .into_iter()
        .map(|action| match action {
            Action::Show { ticket, .. } => ticket,
            other => panic!("unexpected {other:?}"),
        })
        .collect()
}

fn resolved(core: &mut TestCore) -> Vec<(&'static str, Outcome, Option<Reason>)> {
    actions(core)
        .into_iter()
        .filter_map(|action| match action {
            Action::Resolve { handle, outcome } => Some((handle, outcome.outcome, outcome.reason)),
            _ => None,
        })
        .collect()
}

#[test]
fn what_has_no_result_is_sent_again_in_the_original_order() {
    let mut core = open(100);
    for name in ["m1", "m2", "m3", "m4"] {
        send(&mut core, ms(1), name);
    }
    assert_eq!(writes(&mut core), ["m1", "m2", "m3", "m4"]);
    assert!(writes(&mut core).is_empty());
    down(&mut core, ms(2), result("m2", Outcome::Delivered, None));
    assert_eq!(resolved(&mut core), [("m2", Outcome::Delivered, None)]);
    let now = reconnect(&mut core, ms(3), None);
    send(&mut core, now, "m5");
    assert_eq!(writes(&mut core), ["m1", "m3", "m4", "m5"]);
}

#[test]
fn no_more_sends_are_open_on_a_session_than_the_server_allows() {
    let mut core = open(2);
    for name in ["m1", "m2", "m3", "m4"] {
        send(&mut core, ms(1), name);
    }
    assert_eq!(writes(&mut core), ["m1", "m2"]);
    down(&mut core, ms(2), result("m2", Outcome::Stored, None));
    assert_eq!(writes(&mut core), ["m3"]);
    down(&mut core, ms(2), result("m2", Outcome::Stored, None));
    assert!(writes(&mut core).is_empty(), "a second result gives no credit");
}

#[test]
fn a_result_comes_once_and_tells_whether_to_retry() {
    let mut core = open(100);
    send(&mut core, ms(1), "m1");
    writes(&mut core);
    down(&mut core, ms(2), result("m1", Outcome::Rejected, Some(Reason::MailboxFull)));
    down(&mut core, ms(2), result("m1", Outcome::Delivered, None));
    let outcome =
        SendOutcome { outcome: Outcome::Rejected, reason: Some(Reason::MailboxFull), retry: true };
    assert_eq!(actions(&mut core), [Action::Resolve { handle: "m1", outcome }]);
    assert!(!SendOutcome::new(Outcome::Rejected, Some(Reason::TooLarge)).retry);
    assert!(!SendOutcome::new(Outcome::Stored, None).retry);
    assert!(SendOutcome::new(Outcome::Unknown, None).retry);
}

#[test]
fn what_an_earlier_session_may_have_sent_is_never_called_rejected() {
    let mut core = open(1);
    send(&mut core, ms(1), "m1");
    send(&mut core, ms(1), "m2");
    assert_eq!(writes(&mut core), ["m1"]);
    let now = reconnect(&mut core, ms(3), None);
    assert_eq!(writes(&mut core), ["m1", "m2"]);
    let reason = Some(Reason::Unavailable);
    down(&mut core, now, result("m1", Outcome::Rejected, reason));
    down(&mut core, now, result("m2", Outcome::Rejected, reason));
    let wanted = [("m1", Outcome::Unknown, reason), ("m2", Outcome::Rejected, reason)];
    assert_eq!(resolved(&mut core), wanted);
}

#[test]
fn at_the_deadline_a_written_send_is_unknown_and_an_unwritten_one_rejected() {
    let mut core = open(1);
    send(&mut core, ms(10), "written");
    send(&mut core, ms(20), "waiting");
    assert_eq!(writes(&mut core), ["written"]);
    core.handle(ms(30_009), Event::Tick);
    assert!(resolved(&mut core).is_empty());
    assert_eq!(core.timeout(), Some(ms(30_010)));
    core.handle(ms(30_020), Event::Tick);
    let late = Some(Reason::Deadline);
    let wanted = [("written", Outcome::Unknown, late), ("waiting", Outcome::Rejected, late)];
    assert_eq!(resolved(&mut core), wanted);
    assert_eq!(core.open_sends(), 0);
}

#[test]
fn the_deadline_counts_through_reconnects() {
    let mut core = open(100);
    send(&mut core, ms(0), "m1");
    writes(&mut core);
    let now = reconnect(&mut core, ms(29_000), None);
    assert_eq!(writes(&mut core), ["m1"]);
    core.handle(ms(30_000).max(now), Event::Tick);
    assert_eq!(resolved(&mut core), [("m1", Outcome::Unknown, Some(Reason::Deadline))]);
}

#[test]
fn sends_that_cannot_be_are_rejected_at_once() {
    let mut core = open_with(CoreConfig { open_sends_max: 2, ..CoreConfig::default() }, 100);
    send(&mut core, ms(1), "m1");
    core.handle(ms(1), Event::Send { send: up_send("m1"), handle: "again" });
    let large = UpSend { body: vec![b'1'; 101].into(), ..up_send("large") };
    core.handle(ms(1), Event::Send { send: large, handle: "large" });
    send(&mut core, ms(1), "m2");
    send(&mut core, ms(1), "m3");
    let wanted = [
        ("again", Outcome::Rejected, Some(Reason::IdReused)),
        ("large", Outcome::Rejected, Some(Reason::TooLarge)),
        ("m3", Outcome::Rejected, Some(Reason::Overloaded)),
    ];
    assert_eq!(resolved(&mut core), wanted);
}

#[test]
fn an_error_that_names_a_message_is_its_rejection() {
    let mut core = open(100);
    send(&mut core, ms(1), "m1");
    writes(&mut core);
    let error = |id| Down::Error {
        code: wardlink_wire::terminal::TerminalError::Invalid,
        text: String::new(),
        id,
    };
    down(&mut core, ms(2), error(None));
    down(&mut core, ms(2), error(Some(id("m1"))));
    assert_eq!(resolved(&mut core), [("m1", Outcome::Rejected, Some(Reason::Invalid))]);
}

#[test]
fn a_message_is_shown_once_over_sessions_and_acked_when_processed() {
    let mut core = open(100);
    down(&mut core, ms(1), message(1, "a"));
    down(&mut core, ms(1), message(2, "b"));
    let tickets = shown(&mut core);
    assert!(writes(&mut core).is_empty());
    core.handle(ms(2), Event::Processed(tickets[0]));
    assert_eq!(writes(&mut core), ["ack 1"]);
    let now = reconnect(&mut core, ms(3), None);
    down(&mut core, now, message(1, "a"));
    down(&mut core, now, message(2, "b"));
    down(&mut core, now, message(3, "c"));
    assert_eq!(writes(&mut core), ["ack 1"], "the repeat of what is processed");
    core.handle(now, Event::Processed(tickets[1]));
    assert_eq!(writes(&mut core), ["ack 2"]);
    assert_eq!(shown(&mut core).len(), 1, "only c is new");
}

#[test]
fn one_ack_covers_many_and_goes_before_sends() {
    let mut core = open(100);
    for seq in 1..=5 {
        down(&mut core, ms(1), message(seq, &format!("m{seq}")));
    }
    send(&mut core, ms(1), "out");
    for ticket in shown(&mut core) {
        core.handle(ms(2), Event::Processed(ticket));
    }
    assert_eq!(writes(&mut core), ["ack 5", "out"]);
}

#[test]
fn a_message_is_forgotten_after_the_message_ttl() {
    let mut core = open(100);
    down(&mut core, ms(0), message(1, "a"));
    let tickets = shown(&mut core);
    core.handle(ms(0), Event::Processed(tickets[0]));
    down(&mut core, ms(59_999), message(2, "a"));
    assert!(shown(&mut core).is_empty());
    down(&mut core, ms(60_000), message(3, "a"));
    assert_eq!(shown(&mut core).len(), 1);
}

#[test]
fn a_program_that_takes_no_messages_ends_the_session_and_not_the_messages() {
    let mut core = open_with(CoreConfig { unprocessed_max: 2, ..CoreConfig::default() }, 100);
    for seq in 1..=4 {
        down(&mut core, ms(1), message(seq, &format!("m{seq}")));
    }
    let all = actions(&mut core);
    assert!(matches!(
        all[..],
        [Action::Show { .. }, Action::Show { .. }, Action::Close { n: 1 }, Action::Lost]
    ));
    assert!(writes(&mut core).is_empty());
}

#[test]
fn what_arrives_at_a_deaf_program_is_not_acked() {
    let mut core = open(100);
    core.handle(ms(1), Event::Deaf);
    down(&mut core, ms(1), message(1, "a"));
    assert!(actions(&mut core).is_empty());
    assert!(writes(&mut core).is_empty());
}

#[test]
fn close_codes_decide_whether_to_come_back() {
    let mut core = open(100);
    reconnect(&mut core, ms(1), Some(CloseCode::GoingAway.code()));
    send(&mut core, ms(2), "written");
    writes(&mut core);
    let n = core.n;
    core.handle(ms(3), Event::Closed { n, code: Some(CloseCode::Replaced.code()) });
    let outcome = SendOutcome::new(Outcome::Unknown, Some(Reason::Unavailable));
    let wanted = [
        Action::Resolve { handle: "written", outcome },
        Action::Ended(Ended::Closed(CloseCode::Replaced.code())),
    ];
    assert_eq!(actions(&mut core), wanted);
    assert_eq!(core.timeout(), None);
    send(&mut core, ms(4), "late");
    let wanted = [("late", Outcome::Rejected, Some(Reason::Unavailable))];
    assert_eq!(resolved(&mut core), wanted);
}

#[test]
fn a_refused_identity_ends_and_a_busy_server_does_not() {
    let mut core = TestCore::new(CoreConfig::default(), ms(0));
    core.handle(ms(1), Event::ConnectFailed { n: 1, status: Some(503) });
    core.handle(core.timeout().expect("retry"), Event::Tick);
    assert!(actions(&mut core).contains(&Action::Connect { n: 2, server: 0 }));
    core.handle(ms(100), Event::ConnectFailed { n: 2, status: Some(401) });
    assert_eq!(actions(&mut core), [Action::Ended(Ended::Refused(401))]);
}

#[test]
fn servers_are_tried_in_turn_and_later_and_later() {
    let config = CoreConfig { servers: 3, seed: 3, ..CoreConfig::default() };
    let mut core = TestCore::new(config, ms(0));
    let mut now = ms(0);
    let mut longest = ms(0);
    for attempt in 0..40 {
        let wanted = Action::Connect { n: attempt + 1, server: (attempt % 3) as usize };
        assert!(actions(&mut core).contains(&wanted));
        core.handle(now, Event::ConnectFailed { n: attempt + 1, status: None });
        let at = core.timeout().expect("retry");
        longest = longest.max(at - now);
        now = at;
        core.handle(now, Event::Tick);
    }
    assert!(longest > ms(2_500) && longest <= ms(5_000), "{longest:?}");
}

#[test]
fn a_connection_that_is_never_welcomed_is_given_up() {
    let mut core = TestCore::new(CoreConfig::default(), ms(0));
    core.handle(ms(5), Event::Connected { n: 1, held: None });
    core.handle(WELCOME_WAIT + ms(4), Event::Tick);
    assert_eq!(actions(&mut core).len(), 1);
    core.handle(WELCOME_WAIT + ms(5), Event::Tick);
    let given_up = [Action::Close { n: 1 }, Action::Lost, Action::Unwelcome];
    assert_eq!(actions(&mut core), given_up);
}

#[test]
fn what_comes_of_an_older_connection_does_not_count() {
    let mut core = open(100);
    send(&mut core, ms(1), "m1");
    let now = reconnect(&mut core, ms(2), None);
    writes(&mut core);
    let late = result("m1", Outcome::Rejected, None);
    core.handle(now, Event::Down { n: 1, down: late });
    core.handle(now, Event::Closed { n: 1, code: Some(4500) });
    core.handle(now, Event::ConnectFailed { n: 1, status: Some(401) });
    assert!(actions(&mut core).is_empty());
}

#[test]
fn nothing_is_written_without_a_connection() {
    let mut core = TestCore::new(CoreConfig::default(), ms(0));
    send(&mut core, ms(0), "m1");
    assert!(writes(&mut core).is_empty());
    core.handle(ms(1), Event::Stop);
    let outcome = SendOutcome::new(Outcome::Rejected, Some(Reason::Unavailable));
    let all = actions(&mut core);
    let wanted = [
        Action::Close { n: 1 },
        Action::Resolve { handle: "m1", outcome },
        Action::Ended(Ended::Stopped),
    ];
    assert_eq!(all[1..], wanted);
}

#[test]
fn a_new_session_has_its_full_credit_again() {
    let mut core = open(100);
    let names: Vec<&'static str> = (0..FIRST_CREDIT).map(|i| &*format!("m{i}").leak()).collect();
    for name in &names {
        send(&mut core, ms(1), name);
    }
    assert_eq!(writes(&mut core), names);
    reconnect(&mut core, ms(2), None);
    assert_eq!(writes(&mut core), names);
}

#[test]
fn only_a_session_that_lasted_makes_the_next_delay_short_again() {
    let delay_after = |lasted: Duration, seed| {
        let mut core = TestCore::new(CoreConfig { seed, ..CoreConfig::default() }, ms(0));
        for n in 1..=10 {
            core.handle(
                core.timeout().unwrap_or_default(),
                Event::ConnectFailed { n, status: None },
            );
            core.handle(core.timeout().expect("retry"), Event::Tick);
        }
        let opened = ms(100_000);
        core.handle(opened, Event::Connected { n: 11, held: None });
        down(&mut core, opened, welcome(100));
        core.handle(opened + lasted, Event::Closed { n: 11, code: None });
        core.timeout().expect("retry") - (opened + lasted)
    };
    assert!((0..50).all(|seed| delay_after(STEADY, seed) <= ms(50)));
    assert!((0..50).any(|seed| delay_after(STEADY - ms(1), seed) > ms(2_000)));
}

/// A core whose identity can be renewed, with connection 1 open by a token that lives 100 s.
fn open_by_token() -> TestCore {
    let credential = Credential::Renewable { recheck: None };
    let end = Some("H1-A1-a".parse().expect("end"));
    let mut core = Core::new(CoreConfig { credential, end, ..CoreConfig::default() }, ms(0));
    actions(&mut core);
    core.handle(ms(0), Event::Connected { n: 1, held: Some(held("t1")) });
    down(&mut core, ms(0), welcome(100));
    actions(&mut core);
    core
}

fn held(token: &str) -> Held {
    Held { token: Token(token.to_owned()), life: Some(ms(100_000)) }
}

#[test]
fn a_token_is_renewed_before_it_ends_and_the_session_stays() {
    let mut core = open_by_token();
    assert_eq!(core.timeout(), Some(ms(80_000)));
    core.handle(ms(80_000), Event::Tick);
    assert_eq!(actions(&mut core), [Action::Renew { n: 1 }]);
    core.handle(ms(80_001), Event::Tick);
    assert!(actions(&mut core).is_empty(), "it is asked for once");
    send(&mut core, ms(80_001), "m1");
    core.handle(ms(80_002), Event::Renewed { n: 1, held: Some(held("t2")) });
    assert_eq!(core.next_write(), Some(Up::Token(Token("t2".into()))));
    assert_eq!(writes(&mut core), ["m1"]);
    assert_eq!(core.timeout(), Some(ms(110_001)), "the deadline of m1");
    core.handle(ms(110_001), Event::Tick);
    assert_eq!(core.timeout(), Some(ms(160_002)));
}

#[test]
fn what_was_found_for_an_older_connection_is_dropped() {
    let mut core = open_by_token();
    core.handle(ms(80_000), Event::Tick);
    let now = ms(80_001);
    core.handle(now, Event::Closed { n: 1, code: None });
    core.handle(now, Event::Renewed { n: 1, held: Some(held("t2")) });
    core.handle(core.timeout().expect("retry"), Event::Tick);
    core.handle(ms(81_000), Event::Connected { n: 2, held: Some(held("t2")) });
    core.handle(ms(81_000), Event::Renewed { n: 1, held: Some(held("t3")) });
    assert!(writes(&mut core).is_empty());
}

#[test]
fn an_identity_that_ends_is_asked_for_anew_at_once_and_then_with_waits() {
    let mut core = open_by_token();
    let expired = Some(CloseCode::IdentityExpired.code());
    core.handle(ms(1_000), Event::Closed { n: 1, code: expired });
    assert_eq!(actions(&mut core), [Action::Lost, Action::Connect { n: 2, server: 0 }]);
    core.handle(ms(1_000), Event::ConnectFailed { n: 2, status: Some(401) });
    assert_eq!(actions(&mut core), [Action::Lost]);
    assert!(core.timeout() > Some(ms(1_000)));
    core.handle(core.timeout().expect("retry"), Event::Tick);
    assert_eq!(actions(&mut core), [Action::Connect { n: 3, server: 0 }]);
    core.handle(ms(3_000), Event::NoToken { n: 3 });
    assert_eq!(actions(&mut core), [Action::Lost]);
    assert!(core.timeout() > Some(ms(3_000)));
}

#[test]
fn without_another_token_a_refused_identity_is_the_end() {
    for code in [CloseCode::BadIdentity, CloseCode::IdentityExpired].map(CloseCode::code) {
        let mut core = open(100);
        core.handle(ms(1), Event::Closed { n: 1, code: Some(code) });
        assert_eq!(actions(&mut core), [Action::Ended(Ended::Closed(code))]);
    }
}

#[test]
fn a_server_that_still_waits_for_a_token_has_taken_nothing() {
    let refused = Some(CloseCode::BadIdentity.code());
    let unwelcome = |core: &mut TestCore, code| {
        send(core, ms(1), "m1");
        assert_eq!(writes(core), ["m1"]);
        core.handle(ms(2), Event::Closed { n: core.n, code });
        resolved(core)
    };
    let fresh = || {
        let mut core = Core::new(CoreConfig::default(), ms(0));
        core.handle(ms(0), Event::Connected { n: 1, held: None });
        core
    };
    let reason = Some(Reason::Unavailable);
    let rejected = [("m1", Outcome::Rejected, reason)];
    assert_eq!(unwelcome(&mut fresh(), refused), rejected);
    let unknown = [("m1", Outcome::Unknown, reason)];
    // A session that lasts as long as its token may end so before its welcome.
    let expired = Some(CloseCode::IdentityExpired.code());
    assert_eq!(unwelcome(&mut fresh(), expired), unknown);
    assert_eq!(unwelcome(&mut open(100), refused), unknown, "a session that was welcomed");

    // What an earlier session may have taken may still arrive.
    let mut core = open(100);
    send(&mut core, ms(1), "m1");
    assert_eq!(writes(&mut core), ["m1"]);
    let now = reconnect(&mut core, ms(2), None);
    send(&mut core, now, "m2");
    assert_eq!(writes(&mut core), ["m1", "m2"]);
    core.handle(now, Event::Closed { n: 2, code: refused });
    assert_eq!(resolved(&mut core), [unknown[0], ("m2", Outcome::Rejected, reason)]);
}

#[test]
fn nothing_is_sent_until_a_first_welcome_names_the_own_end() {
    let end = Some("H1-A1-a".parse().expect("end"));
    let mut core = Core::new(CoreConfig { end, ..CoreConfig::default() }, ms(0));
    actions(&mut core);
    core.handle(ms(0), Event::Connected { n: 1, held: None });
    send(&mut core, ms(1), "m1");
    assert!(writes(&mut core).is_empty());
    down(&mut core, ms(2), welcome(100));
    assert_eq!(writes(&mut core), ["m1"]);
    reconnect(&mut core, ms(3), None);
    assert_eq!(writes(&mut core), ["m1"], "the first welcome is enough");
}

#[test]
fn the_token_of_another_end_is_the_end() {
    let mut core = open_by_token();
    let now = reconnect(&mut core, ms(1), None);
    down(&mut core, now, welcome_of("H1-A1-b", 1));
    assert_eq!(actions(&mut core), [Action::Close { n: 2 }, Action::Ended(Ended::OtherEnd)]);
}

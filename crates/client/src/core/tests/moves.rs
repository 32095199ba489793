//! Moving to another server while the present one still serves.

use super::*;

/// A core that is asked to leave its first session, and opens its second connection at 310 ms.
fn moving() -> TestCore {
    let mut core = open(100);
    send(&mut core, ms(5), "m1");
    writes(&mut core);
    down(&mut core, ms(10), Down::Reconnect { after_ms: 300 });
    assert_eq!(core.timeout(), Some(ms(310)));
    core.handle(ms(310), Event::Tick);
    assert_eq!(actions(&mut core), [Action::Connect { n: 2, server: 0 }]);
    core
}

#[test]
fn a_server_that_asks_for_it_is_left_when_the_next_has_welcomed_this_program() {
    let mut core = moving();
    send(&mut core, ms(311), "m2");
    assert_eq!(writes(&mut core), ["m2"], "the session goes on");
    core.handle(ms(312), Event::Connected { n: 2, held: None });
    send(&mut core, ms(313), "m3");
    core.handle(ms(314), Event::Down { n: 1, down: message(1, "a") });
    let tickets = shown(&mut core);
    core.handle(ms(315), Event::Processed(tickets[0]));
    core.handle(ms(316), Event::Down { n: 1, down: result("m1", Outcome::Delivered, None) });
    assert_eq!(resolved(&mut core), [("m1", Outcome::Delivered, None)]);
    assert_eq!(writes(&mut core), ["ack 1", "m3"], "on the first, until the second is welcomed");
    core.handle(ms(320), Event::Down { n: 2, down: welcome(100) });
    let all = actions(&mut core);
    assert!(matches!(all[..], [Action::Close { n: 1 }, Action::Welcomed(_)]), "{all:?}");
    assert_eq!(writes(&mut core), ["m2", "m3"], "what has no result, in order");
    core.handle(ms(321), Event::Closed { n: 1, code: Some(CloseCode::Replaced.code()) });
    assert!(actions(&mut core).is_empty());
    down(&mut core, ms(322), message(1, "a"));
    assert_eq!(writes(&mut core), ["ack 1"], "what was processed is not shown again");
}

#[test]
fn a_session_that_ends_before_the_next_is_welcomed_goes_on_there() {
    for code in [None, Some(CloseCode::Replaced.code()), Some(CloseCode::GoingAway.code())] {
        let mut core = moving();
        core.handle(ms(311), Event::Closed { n: 1, code });
        assert_eq!(actions(&mut core), [Action::Lost], "{code:?}");
        assert!(writes(&mut core).is_empty());
        core.handle(ms(312), Event::Connected { n: 2, held: None });
        assert_eq!(writes(&mut core), ["m1"]);
        let mut core = moving();
        core.handle(ms(311), Event::Connected { n: 2, held: None });
        core.handle(ms(312), Event::Closed { n: 1, code });
        assert_eq!(writes(&mut core), ["m1"]);
        core.handle(ms(313), Event::Down { n: 2, down: welcome(100) });
        assert!(matches!(actions(&mut core)[..], [Action::Lost, Action::Welcomed(_)]));
    }
}

#[test]
fn where_the_next_does_not_come_about_the_present_session_goes_on() {
    let mut core = moving();
    core.handle(ms(311), Event::ConnectFailed { n: 2, status: None });
    send(&mut core, ms(311), "m2");
    assert_eq!(writes(&mut core), ["m2"]);
    let again = core.timeout().expect("another attempt");
    assert!(again <= ms(361), "{again:?}");
    core.handle(again, Event::Tick);
    assert_eq!(actions(&mut core), [Action::Connect { n: 3, server: 0 }]);
    core.handle(again, Event::Connected { n: 3, held: None });
    core.handle(again + WELCOME_WAIT, Event::Tick);
    assert_eq!(actions(&mut core), [Action::Close { n: 3 }], "never welcomed");
    core.handle(again + WELCOME_WAIT, Event::ConnectFailed { n: 3, status: Some(404) });
    assert!(actions(&mut core).is_empty(), "what comes of it does not count");
    core.handle(again + ms(10_001), Event::Stop);
    assert!(actions(&mut core).contains(&Action::Close { n: 1 }));
}

#[test]
fn a_program_that_stops_while_it_moves_closes_both_connections() {
    let mut core = moving();
    core.handle(ms(311), Event::Stop);
    let all = actions(&mut core);
    assert_eq!(all[..2], [Action::Close { n: 1 }, Action::Close { n: 2 }]);
}

#[test]
fn a_server_that_asks_again_during_a_move_changes_nothing() {
    let mut core = moving();
    down(&mut core, ms(311), Down::Reconnect { after_ms: 100 });
    core.handle(ms(312), Event::Connected { n: 2, held: None });
    core.handle(ms(411), Event::Tick);
    assert!(actions(&mut core).is_empty());
    core.handle(ms(412), Event::Down { n: 2, down: welcome(100) });
    let all = actions(&mut core);
    assert!(matches!(all[..], [Action::Close { n: 1 }, Action::Welcomed(_)]), "{all:?}");
    core.handle(ms(1_000), Event::Tick);
    assert!(actions(&mut core).is_empty());
}

#[test]
fn a_session_that_ends_for_good_during_a_move_closes_the_next_connection() {
    let mut core = moving();
    core.handle(ms(311), Event::Closed { n: 1, code: Some(CloseCode::ProtocolError.code()) });
    let all = actions(&mut core);
    assert_eq!(all[0], Action::Close { n: 2 });
    assert!(all.contains(&Action::Ended(Ended::Closed(CloseCode::ProtocolError.code()))));
}

#[test]
fn a_welcome_of_another_end_during_a_move_closes_both_connections() {
    let end = Some("H1-A1-a".parse().expect("end"));
    let mut core = open_with(CoreConfig { end, ..CoreConfig::default() }, 100);
    down(&mut core, ms(10), Down::Reconnect { after_ms: 0 });
    assert_eq!(actions(&mut core), [Action::Connect { n: 2, server: 0 }]);
    down(&mut core, ms(11), welcome_of("H1-A1-b", 100));
    let ended = Action::Ended(Ended::OtherEnd);
    assert_eq!(actions(&mut core), [Action::Close { n: 1 }, Action::Close { n: 2 }, ended]);
}

#[test]
fn a_session_is_replaced_by_another_client_where_the_next_does_not_open() {
    let replaced = CloseCode::Replaced.code();
    let failures = [
        Event::ConnectFailed { n: 2, status: None },
        Event::ConnectFailed { n: 2, status: Some(503) },
        Event::NoToken { n: 2 },
    ];
    for failure in failures {
        let mut core = moving();
        core.handle(ms(311), Event::Closed { n: 1, code: Some(replaced) });
        assert_eq!(actions(&mut core), [Action::Lost]);
        core.handle(ms(312), failure);
        assert!(actions(&mut core).contains(&Action::Ended(Ended::Closed(replaced))));
    }
    let mut core = moving();
    core.handle(ms(311), Event::ConnectFailed { n: 2, status: None });
    core.handle(ms(311), Event::Closed { n: 1, code: Some(replaced) });
    assert!(actions(&mut core).contains(&Action::Ended(Ended::Closed(replaced))));
    for code in [None, Some(CloseCode::GoingAway.code())] {
        let mut core = moving();
        core.handle(ms(311), Event::Closed { n: 1, code });
        core.handle(ms(312), Event::ConnectFailed { n: 2, status: None });
        core.handle(core.timeout().expect("retry"), Event::Tick);
        assert!(actions(&mut core).contains(&Action::Connect { n: 3, server: 0 }), "{code:?}");
    }
}

#[test]
fn a_token_that_was_asked_for_before_a_move_is_not_told_after_it() {
    let mut core = open_by_token();
    core.handle(ms(80_000), Event::Tick);
    down(&mut core, ms(80_000), Down::Reconnect { after_ms: 0 });
    let connect = Action::Connect { n: 2, server: 0 };
    assert_eq!(actions(&mut core), [Action::Renew { n: 1 }, connect]);
    core.handle(ms(80_001), Event::Connected { n: 2, held: Some(held("t2")) });
    core.handle(ms(80_002), Event::Down { n: 2, down: welcome(100) });
    core.handle(ms(80_003), Event::Renewed { n: 1, held: Some(held("t3")) });
    assert!(writes(&mut core).is_empty());
    actions(&mut core);
    assert_eq!(core.timeout(), Some(ms(160_001)), "the next session renews by itself");
    core.handle(ms(160_001), Event::Tick);
    assert_eq!(actions(&mut core), [Action::Renew { n: 2 }]);
}

#[test]
fn a_token_is_renewed_in_the_present_session_during_a_move() {
    let mut core = open_by_token();
    down(&mut core, ms(79_999), Down::Reconnect { after_ms: 0 });
    core.handle(ms(80_000), Event::Tick);
    let connect = Action::Connect { n: 2, server: 0 };
    assert_eq!(actions(&mut core), [connect, Action::Renew { n: 1 }]);
    core.handle(ms(80_001), Event::Connected { n: 2, held: Some(held("t2")) });
    core.handle(ms(80_002), Event::Renewed { n: 1, held: Some(held("t3")) });
    assert_eq!(core.next_write(), Some(Up::Token(Token("t3".into()))));
    core.handle(ms(80_003), Event::Down { n: 2, down: welcome(100) });
    assert!(writes(&mut core).is_empty());
}

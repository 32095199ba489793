use uuid::Uuid;
use wardlink_view::{Slot, View};
use wardlink_wire::{Epoch, MsId, ServerId, ViewNumber};

use super::*;
use crate::core::Member;

#[test]
fn every_file_that_a_file_of_the_page_names_is_there() {
    let mut names = 0;
    for path in ["/", "/playground/app.js", "/playground/card.js", "/playground/servers.js"] {
        let (_, content) = file(path).expect(path);
        let linked = content.split('"').filter(|part| part.starts_with("/playground/"));
        let imported = content.split('\'').filter_map(|part| part.strip_prefix("./"));
        let paths = linked.map(str::to_owned).chain(imported.map(|n| format!("/playground/{n}")));
        for named in paths {
            assert!(file(&named).is_some(), "{path} names {named}");
            names += 1;
        }
    }
    assert!(names >= 6, "{names}");
}

#[test]
fn the_page_may_reach_this_machine_alone_and_runs_no_inline_script() {
    let answer = page(HTML, String::new());
    let policy = answer.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    for source in policy.split(['\'', ' ', ';']).filter(|word| word.contains("://")) {
        let host = source.split("://").nth(1).unwrap();
        assert!(matches!(host, "127.0.0.1:*" | "localhost:*"), "{source}");
    }
}

#[test]
fn only_pages_of_this_machine_read_the_state() {
    for (origin, may) in [
        ("http://127.0.0.1:8080", true),
        ("http://localhost", true),
        ("http://[::1]:8080", true),
        ("https://example.org", false),
        ("http://example.org:8080", false),
        ("http://127.0.0.1.example.org", false),
        ("http://localhost.example.org:80", false),
        ("null", false),
    ] {
        assert_eq!(on_loopback(&HeaderValue::from_static(origin)), may, "{origin}");
    }
}

fn get(path: &str) -> Request<()> {
    Request::get(path)
        .header(HOST, "127.0.0.1:8080")
        .header(ORIGIN, "http://localhost:1")
        .body(())
        .unwrap()
}

#[tokio::test]
async fn a_name_of_elsewhere_that_leads_here_gets_no_page() {
    let (inputs, _engine) = mpsc::channel(1);
    let playground = Playground { servers: Vec::new() };
    for (host, status) in [
        (Some("localhost:8080"), StatusCode::OK),
        (Some("127.0.0.1"), StatusCode::OK),
        (Some("[::1]:8080"), StatusCode::OK),
        (Some("evil.example:8080"), StatusCode::FORBIDDEN),
        (Some("127.0.0.1.evil.example"), StatusCode::FORBIDDEN),
        (None, StatusCode::FORBIDDEN),
    ] {
        let mut request = Request::get("/");
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let answer = answer(Some(&playground), &inputs, request.body(()).unwrap()).await;
        assert_eq!(answer.status(), status, "{host:?}");
    }
}

#[tokio::test]
async fn there_is_no_page_outside_development_mode() {
    let (inputs, mut engine) = mpsc::channel(1);
    for path in ["/", "/playground/app.js", "/playground/state", "/playground/other"] {
        assert_eq!(answer(None, &inputs, get(path)).await.status(), StatusCode::NOT_FOUND);
    }
    assert!(engine.try_recv().is_err(), "nobody asks the engine");
    let page = Playground::default();
    assert_eq!(answer(Some(&page), &inputs, get("/")).await.status(), StatusCode::OK);
    let other = answer(Some(&page), &inputs, get("/playground/other")).await;
    assert_eq!(other.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_does_not_answer_is_waited_for_one_second() {
    let (inputs, _engine) = mpsc::channel(1);
    let page = Playground::default();
    let started = tokio::time::Instant::now();
    for waited in [LOOK, LOOK] {
        // The second finds the queue full, and waits no longer than the first.
        let before = started.elapsed();
        let state = answer(Some(&page), &inputs, get("/playground/state")).await;
        assert_eq!(state.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(started.elapsed() - before <= waited);
        assert_eq!(state.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "http://localhost:1");
    }
}

#[test]
fn the_state_names_owners_by_member_and_partitions_by_end() {
    let (one, two) = (MsId(Uuid::from_u128(1)), MsId(Uuid::from_u128(2)));
    let mut slots = Box::new([Slot { owner: Some(one), epoch: Epoch(1) }; PARTITIONS]);
    slots[3].owner = Some(two);
    slots[4].owner = None;
    let number = ViewNumber(u64::MAX);
    let view = View { number, id: Uuid::nil(), members: vec![one, two], slots };
    let snapshot = Snapshot {
        server: ServerId(Uuid::from_u128(9)),
        sessions: 5,
        open_sends: 1,
        view: Some(view),
        members: vec![
            Member { ms: one, heard: Some(20), links: Some(2) },
            Member { ms: two, heard: None, links: None },
        ],
    };
    let servers = ["ws://127.0.0.1:1/ws".to_owned()];
    let state = describe(&snapshot, &servers, "end=H1-W1-nurse&end=wrong&other=H1-W1-x");
    assert_eq!(state["view"]["number"], u64::MAX.to_string(), "53 bits are not enough");
    assert_eq!(state["view"]["members"][0]["partitions"], 254);
    assert_eq!(state["view"]["members"][1]["heardMs"], Value::Null);
    assert_eq!(state["view"]["owners"][3], 1);
    assert_eq!(state["view"]["owners"][4], -1);
    let end: EndId = "H1-W1-nurse".parse().unwrap();
    assert_eq!(state["ends"], json!({ "H1-W1-nurse": end.partition().0 }));
    assert_eq!(state["servers"], json!(servers));
    assert_eq!((&state["sessions"], &state["openSends"]), (&json!(5), &json!(1)));
}

//! The client and the connection against a server that does what a test tells it to.

mod support;

use std::time::{Duration, Instant};

use futures_util::SinkExt;
use support::{Server, end, message, soon, welcome};
use tokio_tungstenite::tungstenite::Message as Frame;
use wardlink_client::{
    AckMode, Client, Closed, ConnectError, Connection, Ended, Outgoing, SendError, Status, Target,
};
use wardlink_wire::terminal::{Down, Up};
use wardlink_wire::{CloseCode, Outcome, Reason};

#[tokio::test]
async fn a_send_gets_its_result() {
    let server = Server::start().await;
    let (client, _messages) = Client::connect(server.config("H1-A1-a")).expect("client");
    let mut session = server.welcome().await;
    assert_eq!(soon(client.connected()).await.expect("welcome").end, end("H1-A1-a"));
    let outgoing = Outgoing::from_json(end("H1-A1-b"), r#"{"a": 1.0}"#).expect("message");
    let outgoing = outgoing.with_id("m1".parse().expect("id"));
    let sending = client.send_with(outgoing.with_ttl(Duration::from_millis(1_500))).await;
    let send = session.hear_send().await;
    assert_eq!((send.id.as_str(), send.to.as_str()), ("m1", "H1-A1-b"));
    assert_eq!(send.body, r#"{"a": 1.0}"#, "the text travels as it is");
    assert_eq!(send.ttl_s, Some(2));
    session.result(&send, Outcome::Rejected, Some(Reason::MailboxFull)).await;
    let outcome = soon(sending.expect("taken")).await;
    assert_eq!(outcome.outcome, Outcome::Rejected);
    assert_eq!(outcome.reason, Some(Reason::MailboxFull));
    assert!(outcome.retry);
}

#[tokio::test]
async fn a_reconnect_sends_again_what_has_no_result_in_order_under_the_same_ids() {
    let server = Server::start().await;
    let config = server.config("H1-A1-a");
    let name = config.client.clone();
    let (client, _messages) = Client::connect(config).expect("client");
    let mut session = server.welcome().await;
    assert!(session.query.ends_with(&format!("client={name}&n=1")), "{}", session.query);
    let mut sendings = Vec::new();
    for i in 0..4 {
        sendings.push(client.send(&end("H1-A1-b"), &i).await.expect("taken"));
    }
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(session.hear_send().await);
    }
    session.result(&ids[1], Outcome::Delivered, None).await;
    assert_eq!(soon(sendings.remove(1)).await.outcome, Outcome::Delivered);
    drop(session);
    let mut session = server.welcome().await;
    assert!(session.query.ends_with(&format!("client={name}&n=2")), "{}", session.query);
    for i in [0, 2, 3] {
        let again = session.hear_send().await;
        assert_eq!(again, ids[i]);
        session.result(&again, Outcome::Stored, None).await;
    }
    for sending in sendings {
        assert_eq!(soon(sending).await.outcome, Outcome::Stored);
    }
}

#[tokio::test]
async fn an_automatic_ack_follows_when_the_next_message_is_asked_for() {
    let server = Server::start().await;
    let (_client, mut messages) = Client::connect(server.config("H1-A1-a")).expect("client");
    let mut session = server.welcome().await;
    session.say(&message(1, "m1", "\"x\"")).await;
    let first = soon(messages.recv()).await.expect("message");
    assert_eq!(first.json::<String>().expect("text"), "x");
    assert_eq!((first.seq, first.at_ms, first.redelivered), (1, 1_000, false));
    session.say(&message(2, "m2", "2")).await;
    let second = soon(messages.recv()).await.expect("message");
    assert_eq!(session.hear_ack().await, 1);
    assert_eq!(second.body_text(), "2");
    drop(messages);
    assert_eq!(session.hear_ack().await, 2);
}

#[tokio::test]
async fn manual_acks_may_come_in_any_order() {
    let server = Server::start().await;
    let mut config = server.config("H1-A1-a");
    config.ack = AckMode::Manual;
    let (client, mut messages) = Client::connect(config).expect("client");
    let mut session = server.welcome().await;
    session.say(&message(1, "m1", "1")).await;
    session.say(&message(2, "m2", "2")).await;
    let first = soon(messages.recv()).await.expect("message");
    let second = soon(messages.recv()).await.expect("message");
    second.ack();
    second.ack();
    let marker = client.send(&end("H1-A1-b"), "after the second").await.expect("taken");
    let send = session.hear_send().await;
    session.result(&send, Outcome::Delivered, None).await;
    soon(marker).await;
    first.ack();
    assert_eq!(session.hear_ack().await, 2);
}

#[tokio::test]
async fn a_repeat_on_a_new_session_is_acked_and_not_shown() {
    let server = Server::start().await;
    let (_client, mut messages) = Client::connect(server.config("H1-A1-a")).expect("client");
    let mut session = server.welcome().await;
    session.say(&message(1, "m1", "1")).await;
    soon(messages.recv()).await.expect("message").ack();
    assert_eq!(session.hear_ack().await, 1);
    session.close(CloseCode::SessionLost.code()).await;
    let mut session = server.welcome().await;
    session.say(&message(1, "m1", "1")).await;
    session.say(&message(2, "m2", "2")).await;
    assert_eq!(session.hear_ack().await, 1);
    assert_eq!(soon(messages.recv()).await.expect("message").id.as_str(), "m2");
}

#[tokio::test]
async fn a_replaced_client_ends_and_says_so() {
    let server = Server::start().await;
    let (client, mut messages) = Client::connect(server.config("H1-A1-a")).expect("client");
    let mut session = server.welcome().await;
    let sending = client.send(&end("H1-A1-b"), &1).await.expect("taken");
    session.hear_send().await;
    session.close(CloseCode::Replaced.code()).await;
    assert_eq!(soon(sending).await.outcome, Outcome::Unknown);
    assert!(soon(messages.recv()).await.is_none());
    let ended = Ended::Closed(CloseCode::Replaced.code());
    assert_eq!(soon(client.connected()).await, Err(ended));
    assert_eq!(*client.status().borrow(), Status::Ended(ended));
    assert!(matches!(client.send(&end("H1-A1-b"), &1).await, Err(SendError::Ended)));
    soon(client.close()).await;
}

#[tokio::test]
async fn close_writes_the_acks_that_are_due_and_closes_in_order() {
    let server = Server::start().await;
    let (client, mut messages) = Client::connect(server.config("H1-A1-a")).expect("client");
    let mut session = server.welcome().await;
    session.say(&message(1, "m1", "1")).await;
    soon(messages.recv()).await.expect("message").ack();
    let closing = tokio::spawn(async move { client.close().await });
    assert_eq!(session.hear_ack().await, 1);
    match session.frame().await {
        Some(Frame::Close(Some(frame))) => assert_eq!(u16::from(frame.code), 1000),
        other => panic!("no close frame: {other:?}"),
    }
    assert!(session.frame().await.is_none());
    soon(closing).await.expect("closed");
}

#[tokio::test]
async fn a_client_that_nobody_holds_closes_its_session() {
    let server = Server::start().await;
    let (client, messages) = Client::connect(server.config("H1-A1-a")).expect("client");
    let mut session = server.welcome().await;
    soon(client.connected()).await.expect("welcome");
    drop(messages);
    drop(client);
    assert!(matches!(session.frame().await, Some(Frame::Close(_))));
}

#[tokio::test]
async fn the_next_server_is_tried_where_one_is_away() {
    let gone = Server::start().await.url();
    let server = Server::start().await;
    let mut config = server.config("H1-A1-a");
    config.urls.insert(0, gone);
    let (client, _messages) = Client::connect(config).expect("client");
    let session = server.welcome().await;
    assert!(session.query.ends_with("&n=2"), "{}", session.query);
    soon(client.connected()).await.expect("welcome");
    match &*client.status().borrow() {
        Status::Connected { url, .. } => assert_eq!(**url, server.url()),
        other => panic!("not connected: {other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_asks_for_a_reconnect_gets_it() {
    let server = Server::start().await;
    let (client, _messages) = Client::connect(server.config("H1-A1-a")).expect("client");
    let mut session = server.welcome().await;
    session.say(&Down::Reconnect { after_ms: 10 }).await;
    let mut next = server.accept().await;
    assert!(next.query.ends_with("&n=2"), "{}", next.query);
    // Until the next has said welcome, the first serves.
    let sending = client.send(&end("H1-A1-b"), "x").await.expect("open");
    let send = session.hear_send().await;
    session.result(&send, Outcome::Delivered, None).await;
    assert_eq!(soon(sending).await.outcome, Outcome::Delivered);
    next.say(&welcome("H1-A1-a")).await;
    assert!(matches!(session.frame().await, Some(Frame::Close(_))));
    assert!(session.frame().await.is_none());
    let sending = client.send(&end("H1-A1-b"), "y").await.expect("open");
    let send = next.hear_send().await;
    next.result(&send, Outcome::Delivered, None).await;
    assert_eq!(soon(sending).await.outcome, Outcome::Delivered);
}

#[tokio::test]
async fn a_server_that_does_not_answer_a_close_holds_up_nothing() {
    let server = Server::start().await;
    let (client, _messages) = Client::connect(server.config("H1-A1-a")).expect("client");
    let mut left = Vec::new();
    let mut session = server.welcome().await;
    let begun = Instant::now();
    for n in 2..=5 {
        session.say(&Down::Reconnect { after_ms: 0 }).await;
        let next = server.welcome().await;
        assert!(next.query.ends_with(&format!("&n={n}")), "{}", next.query);
        left.push(std::mem::replace(&mut session, next));
        let sending = client.send(&end("H1-A1-b"), &n).await.expect("taken");
        // It may have been written on the one that is left; then it comes again here.
        let send = session.hear_send().await;
        session.result(&send, Outcome::Delivered, None).await;
        assert_eq!(soon(sending).await.outcome, Outcome::Delivered);
    }
    let taken = begun.elapsed();
    assert!(taken < Duration::from_secs(3), "each close takes 1 s of its own: {taken:?}");
    soon(client.close()).await;
    for mut session in left {
        while let Some(frame) = session.frame().await {
            assert!(matches!(frame, Frame::Text(_) | Frame::Close(_)), "{frame:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_is_closed_while_it_moves_closes_both_sessions() {
    let server = Server::start().await;
    let (client, _messages) = Client::connect(server.config("H1-A1-a")).expect("client");
    let mut session = server.welcome().await;
    session.say(&Down::Reconnect { after_ms: 0 }).await;
    let mut next = server.accept().await;
    let closing = tokio::spawn(async move { client.close().await });
    let (first, second) = tokio::join!(session.frame(), next.frame());
    assert!(matches!(first, Some(Frame::Close(_))), "{first:?}");
    assert!(!matches!(second, Some(Frame::Text(_))), "{second:?}");
    tokio::join!(session.frame(), next.frame());
    soon(closing).await.expect("closed");
}

#[tokio::test]
async fn without_a_server_a_send_is_rejected_at_its_deadline() {
    let server = Server::start().await;
    let mut config = server.config("H1-A1-a");
    drop(server);
    config.send_deadline = Duration::from_millis(50);
    config.open_sends_max = 1;
    let (client, _messages) = Client::connect(config).expect("client");
    let sending = client.send(&end("H1-A1-b"), &1).await.expect("taken");
    let more = Outgoing::new(end("H1-A1-b"), &2).expect("message");
    assert!(matches!(client.try_send(more), Err(SendError::Full)));
    let outcome = soon(sending).await;
    assert_eq!((outcome.outcome, outcome.reason), (Outcome::Rejected, Some(Reason::Deadline)));
    let status = client.status();
    match &*status.borrow() {
        Status::Connecting { problem: Some(problem) } => {
            assert!(problem.starts_with("cannot reach 127.0.0.1:"), "{problem}");
        }
        other => panic!("no problem: {other:?}"),
    };
}

#[tokio::test]
async fn reading_goes_on_while_the_server_takes_nothing() {
    let server = Server::start().await;
    let (client, mut messages) = Client::connect(server.config("H1-A1-a")).expect("client");
    let mut session = server.welcome().await;
    soon(client.connected()).await.expect("welcome");
    let body = "x".repeat(60_000);
    let mut sendings = Vec::new();
    for _ in 0..100 {
        sendings.push(client.send(&end("H1-A1-b"), &body).await.expect("taken"));
    }
    // More than any socket holds, in both directions, before the server reads anything.
    let quoted = format!("\"{body}\"");
    let taking = tokio::spawn(async move {
        for _ in 0..200 {
            soon(messages.recv()).await.expect("message");
        }
    });
    for seq in 1..=200 {
        session.say(&message(seq, &format!("m{seq}"), &quoted)).await;
    }
    soon(taking).await.expect("all taken");
    let mut heard = 0;
    while heard < 100 {
        if let Up::Send(send) = session.hear().await {
            heard += 1;
            session.result(&send, Outcome::Delivered, None).await;
        }
    }
    for sending in sendings {
        assert_eq!(soon(sending).await.outcome, Outcome::Delivered);
    }
}

#[tokio::test]
async fn a_connection_skips_types_of_later_versions_and_answers_pings() {
    let server = Server::start().await;
    let (connection, mut session) = tokio::join!(connect(&server), async { server.accept().await });
    let mut connection = connection.expect("connection");
    session.say_text(r#"{"type":"news","x":1}"#).await;
    session.stream.send(Frame::Ping("p".into())).await.expect("ping");
    session.say(&support::welcome("H1-A1-a")).await;
    assert!(matches!(soon(connection.next()).await, Ok(Down::Welcome { .. })));
    soon(connection.send(&Up::Ack { seq: 7 })).await.expect("written");
    match soon(futures_util::StreamExt::next(&mut session.stream)).await {
        Some(Ok(Frame::Pong(payload))) => assert_eq!(payload, "p"),
        other => panic!("no pong: {other:?}"),
    }
    assert_eq!(session.hear_ack().await, 7);
    let closing = tokio::spawn(session.close(CloseCode::TooSlow.code()));
    let closed = soon(connection.next()).await.expect_err("closed");
    assert_eq!(closed.close_code(), Some(CloseCode::TooSlow));
    drop(connection);
    soon(closing).await.expect("server closed");
}

#[tokio::test]
async fn a_frame_that_is_none_ends_the_connection() {
    let server = Server::start().await;
    let (connection, mut session) = tokio::join!(connect(&server), async { server.accept().await });
    session.say_text("welcome!").await;
    let closed = soon(connection.expect("connection").next()).await;
    assert!(matches!(closed, Err(Closed::BadFrame(_))));
}

#[tokio::test]
async fn a_silent_server_is_found_after_60_s() {
    let server = Server::start().await;
    let (connection, _session) = tokio::join!(connect(&server), async { server.accept().await });
    let mut connection = connection.expect("connection");
    tokio::time::pause();
    let before = tokio::time::Instant::now();
    assert!(matches!(connection.next().await, Err(Closed::Silent)));
    assert!(before.elapsed() >= Duration::from_secs(59));
}

#[tokio::test]
async fn a_refusal_names_its_status_and_what_the_server_says() {
    let server = Server::start().await;
    let (connection, ()) = tokio::join!(connect(&server), server.refuse(401));
    let error = connection.expect_err("refused");
    assert_eq!(error.status(), Some(401));
    assert_eq!(error.to_string(), "refused with HTTP status 401: token has expired");
}

async fn connect(server: &Server) -> Result<Connection, ConnectError> {
    soon(Connection::connect(&Target::new(server.url(), end("H1-A1-a")))).await
}

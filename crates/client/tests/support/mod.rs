//! A server of the terminal protocol that does what a test tells it to.

// The size of a refusal is the WebSocket library's to choose.
#![allow(clippy::result_large_err)]
#![allow(dead_code, reason = "each test program uses a part")]

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};
use wardlink_client::ClientConfig;
use wardlink_wire::terminal::{Down, DownMessage, Limits, Up, UpSend};
use wardlink_wire::{EndId, Outcome, Reason};

const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Server {
    listener: TcpListener,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.expect("bind") }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/ws", self.listener.local_addr().expect("address"))
    }

    pub(crate) fn config(&self, end: &str) -> ClientConfig {
        let mut config = ClientConfig::new(self.url(), self::end(end));
        config.backoff_max = Duration::from_millis(100);
        config
    }

    pub(crate) async fn accept(&self) -> Session {
        let (stream, _) = soon(self.listener.accept()).await.expect("accept");
        let (mut query, mut authorization) = (String::new(), None);
        let callback = |request: &Request, mut response: Response| {
            query = request.uri().query().unwrap_or_default().to_owned();
            let header = request.headers().get("Authorization");
            authorization = header.map(|value| value.to_str().expect("text").to_owned());
            let protocol = HeaderValue::from_static("wardlink.v1");
            assert_eq!(request.headers().get("Sec-WebSocket-Protocol"), Some(&protocol));
            response.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
            Ok(response)
        };
        let stream = soon(accept_hdr_async(stream, callback)).await.expect("handshake");
        Session { stream, query, authorization }
    }

    /// Accepts, and says `welcome`.
    pub(crate) async fn welcome(&self) -> Session {
        let mut session = self.accept().await;
        session.say(&welcome("H1-A1-a")).await;
        session
    }

    pub(crate) async fn refuse(&self, status: u16) {
        let (stream, _) = soon(self.listener.accept()).await.expect("accept");
        let callback = |_: &Request, _: Response| {
            let mut response = ErrorResponse::new(Some("token has expired\nmore".to_owned()));
            *response.status_mut() = StatusCode::from_u16(status).expect("status");
            Err(response)
        };
        soon(accept_hdr_async(stream, callback)).await.expect_err("refused");
    }
}

pub(crate) struct Session {
    pub(crate) stream: WebSocketStream<TcpStream>,
    pub(crate) query: String,
    pub(crate) authorization: Option<String>,
}

impl Session {
    pub(crate) async fn say(&mut self, down: &Down) {
        self.say_text(&down.to_json()).await;
    }

    pub(crate) async fn say_text(&mut self, text: &str) {
        soon(self.stream.send(Frame::text(text))).await.expect("written");
    }

    /// The next frame of the terminal's that is no pong.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        loop {
            match soon(self.stream.next()).await {
                Some(Ok(Frame::Pong(_))) => {}
                Some(Ok(frame)) => return Some(frame),
                Some(Err(_)) | None => return None,
            }
        }
    }

    pub(crate) async fn hear(&mut self) -> Up {
        match self.frame().await {
            Some(Frame::Text(text)) => Up::decode(text.as_str()).expect("frame"),
            other => panic!("no text frame: {other:?}"),
        }
    }

    pub(crate) async fn hear_send(&mut self) -> UpSend {
        match self.hear().await {
            Up::Send(send) => send,
            other => panic!("no send: {other:?}"),
        }
    }

    pub(crate) async fn hear_ack(&mut self) -> u64 {
        match self.hear().await {
            Up::Ack { seq } => seq,
            other => panic!("no ack: {other:?}"),
        }
    }

    pub(crate) async fn result(&mut self, send: &UpSend, outcome: Outcome, reason: Option<Reason>) {
        self.say(&Down::Result { id: send.id.clone(), outcome, reason }).await;
    }

    pub(crate) async fn close(mut self, code: u16) {
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        soon(self.stream.close(Some(frame))).await.expect("written");
        while self.frame().await.is_some() {}
    }
}

pub(crate) fn end(text: &str) -> EndId {
    text.parse().expect("end")
}

pub(crate) fn message(seq: u64, id: &str, body: &str) -> Down {
    Down::Message(DownMessage {
        seq,
        id: id.parse().expect("id"),
        from: Some(end("H1-A1-b")),
        body: body.to_owned().into(),
        at_ms: 1_000,
        redelivered: false,
    })
}

pub(crate) fn welcome(to: &str) -> Down {
    Down::Welcome {
        end: end(to),
        session: "6f1c8a52-2f0e-4a52-9d1c-5f0f3a8f8a01".parse().expect("session"),
        server: "6f1c8a52-2f0e-4a52-9d1c-5f0f3a8f8a02".parse().expect("server"),
        limits: Limits { body_bytes: 65_536, open_sends: 100, ttl_s: 600, deadline_ms: 10_000 },
    }
}

/// What must come soon; a test that would hang fails here.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it did not come in time")
}

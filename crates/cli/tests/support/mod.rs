//! Two servers of the terminal protocol that share their ends and mailboxes, in memory: enough
//! to see what a command says and how it ends.

// The size of a refusal is the WebSocket library's to choose; not every user needs all of it.
#![allow(clippy::result_large_err, dead_code)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};
use wardlink_identity::{Keys, Rules, Verifier};
use wardlink_wire::terminal::{Down, DownMessage, Limits, Up, UpSend};
use wardlink_wire::{CloseCode, EndId, MessageId, Outcome, Reason};

/// A send to this end has no result, one to the next is refused.
pub(crate) const SILENT: &str = "H1-X-silent";
pub(crate) const REFUSED: &str = "H1-X-refused";

/// Signs the tokens that the servers take.
pub(crate) const SECRET: &str = "a secret for tests, which nobody else has";

pub(crate) struct Network {
    pub(crate) urls: [String; 2],
}

impl Network {
    pub(crate) async fn start() -> Self {
        let shared = Arc::default();
        Self { urls: [serve(Arc::clone(&shared)).await, serve(shared).await] }
    }
}

#[derive(Default)]
struct Shared {
    sessions: HashMap<EndId, mpsc::Sender<Order>>,
    mailboxes: HashMap<EndId, Vec<(EndId, UpSend)>>,
}

enum Order {
    Show(EndId, UpSend),
    Result(MessageId, Outcome, Option<Reason>),
    Leave,
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(shared: Arc<Mutex<Shared>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let url = format!("ws://{}/ws", listener.local_addr().expect("address"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(session(stream, Arc::clone(&shared)));
        }
    });
    url
}

/// The end of a token that is signed with [`SECRET`].
fn bearer(request: &Request) -> Option<EndId> {
    let header = request.headers().get("Authorization")?.to_str().ok()?;
    let keys = Keys::from_file(SECRET.as_bytes()).expect("keys");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("time").as_secs();
    let token = header.strip_prefix("Bearer ")?;
    Verifier::new(keys, Rules::default()).verify(token, now).ok().map(|identity| identity.end)
}

async fn session(stream: TcpStream, shared: Arc<Mutex<Shared>>) {
    let mut end = None;
    let callback = |request: &Request, mut response: Response| {
        let query = request.uri().query().unwrap_or_default();
        let value = |name| query.split('&').find_map(|pair| pair.strip_prefix(name));
        let parts = ["hospitalCode=", "hosareaCode=", "uid="].map(|name| value(name).unwrap_or(""));
        end = EndId::new(parts[0], parts[1], parts[2]).ok().or_else(|| bearer(request));
        let protocol = HeaderValue::from_static("wardlink.v1");
        response.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        Ok(response)
    };
    let Ok(mut stream) = accept_hdr_async(stream, callback).await else { return };
    let Some(end) = end else { return };
    let (orders, mut queue) = mpsc::channel(10_000);
    let limits = Limits { body_bytes: 65_536, open_sends: 100, ttl_s: 600, deadline_ms: 10_000 };
    let session = "6f1c8a52-2f0e-4a52-9d1c-5f0f3a8f8a01".parse().expect("session");
    let server = "6f1c8a52-2f0e-4a52-9d1c-5f0f3a8f8a02".parse().expect("server");
    say(&mut stream, &Down::Welcome { end: end.clone(), session, server, limits }).await;
    let waiting = {
        let mut shared = lock(&shared);
        if let Some(old) = shared.sessions.insert(end.clone(), orders.clone()) {
            let _ = old.try_send(Order::Leave);
        }
        shared.mailboxes.remove(&end).unwrap_or_default()
    };
    for (from, send) in waiting {
        let _ = orders.try_send(Order::Show(from, send));
    }
    let mut shown: Vec<(EndId, MessageId)> = Vec::new();
    let mut acked = 0;
    loop {
        tokio::select! {
            order = queue.recv() => match order {
                Some(Order::Show(from, send)) => {
                    shown.push((from.clone(), send.id.clone()));
                    let UpSend { id, body, .. } = send;
                    let (seq, from) = (shown.len() as u64, Some(from));
                    let message =
                        DownMessage { seq, id, from, body, at_ms: 1_000, redelivered: false };
                    say(&mut stream, &Down::Message(message)).await;
                }
                Some(Order::Result(id, outcome, reason)) => {
                    say(&mut stream, &Down::Result { id, outcome, reason }).await;
                }
                Some(Order::Leave) | None => {
                    let code = CloseCode::Replaced;
                    let frame = CloseFrame { code: code.code().into(), reason: code.text().into() };
                    let _ = stream.close(Some(frame)).await;
                    return;
                }
            },
            frame = stream.next() => match frame {
                Some(Ok(Frame::Text(text))) => match Up::decode(text.as_str()) {
                    Ok(Up::Send(send)) => route(&shared, &end, send, &orders),
                    Ok(Up::Ack { seq }) => {
                        for (from, id) in &shown[acked..seq as usize] {
                            let delivered = Order::Result(id.clone(), Outcome::Delivered, None);
                            if let Some(sender) = lock(&shared).sessions.get(from) {
                                let _ = sender.try_send(delivered);
                            }
                        }
                        acked = seq as usize;
                    }
                    _ => {}
                },
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            },
        }
    }
    let mut shared = lock(&shared);
    if shared.sessions.get(&end).is_some_and(|current| current.same_channel(&orders)) {
        shared.sessions.remove(&end);
    }
}

fn route(shared: &Mutex<Shared>, from: &EndId, send: UpSend, orders: &mpsc::Sender<Order>) {
    let mut shared = lock(shared);
    let (outcome, reason) = match send.to.as_str() {
        SILENT => return,
        REFUSED => (Outcome::Rejected, Some(Reason::MailboxFull)),
        _ => match shared.sessions.get(&send.to) {
            Some(session) => {
                let _ = session.try_send(Order::Show(from.clone(), send));
                return;
            }
            None => {
                let mailbox = shared.mailboxes.entry(send.to.clone()).or_default();
                mailbox.push((from.clone(), send.clone()));
                (Outcome::Stored, None)
            }
        },
    };
    let _ = orders.try_send(Order::Result(send.id, outcome, reason));
}

async fn say(stream: &mut WebSocketStream<TcpStream>, down: &Down) {
    let _ = stream.send(Frame::text(down.to_json())).await;
}

//! One link to an MS: a task that reads, a task that writes.
//!
//! The reader never waits for the writer. The writer takes all that is queued, and flushes once.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use wardlink_link::{Socket, Writer};
use wardlink_wire::link::{LinkToken, json, proto};

use super::input::Input;
use super::knock::{Knock, Opened};
use crate::core::api::LinkId;

/// How long the last frames of a link, a close frame among them, may take.
const LAST: Duration = Duration::from_secs(1);

/// Serves one connected link until it ends. A token that it was opened with is followed by fresh
/// ones.
pub(super) async fn serve(opened: Opened, knock: &Knock, inputs: &mpsc::Sender<Input>) {
    let Opened { socket, token } = opened;
    let (queue, waiting) = wardlink_link::queue();
    let (id, answer) = oneshot::channel();
    if inputs.send(Input::LinkOpened { queue, id }).await.is_err() {
        return;
    }
    let Ok(link) = answer.await else { return };
    let (sink, source) = socket.split();
    // A BS speaks the binary encoding.
    let writer = Writer::new(sink, waiting, Arc::new(AtomicBool::new(false)));
    // Aborted with this task.
    let mut writing = JoinSet::new();
    writing.spawn(writer.run(async |_: Vec<()>| true));
    tokio::select! {
        () = read(link, source, inputs) => {}
        () = show_fresh(link, token, knock, inputs) => {}
        _ = writing.join_next() => {}
    }
    // The engine is gone only at the end of the process.
    let _ = inputs.send(Input::LinkClosed(link)).await;
    // Nothing is left to wait for where it has ended already.
    let _ = timeout(LAST, writing.join_next()).await;
}

/// Shows fresh tokens as they come. Never ends where there is none.
async fn show_fresh(
    link: LinkId,
    token: Option<LinkToken>,
    knock: &Knock,
    inputs: &mpsc::Sender<Input>,
) {
    let Some(mut shown) = token else { return std::future::pending().await };
    loop {
        shown = knock.fresh(&shown).await;
        if inputs.send(Input::Fresh(link, shown.clone())).await.is_err() {
            return;
        }
    }
}

async fn read(link: LinkId, mut source: SplitStream<Socket>, inputs: &mpsc::Sender<Input>) {
    while let Some(message) = source.next().await {
        let message = match message {
            Ok(message) => message,
            Err(error) if wardlink_link::is_broken_protocol(&error) => {
                return complain(link, &error, inputs).await;
            }
            Err(_) => return,
        };
        let decoded = match message {
            Message::Binary(frame) => proto::decode_to_bs(frame),
            Message::Text(frame) => json::decode_to_bs(&frame),
            Message::Ping(payload) => {
                if inputs.send(Input::Heard(link, clock(&payload))).await.is_err() {
                    return;
                }
                continue;
            }
            Message::Pong(_) => {
                if inputs.send(Input::Heard(link, None)).await.is_err() {
                    return;
                }
                continue;
            }
            Message::Close(frame) => {
                let reason = frame.map(|frame| frame.reason.to_string()).unwrap_or_default();
                tracing::info!(link = link.0, reason, "link closed by the message server");
                return;
            }
            Message::Frame(_) => return,
        };
        let items = match decoded {
            Ok(items) => items,
            Err(error) => return complain(link, &error, inputs).await,
        };
        let (usable, errors) = wardlink_link::sort(items);
        if !errors.is_empty() && inputs.send(Input::Unusable(link, errors)).await.is_err() {
            return;
        }
        if inputs.send(Input::Items(link, usable)).await.is_err() {
            return;
        }
    }
}

async fn complain(link: LinkId, error: &(dyn Error + Sync), inputs: &mpsc::Sender<Input>) {
    tracing::warn!(link = link.0, %error, "link sent a frame that is none, closing it");
    // The engine is gone only at the end of the process.
    let _ = inputs.send(Input::BadFrame(link)).await;
}

/// An MS's ping carries the database's clock as decimal text.
fn clock(payload: &Bytes) -> Option<u64> {
    std::str::from_utf8(payload).ok()?.parse().ok()
}

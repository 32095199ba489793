//! One link to an MS: a task that reads, a task that writes.
//!
//! The reader never waits for the writer. The writer takes all that is queued, and flushes once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as WsCloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use wardlink_wire::CloseCode;
use wardlink_wire::link::{ErrorItem, LINK_FRAME_MAX_BYTES, ToBs, ToMs, json, proto};

use super::engine::Input;
use crate::core::api::LinkId;

/// A write that takes longer says that the MS does not read.
const WRITE: Duration = Duration::from_secs(5);
/// Batches that wait for a writer; the engine closes a link whose writer has more.
const BATCHES: usize = 4_096;
/// Bytes that wait for a writer: the credit of 8,192 sends of 2 KiB.
const WAITING_BYTES: usize = 16 * 1024 * 1024;
/// A frame is closed beyond so many bytes, so that several go out while the next is made.
const FRAME_BYTES: usize = 128 * 1024;
/// Items of one frame.
const FRAME_ITEMS: usize = 4_096;
/// Read and write buffers of a link.
const BUFFER_BYTES: usize = 64 * 1024;

pub(super) type Socket = WebSocketStream<TcpStream>;

/// How a link's WebSocket is set up.
pub(super) fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_write_buffer_size(WAITING_BYTES)
        .max_message_size(Some(LINK_FRAME_MAX_BYTES))
        .max_frame_size(Some(LINK_FRAME_MAX_BYTES))
}

/// What the engine has for a link.
#[derive(Debug)]
pub(super) enum Out {
    Item(ToMs),
    Ping,
    Close(CloseCode),
}

/// The engine's hold of a link's writer. Dropping it ends the link.
#[derive(Debug)]
pub(super) struct LinkWriter {
    queue: mpsc::Sender<Vec<Out>>,
    bytes: Arc<AtomicUsize>,
}

impl LinkWriter {
    /// Never waits. False where the link does not keep up.
    pub(super) fn push(&self, out: Vec<Out>) -> bool {
        let bytes: usize = out.iter().map(cost).sum();
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        before < WAITING_BYTES && self.queue.try_send(out).is_ok()
    }
}

fn cost(out: &Out) -> usize {
    const ITEM: usize = std::mem::size_of::<ToMs>();
    match out {
        Out::Item(ToMs::Send(send)) => ITEM + send.body.len(),
        Out::Item(_) => ITEM,
        Out::Ping | Out::Close(_) => 16,
    }
}

/// Serves one connected link until it ends.
pub(super) async fn serve(socket: Socket, inputs: &mpsc::Sender<Input>) {
    let (queue, waiting) = mpsc::channel(BATCHES);
    let bytes = Arc::new(AtomicUsize::new(0));
    let (id, answer) = oneshot::channel();
    let writer = LinkWriter { queue, bytes: bytes.clone() };
    if inputs.send(Input::LinkOpened { writer, id }).await.is_err() {
        return;
    }
    let Ok(link) = answer.await else { return };
    let (sink, source) = socket.split();
    let mut writing = tokio::spawn(write(sink, waiting, bytes));
    tokio::select! {
        () = read(link, source, inputs) => {}
        _ = &mut writing => {}
    }
    // The engine is gone only at the end of the process.
    let _ = inputs.send(Input::LinkClosed(link)).await;
    writing.abort();
}

async fn read(link: LinkId, mut source: SplitStream<Socket>, inputs: &mpsc::Sender<Input>) {
    while let Some(Ok(message)) = source.next().await {
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
            Err(error) => {
                tracing::warn!(link = link.0, %error, "link sent a frame that is none, closing it");
                return;
            }
        };
        if inputs.send(Input::Items(link, usable(link, items))).await.is_err() {
            return;
        }
    }
}

fn usable(link: LinkId, items: Vec<Result<ToBs, ErrorItem>>) -> Vec<ToBs> {
    items
        .into_iter()
        .filter_map(|item| {
            item.inspect_err(|error| {
                tracing::debug!(link = link.0, code = ?error.code, "item cannot be used");
            })
            .ok()
        })
        .collect()
}

/// An MS's ping carries the database's clock as decimal text.
fn clock(payload: &Bytes) -> Option<u64> {
    std::str::from_utf8(payload).ok()?.parse().ok()
}

async fn write(
    mut sink: SplitSink<Socket, Message>,
    mut waiting: mpsc::Receiver<Vec<Out>>,
    bytes: Arc<AtomicUsize>,
) {
    let mut batches = Vec::new();
    let mut buffer = BytesMut::new();
    while waiting.recv_many(&mut batches, BATCHES).await > 0 {
        let out: Vec<Out> = batches.drain(..).flatten().collect();
        let taken: usize = out.iter().map(cost).sum();
        bytes.fetch_sub(taken, Ordering::Relaxed);
        match timeout(WRITE, write_all(&mut sink, out, &mut buffer)).await {
            Ok(Ok(true)) => {}
            _ => return,
        }
    }
}

/// False: the link is to end.
async fn write_all(
    sink: &mut SplitSink<Socket, Message>,
    out: Vec<Out>,
    buffer: &mut BytesMut,
) -> Result<bool, WsError> {
    let mut items = Vec::with_capacity(out.len());
    let mut bytes = 0;
    for out in out {
        bytes += cost(&out);
        match out {
            Out::Item(item) => {
                items.push(item);
                if bytes >= FRAME_BYTES || items.len() >= FRAME_ITEMS {
                    frame(sink, &mut items, buffer).await?;
                    bytes = 0;
                }
            }
            Out::Ping => {
                frame(sink, &mut items, buffer).await?;
                sink.feed(Message::Ping(Bytes::new())).await?;
            }
            Out::Close(code) => {
                frame(sink, &mut items, buffer).await?;
                let reason = code.text().into();
                let close = CloseFrame { code: WsCloseCode::from(code.code()), reason };
                sink.send(Message::Close(Some(close))).await?;
                return Ok(false);
            }
        }
    }
    frame(sink, &mut items, buffer).await?;
    sink.flush().await?;
    Ok(true)
}

async fn frame(
    sink: &mut SplitSink<Socket, Message>,
    items: &mut Vec<ToMs>,
    buffer: &mut BytesMut,
) -> Result<(), WsError> {
    if !items.is_empty() {
        proto::encode_to_ms(items, buffer);
        items.clear();
        sink.feed(Message::Binary(buffer.split().freeze())).await?;
    }
    Ok(())
}

//! One link: the handshake, a task that reads, a task that writes.
//!
//! The reader never waits for the writer. The writer takes all that is queued, and flushes once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as WsCloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};
use uuid::Uuid;
use wardlink_wire::link::json::{self, Plain};
use wardlink_wire::link::{
    ErrorItem, FrameError, LINK_FRAME_MAX_BYTES, LINK_PATH, LINK_SUBPROTOCOL, ToBs, ToMs, proto,
};
use wardlink_wire::{CloseCode, EndId, MessageId, Stamp};

use super::engine::{Input, weight};
use crate::core::api::{LinkId, PlainItem};

/// A handshake that takes longer is given up.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// A write that takes longer says that the BS does not read: as long as an MS waits for a sign.
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

type Socket = WebSocketStream<TcpStream>;

/// What the engine has for a link.
#[derive(Debug)]
pub(super) enum Out {
    Item(ToBs),
    Plain { end: EndId, body: Bytes, stamp: Stamp },
    Ping(u64),
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
    match out {
        Out::Item(item) => weight(item),
        Out::Plain { body, .. } => body.len() + 256,
        Out::Ping(_) | Out::Close(_) => 16,
    }
}

/// Serves one accepted connection until it ends.
pub(super) async fn serve(stream: TcpStream, inputs: mpsc::Sender<Input>) {
    let Ok(Ok((socket, plain))) = timeout(HANDSHAKE, handshake(stream)).await else { return };
    let (queue, waiting) = mpsc::channel(BATCHES);
    let bytes = Arc::new(AtomicUsize::new(0));
    let writer = LinkWriter { queue, bytes: bytes.clone() };
    let (id, answer) = oneshot::channel();
    if inputs.send(Input::LinkOpened { writer, plain, id }).await.is_err() {
        return;
    }
    let Ok(link) = answer.await else { return };
    let (sink, source) = socket.split();
    let text = Arc::new(AtomicBool::new(plain));
    let written = inputs.clone();
    let writer = Writer { link, sink, waiting, bytes, text: text.clone(), plain, inputs: written };
    let mut writing = tokio::spawn(writer.run());
    tokio::select! {
        () = read(link, source, plain, &text, &inputs) => {}
        // The writer ends by itself when the engine closed the link, or the peer does not read.
        _ = &mut writing => {}
    }
    // The engine drops its end of the queue, and with it the writer ends, after its last frame.
    let _ = inputs.send(Input::LinkClosed(link)).await;
    if !writing.is_finished() {
        writing.abort();
    }
}

async fn handshake(stream: TcpStream) -> Result<(Socket, bool), WsError> {
    let mut plain = true;
    // The type of the error is the library's.
    #[expect(clippy::result_large_err)]
    let callback = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        if request.uri().path() != LINK_PATH {
            let mut refusal = ErrorResponse::new(Some("links are at /link\n".to_owned()));
            *refusal.status_mut() = StatusCode::NOT_FOUND;
            return Err(refusal);
        }
        let asked = request.headers().get_all("sec-websocket-protocol");
        let names = asked.iter().filter_map(|value| value.to_str().ok());
        if names.flat_map(|value| value.split(',')).any(|name| name.trim() == LINK_SUBPROTOCOL) {
            plain = false;
            let name = HeaderValue::from_static(LINK_SUBPROTOCOL);
            response.headers_mut().insert("sec-websocket-protocol", name);
        }
        Ok(response)
    };
    let socket = accept_hdr_async_with_config(stream, callback, Some(config())).await?;
    Ok((socket, plain))
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_write_buffer_size(WAITING_BYTES)
        .max_message_size(Some(LINK_FRAME_MAX_BYTES))
        .max_frame_size(Some(LINK_FRAME_MAX_BYTES))
}

/// Reads until the link ends.
async fn read(
    link: LinkId,
    mut source: SplitStream<Socket>,
    plain: bool,
    text: &AtomicBool,
    inputs: &mpsc::Sender<Input>,
) {
    while let Some(Ok(message)) = source.next().await {
        let input = match message {
            Message::Binary(_) | Message::Text(_) if plain => match plain_items(&message) {
                Ok(items) => Input::Plain(link, items),
                Err(error) => return complain(link, error),
            },
            Message::Binary(frame) => match proto::decode_to_ms(frame) {
                Ok(items) => Input::Items(link, usable(link, items)),
                Err(error) => return complain(link, error),
            },
            Message::Text(frame) => {
                text.store(true, Ordering::Relaxed);
                match json::decode_to_ms(&frame) {
                    Ok(items) => Input::Items(link, usable(link, items)),
                    Err(error) => return complain(link, error),
                }
            }
            Message::Ping(_) | Message::Pong(_) => Input::Heard(link),
            Message::Close(_) | Message::Frame(_) => return,
        };
        if inputs.send(input).await.is_err() {
            return;
        }
    }
}

fn complain(link: LinkId, error: FrameError) {
    tracing::warn!(link = link.0, %error, "link sent a frame that is none, closing it");
}

/// Items that could be read; those that could not come in as errors, which the core answers not.
fn usable(link: LinkId, items: Vec<Result<ToMs, ErrorItem>>) -> Vec<ToMs> {
    let mut usable = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Ok(item) => usable.push(item),
            Err(error) => {
                tracing::debug!(link = link.0, code = ?error.code, "item cannot be used");
                usable.push(ToMs::Error(error));
            }
        }
    }
    usable
}

fn plain_items(message: &Message) -> Result<Vec<PlainItem>, FrameError> {
    let text = message.to_text().map_err(|_| FrameError::NotJson)?;
    let items = json::decode_plain(text)?;
    Ok(items
        .into_iter()
        .filter_map(Result::ok)
        .map(|item| match item {
            Plain::Register { end } => PlainItem::Register(end),
            Plain::Unregister { end } => PlainItem::Unregister(end),
            Plain::Send { end, body } => {
                PlainItem::Send { end, body, id: MessageId::from_uuid(Uuid::new_v4()) }
            }
        })
        .collect())
}

struct Writer {
    link: LinkId,
    sink: SplitSink<Socket, Message>,
    waiting: mpsc::Receiver<Vec<Out>>,
    bytes: Arc<AtomicUsize>,
    text: Arc<AtomicBool>,
    plain: bool,
    inputs: mpsc::Sender<Input>,
}

impl Writer {
    /// Writes until the engine lets go of the link, or the peer does not read.
    async fn run(mut self) {
        let mut batches = Vec::new();
        let mut buffer = BytesMut::new();
        while self.waiting.recv_many(&mut batches, BATCHES).await > 0 {
            let out: Vec<Out> = batches.drain(..).flatten().collect();
            let taken: usize = out.iter().map(cost).sum();
            self.bytes.fetch_sub(taken, Ordering::Relaxed);
            let written: Vec<(EndId, Stamp)> = out
                .iter()
                .filter_map(|out| match out {
                    Out::Plain { end, stamp, .. } => Some((end.clone(), *stamp)),
                    _ => None,
                })
                .collect();
            match timeout(WRITE, self.write(out, &mut buffer)).await {
                Ok(Ok(true)) => {}
                _ => return,
            }
            if !written.is_empty()
                && self.inputs.send(Input::PlainWritten(self.link, written)).await.is_err()
            {
                return;
            }
        }
    }

    /// False: the link is to end.
    async fn write(&mut self, out: Vec<Out>, buffer: &mut BytesMut) -> Result<bool, WsError> {
        let text = self.text.load(Ordering::Relaxed);
        let mut items: Vec<ToBs> = Vec::with_capacity(out.len());
        let mut bytes = 0;
        for out in out {
            match out {
                Out::Item(item) => {
                    bytes += weight(&item);
                    items.push(item);
                    if bytes >= FRAME_BYTES || items.len() >= FRAME_ITEMS {
                        self.frame(&mut items, text, buffer).await?;
                        bytes = 0;
                    }
                }
                Out::Plain { end, body, .. } => {
                    let frame = json::encode_plain_deliver(&end, &body);
                    self.sink.feed(Message::text(frame)).await?;
                }
                Out::Ping(clock) => {
                    self.frame(&mut items, text, buffer).await?;
                    // A plain BS gets a bare ping: the clock would mean nothing to it.
                    let payload = if self.plain { Bytes::new() } else { clock.to_string().into() };
                    self.sink.feed(Message::Ping(payload)).await?;
                }
                Out::Close(code) => {
                    self.frame(&mut items, text, buffer).await?;
                    let reason = code.text().into();
                    let frame = CloseFrame { code: WsCloseCode::from(code.code()), reason };
                    self.sink.send(Message::Close(Some(frame))).await?;
                    return Ok(false);
                }
            }
        }
        self.frame(&mut items, text, buffer).await?;
        self.sink.flush().await?;
        Ok(true)
    }

    async fn frame(
        &mut self,
        items: &mut Vec<ToBs>,
        text: bool,
        buffer: &mut BytesMut,
    ) -> Result<(), WsError> {
        if items.is_empty() {
            return Ok(());
        }
        let message = if text {
            Message::text(json::encode_to_bs(items))
        } else {
            proto::encode_to_bs(items, buffer);
            Message::Binary(buffer.split().freeze())
        };
        items.clear();
        self.sink.feed(message).await
    }
}

//! A link's socket, the same at both of its ends: its settings, its outgoing queue, and the task
//! that writes.
//!
//! Owns no state of the protocol. An engine pushes batches and never waits; the [`Writer`] takes
//! all that is queued, puts many items into one frame, and flushes once. Who reads the other half
//! of the socket never waits for the writer.

mod secret;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::SinkExt;
use futures_util::stream::SplitSink;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as WsCloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use wardlink_tls::Stream;
use wardlink_wire::CloseCode;
use wardlink_wire::link::{ErrorItem, LINK_FRAME_MAX_BYTES, ToBs, ToMs, json, proto};

pub use self::secret::{
    SECRET_MAX_BYTES, SECRET_MIN_BYTES, Secret, SecretError, SecretFile, Secrets,
};

/// A write that takes longer says that the peer does not read: as long as an MS waits for a sign.
const WRITE: Duration = Duration::from_secs(5);
/// Batches that wait for a writer; a link whose writer has more is to be closed.
const BATCHES: usize = 4_096;
/// Bytes that wait for a writer: all that a BS may have open (64 MiB of bodies, 65,536 items of
/// less than 0.5 KiB beside them), for on a new link it sends all of it at once.
const WAITING_BYTES: usize = 96 * 1024 * 1024;
/// A frame is closed beyond so many bytes, so that several go out while the next is made. With
/// one message of the largest size it stays far below what a frame may have; so does the number
/// of items, for each counts with its size in memory, over 100 bytes.
const FRAME_BYTES: usize = 128 * 1024;
/// Read and write buffers of a link.
const BUFFER_BYTES: usize = 64 * 1024;

/// A link's WebSocket.
pub type Socket = WebSocketStream<Stream>;

/// How a link's WebSocket is set up, at both ends.
pub fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_write_buffer_size(WAITING_BYTES)
        .max_message_size(Some(LINK_FRAME_MAX_BYTES))
        .max_frame_size(Some(LINK_FRAME_MAX_BYTES))
}

/// Whether the peer broke the WebSocket protocol or its limits: it is to be told by a close frame. All
/// other errors say that the connection is gone.
pub fn is_broken_protocol(error: &WsError) -> bool {
    match error {
        WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => false,
        WsError::Protocol(_) | WsError::Utf8(_) | WsError::Capacity(_) => true,
        _ => false,
    }
}

/// What travels in one direction of a link.
pub trait Item: Sized + Send + 'static {
    /// Appends one binary frame of these items.
    fn binary(items: &[Self], frame: &mut BytesMut);
    /// One text frame of these items.
    fn text(items: &[Self]) -> String;
    /// What it takes in memory beyond its own size, in bytes.
    fn beyond(&self) -> usize;
}

impl Item for ToBs {
    fn binary(items: &[Self], frame: &mut BytesMut) {
        proto::encode_to_bs(items, frame);
    }

    fn text(items: &[Self]) -> String {
        json::encode_to_bs(items)
    }

    fn beyond(&self) -> usize {
        match self {
            ToBs::Deliver(deliver) => deliver.body.len(),
            ToBs::View(view) => view.partitions.len() * 16,
            _ => 0,
        }
    }
}

impl Item for ToMs {
    fn binary(items: &[Self], frame: &mut BytesMut) {
        proto::encode_to_ms(items, frame);
    }

    fn text(items: &[Self]) -> String {
        json::encode_to_ms(items)
    }

    fn beyond(&self) -> usize {
        if let ToMs::Send(send) = self { send.body.len() } else { 0 }
    }
}

/// The items of a frame that can be used, in order, and the errors that answer the others.
pub fn sort<I>(decoded: Vec<Result<I, ErrorItem>>) -> (Vec<I>, Vec<ErrorItem>) {
    let mut usable = Vec::with_capacity(decoded.len());
    let mut errors = Vec::new();
    for item in decoded {
        match item {
            Ok(item) => usable.push(item),
            Err(error) => errors.push(error),
        }
    }
    (usable, errors)
}

/// What an engine has for a link. `R` is what it wants to hear of once a plain frame is written.
#[derive(Debug)]
pub enum Out<I, R> {
    /// An item; several share a frame.
    Item(I),
    /// A text frame of its own, for a plain BS.
    Plain(String, R),
    /// A ping with this payload.
    Ping(Bytes),
    /// A close frame; nothing is written after it.
    Close(CloseCode),
}

impl<I: Item, R> Out<I, R> {
    fn cost(&self) -> usize {
        size_of::<Self>()
            + match self {
                Out::Item(item) => item.beyond(),
                Out::Plain(text, _) => text.len(),
                Out::Ping(_) | Out::Close(_) => 0,
            }
    }
}

/// An engine's hold of a link's queue. Dropping it ends the link after what is queued.
#[derive(Debug)]
pub struct Queue<I, R> {
    batches: mpsc::Sender<Vec<Out<I, R>>>,
    bytes: Arc<AtomicUsize>,
}

impl<I: Item, R> Queue<I, R> {
    /// Never waits. False: the peer does not read as fast as it is written to, and the link is to
    /// be closed.
    pub fn push(&self, batch: Vec<Out<I, R>>) -> bool {
        let bytes: usize = batch.iter().map(Out::cost).sum();
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        before < WAITING_BYTES && self.batches.try_send(batch).is_ok()
    }
}

impl<I, R> Queue<I, R> {
    /// Bytes that wait for the writer.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// The writing side's end of the queue, before the socket is there.
#[derive(Debug)]
pub struct Waiting<I, R> {
    batches: mpsc::Receiver<Vec<Out<I, R>>>,
    bytes: Arc<AtomicUsize>,
}

/// A link's outgoing queue.
pub fn queue<I: Item, R>() -> (Queue<I, R>, Waiting<I, R>) {
    let (sender, batches) = mpsc::channel(BATCHES);
    let bytes = Arc::new(AtomicUsize::new(0));
    (Queue { batches: sender, bytes: bytes.clone() }, Waiting { batches, bytes })
}

/// The task that writes a link.
#[derive(Debug)]
pub struct Writer<I, R> {
    sink: SplitSink<Socket, Message>,
    waiting: Waiting<I, R>,
    /// Whether items go as text: the peer's choice, which the reader learns.
    text: Arc<AtomicBool>,
    frame: BytesMut,
}

impl<I: Item, R> Writer<I, R> {
    /// A writer for the sending half of a socket.
    pub fn new(
        sink: SplitSink<Socket, Message>,
        waiting: Waiting<I, R>,
        text: Arc<AtomicBool>,
    ) -> Self {
        Self { sink, waiting, text, frame: BytesMut::new() }
    }

    /// Writes until the engine lets go of the queue, a close frame was written, or the peer does
    /// not read. `written` hears what plain frames reported; it may wait, and ends the link with
    /// false.
    pub async fn run(mut self, mut written: impl AsyncFnMut(Vec<R>) -> bool) {
        let mut batches = Vec::new();
        while self.waiting.batches.recv_many(&mut batches, BATCHES).await > 0 {
            let out: Vec<Out<I, R>> = batches.drain(..).flatten().collect();
            let taken: usize = out.iter().map(Out::cost).sum();
            self.waiting.bytes.fetch_sub(taken, Ordering::Relaxed);
            let mut reports = Vec::new();
            let Ok(Ok(true)) = timeout(WRITE, self.write(out, &mut reports)).await else { return };
            if !reports.is_empty() && !written(reports).await {
                return;
            }
        }
        // The answer to the peer's close frame may still wait; a peer that is gone needs none.
        let _ = timeout(WRITE, self.sink.flush()).await;
    }

    /// False: a close frame was written.
    async fn write(&mut self, out: Vec<Out<I, R>>, reports: &mut Vec<R>) -> Result<bool, WsError> {
        let mut items: Vec<I> = Vec::with_capacity(out.len().min(FRAME_BYTES / size_of::<I>()));
        let mut bytes = 0;
        for out in out {
            bytes += out.cost();
            match out {
                Out::Item(item) => {
                    items.push(item);
                    if bytes >= FRAME_BYTES {
                        self.feed(&mut items).await?;
                        bytes = 0;
                    }
                }
                Out::Plain(text, report) => {
                    self.sink.feed(Message::text(text)).await?;
                    reports.push(report);
                }
                Out::Ping(payload) => {
                    self.feed(&mut items).await?;
                    self.sink.feed(Message::Ping(payload)).await?;
                }
                Out::Close(code) => {
                    self.feed(&mut items).await?;
                    let reason = code.text().into();
                    let close = CloseFrame { code: WsCloseCode::from(code.code()), reason };
                    self.sink.send(Message::Close(Some(close))).await?;
                    return Ok(false);
                }
            }
        }
        self.feed(&mut items).await?;
        self.sink.flush().await?;
        Ok(true)
    }

    async fn feed(&mut self, items: &mut Vec<I>) -> Result<(), WsError> {
        if items.is_empty() {
            return Ok(());
        }
        let message = if self.text.load(Ordering::Relaxed) {
            Message::text(I::text(items))
        } else {
            I::binary(items, &mut self.frame);
            Message::Binary(self.frame.split().freeze())
        };
        items.clear();
        self.sink.feed(message).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_does_not_read_is_noticed_at_the_bound_of_batches() {
        let (queue, waiting) = queue::<ToMs, ()>();
        let fits = (0..).take_while(|_| queue.push(vec![Out::Ping(Bytes::new())])).count();
        assert_eq!(fits, BATCHES);
        drop(waiting);
    }

    #[test]
    fn a_peer_that_does_not_read_is_noticed_at_the_bound_of_bytes() {
        let (queue, _waiting) = queue::<ToMs, ()>();
        let plain = || vec![Out::Plain("x".repeat(1024 * 1024), ())];
        let fits = (0..).take_while(|_| queue.push(plain())).count();
        assert_eq!(fits, WAITING_BYTES / (1024 * 1024));
    }
}

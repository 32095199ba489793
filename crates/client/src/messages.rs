//! Received messages and their acknowledgement.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use wardlink_wire::terminal::DownMessage;
use wardlink_wire::{EndId, MessageId};

use crate::config::AckMode;
use crate::core::Ticket;

/// The messages of a client, in order.
///
/// While nobody takes them the server is told nothing, stores what it could not hand over and
/// sends it again later. Dropping this makes the client one that only sends.
#[derive(Debug)]
pub struct Messages {
    incoming: mpsc::Receiver<Message>,
    mode: AckMode,
    last: Option<Arc<Receipt>>,
}

impl Messages {
    pub(crate) fn new(incoming: mpsc::Receiver<Message>, mode: AckMode) -> Self {
        Self { incoming, mode, last: None }
    }

    /// The next message; `None` when the client has ended. With [`AckMode::Auto`] this
    /// acknowledges the one before. Cancel safe.
    pub async fn recv(&mut self) -> Option<Message> {
        self.ack_last();
        let message = self.incoming.recv().await?;
        if self.mode == AckMode::Auto {
            self.last = Some(message.receipt.clone());
        }
        Some(message)
    }

    fn ack_last(&mut self) {
        if let Some(receipt) = self.last.take() {
            receipt.give();
        }
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.ack_last();
        }
    }
}

/// A received message.
#[derive(Debug)]
pub struct Message {
    /// Its number in the session that it came by.
    pub seq: u64,
    /// The sender's id of the message.
    pub id: MessageId,
    /// The sender; `None` for a message of a plain BS.
    pub from: Option<EndId>,
    /// JSON text of the body.
    pub body: Bytes,
    /// When it was accepted, by the database's clock, in Unix milliseconds.
    pub at_ms: u64,
    /// Whether a server knows of an earlier attempt.
    pub redelivered: bool,
    receipt: Arc<Receipt>,
}

impl Message {
    pub(crate) fn new(
        message: DownMessage,
        ticket: Ticket,
        processed: mpsc::Sender<Ticket>,
    ) -> Self {
        let DownMessage { seq, id, from, body, at_ms, redelivered } = message;
        let receipt = Receipt { ticket, processed, given: AtomicBool::new(false) };
        Self { seq, id, from, body, at_ms, redelivered, receipt: Arc::new(receipt) }
    }

    /// Tells that this message is processed. Messages may be acknowledged in any order; the
    /// server hears of one when all before it are processed as well. Doing it again changes
    /// nothing.
    pub fn ack(&self) {
        self.receipt.give();
    }

    /// The body as text.
    pub fn body_text(&self) -> &str {
        // A frame is UTF-8, and so is every part of it.
        std::str::from_utf8(&self.body).unwrap_or_default()
    }

    /// The body as a value.
    ///
    /// # Errors
    /// When the body is another value than this.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    /// When it was accepted, by the database's clock.
    pub fn at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_millis(self.at_ms))
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

#[derive(Debug)]
struct Receipt {
    ticket: Ticket,
    processed: mpsc::Sender<Ticket>,
    given: AtomicBool,
}

impl Receipt {
    fn give(&self) {
        if !self.given.swap(true, Ordering::Relaxed) {
            // The queue has a place for every message that is not processed, and each takes one
            // place once; it fails only when the client has ended.
            let _ = self.processed.try_send(self.ticket);
        }
    }
}

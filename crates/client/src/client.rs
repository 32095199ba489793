//! The client: a handle to send with, and its status.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use uuid::Uuid;
use wardlink_wire::terminal::{BODY_MAX_BYTES, UpSend};
use wardlink_wire::{EndId, MessageId, Outcome};

use crate::config::ClientConfig;
use crate::core::{Ended, SendOutcome, Welcome};
use crate::driver;
use crate::error::ConfigError;
use crate::messages::Messages;

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    send: UpSend,
}

impl Outgoing {
    /// A message under a random id, with the server's time to live.
    ///
    /// # Errors
    /// When the body is no JSON value or larger than 64 KiB.
    pub fn new(to: EndId, body: &(impl Serialize + ?Sized)) -> Result<Self, SendError> {
        Self::of_text(to, serde_json::to_string(body).map_err(SendError::Body)?)
    }

    /// A message whose body is given as JSON text, which travels as it is.
    ///
    /// # Errors
    /// When the text is no JSON value or larger than 64 KiB.
    pub fn from_json(to: EndId, body: &str) -> Result<Self, SendError> {
        let body: &RawValue = serde_json::from_str(body).map_err(SendError::Body)?;
        Self::of_text(to, body.get().to_owned())
    }

    fn of_text(to: EndId, body: String) -> Result<Self, SendError> {
        if body.len() > BODY_MAX_BYTES {
            return Err(SendError::TooLarge { bytes: body.len() });
        }
        let id = MessageId::from_uuid(Uuid::new_v4());
        Ok(Self { send: UpSend { id, to, body: Bytes::from(body), ttl_s: None } })
    }

    /// Another id. It must never have been used by this end within the message TTL, but for
    /// sending the same message again.
    pub fn with_id(mut self, id: MessageId) -> Self {
        self.send.id = id;
        self
    }

    /// A time to live; rounded up to seconds, at least 1, cut to the server's limit.
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        self.send.ttl_s = Some(u32::try_from(seconds).unwrap_or(u32::MAX).max(1));
        self
    }

    /// The sender's id of the message.
    pub fn id(&self) -> &MessageId {
        &self.send.id
    }
}

/// Why a message was not taken for sending.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The body is no JSON value.
    #[error("body is no JSON value")]
    Body(#[source] serde_json::Error),
    /// The body is larger than a message may be.
    #[error("body of {bytes} bytes is larger than {BODY_MAX_BYTES}")]
    TooLarge {
        /// Size of its JSON text.
        bytes: usize,
    },
    /// As many sends are open as may be.
    #[error("too many sends without a result")]
    Full,
    /// The client has ended.
    #[error("client has ended")]
    Ended,
}

/// A message on its way; the result is awaited. Dropping it does not call the message back.
#[derive(Debug)]
#[must_use = "the result of a send tells whether it arrives"]
pub struct Sending {
    id: MessageId,
    result: oneshot::Receiver<SendOutcome>,
}

impl Sending {
    /// The sender's id of the message.
    pub fn id(&self) -> &MessageId {
        &self.id
    }
}

impl Future for Sending {
    type Output = SendOutcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<SendOutcome> {
        // The other side goes away without a word only if the program's runtime does.
        Pin::new(&mut self.result)
            .poll(cx)
            .map(|result| result.unwrap_or(SendOutcome::new(Outcome::Unknown, None)))
    }
}

/// How a client stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Not connected, or not welcomed yet.
    Connecting {
        /// What went wrong last, where something did.
        problem: Option<Arc<str>>,
    },
    /// A session is registered.
    Connected {
        /// The URL of its server.
        url: Arc<str>,
        /// What the server said.
        welcome: Welcome,
    },
    /// It ended for good.
    Ended(Ended),
}

/// One send on its way to the task; its permit is its place in the bounded queue.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) result: oneshot::Sender<SendOutcome>,
    pub(crate) _permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
pub(crate) enum Command {
    Send(UpSend, Waiting),
    Close,
}

/// A terminal's side of Wardlink: sends, and keeps the connection. Clones share it.
///
/// When all clones and the [`Messages`] are dropped, the client closes its session and ends.
#[derive(Debug, Clone)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    places: Arc<Semaphore>,
    status: watch::Receiver<Status>,
}

impl Client {
    /// Starts a client; it connects by itself, now and whenever it must. Must be called within a
    /// Tokio runtime.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn connect(config: ClientConfig) -> Result<(Client, Messages), ConfigError> {
        config.check()?;
        // A place for each send, which takes its permit first, and one for closing.
        let (commands, commands_in) = mpsc::channel(config.open_sends_max + 1);
        let (status_out, status) = watch::channel(Status::Connecting { problem: None });
        let places = Arc::new(Semaphore::new(config.open_sends_max));
        let messages = driver::spawn(config, commands_in, status_out);
        Ok((Client { commands, places, status }, messages))
    }

    /// Sends a message: `client.send(to, &body).await?.await` is its result.
    ///
    /// Waits while as many sends are open as may be. Calls that follow one another are sent in
    /// their order. Cancel safe: dropped before it returns, nothing was sent.
    ///
    /// # Errors
    /// When it was not taken for sending.
    pub async fn send(
        &self,
        to: &EndId,
        body: &(impl Serialize + ?Sized),
    ) -> Result<Sending, SendError> {
        self.send_with(Outgoing::new(to.clone(), body)?).await
    }

    /// [`Client::send`] for a message with an id or a time to live of its own.
    ///
    /// # Errors
    /// When it was not taken for sending.
    pub async fn send_with(&self, message: Outgoing) -> Result<Sending, SendError> {
        let permit = self.places.clone().acquire_owned().await.map_err(|_| SendError::Ended)?;
        self.push(message, permit)
    }

    /// [`Client::send_with`] that never waits.
    ///
    /// # Errors
    /// [`SendError::Full`] where it would wait.
    pub fn try_send(&self, message: Outgoing) -> Result<Sending, SendError> {
        let permit = self.places.clone().try_acquire_owned().map_err(|_| SendError::Full)?;
        self.push(message, permit)
    }

    fn push(&self, message: Outgoing, permit: OwnedSemaphorePermit) -> Result<Sending, SendError> {
        let (result, received) = oneshot::channel();
        let id = message.send.id.clone();
        let command = Command::Send(message.send, Waiting { result, _permit: permit });
        match self.commands.try_send(command) {
            Ok(()) => Ok(Sending { id, result: received }),
            Err(mpsc::error::TrySendError::Full(_)) => Err(SendError::Full),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(SendError::Ended),
        }
    }

    /// How the client stands, now and later.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Waits until a session is registered. Cancel safe.
    ///
    /// # Errors
    /// When the client has ended.
    pub async fn connected(&self) -> Result<Welcome, Ended> {
        let mut status = self.status.clone();
        let settled = |status: &Status| !matches!(status, Status::Connecting { .. });
        match status.wait_for(settled).await.as_deref() {
            Ok(Status::Connected { welcome, .. }) => Ok(welcome.clone()),
            Ok(Status::Ended(ended)) => Err(*ended),
            // The task leaves `Ended` as its last word.
            Ok(Status::Connecting { .. }) | Err(_) => Err(Ended::Stopped),
        }
    }

    /// Writes the acknowledgements that are due, closes the session and waits for its end, 2 s at
    /// most. Sends without a result end as `unknown`, or `rejected` if they were never written.
    pub async fn close(&self) {
        // Fails only where the client has ended.
        let _ = self.commands.send(Command::Close).await;
        self.commands.closed().await;
    }
}

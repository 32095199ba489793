//! A terminal of a test: a client of the library, and what it has received.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use wardlink_client::{
    Client, ClientConfig, Connection, Message, Messages, Outgoing, SendOutcome, Sending, Status,
    Target, Welcome,
};
use wardlink_wire::terminal::Down;
use wardlink_wire::{EndId, Outcome};

use super::wait::{PATIENCE, within};

/// A client with its messages.
#[derive(Debug)]
pub struct Terminal {
    end: EndId,
    client: Client,
    messages: Messages,
}

impl Terminal {
    /// Starts a client and waits until its session is registered.
    ///
    /// # Errors
    /// Not in time.
    pub async fn connect(config: ClientConfig) -> anyhow::Result<Self> {
        let end = config.end.clone();
        let (client, messages) = Client::connect(config)?;
        within(PATIENCE, "a session of the terminal", client.connected()).await??;
        Ok(Self { end, client, messages })
    }

    /// Its end.
    pub fn end(&self) -> &EndId {
        &self.end
    }

    /// Its client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Takes it apart, so that sending and receiving can go to tasks of their own.
    pub fn into_parts(self) -> (Client, Messages) {
        (self.client, self.messages)
    }

    /// The URL of the BS that it is connected to, now or soon.
    ///
    /// # Errors
    /// None in time, or the client has ended.
    pub async fn server(&self) -> anyhow::Result<String> {
        let mut status = self.client.status();
        let settled = |status: &Status| !matches!(status, Status::Connecting { .. });
        match &*within(PATIENCE, "a session of the terminal", status.wait_for(settled)).await?? {
            Status::Connected { url, .. } => Ok(url.to_string()),
            other => bail!("{other:?}"),
        }
    }

    /// Sends; the result is awaited.
    ///
    /// # Errors
    /// The client did not take it.
    pub async fn send(&self, to: &EndId, body: &str) -> anyhow::Result<Sending> {
        Ok(self.client.send(to, body).await?)
    }

    /// Sends with a time to live and waits for the result.
    ///
    /// # Errors
    /// The client did not take it, or there was no result in time.
    pub async fn send_for(
        &self,
        to: &EndId,
        body: &str,
        ttl: Duration,
    ) -> anyhow::Result<SendOutcome> {
        let message = Outgoing::new(to.clone(), body)?.with_ttl(ttl);
        let sending = self.client.send_with(message).await?;
        within(PATIENCE, "the result of a send", sending).await
    }

    /// Sends, waits for the result, and gives the time that it took.
    ///
    /// # Errors
    /// The result is not `outcome`, or did not come in time.
    pub async fn send_and_expect(
        &self,
        to: &EndId,
        body: &str,
        outcome: Outcome,
    ) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let sending = self.send(to, body).await?;
        let result = within(PATIENCE, "the result of a send", sending).await?;
        let took = begun.elapsed();
        if result.outcome != outcome {
            bail!("{body} to {to}: {result:?} after {took:?}, expected {outcome}");
        }
        Ok(took)
    }

    /// Sends to another terminal of the test, which must get this message next and acknowledges
    /// it, and waits for `delivered`. Gives the time that it took.
    ///
    /// # Errors
    /// Another result, another message, or not in time.
    pub async fn deliver(&self, target: &mut Terminal, body: &str) -> anyhow::Result<Duration> {
        let to = target.end.clone();
        let taken = async {
            let message = target.next().await?;
            message.ack();
            anyhow::Ok(message)
        };
        let (took, message) =
            tokio::join!(self.send_and_expect(&to, body, Outcome::Delivered), taken);
        let message = message?;
        let expected = serde_json::to_string(body)?;
        ensure!(message.body_text() == expected, "{body} was due: {message:?}");
        ensure!(message.from.as_ref() == Some(&self.end), "from another end: {message:?}");
        ensure!(!message.redelivered, "nobody had it before: {message:?}");
        took
    }

    /// The next message. The one before is acknowledged by this call.
    ///
    /// # Errors
    /// None in time, or the client has ended.
    pub async fn next(&mut self) -> anyhow::Result<Message> {
        within(PATIENCE, "a message", self.messages.recv()).await?.context("the client has ended")
    }

    /// The next message, or `None` if there is none within `wait`.
    ///
    /// # Errors
    /// The client has ended.
    pub async fn next_within(&mut self, wait: Duration) -> anyhow::Result<Option<Message>> {
        match tokio::time::timeout(wait, self.messages.recv()).await {
            Ok(message) => message.context("the client has ended").map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Acknowledges what it got last and closes the session.
    pub async fn close(self) {
        drop(self.messages);
        self.client.close().await;
    }
}

/// Opens one connection without a client, and waits for its welcome.
///
/// # Errors
/// It cannot be opened, or something else comes first.
pub async fn welcomed(target: &Target) -> anyhow::Result<(Connection, Welcome)> {
    let mut connection = Connection::connect(target).await?;
    match within(PATIENCE, "a welcome", connection.next()).await?? {
        Down::Welcome { end, session, server, limits } => {
            Ok((connection, Welcome { end, session, server, limits }))
        }
        other => bail!("first came {other:?}"),
    }
}

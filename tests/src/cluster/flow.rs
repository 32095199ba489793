//! Numbered messages that flow to one end while a story does something to the servers.

use std::fmt;

use anyhow::{bail, ensure};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use wardlink_client::{Client, Message, Sending};
use wardlink_wire::{EndId, Outcome};

use super::wait::{PATIENCE, within};

/// Messages on their way from a client to one end, each with its number as its body. Those that
/// arrive are given to [`Flow::take`].
#[derive(Debug)]
pub struct Flow {
    count: usize,
    due: watch::Sender<usize>,
    marked: usize,
    sending: JoinHandle<anyhow::Result<Tally>>,
}

/// What became of a flow. It has no other results than these.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Results `delivered`.
    pub delivered: usize,
    /// Results `stored`.
    pub stored: usize,
    /// Messages that were shown marked `redelivered`.
    pub marked: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { delivered, stored, marked } = self;
        write!(f, "{delivered} delivered, {stored} stored, {marked} marked redelivered")
    }
}

impl Flow {
    /// Begins to send `count` messages, never more than `ahead` of what was taken, so that some
    /// are sent at every stage of what happens to the target.
    pub fn begin(client: Client, to: EndId, count: usize, ahead: usize) -> Self {
        let (due, taken) = watch::channel(0);
        let sending = tokio::spawn(send_all(client, to, count, ahead, taken));
        Self { count, due, marked: 0, sending }
    }

    /// The number of the message that is due; all have arrived when it is the count.
    pub fn due(&self) -> usize {
        *self.due.borrow()
    }

    /// Whether all have arrived.
    pub fn arrived(&self) -> bool {
        self.due() == self.count
    }

    /// Takes and acknowledges a message that was shown, which must be the one that is due.
    ///
    /// # Errors
    /// A repeat, a gap, or a message of somebody else.
    pub fn take(&mut self, message: &Message) -> anyhow::Result<()> {
        let due = self.due();
        let number = message.json::<usize>();
        ensure!(matches!(number, Ok(it) if it == due), "message {due} was due: {message:?}");
        message.ack();
        self.marked += usize::from(message.redelivered);
        self.due.send_replace(due + 1);
        Ok(())
    }

    /// Waits for all results.
    ///
    /// # Errors
    /// Another result than `delivered` and `stored`, or none in time.
    pub async fn finish(self) -> anyhow::Result<Tally> {
        ensure!(self.arrived(), "message {} of {} is still due", self.due(), self.count);
        Ok(Tally { marked: self.marked, ..self.sending.await?? })
    }
}

async fn send_all(
    client: Client,
    to: EndId,
    count: usize,
    ahead: usize,
    mut taken: watch::Receiver<usize>,
) -> anyhow::Result<Tally> {
    let mut open: Vec<Sending> = Vec::with_capacity(count);
    for i in 0..count {
        let what = format!("message {i} may be sent");
        within(PATIENCE, &what, taken.wait_for(|taken| i < taken + ahead)).await??;
        open.push(client.send(&to, &i).await?);
    }
    let mut tally = Tally::default();
    for (i, sending) in open.into_iter().enumerate() {
        let result = within(PATIENCE, &format!("the result of message {i}"), sending).await?;
        match result.outcome {
            Outcome::Delivered => tally.delivered += 1,
            Outcome::Stored => tally.stored += 1,
            Outcome::Rejected | Outcome::Unknown => bail!("message {i}: {result:?}"),
        }
    }
    Ok(tally)
}

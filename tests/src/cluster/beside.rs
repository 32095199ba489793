//! Two ordinary terminals beside what a test does to the servers: they must notice nothing.

use std::time::Duration;

use anyhow::{Context, ensure};
use wardlink_wire::Outcome;

use super::terminal::Terminal;
use super::wait::within;

/// A message between ordinary terminals takes no longer, whatever happens beside them.
const WAIT: Duration = Duration::from_secs(3);

/// Two ordinary terminals whose sessions are to last.
#[derive(Debug)]
pub struct Beside {
    from: Terminal,
    to: Terminal,
    sessions: [String; 2],
    beats: usize,
}

impl Beside {
    /// Two terminals that are connected.
    ///
    /// # Errors
    /// One has no session.
    pub async fn new(from: Terminal, to: Terminal) -> anyhow::Result<Self> {
        let sessions = [session(&from).await?, session(&to).await?];
        Ok(Self { from, to, sessions, beats: 0 })
    }

    /// A message goes from one to the other and is acknowledged, in the sessions of the beginning.
    ///
    /// # Errors
    /// Anything else.
    pub async fn unharmed(&mut self, after: &str) -> anyhow::Result<()> {
        self.beats += 1;
        let body = format!("\"beat {}\"", self.beats);
        let sending = self.from.send(&self.to.end().clone(), body.trim_matches('"')).await?;
        let message = within(WAIT, "a message", self.to.next()).await;
        let message =
            message.and_then(|message| message).with_context(|| format!("after {after}"))?;
        ensure!(message.body_text() == body, "{} came in place of {body}", message.body_text());
        message.ack();
        let result = within(WAIT, "a result", sending).await?;
        ensure!(result.outcome == Outcome::Delivered, "after {after}: {result:?}");
        let sessions = [session(&self.from).await?, session(&self.to).await?];
        ensure!(sessions == self.sessions, "after {after}: an ordinary terminal lost its session");
        Ok(())
    }
}

async fn session(terminal: &Terminal) -> anyhow::Result<String> {
    let connected = within(WAIT, "a session", terminal.client().connected()).await??;
    Ok(connected.session.to_string())
}

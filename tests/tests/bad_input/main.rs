//! Bad input: what is sent, what comes back, and that an ordinary terminal beside it notices
//! nothing. Tables: each row is one input. The peers are made of bytes ([`raw`]).

mod frames;
mod links;
mod ports;
mod raw;
mod terminals;

use std::time::Duration;

use anyhow::{Context, ensure};
use wardlink_tests::cluster::{Cluster, Plan, Store, Terminal, within};
use wardlink_wire::Outcome;

/// A message between ordinary terminals takes no longer, whatever happens beside them.
const BESIDE: Duration = Duration::from_secs(3);

/// A cluster, and two ordinary terminals whose sessions last from its beginning to its end.
struct Ward {
    cluster: Cluster,
    nurse: Terminal,
    pump: Terminal,
    sessions: [String; 2],
    beats: usize,
}

impl Ward {
    async fn open() -> anyhow::Result<Self> {
        let cluster = Cluster::build(Store::Embedded, Plan { bs: 2, ..Plan::default() }).await?;
        let nurse = cluster.terminal_at(0, "H1-A2-nurse").await?;
        let pump = cluster.terminal_at(1, "H1-A2-pump").await?;
        let sessions = [session(&nurse).await?, session(&pump).await?];
        Ok(Self { cluster, nurse, pump, sessions, beats: 0 })
    }

    /// A message goes from one to the other and is acknowledged, in the sessions of the beginning.
    async fn unharmed(&mut self, after: &str) -> anyhow::Result<()> {
        self.beats += 1;
        let body = format!("\"beat {}\"", self.beats);
        let sending = self.nurse.send(&self.pump.end().clone(), body.trim_matches('"')).await?;
        let message = within(BESIDE, "a message", self.pump.next()).await;
        let message =
            message.and_then(|message| message).with_context(|| format!("after {after}"))?;
        ensure!(message.body_text() == body, "{} came in place of {body}", message.body_text());
        message.ack();
        let result = within(BESIDE, "a result", sending).await?;
        ensure!(result.outcome == Outcome::Delivered, "after {after}: {result:?}");
        let sessions = [session(&self.nurse).await?, session(&self.pump).await?];
        ensure!(sessions == self.sessions, "after {after}: an ordinary terminal lost its session");
        Ok(())
    }

    async fn close(self) -> anyhow::Result<()> {
        self.cluster.end().await
    }
}

async fn session(terminal: &Terminal) -> anyhow::Result<String> {
    Ok(terminal.client().connected().await?.session.to_string())
}

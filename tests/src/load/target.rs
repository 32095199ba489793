//! The receiving side of a stream: a client of the library, or a bare connection that shows what
//! each session sees.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use uuid::Uuid;
use wardlink_client::{Client, ClientConfig, Closed, Connection, Identity, Status, Target};
use wardlink_wire::terminal::{Down, Up};
use wardlink_wire::{ClientId, CloseCode, SessionId};

use super::Phase;
use super::record::Stream;

/// Longer than any story.
const FOREVER: Duration = Duration::from_secs(3_600);
/// Milliseconds that a wandering target stays, and is away, at most.
const WANDER_MS: u64 = 2_000;
/// Milliseconds that a slow target takes for an acknowledgement, at most.
const SLOW_MS: u64 = 300;
/// Milliseconds before a bare connection is made again, at most.
const AGAIN_MS: u64 = 300;

/// Takes messages by the library until the load ends.
pub(super) async fn client(
    stream: Arc<Stream>,
    config: ClientConfig,
    mut phase: watch::Receiver<Phase>,
) -> anyhow::Result<()> {
    let (client, mut messages) = Client::connect(config)?;
    let mut status = client.status();
    loop {
        tokio::select! {
            changed = status.changed() => {
                changed.context("the target's client is gone")?;
                if let Status::Connected { url, .. } = &*status.borrow_and_update() {
                    let mut record = stream.record();
                    record.target_at = Some(url.to_string());
                    record.target_sessions += 1;
                }
            }
            message = messages.recv() => {
                let message = message.context("the target's client is gone")?;
                stream.arrived(message.body_text(), None, message.seq, message.redelivered);
            }
            _ = phase.wait_for(|phase| *phase == Phase::Ended) => break,
        }
    }
    drop(messages);
    client.close().await;
    Ok(())
}

/// A terminal of its own making: it acknowledges what it was shown, at once or, every other one,
/// after a while, and connects again.
#[derive(Debug)]
pub(super) struct Raw {
    stream: Arc<Stream>,
    urls: Vec<String>,
    phase: watch::Receiver<Phase>,
    identity: Identity,
    client: ClientId,
    n: u64,
    rng: SmallRng,
}

impl Raw {
    pub(super) fn new(
        stream: Arc<Stream>,
        urls: Vec<String>,
        identity: Identity,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        let rng = SmallRng::seed_from_u64(stream.index as u64);
        let client = ClientId::from_uuid(Uuid::new_v4());
        Self { stream, urls, phase, identity, client, n: 0, rng }
    }

    /// Takes messages until the load ends. One that wanders leaves and comes back, while the load
    /// runs.
    pub(super) async fn run(mut self, wanders: bool) -> anyhow::Result<()> {
        let mut phase = self.phase.clone();
        tokio::select! {
            result = self.connections(wanders) => result,
            _ = phase.wait_for(|phase| *phase == Phase::Ended) => Ok(()),
        }
    }

    async fn connections(&mut self, wanders: bool) -> anyhow::Result<()> {
        loop {
            let url = self.urls[self.n as usize % self.urls.len()].clone();
            self.n += 1;
            let mut target = Target::new(url, self.stream.to.clone());
            target.identity = self.identity.clone();
            target.client = Some((self.client.clone(), self.n));
            if let Ok(connection) = Connection::connect(&target).await {
                self.stream.record().target_at = Some(target.url);
                let running = *self.phase.borrow() == Phase::Running;
                let stay = (wanders && running).then(|| self.random(WANDER_MS));
                if self.session(connection, stay).await {
                    // Nobody is to take what is away for its absence.
                    let mut phase = self.phase.clone();
                    let away = self.random(WANDER_MS);
                    let drains = phase.wait_for(|phase| *phase != Phase::Running);
                    // Either is a reason to come back.
                    let _ = timeout(away, drains).await;
                    continue;
                }
            }
            sleep(self.random(AGAIN_MS)).await;
        }
    }

    fn random(&mut self, max_ms: u64) -> Duration {
        Duration::from_millis(self.rng.random_range(20..max_ms))
    }

    /// One session. True: it was left by its own will, after `stay`.
    async fn session(&mut self, connection: Connection, stay: Option<Duration>) -> bool {
        let leave = Instant::now() + stay.unwrap_or(FOREVER);
        let mut at = Session { connection, id: None, owed: None, ack_at: leave, leave };
        let closed = loop {
            let result = tokio::select! {
                down = at.connection.next() => match down {
                    Ok(down) => self.down(down, &mut at).await,
                    Err(closed) => Err(closed),
                },
                () = sleep_until(at.ack_at), if at.owed.is_some() => at.ack().await,
                () = sleep_until(at.leave) => {
                    // Politely or not, and perhaps without a last acknowledgement.
                    if self.rng.random_bool(0.5) {
                        at.connection.close().await;
                    }
                    return at.leave == leave;
                }
            };
            if let Err(closed) = result {
                break closed;
            }
        };
        if closed.close_code() == Some(CloseCode::Replaced) {
            let what = format!("its newest session {:?} was replaced", at.id);
            self.stream.record().wrong.push(what);
        }
        false
    }

    async fn down(&mut self, down: Down, at: &mut Session) -> Result<(), Closed> {
        match down {
            Down::Welcome { session, .. } => {
                at.id = Some(session);
                Ok(())
            }
            Down::Message(message) => {
                let body = std::str::from_utf8(&message.body).unwrap_or_default();
                if at.id.is_none() {
                    let what = format!("was shown {body} before its welcome");
                    self.stream.record().wrong.push(what);
                }
                self.stream.arrived(body, at.id, message.seq, message.redelivered);
                let owed_before = at.owed.replace(message.seq).is_some();
                if self.stream.index % 4 != 1 {
                    return at.ack().await;
                }
                if !owed_before {
                    at.ack_at = Instant::now() + self.random(SLOW_MS);
                }
                Ok(())
            }
            // The server goes away, and says when to come back.
            Down::Reconnect { after_ms } => {
                let asked = Instant::now() + Duration::from_millis(after_ms.into());
                at.leave = at.leave.min(asked);
                Ok(())
            }
            other => {
                self.stream.record().wrong.push(format!("was told {other:?}"));
                Ok(())
            }
        }
    }
}

/// One session of a bare connection.
#[derive(Debug)]
struct Session {
    connection: Connection,
    id: Option<SessionId>,
    /// The last message that was shown and is not acknowledged, and when that is to be done.
    owed: Option<u64>,
    ack_at: Instant,
    /// When it is left.
    leave: Instant,
}

impl Session {
    async fn ack(&mut self) -> Result<(), Closed> {
        match self.owed.take() {
            Some(seq) => self.connection.send(&Up::Ack { seq }).await,
            None => Ok(()),
        }
    }
}

//! An open link's right to be there: its token is reviewed again and again, a fresh one takes its
//! place, and the link ends with it.
//!
//! A review that cannot be made ends nothing before the token expires: an API server that is away
//! takes no links with it at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use wardlink_wire::link::LinkToken;
use wardlink_wire::{CloseCode, ServerId};

use super::CHECK;
use super::line::Whose;
use super::memory::Proven;
use super::pods::{Pods, Verdict};

/// Between two reviews for one link at least, whatever it shows: 4,096 links cause 820 a second
/// at the most, of which four are made at a time.
const BETWEEN: Duration = Duration::from_secs(5);

/// A link's right to be there.
#[derive(Debug)]
pub(in crate::app) struct Standing {
    pods: Arc<Pods>,
    token: LinkToken,
    proven: Proven,
}

impl Standing {
    pub(super) fn new(pods: Arc<Pods>, token: LinkToken, proven: Proven) -> Self {
        Self { pods, token, proven }
    }

    /// Whose the link is.
    pub(in crate::app) fn server(&self) -> ServerId {
        self.proven.server
    }

    /// Watches over the link until it is to be closed, and says with which code. `fresh` is what
    /// it showed last.
    pub(in crate::app) async fn keep(
        mut self,
        mut fresh: watch::Receiver<Option<LinkToken>>,
    ) -> CloseCode {
        // A yes that was remembered has used up a part of its time.
        let now = Instant::now();
        let left = (self.proven.reviewed + self.pods.every()).saturating_duration_since(now);
        let mut due = self.due(now, left);
        let mut earliest = Instant::now();
        // The link's reader has its end as long as the link is open.
        let mut shows = true;
        // What it showed and could not be reviewed yet.
        let mut pending: Option<LinkToken> = None;
        loop {
            tokio::select! {
                changed = fresh.changed(), if shows => match changed {
                    Ok(()) => {
                        pending.clone_from(&fresh.borrow_and_update());
                        continue;
                    }
                    Err(_) => shows = false,
                },
                () = sleep_until(earliest), if pending.is_some() => {}
                () = sleep_until(due) => {}
            }
            if let Some(token) = pending.take() {
                match self.take_up(token).await {
                    Ok(again) => pending = again,
                    Err(code) => return code,
                }
            }
            let now = Instant::now();
            if now >= due {
                match self.look_again().await {
                    Ok(after) => due = self.due(Instant::now(), after),
                    Err(code) => return code,
                }
            } else {
                due = self.due(now, due - now);
            }
            earliest = Instant::now() + BETWEEN;
        }
    }

    /// When the token is reviewed again: `after`, or when it expires; where that is over, it is
    /// the API server's clock that counts, and it is asked again soon.
    fn due(&self, now: Instant, after: Duration) -> Instant {
        match self.proven.expires {
            Some(expires) if expires > now => expires.min(now + after),
            Some(_) => now + after.min(BETWEEN),
            None => now + after,
        }
    }

    /// Whether the token that the link has still counts, and after how long to ask again.
    async fn look_again(&mut self) -> Result<Duration, CloseCode> {
        let expired = |now| self.proven.expires.is_some_and(|expires| expires <= now);
        match self.check(&self.token).await {
            Verdict::Is(proven) if proven.server == self.proven.server => Ok(self.pods.every()),
            Verdict::Unchecked if !expired(Instant::now()) => Ok(BETWEEN),
            Verdict::Is(_) => Err(CloseCode::BadIdentity),
            Verdict::Not(_) | Verdict::Unchecked if expired(Instant::now()) => {
                Err(CloseCode::IdentityExpired)
            }
            Verdict::Not(_) | Verdict::Unchecked => Err(CloseCode::BadIdentity),
        }
    }

    async fn check(&self, token: &LinkToken) -> Verdict {
        timeout(CHECK, self.pods.check(token, Whose::Open)).await.unwrap_or(Verdict::Unchecked)
    }

    /// Takes up a fresh token, if it is one. What could not be reviewed is tried again.
    async fn take_up(&mut self, token: LinkToken) -> Result<Option<LinkToken>, CloseCode> {
        match self.check(&token).await {
            Verdict::Is(proven) if proven.server == self.proven.server => {
                (self.token, self.proven) = (token, proven);
                tracing::debug!(server = %proven.server, "link has a fresh token");
                Ok(None)
            }
            Verdict::Is(_) => Err(CloseCode::BadIdentity),
            Verdict::Not(refused) => {
                let (server, error) = (self.proven.server, refused.text());
                tracing::warn!(%server, error, "fresh token of a link is passed over");
                self.pods.metrics().passed_over.inc();
                Ok(None)
            }
            Verdict::Unchecked => Ok(Some(token)),
        }
    }
}

#[cfg(test)]
#[path = "standing_tests.rs"]
mod tests;

//! The session of the moment: since when it is open, when it is to be left, and its token. Pure.

use std::time::Duration;

use wardlink_wire::terminal::Token;

use super::event::{Credential, Held};
use super::renewal::Renewal;

/// Time from an open connection to its `welcome`. A server says it within 3 s. One that waits for
/// a token in the first frame closes after 10 s and says so; it must be heard first.
pub(super) const WELCOME_WAIT: Duration = Duration::from_secs(15);
/// A session that lasted this long makes the next delay short again.
pub(super) const STEADY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Session {
    since: Duration,
    pub(super) welcomed: bool,
    /// When the server wants this session to move.
    pub(super) leave_at: Option<Duration>,
    renewal: Option<Renewal>,
    /// A token that the server does not know yet.
    token: Option<Token>,
}

impl Session {
    pub(super) fn new(held: Option<&Held>, credential: Credential, now: Duration) -> Self {
        Self {
            since: now,
            welcomed: false,
            leave_at: None,
            renewal: held.and_then(|held| Renewal::new(held, credential, now)),
            token: None,
        }
    }

    pub(super) fn is_steady(&self, now: Duration) -> bool {
        self.welcomed && now.saturating_sub(self.since) >= STEADY
    }

    /// Whether it is to be left by itself now.
    pub(super) fn is_over(&self, now: Duration) -> bool {
        self.leave_due().is_some_and(|due| due <= now)
    }

    /// Whether a token is to be asked for now; it counts as asked for then.
    pub(super) fn asks(&mut self, now: Duration) -> bool {
        let Some(renewal) = &mut self.renewal else { return false };
        let asks = renewal.due().is_some_and(|due| due <= now);
        if asks {
            renewal.ask();
        }
        asks
    }

    /// What was found when it was asked for.
    pub(super) fn renewed(&mut self, held: Option<Held>, now: Duration) {
        if let Some(renewal) = &mut self.renewal
            && let Some(token) = renewal.answer(held, now)
        {
            self.token = Some(token);
        }
    }

    /// The token that the server is to be told.
    pub(super) fn take_token(&mut self) -> Option<Token> {
        self.token.take()
    }

    /// When there is something to do for it.
    pub(super) fn due(&self) -> Option<Duration> {
        let renewal = self.renewal.as_ref().and_then(Renewal::due);
        [self.leave_due(), renewal].into_iter().flatten().min()
    }

    fn leave_due(&self) -> Option<Duration> {
        let welcome = (!self.welcomed).then_some(self.since + WELCOME_WAIT);
        [welcome, self.leave_at].into_iter().flatten().min()
    }
}

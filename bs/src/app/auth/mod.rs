//! How terminals and other systems prove who they are.
//!
//! Owns the rule (development or tokens) and the keys as they are now; `source` brings the keys
//! and brings them again. Tokens themselves are [`wardlink_identity`]'s.

mod source;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use wardlink_identity::{Identity, KeyPrint, Rules, TokenError, Verifier};
use wardlink_wire::EndId;

pub(super) use self::source::keep;
pub use self::source::{BadUrl, KeyUrl, Source, read_file};

/// How long who shows a token of an unknown key waits for the keys to be read again.
const READ_WAIT: Duration = Duration::from_secs(3);
/// The longest that a timer is set for; who is still there then is looked at again.
const FAR: Duration = Duration::from_secs(365 * 24 * 3_600);

/// How this server finds out who somebody is.
#[derive(Debug)]
pub(super) enum Auth {
    /// Everybody is believed.
    Development,
    /// By tokens.
    Jwt(Arc<KeyRing>),
}

/// Why a token does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unproven {
    /// No keys have been read yet.
    NoKeys,
    /// The token's fault.
    Token(TokenError),
}

impl From<TokenError> for Unproven {
    fn from(error: TokenError) -> Self {
        Self::Token(error)
    }
}

/// What a session keeps of its token: not the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Proof {
    /// When it counts no more.
    pub(super) expires: Instant,
    /// The key that made it.
    pub(super) key: KeyPrint,
}

/// Somebody whose identity is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    /// The end.
    pub(super) end: EndId,
    /// By what; `None` in development mode.
    pub(super) proof: Option<Proof>,
}

/// The keys as they are now, shared by all who verify.
#[derive(Debug)]
pub(super) struct KeyRing {
    rules: Rules,
    verifier: watch::Sender<Option<Verifier>>,
    reads: Reads,
}

impl KeyRing {
    /// Without keys yet. Keys are not read twice within `gap`, however many ask.
    pub(super) fn new(rules: Rules, gap: Duration) -> Self {
        Self { rules, verifier: watch::Sender::new(None), reads: Reads::new(gap) }
    }

    /// Who the holder of `token` is. Where its key is unknown, the keys are read again first, and
    /// this takes up to 3 s. Cancel safe.
    ///
    /// # Errors
    /// Why it does not count.
    pub(super) async fn verify(&self, token: &str) -> Result<(Identity, Proof), Unproven> {
        let result = self.verify_now(token);
        let unknown = matches!(
            result,
            Err(Unproven::NoKeys | Unproven::Token(TokenError::UnknownKid | TokenError::Signature))
        );
        let mut done = self.reads.done.subscribe();
        if !unknown {
            return result;
        }
        if !self.reads.ask() {
            // They may have been read since it was verified.
            return self.verify_now(token);
        }
        // Without an answer the keys are as they were.
        let _ = timeout(READ_WAIT, done.changed()).await;
        self.verify_now(token)
    }

    fn verify_now(&self, token: &str) -> Result<(Identity, Proof), Unproven> {
        let verifier = self.verifier.borrow().clone().ok_or(Unproven::NoKeys)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (identity, key) = verifier.verify_by(token, now.as_secs())?;
        let left = Duration::from_secs(identity.expires_at).saturating_sub(now).min(FAR);
        Ok((identity, Proof { expires: Instant::now() + left, key }))
    }

    /// Whether the key that made a token is still one of the keys.
    pub(super) fn has(&self, key: KeyPrint) -> bool {
        self.verifier.borrow().as_ref().is_some_and(|verifier| verifier.has(key))
    }

    /// Says when the keys have changed.
    pub(super) fn changes(&self) -> KeyChanges {
        KeyChanges(self.verifier.subscribe())
    }
}

/// Says when keys have changed since it was asked last.
#[derive(Debug)]
pub(super) struct KeyChanges(watch::Receiver<Option<Verifier>>);

impl KeyChanges {
    /// Ends when keys have changed. Cancel safe.
    pub(super) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // The keys are gone only at the end of the process.
            std::future::pending::<()>().await;
        }
    }
}

/// When keys are read, and by whose wish.
#[derive(Debug)]
struct Reads {
    gap: Duration,
    state: Mutex<ReadState>,
    wanted: Notify,
    /// Counts the reads that have ended.
    done: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct ReadState {
    begun: Option<Instant>,
    running: bool,
}

impl Reads {
    fn new(gap: Duration) -> Self {
        Self { gap, state: Mutex::default(), wanted: Notify::new(), done: watch::Sender::new(0) }
    }

    fn with<T>(&self, f: impl FnOnce(&mut ReadState) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks for the keys to be read again; whether that is worth waiting for.
    fn ask(&self) -> bool {
        let worth = self.with(|state| {
            state.running || state.begun.is_none_or(|begun| begun.elapsed() >= self.gap)
        });
        if worth {
            self.wanted.notify_one();
        }
        worth
    }

    fn begin(&self) {
        self.with(|state| *state = ReadState { begun: Some(Instant::now()), running: true });
    }

    fn end(&self) {
        self.with(|state| state.running = false);
        self.done.send_modify(|done| *done += 1);
    }

    /// Ends when somebody has asked since the last read has begun. Cancel safe.
    async fn wanted(&self) {
        loop {
            self.wanted.notified().await;
            // Who asked while it was read already has the answer.
            if self.with(|state| state.begun.is_none_or(|begun| begun.elapsed() >= self.gap)) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keys_are_not_read_more_often_than_the_gap_allows() {
        let gap = Duration::from_millis(200);
        let reads = Reads::new(gap);
        assert!(reads.ask(), "nothing was read yet");
        let begun = Instant::now();
        reads.begin();
        assert!(reads.ask(), "who asks meanwhile waits for it");
        reads.end();
        // Both asked before it was done.
        assert!(timeout(gap / 2, reads.wanted()).await.is_err());
        if begun.elapsed() < gap {
            assert!(!reads.ask());
        }
        tokio::time::sleep_until(begun + gap).await;
        assert!(reads.ask());
        timeout(Duration::from_secs(10), reads.wanted()).await.expect("it is wanted");
    }

    #[tokio::test]
    async fn without_keys_nobody_is_let_in() {
        let ring = KeyRing::new(Rules::default(), Duration::from_secs(10));
        ring.reads.begin();
        ring.reads.end();
        assert_eq!(ring.verify("a.b.c").await, Err(Unproven::NoKeys));
    }
}

//! On what a session stands: its token, until that expires or its key is taken away.

use std::time::Duration;

use tokio::time::Instant;
use wardlink_wire::{CloseCode, EndId, SessionId};

use crate::app::auth::{Auth, Holder, KeyChanges, KeyRing, Proof, Unproven};
use crate::app::front::Front;

/// Sessions whose key was taken away leave within this, spread evenly: 100,000 of them are 50 in
/// a millisecond.
const SPREAD: Duration = Duration::from_secs(2);

/// What a session stands on.
#[derive(Debug)]
pub(super) struct Standing {
    /// `None` in development mode: nothing ends it.
    proven: Option<Proven>,
}

#[derive(Debug)]
struct Proven {
    end: EndId,
    proof: Proof,
    /// When it is over, if nothing happens, and how it is closed then.
    due: (Instant, CloseCode),
    changes: KeyChanges,
}

impl Standing {
    /// The standing of a session that begins.
    pub(super) fn new(holder: Holder, auth: &Auth, session: SessionId) -> Self {
        let proven = match (holder.proof, auth) {
            (Some(proof), Auth::Jwt(keys)) => Some(Proven {
                end: holder.end,
                proof,
                due: (proof.expires, CloseCode::IdentityExpired),
                changes: keys.changes(),
            }),
            _ => None,
        };
        let mut standing = Self { proven };
        // The keys may have changed since it was verified.
        standing.look(auth, session);
        standing
    }

    /// When the session is over, if nothing happens, and how it is closed then.
    pub(super) fn due(&self) -> Option<(Instant, CloseCode)> {
        self.proven.as_ref().map(|proven| proven.due)
    }

    /// Ends when the keys have changed; [`Standing::look`] is next. Cancel safe.
    pub(super) async fn keys_changed(&mut self) {
        match &mut self.proven {
            Some(proven) => proven.changes.changed().await,
            None => std::future::pending().await,
        }
    }

    /// Whether the key of its token is still there; if not, the session leaves soon.
    pub(super) fn look(&mut self, auth: &Auth, session: SessionId) {
        let (Some(proven), Auth::Jwt(keys)) = (&mut self.proven, auth) else { return };
        proven.due = due(proven.proof, keys, session);
    }

    /// Another token for the same end takes the place of the one before. `None`: it does.
    /// Otherwise what is wrong with it, and all stays as it was.
    pub(super) async fn refresh(
        &mut self,
        token: &str,
        front: &Front,
        session: SessionId,
    ) -> Option<String> {
        let (Some(proven), Auth::Jwt(keys)) = (&mut self.proven, &front.auth) else { return None };
        match keys.verify(token).await {
            Ok((identity, _)) if identity.end != proven.end => {
                Some("token is another end's".to_owned())
            }
            Ok((_, proof)) => {
                proven.proof = proof;
                proven.due = due(proof, keys, session);
                None
            }
            Err(Unproven::Token(error)) => {
                front.metrics.front.token_refused(&error);
                Some(error.to_string())
            }
            Err(Unproven::NoKeys) => Some("there are no keys to verify it by".to_owned()),
        }
    }
}

fn due(proof: Proof, keys: &KeyRing, session: SessionId) -> (Instant, CloseCode) {
    let expiry = (proof.expires, CloseCode::IdentityExpired);
    if keys.has(proof.key) {
        return expiry;
    }
    // The session's id is random.
    let share = session.0.as_u128() % SPREAD.as_millis();
    let leave = Instant::now() + Duration::from_millis(u64::try_from(share).unwrap_or_default());
    if leave < proof.expires { (leave, CloseCode::KeyWithdrawn) } else { expiry }
}

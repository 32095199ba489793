//! Who may open a link: what a BS shows, and who it is by that.
//!
//! Owns the decision and its bound on time. Where what is shown travels is `handshake`'s.

use std::time::Duration;

use tokio::time::timeout;
use wardlink_link::SecretFile;
use wardlink_service::stop::Stop;
use wardlink_tls::watch;
use wardlink_wire::ServerId;

/// A check that takes longer is given up. Within the handshake's deadline, so that it is answered.
const CHECK: Duration = Duration::from_secs(3);
/// How often the secrets are read again. A BS that shows the next one too early tries again within
/// a second.
const POLL: Duration = Duration::from_secs(1);

/// How BSs show that they belong to this cluster.
#[derive(Debug, Clone)]
pub enum LinkIdentity {
    /// They do not. Only where nobody else can connect.
    Open,
    /// By a secret that all servers of the cluster share.
    Secret(SecretFile),
}

/// Why a link is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// Nothing was shown.
    Nothing,
    /// What was shown is not right.
    Wrong,
    /// It could not be checked in time.
    Unchecked,
}

impl LinkIdentity {
    /// Decides by what stands behind `Authorization: Bearer`. With a server id, the link is that
    /// BS's whatever its hello says. Ends within 3 s. Cancel safe.
    pub(super) async fn check(&self, shown: Option<&[u8]>) -> Result<Option<ServerId>, Unknown> {
        timeout(CHECK, self.decide(shown)).await.unwrap_or(Err(Unknown::Unchecked))
    }

    async fn decide(&self, shown: Option<&[u8]>) -> Result<Option<ServerId>, Unknown> {
        match (self, shown) {
            (Self::Open, _) => Ok(None),
            (Self::Secret(_), None) => Err(Unknown::Nothing),
            (Self::Secret(secrets), Some(shown)) if secrets.admit(shown) => Ok(None),
            (Self::Secret(_), Some(_)) => Err(Unknown::Wrong),
        }
    }

    /// Reads again what changes, until the stop signal.
    pub(super) async fn follow(self, stop: Stop) {
        match self {
            Self::Open => stop.stopped().await,
            Self::Secret(file) => watch("link secrets", file, POLL, stop.stopped()).await,
        }
    }
}

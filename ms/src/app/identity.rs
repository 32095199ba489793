//! Who may open a link: what a BS shows, and who it is by that.
//!
//! Owns the decision and its bound on time. Where what is shown travels is `handshake`'s. In
//! Kubernetes it is the token of a pod: `rules` says which ones count, `api_server` has one
//! reviewed, `line` bounds how many are, `memory` is what was found lately, `pods` all of it
//! together, and `standing` watches over the links that are open.

mod api_server;
mod line;
mod memory;
mod pods;
mod rules;
mod standing;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use wardlink_link::SecretFile;
use wardlink_service::stop::Stop;
use wardlink_tls::watch;
use wardlink_wire::link::LinkToken;

use self::api_server::ApiServer;
use self::line::Whose;
use self::pods::{Pods, Verdict};
pub(super) use self::rules::Refused;
pub use self::rules::{Account, PodRules, parse_audience};
pub(super) use self::standing::Standing;
use super::metrics::Metrics;

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
    /// By the token of their pod, which an API server of Kubernetes reviews.
    Pods {
        /// Which ones they are.
        rules: PodRules,
        /// Between two reviews of an open link's token, and how long a yes counts: at most 60 s.
        every: Duration,
    },
}

/// Who decides, ready to be asked.
#[derive(Debug, Clone)]
pub(super) enum Doorkeeper {
    Open,
    Secret(SecretFile),
    Pods(Arc<Pods>),
}

/// Why a link is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// Nothing was shown.
    Nothing,
    /// The secret is not right.
    WrongSecret,
    /// The token is not right.
    WrongToken(Refused),
    /// It could not be checked in time.
    Unchecked,
}

impl LinkIdentity {
    /// Makes it ready to decide.
    ///
    /// # Errors
    /// There is no API server to ask.
    pub(super) async fn open(self, metrics: Arc<Metrics>) -> anyhow::Result<Doorkeeper> {
        Ok(match self {
            Self::Open => Doorkeeper::Open,
            Self::Secret(file) => Doorkeeper::Secret(file),
            Self::Pods { rules, every } => {
                let reviewer = Arc::new(ApiServer::open().await?);
                Doorkeeper::Pods(Pods::new(rules, every, reviewer, metrics))
            }
        })
    }
}

impl Doorkeeper {
    /// Decides by what stands behind `Authorization: Bearer`, shown by somebody at `from`. With a
    /// standing, the link is that BS's whatever its hello says. Ends within 3 s. Cancel safe.
    pub(super) async fn check(
        &self,
        shown: Option<&[u8]>,
        from: IpAddr,
    ) -> Result<Option<Standing>, Unknown> {
        timeout(CHECK, self.decide(shown, from)).await.unwrap_or(Err(Unknown::Unchecked))
    }

    async fn decide(
        &self,
        shown: Option<&[u8]>,
        from: IpAddr,
    ) -> Result<Option<Standing>, Unknown> {
        match (self, shown) {
            (Self::Open, _) => Ok(None),
            (_, None) => Err(Unknown::Nothing),
            (Self::Secret(secrets), Some(shown)) if secrets.admit(shown) => Ok(None),
            (Self::Secret(_), Some(_)) => Err(Unknown::WrongSecret),
            (Self::Pods(pods), Some(shown)) => {
                let text = std::str::from_utf8(shown).ok();
                let token: Option<LinkToken> = text.and_then(|text| text.parse().ok());
                let token = token.ok_or(Unknown::WrongToken(Refused::Shape))?;
                match pods.check(&token, Whose::New(from)).await {
                    Verdict::Is(proven) => Ok(Some(Standing::new(pods.clone(), token, proven))),
                    Verdict::Not(refused) => Err(Unknown::WrongToken(refused)),
                    Verdict::Unchecked => Err(Unknown::Unchecked),
                }
            }
        }
    }

    /// Reads again what changes, until the stop signal.
    pub(super) async fn follow(self, stop: Stop) {
        match self {
            Self::Open | Self::Pods(_) => stop.stopped().await,
            Self::Secret(file) => watch("link secrets", file, POLL, stop.stopped()).await,
        }
    }
}

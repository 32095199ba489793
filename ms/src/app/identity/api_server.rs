//! The API server of Kubernetes. The only module that names its client.

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client, Config, Error};
use wardlink_tls::line;
use wardlink_wire::link::LinkToken;

use super::rules::Review;

/// A connection that takes longer is given up: a review has 2.5 s in all.
const CONNECT: Duration = Duration::from_secs(2);
/// Where the API server puts the pod that a token is bound to.
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// Why a review was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreviewed {
    /// No answer came.
    #[error("API server cannot be reached: {0}")]
    Unreachable(String),
    /// This server may not ask.
    #[error("API server lets this server review no tokens: {0}")]
    Forbidden(String),
    /// It is to ask later.
    #[error("API server is busy: {0}")]
    Busy(String),
    /// It could not, or its answer is none.
    #[error("API server did not review: {0}")]
    Failed(String),
}

/// Who reviews tokens.
#[async_trait]
pub(super) trait Reviewer: Send + Sync + fmt::Debug {
    /// Has one token reviewed for one audience. Takes as long as it takes: the caller bounds it.
    /// Cancel safe.
    async fn review(&self, token: &LinkToken, audience: &str) -> Result<Review, Unreviewed>;
}

/// An API server.
pub(super) struct ApiServer(Api<TokenReview>);

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiServer")
    }
}

impl ApiServer {
    /// The one of the kubeconfig file that `KUBECONFIG` names, else of the pod that this is, whose
    /// token and authority are read again as they change. Nothing is sent yet.
    ///
    /// # Errors
    /// There is neither.
    pub(super) async fn open() -> anyhow::Result<Self> {
        let mut config = Config::infer().await.context(
            "link-auth kubernetes needs an API server: a pod with a service account, or KUBECONFIG",
        )?;
        config.connect_timeout = Some(CONNECT);
        // Who asks has deadlines, and asks again.
        config.default_retry = false;
        let client = Client::try_from(config).context("client of the API server")?;
        Ok(Self(Api::all(client)))
    }
}

#[async_trait]
impl Reviewer for ApiServer {
    async fn review(&self, token: &LinkToken, audience: &str) -> Result<Review, Unreviewed> {
        let spec = TokenReviewSpec {
            token: Some(token.expose().to_owned()),
            audiences: Some(vec![audience.to_owned()]),
        };
        let review = TokenReview { spec, ..TokenReview::default() };
        let reviewed = self.0.create(&PostParams::default(), &review).await.map_err(unreviewed)?;
        let status = reviewed.status.ok_or_else(|| Unreviewed::Failed("no status".to_owned()))?;
        let user = status.user.unwrap_or_default();
        let pod_uids = user.extra.and_then(|mut extra| extra.remove(POD_UID));
        Ok(Review {
            authenticated: status.authenticated.unwrap_or(false),
            audiences: status.audiences.unwrap_or_default(),
            username: user.username.unwrap_or_default(),
            pod_uids: pod_uids.unwrap_or_default(),
        })
    }
}

fn unreviewed(error: Error) -> Unreviewed {
    match error {
        Error::Api(status) => {
            let text = format!("{} {}", status.code, status.message);
            match status.code {
                401 | 403 => Unreviewed::Forbidden(text),
                429 => Unreviewed::Busy(text),
                _ => Unreviewed::Failed(text),
            }
        }
        Error::SerdeError(_) | Error::FromUtf8(_) => Unreviewed::Failed(line(&error)),
        _ => Unreviewed::Unreachable(line(&error)),
    }
}

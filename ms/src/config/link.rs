//! Settings of who may open a link.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use wardlink_link::SecretFile;
use wardlink_service::settings::{BadSetting, parse_positive_duration};
use wardlink_tls::line;

use crate::app::{Account, LinkIdentity, PodRules, parse_audience};

/// The longest time for which a pod that is gone keeps its link.
const REVIEW_MAX: Duration = Duration::from_secs(60);

/// How BSs show that they belong to this cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LinkAuth {
    /// By a secret, see --link-secret-file.
    Secret,
    /// By the token of their pod, which the API server reviews; see --link-audience and
    /// --link-account.
    Kubernetes,
    /// They do not. Only with a loopback --listen.
    None,
}

/// Settings of who may open a link.
#[derive(Debug, Args)]
pub(super) struct LinkSettings {
    /// How Business Servers show that they belong to this cluster.
    #[arg(long, env = "WARDLINK_LINK_AUTH", default_value = "secret")]
    link_auth: LinkAuth,

    /// File of the secrets that a Business Server may show, one a line, each of at least 16 bytes.
    /// Two let one be exchanged for the other. Read again when it changes.
    #[arg(long, env = "WARDLINK_LINK_SECRET_FILE", value_name = "FILE")]
    link_secret_file: Option<PathBuf>,

    /// Audience that the tokens of Business Servers must be for, with --link-auth kubernetes.
    #[arg(long, env = "WARDLINK_LINK_AUDIENCE", value_name = "TEXT", value_parser = parse_audience)]
    link_audience: Option<String>,

    /// Service account of the Business Servers, with --link-auth kubernetes.
    #[arg(long, env = "WARDLINK_LINK_ACCOUNT", value_name = "NAMESPACE/NAME")]
    link_account: Option<Account>,

    /// With --link-auth kubernetes: between two reviews of an open link's token, and how long a
    /// review that let somebody in counts, 1m at most.
    #[arg(long, env = "WARDLINK_LINK_REVIEW", value_name = "TIME", default_value = "60s")]
    #[arg(value_parser = parse_review)]
    link_review: Duration,
}

fn parse_review(text: &str) -> Result<Duration, String> {
    let time = parse_positive_duration(text)?;
    if time <= REVIEW_MAX { Ok(time) } else { Err("expected 60s at most".to_owned()) }
}

impl LinkSettings {
    /// Checks what single settings cannot, and reads the file that is named.
    ///
    /// # Errors
    /// The setting, and what it expects.
    pub(super) fn identity(self, listen: SocketAddr) -> Result<LinkIdentity, BadSetting> {
        self.check_useful()?;
        match self.link_auth {
            LinkAuth::None if !listen.ip().is_loopback() => Err(BadSetting::new(
                "--link-auth",
                "none is for a loopback --listen only: whoever can connect is taken for a BS",
            )),
            LinkAuth::None => Ok(LinkIdentity::Open),
            LinkAuth::Secret => {
                let file = self.link_secret_file.ok_or_else(|| {
                    BadSetting::new(
                        "--link-secret-file",
                        "expected a file with the secret of the links, of at least 16 bytes (on \
                         this machine alone, --link-auth none with --listen 127.0.0.1:7070 does \
                         without)",
                    )
                })?;
                SecretFile::open(file)
                    .map(LinkIdentity::Secret)
                    .map_err(|error| BadSetting::new("--link-secret-file", line(&error)))
            }
            LinkAuth::Kubernetes => {
                let audience = self.link_audience.ok_or_else(|| {
                    let problem = "expected the audience of the links' tokens, which no other \
                                   program's tokens are for";
                    BadSetting::new("--link-audience", problem)
                })?;
                let account = self.link_account.ok_or_else(|| {
                    let problem = "expected NAMESPACE/NAME of the BSs' service account";
                    BadSetting::new("--link-account", problem)
                })?;
                let rules = PodRules { audience, account };
                Ok(LinkIdentity::Pods { rules, every: self.link_review })
            }
        }
    }

    fn check_useful(&self) -> Result<(), BadSetting> {
        let secret = self.link_secret_file.is_some();
        let problem = match self.link_auth {
            LinkAuth::None => "has no use with --link-auth none: nobody is asked for a secret",
            _ => "has no use with --link-auth kubernetes: BSs show tokens",
        };
        if secret && self.link_auth != LinkAuth::Secret {
            return Err(BadSetting::new("--link-secret-file", problem));
        }
        let problem = "has a use only with --link-auth kubernetes";
        if self.link_auth != LinkAuth::Kubernetes && self.link_audience.is_some() {
            return Err(BadSetting::new("--link-audience", problem));
        }
        if self.link_auth != LinkAuth::Kubernetes && self.link_account.is_some() {
            return Err(BadSetting::new("--link-account", problem));
        }
        Ok(())
    }
}

//! Settings of the port for terminals: who is let in, and what they may do.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use wardlink_identity::{ClaimNames, Keys, Rules};
use wardlink_service::settings::{BadSetting, parse_duration, parse_number};
use wardlink_wire::terminal::BODY_MAX_BYTES;

use crate::app::{
    AuthConfig, BadOrigin, FrontConfig, KeyUrl, Origin, Origins, SessionRates, Source, read_file,
};

/// The port where nothing else is said.
const PORT: u16 = 8080;
/// The largest frame must not take more than a second of a session's rate, or pings would be
/// answered too late.
const SESSION_BYTES_MIN: u32 = 66 * 1024;

/// How terminals prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Auth {
    /// By a JWT: in Authorization: Bearer, in the list of sub-protocols as wardlink.bearer.TOKEN
    /// beside wardlink.v1, or in a first frame.
    Jwt,
    /// Query parameters hospitalCode, hosareaCode and uid are believed. On loopback only.
    Development,
}

/// Settings of the port for terminals.
#[derive(Debug, Args)]
pub(super) struct FrontSettings {
    /// How terminals prove who they are.
    #[arg(long, env = "WARDLINK_AUTH", value_enum, default_value_t = Auth::Jwt)]
    auth: Auth,

    /// File with the keys that tokens are verified by: public keys in PEM, a JWKS, or a secret of
    /// at least 32 bytes for HS256. Read again when it changes.
    #[arg(long, env = "WARDLINK_JWT_KEYS", value_name = "FILE", conflicts_with = "jwt_jwks_url")]
    jwt_keys: Option<PathBuf>,

    /// URL of the JWKS that tokens are verified by, https:// or http:// on loopback. Read again
    /// every five minutes, and when a token names a key that is not in it.
    #[arg(long, env = "WARDLINK_JWT_JWKS_URL", value_name = "URL")]
    jwt_jwks_url: Option<KeyUrl>,

    /// Issuer that tokens must name (iss) [default: any]
    #[arg(long, env = "WARDLINK_JWT_ISSUER", value_name = "TEXT")]
    jwt_issuer: Option<String>,

    /// Audience that tokens must name (aud); a comma list of several, one of which suffices
    /// [default: none, and a token that names one is refused]
    #[arg(long, env = "WARDLINK_JWT_AUDIENCE", value_name = "TEXT", value_delimiter = ',')]
    jwt_audience: Vec<String>,

    /// By how much the issuer's clock may differ from this one
    #[arg(long, env = "WARDLINK_JWT_LEEWAY", default_value = "30s", value_parser = parse_duration)]
    jwt_leeway: Duration,

    /// Claim that holds the first part of the end id
    #[arg(long, env = "WARDLINK_JWT_CLAIM_HOSPITAL", value_name = "NAME")]
    #[arg(default_value = "hospitalCode")]
    jwt_claim_hospital: String,

    /// Claim that holds the second part of the end id
    #[arg(long, env = "WARDLINK_JWT_CLAIM_AREA", value_name = "NAME")]
    #[arg(default_value = "hosareaCode")]
    jwt_claim_area: String,

    /// Claim that holds the third part of the end id
    #[arg(long, env = "WARDLINK_JWT_CLAIM_UID", value_name = "NAME", default_value = "uid")]
    jwt_claim_uid: String,

    /// Web pages that may connect, as a comma list of origins such as https://ward.example, or *
    /// for all [default: pages of the host that they connect to; with --auth development, of this
    /// machine]
    #[arg(long, env = "WARDLINK_ALLOWED_ORIGINS", value_name = "ORIGINS")]
    #[arg(value_parser = parse_origins)]
    allowed_origins: Option<Origins>,

    /// Connections at a time; above it new ones wait
    #[arg(long, env = "WARDLINK_MAX_TERMINALS", value_name = "NUMBER")]
    #[arg(default_value_t = const { NonZeroUsize::new(FrontConfig::MAX_TERMINALS).unwrap() }, value_parser = parse_number::<NonZeroUsize>)]
    max_terminals: NonZeroUsize,

    /// Frames that a session may send in a second on average, twice as many at once. Above it the
    /// session is not read for a while, and closed after a minute
    #[arg(long, env = "WARDLINK_SESSION_RATE", value_name = "NUMBER", default_value = "500")]
    #[arg(value_parser = parse_number::<NonZeroU32>)]
    session_rate: NonZeroU32,

    /// Largest body of a message that is taken from terminals and over HTTP, in bytes of its JSON
    /// text, up to 65536
    #[arg(long, env = "WARDLINK_MAX_BODY_BYTES", value_name = "BYTES")]
    #[arg(default_value_t = BODY_MAX_BYTES as u32, value_parser = parse_body_bytes)]
    max_body_bytes: u32,

    /// Bytes that a session, or a caller over HTTP, may send in a second, likewise
    #[arg(long, env = "WARDLINK_SESSION_BYTES_RATE", value_name = "BYTES")]
    #[arg(default_value = "1048576", value_parser = parse_bytes)]
    session_bytes_rate: NonZeroU32,
}

impl FrontSettings {
    /// The address to listen on where none is set: of this machine alone in development mode.
    pub(super) fn listen(&self) -> SocketAddr {
        match self.auth {
            Auth::Jwt => (Ipv4Addr::UNSPECIFIED, PORT).into(),
            Auth::Development => (Ipv4Addr::LOCALHOST, PORT).into(),
        }
    }

    /// Checks what single settings cannot.
    ///
    /// # Errors
    /// The setting, and what it expects.
    pub(super) fn config(self, listen: SocketAddr) -> Result<FrontConfig, BadSetting> {
        if self.auth == Auth::Development && !listen.ip().is_loopback() {
            let problem = "must be a loopback address with --auth development";
            return Err(BadSetting::new("--listen", problem));
        }
        let origins = self.allowed_origins.clone().unwrap_or(match self.auth {
            Auth::Jwt => Origins::Same,
            Auth::Development => Origins::Loopback,
        });
        let rates = SessionRates { frames: self.session_rate, bytes: self.session_bytes_rate };
        let max_terminals = self.max_terminals.get();
        let max_body_bytes = self.max_body_bytes as usize;
        Ok(FrontConfig { auth: self.auth()?, origins, rates, max_terminals, max_body_bytes })
    }

    fn auth(self) -> Result<AuthConfig, BadSetting> {
        let source = match (self.auth, self.jwt_keys, self.jwt_jwks_url) {
            (Auth::Development, None, None) => return Ok(AuthConfig::Development),
            (Auth::Development, Some(_), _) => {
                return Err(BadSetting::new("--jwt-keys", "has no use with --auth development"));
            }
            (Auth::Development, None, Some(_)) => {
                let problem = "has no use with --auth development";
                return Err(BadSetting::new("--jwt-jwks-url", problem));
            }
            (Auth::Jwt, Some(file), _) => {
                let bad = |problem: String| BadSetting::new("--jwt-keys", problem);
                let bytes = read_file(&file)
                    .map_err(|error| bad(format!("{} cannot be read: {error}", file.display())))?;
                Keys::from_file(&bytes)
                    .map_err(|error| bad(format!("{} cannot be used: {error}", file.display())))?;
                Source::File(file)
            }
            (Auth::Jwt, None, Some(url)) => Source::Url(url),
            (Auth::Jwt, None, None) => {
                let problem = "expected --jwt-keys FILE or --jwt-jwks-url URL with --auth jwt, \
                               which is the default; --auth development believes everybody";
                return Err(BadSetting::new("--jwt-keys", problem));
            }
        };
        let claims = ClaimNames {
            hospital_code: self.jwt_claim_hospital,
            hosarea_code: self.jwt_claim_area,
            uid: self.jwt_claim_uid,
            ..ClaimNames::default()
        };
        let rules = Rules {
            issuer: self.jwt_issuer,
            audiences: self.jwt_audience,
            leeway: self.jwt_leeway,
            claims,
        };
        Ok(AuthConfig::Jwt { rules: Box::new(rules), source })
    }
}

fn parse_origins(text: &str) -> Result<Origins, BadOrigin> {
    if text.trim() == "*" {
        return Ok(Origins::Any);
    }
    let origins = text.split(',').map(|origin| origin.trim().parse());
    origins.collect::<Result<Vec<Origin>, _>>().map(Origins::Named)
}

fn parse_body_bytes(text: &str) -> Result<u32, String> {
    let number: Option<u32> = text.parse().ok();
    let number = number.filter(|number| (1..=BODY_MAX_BYTES).contains(&(*number as usize)));
    number.ok_or_else(|| format!("expected a whole number from 1 to {BODY_MAX_BYTES}"))
}

fn parse_bytes(text: &str) -> Result<NonZeroU32, String> {
    let number: Option<NonZeroU32> = text.parse().ok();
    let number = number.filter(|number| number.get() >= SESSION_BYTES_MIN);
    number.ok_or_else(|| format!("expected a whole number from {SESSION_BYTES_MIN}"))
}

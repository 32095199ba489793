//! Where keys come from: a file or a URL, read again and again.
//!
//! What cannot be read changes nothing: the keys stay as they are.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use tokio::time::sleep;
use wardlink_identity::{KEY_FILE_MAX_BYTES, KeyError, Keys, Verifier};
use wardlink_service::backoff::Backoff;
use wardlink_service::readiness::Readiness;
use wardlink_service::stop::Stop;

use super::KeyRing;
use crate::app::metrics::Metrics;

/// A file is read again after so long: soon enough for a person who waits for it.
const FILE_EVERY: Duration = Duration::from_secs(5);
/// A URL is read again after so long; a token of an unknown key makes it sooner.
const URL_EVERY: Duration = Duration::from_secs(300);
/// Between two reads of a URL at least, whatever tokens are shown.
const URL_GAP: Duration = Duration::from_secs(10);
/// Between two reads of a file at least: it is cheap, and who comes with a token of a new key waits.
const FILE_GAP: Duration = Duration::from_millis(100);
/// Between two attempts after a failure.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// A server that takes longer to tell its keys is given up until the next attempt.
const FETCH: Duration = Duration::from_secs(10);

/// Where the keys are that tokens are verified by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A secret, public keys in PEM, or a JWKS; see [`Keys::from_file`].
    File(PathBuf),
    /// A JWKS.
    Url(KeyUrl),
}

impl Source {
    /// Keys are not read again sooner, whoever asks.
    pub(in crate::app) fn gap(&self) -> Duration {
        match self {
            Self::File(_) => FILE_GAP,
            Self::Url(_) => URL_GAP,
        }
    }
}

/// The URL of a JWKS: `https`, or `http` on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUrl(Url);

/// The text is no such URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an https:// URL, or http:// on a loopback address")]
pub struct BadUrl;

impl FromStr for KeyUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let url: Url = text.parse().map_err(|_| BadUrl)?;
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let loopback = host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        match url.scheme() {
            "https" => Ok(Self(url)),
            "http" if loopback => Ok(Self(url)),
            _ => Err(BadUrl),
        }
    }
}

impl fmt::Display for KeyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why keys could not be read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("file cannot be read: {0}")]
    File(#[from] std::io::Error),
    #[error("no answer: {0}")]
    Fetch(#[from] reqwest::Error),
    #[error("answered {0}")]
    Status(reqwest::StatusCode),
    #[error(transparent)]
    Keys(#[from] KeyError),
}

/// Reads keys into `ring` until the stop signal. The server is not ready before there are some.
pub(in crate::app) async fn keep(
    ring: Arc<KeyRing>,
    source: Source,
    readiness: Readiness,
    metrics: Arc<Metrics>,
    stop: Stop,
) -> anyhow::Result<()> {
    let mut reader = Reader::new(source)?;
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    // What was warned of last.
    let mut told = String::new();
    loop {
        ring.reads.begin();
        let read = tokio::select! {
            () = stop.stopped() => return Ok(()),
            read = reader.read() => read,
        };
        let next = match read {
            Ok(keys) => {
                metrics.front.keys_read();
                told.clear();
                backoff.reset();
                if let Some(keys) = keys {
                    tell(&keys);
                    let verifier = Verifier::new(keys, ring.rules.clone());
                    ring.verifier.send_replace(Some(verifier));
                    readiness.set("keys", true);
                }
                reader.every()
            }
            Err(error) => {
                metrics.front.keys_unread.inc();
                let error = error.to_string();
                if told != error {
                    tracing::warn!(error, "keys cannot be read, going on with those there are");
                    told = error;
                }
                backoff.next_delay().min(reader.every())
            }
        };
        ring.reads.end();
        tokio::select! {
            () = stop.stopped() => return Ok(()),
            () = sleep(next) => {}
            () = ring.reads.wanted() => {}
        }
    }
}

fn tell(keys: &Keys) {
    let algorithms: Vec<_> = keys.algorithms().map(|algorithm| algorithm.as_str()).collect();
    tracing::info!(algorithms = algorithms.join(" "), "keys for tokens have been read");
    for skipped in keys.skipped() {
        tracing::warn!(%skipped, "a key cannot verify tokens here and is left out");
    }
}

#[derive(Debug)]
struct Reader {
    source: Source,
    client: Option<Client>,
    /// What was read last; the same again means nothing new.
    held: Vec<u8>,
}

impl Reader {
    fn new(source: Source) -> anyhow::Result<Self> {
        let client = match &source {
            Source::File(_) => None,
            Source::Url(_) => {
                // The one provider of cryptography; who comes first does not matter.
                let _ = rustls::crypto::ring::default_provider().install_default();
                // A redirect could lead to clear text.
                let client = Client::builder().timeout(FETCH).redirect(Policy::none()).build()?;
                Some(client)
            }
        };
        Ok(Self { source, client, held: Vec::new() })
    }

    fn every(&self) -> Duration {
        match self.source {
            Source::File(_) => FILE_EVERY,
            Source::Url(_) => URL_EVERY,
        }
    }

    /// The keys, where they are not those of the last time.
    async fn read(&mut self) -> Result<Option<Keys>, ReadError> {
        let bytes = match (&self.source, &self.client) {
            (Source::Url(url), Some(client)) => fetch(client, url).await?,
            (Source::File(path), _) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_file(&path));
                read.await.map_err(std::io::Error::other)??
            }
            (Source::Url(_), None) => return Ok(None),
        };
        if bytes == self.held {
            return Ok(None);
        }
        let keys = match self.source {
            Source::File(_) => Keys::from_file(&bytes)?,
            Source::Url(_) => Keys::from_public_jwks(&bytes)?,
        };
        self.held = bytes;
        Ok(Some(keys))
    }
}

/// Reads a key file, one byte beyond the bound at most. Blocks.
///
/// # Errors
/// It cannot be read.
pub fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(KEY_FILE_MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

async fn fetch(client: &Client, url: &KeyUrl) -> Result<Vec<u8>, ReadError> {
    let without_url = |error: reqwest::Error| ReadError::Fetch(error.without_url());
    let request = client.get(url.0.clone()).header("accept", "application/json");
    let mut answer = request.send().await.map_err(without_url)?;
    if !answer.status().is_success() {
        return Err(ReadError::Status(answer.status()));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(without_url)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > KEY_FILE_MAX_BYTES {
            return Err(KeyError::TooLarge.into());
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_https_or_from_this_machine() {
        for (text, good) in [
            ("https://login.hospital.example/keys", true),
            ("http://127.0.0.1:8000/jwks.json", true),
            ("http://[::1]:8000/jwks.json", true),
            ("http://localhost/jwks.json", true),
            ("http://login.hospital.example/keys", false),
            ("http://127.0.0.1.example/keys", false),
            ("ftp://127.0.0.1/keys", false),
            ("file:///etc/keys", false),
            ("keys.json", false),
        ] {
            assert_eq!(text.parse::<KeyUrl>().is_ok(), good, "{text}");
        }
    }
}

//! One attempt to open a link: TCP, TLS, and what this BS shows of itself.
//!
//! Files with secrets are read again for each attempt, so that an exchanged one is used at once; a
//! file with a token is also looked at while a link is open, for the link ends with the token that
//! it was opened with, unless a fresh one is shown before. The caller bounds the time.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use wardlink_link::Secrets;
use wardlink_tls::{Connector, PeerName, Stream, line};
use wardlink_wire::link::{LINK_SUBPROTOCOL, LINK_TOKEN_MAX_BYTES, LinkToken};

use super::dial::MsAddress;

/// How often the file of an open link's token is looked at. The kubelet exchanges a token when a
/// fifth of its life is left, two minutes at least.
const LOOK: Duration = Duration::from_secs(5);
/// What is told of an MS's answer.
const ANSWER_MAX_BYTES: usize = 200;

/// What a BS shows an MS.
#[derive(Debug, Clone, Default)]
pub enum LinkProof {
    /// Nothing.
    #[default]
    None,
    /// A secret of this file: the first, and after a refusal the next.
    Secret(PathBuf),
    /// The token in this file.
    Token(PathBuf),
}

/// How links are opened.
#[derive(Debug, Clone, Default)]
pub struct Knock {
    /// What is shown.
    pub proof: LinkProof,
    /// How `wss://` is verified; needed if there is one.
    pub connector: Option<Connector>,
    /// The name that every MS's certificate must have; else the host of its URL.
    pub name: Option<PeerName>,
}

/// What is shown once: a secret or a token, as it is sent.
enum Shown {
    Nothing,
    Secret(String),
    Token(LinkToken),
}

/// A link's socket, and the token that it was opened with.
pub(super) struct Opened {
    pub(super) socket: wardlink_link::Socket,
    pub(super) token: Option<LinkToken>,
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub(super) enum Closed {
    /// It took too long.
    #[error("no answer in time")]
    Slow,
    /// TCP failed.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// TLS failed.
    #[error("TLS failed: {0}")]
    Tls(io::Error),
    /// What this BS shows cannot be read.
    #[error("{0}")]
    Proof(String),
    /// The MS refused.
    #[error("refused with HTTP status {status}: {text}")]
    Refused {
        /// The status.
        status: u16,
        /// What it said.
        text: String,
    },
    /// The peer is no MS, or has gone.
    #[error("no WebSocket: {0}")]
    WebSocket(Box<WsError>),
}

impl Closed {
    /// Values of the metric's label, in the order of [`Closed::index`].
    pub(super) const REASONS: [&str; 6] =
        ["slow", "connect", "tls", "proof", "refused", "websocket"];

    /// Which one it is.
    pub(super) fn index(&self) -> usize {
        match self {
            Self::Slow => 0,
            Self::Connect(_) => 1,
            Self::Tls(_) => 2,
            Self::Proof(_) => 3,
            Self::Refused { .. } => 4,
            Self::WebSocket(_) => 5,
        }
    }

    /// Which one it is, from a closed set.
    pub(super) fn reason(&self) -> &'static str {
        Self::REASONS[self.index()]
    }
}

impl Knock {
    /// Tries once. `refusals` counts the attempts at this MS that were refused before.
    ///
    /// Takes as long as the peer likes: the caller bounds it. Cancel safe.
    pub(super) async fn connect(
        &self,
        ms: &MsAddress,
        address: SocketAddr,
        refusals: usize,
    ) -> Result<Opened, Closed> {
        let mut request =
            ms.url().into_client_request().map_err(|error| Closed::WebSocket(Box::new(error)))?;
        let name = HeaderValue::from_static(LINK_SUBPROTOCOL);
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, name);
        let shown = self.shown(refusals).await?;
        if let Some(value) = shown.header()? {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let stream = TcpStream::connect(address).await.map_err(Closed::Connect)?;
        stream.set_nodelay(true).map_err(Closed::Connect)?;
        let stream = self.secure(ms, stream).await?;
        let config = Some(wardlink_link::config());
        match client_async_with_config(request, stream, config).await {
            Ok((socket, _)) => Ok(Opened { socket, token: shown.token() }),
            Err(WsError::Http(answer)) => Err(Closed::Refused {
                status: answer.status().as_u16(),
                text: told(answer.body().as_deref().unwrap_or_default()),
            }),
            // An MS that does not take our certificate says so only now.
            Err(WsError::Io(error))
                if error.kind() == io::ErrorKind::InvalidData && ms.is_tls() =>
            {
                Err(Closed::Tls(error))
            }
            Err(error) => Err(Closed::WebSocket(Box::new(error))),
        }
    }

    async fn secure(&self, ms: &MsAddress, stream: TcpStream) -> Result<Stream, Closed> {
        if !ms.is_tls() {
            return Ok(Stream::Plain(stream));
        }
        let missing = || Closed::Tls(io::Error::other("it is not set up"));
        let connector = self.connector.as_ref().ok_or_else(missing)?;
        let name = self.name.clone().or_else(|| ms.name()).ok_or_else(missing)?;
        connector.connect(&name, stream).await.map_err(Closed::Tls)
    }

    async fn shown(&self, refusals: usize) -> Result<Shown, Closed> {
        let proof = self.proof.clone();
        let read = tokio::task::spawn_blocking(move || proof.read(refusals)).await;
        read.map_err(|error| Closed::Proof(error.to_string()))?
    }

    /// Waits until the file holds another token than this one. Cancel safe.
    pub(super) async fn fresh(&self, shown: &LinkToken) -> LinkToken {
        loop {
            sleep(LOOK).await;
            match self.shown(0).await {
                Ok(Shown::Token(token)) if token != *shown => return token,
                Ok(_) => {}
                // Half a file is one that is being exchanged; a missing one is told by the next
                // attempt to connect.
                Err(error) => tracing::debug!(%error, "link's token cannot be read again"),
            }
        }
    }
}

impl Shown {
    /// What to send as `Authorization`.
    fn header(&self) -> Result<Option<HeaderValue>, Closed> {
        let shown = match self {
            Self::Nothing => return Ok(None),
            Self::Secret(secret) => secret,
            Self::Token(token) => token.expose(),
        };
        let mut value = HeaderValue::from_str(&format!("Bearer {shown}"))
            .map_err(|_| Closed::Proof("what is shown to an MS fits into no header".to_owned()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    fn token(self) -> Option<LinkToken> {
        match self {
            Self::Token(token) => Some(token),
            _ => None,
        }
    }
}

impl LinkProof {
    /// Reads the file. Blocks on the file system.
    fn read(&self, refusals: usize) -> Result<Shown, Closed> {
        match self {
            Self::None => Ok(Shown::Nothing),
            Self::Secret(file) => {
                let secrets = Secrets::read(file)
                    .map_err(|error| Closed::Proof(format!("link secret: {}", line(&error))))?;
                Ok(Shown::Secret(secrets.for_attempt(refusals).expose().to_owned()))
            }
            Self::Token(file) => token(file)
                .map(Shown::Token)
                .map_err(|error| Closed::Proof(format!("link token {}: {error}", file.display()))),
        }
    }
}

fn token(file: &Path) -> io::Result<LinkToken> {
    let mut text = String::new();
    // A line's end may follow the token.
    let most = LINK_TOKEN_MAX_BYTES as u64 + 2;
    std::fs::File::open(file)?.take(most).read_to_string(&mut text)?;
    text.trim().parse().map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidData, "does not hold one token of up to 8 KiB")
    })
}

/// The first line of an answer, as far as it can be shown.
fn told(body: &[u8]) -> String {
    let line = body.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = &line[..line.len().min(ANSWER_MAX_BYTES)];
    String::from_utf8_lossy(line).chars().filter(|letter| !letter.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(proof: &LinkProof, refusals: usize) -> Result<Option<String>, Closed> {
        Ok(match proof.read(refusals)? {
            Shown::Nothing => None,
            Shown::Secret(secret) => Some(secret),
            Shown::Token(token) => Some(token.expose().to_owned()),
        })
    }

    #[test]
    fn secrets_and_tokens_are_read_for_each_attempt() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        let secret = LinkProof::Secret(file.clone());
        let token = LinkProof::Token(file.clone());
        assert_eq!(read(&secret, 0).unwrap_err().reason(), "proof");
        std::fs::write(&file, "first-secret-of-two\nsecond-secret-of-two\n").unwrap();
        assert_eq!(read(&secret, 0).unwrap().unwrap(), "first-secret-of-two");
        assert_eq!(read(&secret, 1).unwrap().unwrap(), "second-secret-of-two");
        let error = read(&token, 0).unwrap_err().to_string();
        assert!(error.ends_with("does not hold one token of up to 8 KiB"), "{error}");
        std::fs::write(&file, " a.b.c\n").unwrap();
        assert_eq!(read(&token, 0).unwrap().unwrap(), "a.b.c");
        let error = read(&secret, 0).unwrap_err().to_string();
        assert!(error.contains("a secret has 16 to 512 bytes"), "{error}");
        std::fs::write(&file, "x".repeat(LINK_TOKEN_MAX_BYTES + 1)).unwrap();
        assert!(read(&token, 0).is_err());
        assert!(read(&LinkProof::None, 0).unwrap().is_none());
    }

    #[tokio::test]
    async fn a_token_that_is_exchanged_while_the_link_is_open_is_a_fresh_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "first").unwrap();
        let knock = Knock { proof: LinkProof::Token(file.clone()), ..Knock::default() };
        let first: LinkToken = "first".parse().unwrap();
        tokio::time::pause();
        let waited = tokio::time::timeout(LOOK * 4, knock.fresh(&first)).await;
        assert!(waited.is_err(), "it is the same");
        std::fs::write(&file, "").unwrap();
        let waited = tokio::time::timeout(LOOK * 4, knock.fresh(&first)).await;
        assert!(waited.is_err(), "it is none");
        std::fs::write(&file, "second\n").unwrap();
        assert_eq!(knock.fresh(&first).await.expose(), "second");
    }

    #[test]
    fn an_answer_is_told_in_one_short_line() {
        assert_eq!(told(b"no \x1b[31mlink\nmore"), "no [31mlink");
        assert_eq!(told(&[b'x'; 5_000]).len(), ANSWER_MAX_BYTES);
    }
}

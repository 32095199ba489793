//! One attempt to open a link: TCP, TLS, and what this BS shows of itself.
//!
//! Files with secrets are read again for each attempt, so that an exchanged one is used at once.
//! The caller bounds the time.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::net::TcpStream;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use wardlink_link::Secrets;
use wardlink_tls::{Connector, PeerName, Stream, line};
use wardlink_wire::link::LINK_SUBPROTOCOL;

use super::dial::MsAddress;

/// What a token may have: a header's worth. Those of Kubernetes have 1 KiB.
const TOKEN_MAX_BYTES: u64 = 8 * 1_024;
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
    ) -> Result<wardlink_link::Socket, Closed> {
        let mut request =
            ms.url().into_client_request().map_err(|error| Closed::WebSocket(Box::new(error)))?;
        let name = HeaderValue::from_static(LINK_SUBPROTOCOL);
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, name);
        if let Some(shown) = self.shown(refusals).await? {
            request.headers_mut().insert(AUTHORIZATION, shown);
        }
        let stream = TcpStream::connect(address).await.map_err(Closed::Connect)?;
        stream.set_nodelay(true).map_err(Closed::Connect)?;
        let stream = self.secure(ms, stream).await?;
        let config = Some(wardlink_link::config());
        match client_async_with_config(request, stream, config).await {
            Ok((socket, _)) => Ok(socket),
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

    /// What to send as `Authorization`.
    async fn shown(&self, refusals: usize) -> Result<Option<HeaderValue>, Closed> {
        let proof = self.proof.clone();
        let read = tokio::task::spawn_blocking(move || proof.read(refusals)).await;
        let Some(shown) = read.map_err(|error| Closed::Proof(error.to_string()))?? else {
            return Ok(None);
        };
        let mut value = HeaderValue::from_str(&format!("Bearer {shown}"))
            .map_err(|_| Closed::Proof("what is shown to an MS fits into no header".to_owned()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

impl LinkProof {
    /// Reads the file. Blocks on the file system.
    fn read(&self, refusals: usize) -> Result<Option<String>, Closed> {
        match self {
            Self::None => Ok(None),
            Self::Secret(file) => {
                let secrets = Secrets::read(file)
                    .map_err(|error| Closed::Proof(format!("link secret: {}", line(&error))))?;
                Ok(Some(secrets.for_attempt(refusals).expose().to_owned()))
            }
            Self::Token(file) => token(file)
                .map(Some)
                .map_err(|error| Closed::Proof(format!("link token {}: {error}", file.display()))),
        }
    }
}

fn token(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(file)?.take(TOKEN_MAX_BYTES + 1).read_to_string(&mut text)?;
    let token = text.trim();
    let fits = text.len() as u64 <= TOKEN_MAX_BYTES && !token.is_empty();
    if fits && token.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(token.to_owned())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "does not hold one token of up to 8 KiB"))
    }
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

    #[test]
    fn secrets_and_tokens_are_read_for_each_attempt() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        let secret = LinkProof::Secret(file.clone());
        let token = LinkProof::Token(file.clone());
        assert_eq!(secret.read(0).unwrap_err().reason(), "proof");
        std::fs::write(&file, "first-secret-of-two\nsecond-secret-of-two\n").unwrap();
        assert_eq!(secret.read(0).unwrap().unwrap(), "first-secret-of-two");
        assert_eq!(secret.read(1).unwrap().unwrap(), "second-secret-of-two");
        let error = token.read(0).unwrap_err().to_string();
        assert!(error.ends_with("does not hold one token of up to 8 KiB"), "{error}");
        std::fs::write(&file, " a.b.c\n").unwrap();
        assert_eq!(token.read(0).unwrap().unwrap(), "a.b.c");
        let error = secret.read(0).unwrap_err().to_string();
        assert!(error.contains("a secret has 16 to 512 bytes"), "{error}");
        assert!(LinkProof::None.read(0).unwrap().is_none());
    }

    #[test]
    fn an_answer_is_told_in_one_short_line() {
        assert_eq!(told(b"no \x1b[31mlink\nmore"), "no [31mlink");
        assert_eq!(told(&[b'x'; 5_000]).len(), ANSWER_MAX_BYTES);
    }
}

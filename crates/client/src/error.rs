//! Why a connection could not be made, and why one ended.

use wardlink_wire::CloseCode;

use crate::token::TokenSourceError;

/// A setting of a client that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There is no server to connect to.
    #[error("no server URL given")]
    NoServer,
    /// The text is no URL of a server.
    #[error("server URL must look like ws://host:port/ws or wss://host:port/ws, got {0:?}")]
    Url(String),
    /// A server with TLS, and nothing that says how to verify it.
    #[error("wss:// needs to know which authorities to trust, got {0:?}")]
    NoTls(String),
}

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no token to show.
    #[error(transparent)]
    Token(#[from] TokenSourceError),
    /// The server's name or address could not be reached.
    #[error("cannot reach {address}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What the network said.
        source: std::io::Error,
    },
    /// The TLS handshake failed, or the server is not the one that it should be.
    #[error("no TLS with {name}")]
    Tls {
        /// The name that its certificate must have.
        name: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The server answered with an HTTP status in place of a WebSocket.
    #[error("refused with HTTP status {status}{}", said(.text))]
    Refused {
        /// The status.
        status: u16,
        /// The first line of what the server says of it, shortened; empty where it says nothing.
        text: String,
    },
    /// What answers is no such server.
    #[error("no WebSocket of this protocol")]
    Handshake(#[source] Box<tokio_tungstenite::tungstenite::Error>),
    /// Nothing answered in time.
    #[error("no answer in time")]
    TimedOut,
}

impl ConnectError {
    /// The HTTP status by which the server refused, where it did.
    pub fn status(&self) -> Option<u16> {
        match self {
            ConnectError::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

fn said(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Closed {
    /// The server closed it with a code.
    #[error("closed by the server with code {code}: {text}")]
    Code {
        /// The close code; 1005 where the frame had none.
        code: u16,
        /// The server's words.
        text: String,
    },
    /// It broke.
    #[error("connection lost")]
    Lost(#[source] Option<Box<tokio_tungstenite::tungstenite::Error>>),
    /// Nothing was heard for longer than the server's pings allow.
    #[error("server is silent")]
    Silent,
    /// The server sent what is no frame of this protocol.
    #[error("server broke the protocol")]
    BadFrame(#[source] wardlink_wire::terminal::BadDown),
}

impl Closed {
    /// The server's close code, where there was one.
    pub fn code(&self) -> Option<u16> {
        match self {
            Closed::Code { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// The entry of the close code table, where the code is one of it.
    pub fn close_code(&self) -> Option<CloseCode> {
        self.code().and_then(CloseCode::from_code)
    }
}

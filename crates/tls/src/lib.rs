//! TLS on both sides of a connection: certificates that are read again when they change, and the
//! stream that may be encrypted.
//!
//! Owns how TLS is set up: versions 1.2 and 1.3, one cryptography provider, which certificates
//! are asked for and how they are verified. Knows nothing of what travels in the stream, and
//! bounds no time: who accepts or connects puts a deadline around the handshake together with
//! whatever follows it.

mod acceptor;
mod connector;
mod error;
mod files;
mod stream;
mod watch;

#[cfg(test)]
mod tests;

pub use self::acceptor::Acceptor;
pub use self::connector::{Connector, PeerName};
pub use self::error::TlsError;
pub use self::files::CertificateFiles;
pub use self::stream::Stream;
pub use self::watch::{POLL, Reload, line, watch};

/// The one protocol that is spoken inside, so that no other server's answers are taken for ours.
const ALPN: &[u8] = b"http/1.1";

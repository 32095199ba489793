//! The side that connects.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::ALPN;
use crate::error::TlsError;
use crate::files::{CertificateFiles, Files, Live, Parts, provider, unusable};
use crate::stream::Stream;
use crate::watch::Reload;

/// The name that a server's certificate must have, whatever the address that was connected to: a
/// DNS name or an IP address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerName(ServerName<'static>);

impl FromStr for PeerName {
    type Err = TlsError;

    fn from_str(text: &str) -> Result<Self, TlsError> {
        let name = ServerName::try_from(text.to_owned());
        name.map(Self).map_err(|_| TlsError::Name(text.to_owned()))
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.to_str().fmt(f)
    }
}

/// Makes connections into encrypted streams. Clones share what they read from files.
#[derive(Clone)]
pub struct Connector {
    live: Arc<Live<ClientConfig>>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl Connector {
    /// Trusts the authorities in the file `ca`, or without it those of this system, as they are
    /// when the other files are read. With `own`, shows that certificate where it is asked for.
    ///
    /// Blocks on the file system.
    ///
    /// # Errors
    /// A file cannot be read or used, or the system has no authorities.
    pub fn new(ca: Option<PathBuf>, own: Option<CertificateFiles>) -> Result<Self, TlsError> {
        Ok(Self { live: Arc::new(Live::new(Files { own, ca }, make)?) })
    }

    /// The handshake with the server that must have a certificate for `name`.
    ///
    /// Takes as long as the peer likes: the caller bounds it. Cancel safe in that dropping it
    /// closes the connection. A server that refuses this side's certificate may say so only at
    /// the first read of the stream.
    ///
    /// # Errors
    /// The handshake failed; the text says why, a bad certificate included.
    pub async fn connect(&self, name: &PeerName, stream: TcpStream) -> io::Result<Stream> {
        let connector = TlsConnector::from(self.live.current());
        let stream = connector.connect(name.0.clone(), stream).await?;
        Ok(Stream::Tls(Box::new(stream.into())))
    }
}

impl Reload for Connector {
    type Error = TlsError;

    fn reload(&self) -> Result<bool, TlsError> {
        self.live.reload()
    }
}

fn make(parts: Parts) -> Result<ClientConfig, TlsError> {
    let roots = match parts.ca {
        Some(roots) => roots,
        None => system_roots()?,
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)
        .map_err(unusable)?
        .with_root_certificates(roots);
    let mut config = match parts.own {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(unusable)?,
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Systems carry certificates that rustls does not take; the others are enough.
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    if ignored > 0 || !found.errors.is_empty() {
        tracing::debug!(added, ignored, errors = found.errors.len(), "system's authorities read");
    }
    if added == 0 {
        return Err(TlsError::NoRoots);
    }
    Ok(roots)
}

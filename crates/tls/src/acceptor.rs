//! The side that is connected to.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::ALPN;
use crate::error::TlsError;
use crate::files::{CertificateFiles, Files, Live, Parts, provider, unusable};
use crate::stream::Stream;
use crate::watch::Reload;

/// Makes accepted connections into streams. Clones share what they read from files.
#[derive(Clone)]
pub struct Acceptor {
    /// `None`: clear text.
    live: Option<Arc<Live<ServerConfig>>>,
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("tls", &self.is_tls()).finish_non_exhaustive()
    }
}

impl Acceptor {
    /// Clear text.
    pub fn plain() -> Self {
        Self { live: None }
    }

    /// TLS. With `client_ca`, clients must show a certificate of one of its authorities.
    ///
    /// Blocks on the file system.
    ///
    /// # Errors
    /// A file cannot be read or used.
    pub fn tls(own: CertificateFiles, client_ca: Option<PathBuf>) -> Result<Self, TlsError> {
        let live = Live::new(Files { own: Some(own), ca: client_ca }, make)?;
        Ok(Self { live: Some(Arc::new(live)) })
    }

    /// Whether it is TLS.
    pub fn is_tls(&self) -> bool {
        self.live.is_some()
    }

    /// The handshake, with the certificate as it is now; the stream keeps it.
    ///
    /// Takes as long as the peer likes: the caller bounds it. Cancel safe in that dropping it
    /// closes the connection.
    ///
    /// # Errors
    /// The handshake failed; the peer was told by an alert.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<Stream> {
        match &self.live {
            None => Ok(Stream::Plain(stream)),
            Some(live) => {
                let stream = TlsAcceptor::from(live.current()).accept(stream).await?;
                Ok(Stream::Tls(Box::new(stream.into())))
            }
        }
    }
}

impl Reload for Acceptor {
    type Error = TlsError;

    fn reload(&self) -> Result<bool, TlsError> {
        self.live.as_ref().map_or(Ok(false), |live| live.reload())
    }
}

fn make(parts: Parts) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)
        .map_err(unusable)?;
    let builder = match parts.ca {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
                .build()
                .map_err(unusable)?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let own = parts.own.ok_or_else(|| unusable(rustls::Error::NoCertificatesPresented))?;
    let (chain, key) = own;
    let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

//! Why TLS cannot be set up.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use rustls::pki_types::pem;

/// Why files do not make a side of TLS. No variant holds what a file holds.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} does not hold {expected} in PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// Why it does not.
        source: pem::Error,
    },
    /// Certificate and key are not a pair: as long as only one of them has been exchanged.
    #[error("certificate {} and key {} do not belong together", cert.display(), key.display())]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A certificate or a key that rustls does not take.
    #[error("certificates or key cannot be used")]
    Unusable(#[source] Box<dyn Error + Send + Sync>),
    /// This system has no certificate authorities.
    #[error("this system has no certificate authorities to trust; name a file of them")]
    NoRoots,
    /// Not a name that a certificate could have.
    #[error("{0:?} is neither a DNS name nor an IP address")]
    Name(String),
}

impl TlsError {
    /// Which one it is, from a closed set.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Read { .. } => "read",
            Self::Pem { .. } => "pem",
            Self::Mismatch { .. } => "mismatch",
            Self::Unusable(_) => "unusable",
            Self::NoRoots => "no_roots",
            Self::Name(_) => "name",
        }
    }

    /// This error and what caused it, in one line.
    pub fn line(&self) -> String {
        crate::watch::line(self)
    }
}

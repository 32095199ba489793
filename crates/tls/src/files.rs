//! The files of one side: read together, compared by what they hold, and made into a
//! configuration that is exchanged as a whole.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::TlsError;

/// What a file may hold: the largest lists of authorities in use are a quarter of it.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// A certificate with its chain, and the key that belongs to it, both in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, then those between it and an authority.
    pub cert: PathBuf,
    /// Its key, in PKCS #8, PKCS #1 or SEC 1, not encrypted.
    pub key: PathBuf,
}

/// Which files a side is made of.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) own: Option<CertificateFiles>,
    pub(crate) ca: Option<PathBuf>,
}

/// What they held. No `Debug`: a key is among it.
#[derive(PartialEq)]
struct Contents {
    own: Option<(Vec<u8>, Vec<u8>)>,
    ca: Option<Vec<u8>>,
}

/// What the files say, read but not yet judged.
pub(crate) struct Parts {
    /// Chain and key.
    pub(crate) own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    /// The authorities.
    pub(crate) ca: Option<RootCertStore>,
}

/// A configuration, and the files that it was made of.
pub(crate) struct Live<C> {
    files: Files,
    make: fn(Parts) -> Result<C, TlsError>,
    /// What `current` was made of. Held while it is made anew, so that one does it at a time.
    held: Mutex<Contents>,
    current: RwLock<Arc<C>>,
}

impl<C> Live<C> {
    pub(crate) fn new(
        files: Files,
        make: fn(Parts) -> Result<C, TlsError>,
    ) -> Result<Self, TlsError> {
        let contents = files.read()?;
        let current = RwLock::new(Arc::new(make(files.parts(&contents)?)?));
        Ok(Self { files, make, held: Mutex::new(contents), current })
    }

    /// The configuration for a new handshake.
    pub(crate) fn current(&self) -> Arc<C> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the files, and exchanges the configuration where they hold something else. Blocks on
    /// the file system. True: exchanged. With an error all stays as it was.
    pub(crate) fn reload(&self) -> Result<bool, TlsError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let contents = self.files.read()?;
        if *held == contents {
            return Ok(false);
        }
        let made = Arc::new((self.make)(self.files.parts(&contents)?)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = made;
        *held = contents;
        Ok(true)
    }
}

impl Files {
    fn read(&self) -> Result<Contents, TlsError> {
        let own = match &self.own {
            Some(own) => Some((read(&own.cert)?, read(&own.key)?)),
            None => None,
        };
        Ok(Contents { own, ca: self.ca.as_deref().map(read).transpose()? })
    }

    fn parts(&self, contents: &Contents) -> Result<Parts, TlsError> {
        let own = match (&self.own, &contents.own) {
            (Some(files), Some((cert, key))) => {
                let chain = certificates(&files.cert, cert)?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|source| pem_error(&files.key, "a private key", source))?;
                check_pair(files, &chain, &key)?;
                Some((chain, key))
            }
            _ => None,
        };
        let ca = match (&self.ca, &contents.ca) {
            (Some(path), Some(pem)) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(path, pem)? {
                    roots.add(authority).map_err(unusable)?;
                }
                Some(roots)
            }
            _ => None,
        };
        Ok(Parts { own, ca })
    }
}

pub(crate) fn unusable(error: impl std::error::Error + Send + Sync + 'static) -> TlsError {
    TlsError::Unusable(Box::new(error))
}

/// The one provider of cryptography. Given by name everywhere, so that nothing depends on what
/// else is linked into a program.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn check_pair(
    files: &CertificateFiles,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> Result<(), TlsError> {
    use rustls::sign::CertifiedKey;
    match CertifiedKey::from_der(chain.to_vec(), key.clone_key(), &provider()) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(TlsError::Mismatch { cert: files.cert.clone(), key: files.key.clone() })
        }
        Err(error) => Err(unusable(error)),
    }
}

/// At least one.
fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |source| pem_error(path, "a certificate", source);
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(wrong)?;
    if found.is_empty() {
        return Err(wrong(rustls::pki_types::pem::Error::NoItemsFound));
    }
    Ok(found)
}

fn pem_error(
    path: &Path,
    expected: &'static str,
    source: rustls::pki_types::pem::Error,
) -> TlsError {
    TlsError::Pem { path: path.to_owned(), expected, source }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB")));
    }
    Ok(bytes)
}

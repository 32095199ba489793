//! The secret that the servers of one cluster share: one a line in a file, so that two can be in
//! use while one is exchanged for the other.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use subtle::{Choice, ConstantTimeEq};
use wardlink_tls::Reload;

/// A shorter secret could be guessed: 16 random letters and digits are 95 bits.
pub const SECRET_MIN_BYTES: usize = 16;
/// What a secret may have: 1,024 bits in hexadecimal, twice.
pub const SECRET_MAX_BYTES: usize = 512;
/// Secrets at a time: the old one, the new one, and as many again for two exchanges that overlap.
const SECRETS_MAX: usize = 4;
/// What the file may have: the secrets, their line ends, and room for blank lines.
const FILE_MAX_BYTES: u64 = 4 * 1024;

/// One secret: visible ASCII. Never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, for the peer.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The secrets of one file, in its order. At least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secrets(Vec<Secret>);

impl Secrets {
    /// Reads the text of a file: a secret a line; blank lines and spaces around one do not count.
    ///
    /// # Errors
    /// A line is no secret, or there is none, or too many.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty());
        let mut secrets = Vec::new();
        for (i, line) in lines {
            if !(SECRET_MIN_BYTES..=SECRET_MAX_BYTES).contains(&line.len()) {
                return Err(SecretError::Length { line: i + 1 });
            }
            if !line.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(SecretError::Character { line: i + 1 });
            }
            secrets.push(Secret(line.to_owned()));
        }
        match secrets.len() {
            0 => Err(SecretError::None),
            1..=SECRETS_MAX => Ok(Self(secrets)),
            _ => Err(SecretError::Many),
        }
    }

    /// Reads a file. Blocks on the file system.
    ///
    /// # Errors
    /// It cannot be read, or does not hold secrets.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let failed = |source| SecretError::Read { path: path.to_owned(), source };
        let mut text = String::new();
        let file = File::open(path).map_err(failed)?;
        file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > FILE_MAX_BYTES {
            return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 4 KiB")));
        }
        Self::parse(&text)
    }

    /// The secret for attempt `n` to be let in, from 0: the first, and after a refusal the next,
    /// for the peer may have exchanged its own earlier or later.
    pub fn for_attempt(&self, n: usize) -> &Secret {
        &self.0[n % self.0.len()]
    }

    /// Whether `shown` is one of them. Takes the same time whatever the secrets are, their length
    /// included, and whichever one it is.
    pub fn admit(&self, shown: &[u8]) -> bool {
        // What cannot be a secret says nothing of those there are; without zero bytes no two
        // become equal by being filled up with them.
        if shown.len() > SECRET_MAX_BYTES || !shown.iter().all(u8::is_ascii_graphic) {
            return false;
        }
        let shown = filled(shown);
        let mut admitted = Choice::from(0);
        for secret in &self.0 {
            admitted |= filled(secret.0.as_bytes()).ct_eq(&shown);
        }
        admitted.into()
    }
}

/// At most [`SECRET_MAX_BYTES`], filled up with zeros.
fn filled(bytes: &[u8]) -> [u8; SECRET_MAX_BYTES] {
    let mut filled = [0; SECRET_MAX_BYTES];
    filled[..bytes.len()].copy_from_slice(bytes);
    filled
}

/// A file of secrets, read again when it changes. Clones share it.
#[derive(Debug, Clone)]
pub struct SecretFile {
    path: PathBuf,
    held: Arc<RwLock<Secrets>>,
}

impl SecretFile {
    /// Reads the file. Blocks on the file system.
    ///
    /// # Errors
    /// As [`Secrets::read`].
    pub fn open(path: PathBuf) -> Result<Self, SecretError> {
        let held = Arc::new(RwLock::new(Secrets::read(&path)?));
        Ok(Self { path, held })
    }

    /// As [`Secrets::admit`], with the secrets that were read last.
    pub fn admit(&self, shown: &[u8]) -> bool {
        self.held.read().unwrap_or_else(PoisonError::into_inner).admit(shown)
    }
}

impl Reload for SecretFile {
    type Error = SecretError;

    fn reload(&self) -> Result<bool, SecretError> {
        let read = Secrets::read(&self.path)?;
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let changed = *held != read;
        *held = read;
        Ok(changed)
    }
}

/// Why a file is none of secrets. Never holds what is in it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A secret is too short or too long.
    #[error("line {line}: a secret has {SECRET_MIN_BYTES} to {SECRET_MAX_BYTES} bytes")]
    Length {
        /// Which line, from 1.
        line: usize,
    },
    /// A secret has a byte that it may not have.
    #[error("line {line}: a secret has visible ASCII characters only, and no spaces")]
    Character {
        /// Which line, from 1.
        line: usize,
    },
    /// No secret.
    #[error("no secret in the file; one a line is expected")]
    None,
    /// Too many.
    #[error("more than {SECRETS_MAX} secrets in the file")]
    Many,
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "old-secret-of-16";
    const NEW: &str = "new-secret-of-more-than-16";

    #[test]
    fn each_line_is_a_secret() {
        let secrets = Secrets::parse(&format!("{OLD}\r\n\n  {NEW}  \n")).unwrap();
        assert!(secrets.admit(OLD.as_bytes()) && secrets.admit(NEW.as_bytes()));
        for other in ["", "old-secret-of-1", "old-secret-of-16\0", "old-secret-of-167"] {
            assert!(!secrets.admit(other.as_bytes()), "{other:?}");
        }
        let tries: Vec<_> = (0..3).map(|n| secrets.for_attempt(n).expose()).collect();
        assert_eq!(tries, [OLD, NEW, OLD]);
    }

    #[test]
    fn what_is_longer_than_a_secret_may_be_is_none_though_it_begins_like_one() {
        let longest = "x".repeat(SECRET_MAX_BYTES);
        let secrets = Secrets::parse(&longest).unwrap();
        assert!(secrets.admit(longest.as_bytes()));
        assert!(!secrets.admit(format!("{longest}x").as_bytes()));
    }

    #[test]
    fn a_bad_file_is_refused_and_its_text_is_not_told() {
        for (text, expected) in [
            ("", "no secret in the file"),
            (" \n\n", "no secret in the file"),
            ("\nshort", "line 2: a secret has 16 to 512 bytes"),
            (&"x".repeat(513), "line 1: a secret has 16 to 512 bytes"),
            ("two words are not one secret", "visible ASCII"),
            ("sixteen-bytes-ü-", "visible ASCII"),
            (&format!("{OLD}\n").repeat(5), "more than 4"),
        ] {
            let error = Secrets::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("short") && !error.contains("words"), "{error}");
        }
        assert_eq!(format!("{:?}", Secrets::parse(OLD).unwrap()), "Secrets([Secret])");
    }

    #[test]
    fn a_file_is_read_again_and_a_bad_one_keeps_the_secrets() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, OLD).unwrap();
        let file = SecretFile::open(path.clone()).unwrap();
        assert!(!file.reload().unwrap());
        std::fs::write(&path, "").unwrap();
        assert!(file.reload().is_err());
        assert!(file.admit(OLD.as_bytes()));
        std::fs::write(&path, format!("{OLD}\n{NEW}")).unwrap();
        assert!(file.reload().unwrap());
        assert!(file.admit(OLD.as_bytes()) && file.admit(NEW.as_bytes()));
        std::fs::write(&path, NEW).unwrap();
        assert!(file.reload().unwrap());
        assert!(!file.admit(OLD.as_bytes()) && file.admit(NEW.as_bytes()));
        std::fs::write(&path, " ".repeat(5_000)).unwrap();
        assert!(file.reload().is_err());
    }
}

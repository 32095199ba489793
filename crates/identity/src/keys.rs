//! The keys that tokens are verified by.
//!
//! Owns which keys may be meant by a token; `file` tells what a key file holds, `jwks` and `pem`
//! read its two formats.

mod file;
mod jwks;
mod pem;

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use jsonwebtoken::{AlgorithmFamily, DecodingKey, DecodingKeyKind};

use crate::algorithm::Algorithm;

pub(crate) use file::KeyFile;
pub(crate) use jwks::secret as jwks_secret;
pub(crate) use pem::{Block, Content};

/// Most keys of a set. A token without `kid` is tried with all of its algorithm: 64 signature
/// checks of about 0.1 ms.
pub const KEYS_MAX: usize = 64;
/// Largest key file: 64 RSA keys of 8,192 bits with their certificates fit.
pub const KEY_FILE_MAX_BYTES: usize = 1024 * 1024;
/// Shortest secret of `HS256`: as long as its hash (RFC 7518, section 3.2).
pub const SECRET_MIN_BYTES: usize = 32;
/// Fewest and most bits of an RSA modulus.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The keys that tokens are verified by, each for one algorithm.
#[derive(Debug)]
pub struct Keys {
    keys: Vec<Key>,
    skipped: Vec<Skipped>,
}

#[derive(Debug)]
pub(crate) struct Key {
    kid: Option<String>,
    pub(crate) algorithm: Algorithm,
    pub(crate) key: DecodingKey,
    pub(crate) print: KeyPrint,
}

/// Tells the keys of a process apart: a hash of name, algorithm and key. It says nothing of the
/// key, and nothing to another version of this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyPrint(u64);

impl KeyPrint {
    fn of(kid: Option<&str>, algorithm: Algorithm, key: &DecodingKey) -> Self {
        let mut hasher = DefaultHasher::new();
        (kid, algorithm).hash(&mut hasher);
        match key.kind() {
            DecodingKeyKind::SecretOrDer(bytes) => bytes.hash(&mut hasher),
            DecodingKeyKind::RsaModulusExponent { n, e } => (n, e).hash(&mut hasher),
        }
        Self(hasher.finish())
    }
}

impl Keys {
    /// Reads a key file. Which of three it is is told from its content:
    ///
    /// - **PEM**, if `-----BEGIN` is in it: one or more public keys (`PUBLIC KEY`, or `RSA PUBLIC
    ///   KEY`) of RSA from 2,048 bits, P-256 or Ed25519. They have no names: a token's `kid` says
    ///   nothing. Two in one file make a rotation.
    /// - **JWKS** or a single JWK (RFC 7517), if it begins with `{`: `RSA`, `EC` on P-256, `OKP`
    ///   on Ed25519, `oct`. What cannot verify tokens here is left out; [`Keys::skipped`] tells.
    /// - **A secret** for `HS256` otherwise, at least 32 bytes. In a file of text without control
    ///   characters the line end at its end is not part of it; of any other file every byte is.
    ///
    /// Never taken for a secret is what is a public key in yet another format (DER, base64 of it,
    /// SSH): whoever has the public key could sign with it.
    ///
    /// # Errors
    /// What the file lacks, without repeating anything of it.
    pub fn from_file(bytes: &[u8]) -> Result<Self, KeyError> {
        match KeyFile::read(bytes)? {
            KeyFile::Pem(blocks) => {
                let keys = blocks.iter().map(Key::from_pem).collect::<Result<_, _>>()?;
                Self::of(keys, Vec::new())
            }
            KeyFile::Json(text) => Self::from_jwks(text),
            KeyFile::Secret(secret) => {
                let key = Key::new(None, Algorithm::Hs256, DecodingKey::from_secret(secret));
                Self::of(vec![key.map_err(|_| KeyError::ShortSecret)?], Vec::new())
            }
        }
    }

    /// Reads a JWKS or a single JWK and nothing else, for one that came from a URL. As
    /// [`Keys::from_file`], but an `oct` key is refused: a secret that a URL tells is none.
    ///
    /// # Errors
    /// What it lacks.
    pub fn from_public_jwks(bytes: &[u8]) -> Result<Self, KeyError> {
        match KeyFile::read(bytes) {
            Ok(KeyFile::Json(text)) => {
                let keys = Self::from_jwks(text)?;
                match keys.keys.iter().any(|key| key.algorithm == Algorithm::Hs256) {
                    true => Err(KeyError::PublishedSecret),
                    false => Ok(keys),
                }
            }
            Err(error @ (KeyError::TooLarge | KeyError::Empty)) => Err(error),
            Ok(_) | Err(_) => Err(KeyError::NoKeySet),
        }
    }

    fn from_jwks(text: &str) -> Result<Self, KeyError> {
        let (keys, skipped) = jwks::read(text)?;
        Self::of(keys, skipped)
    }

    fn of(keys: Vec<Key>, skipped: Vec<Skipped>) -> Result<Self, KeyError> {
        match keys.len() {
            0 => Err(KeyError::NoKey { skipped: skipped.first().copied() }),
            1..=KEYS_MAX => Ok(Self { keys, skipped }),
            _ => Err(KeyError::TooMany),
        }
    }

    /// Keys of a set that cannot verify tokens here; worth a line in the log.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// The algorithm of each key, in the order of the file.
    pub fn algorithms(&self) -> impl Iterator<Item = Algorithm> + '_ {
        self.keys.iter().map(|key| key.algorithm)
    }

    /// Whether the key with this print is one of them.
    pub fn has(&self, print: KeyPrint) -> bool {
        self.keys.iter().any(|key| key.print == print)
    }

    /// The keys that a token with this `kid` may mean; none where it is unknown. Where no key has
    /// a name there is nothing to compare, and all may be meant.
    pub(crate) fn named(&self, kid: Option<&str>) -> impl Iterator<Item = &Key> {
        let kid = kid.filter(|_| self.keys.iter().any(|key| key.kid.is_some()));
        self.keys.iter().filter(move |key| kid.is_none() || key.kid.as_deref() == kid)
    }
}

impl Key {
    /// A key, if it is of the size that its algorithm needs; else what is wrong with it.
    fn new(
        kid: Option<String>,
        algorithm: Algorithm,
        key: DecodingKey,
    ) -> Result<Self, &'static str> {
        let bytes = key.try_get_as_bytes().map_or(0, <[u8]>::len);
        let problem = match (key.family(), key.kind()) {
            (AlgorithmFamily::Hmac, _) => (bytes < SECRET_MIN_BYTES).then_some("secret too short"),
            (AlgorithmFamily::Rsa, DecodingKeyKind::RsaModulusExponent { n, .. }) => {
                (!RSA_BITS.contains(&bits(n))).then_some("RSA modulus not of 2048 to 8192 bits")
            }
            // An uncompressed point; that it is on the curve is seen at a signature.
            (AlgorithmFamily::Ec, _) => (bytes != 65).then_some("no point of P-256"),
            (AlgorithmFamily::Ed, _) => (bytes != 32).then_some("no key of Ed25519"),
            (AlgorithmFamily::Rsa, _) => Some("RSA key without a modulus"),
        };
        let print = KeyPrint::of(kid.as_deref(), algorithm, &key);
        problem.map_or(Ok(Self { kid, algorithm, key, print }), Err)
    }

    fn from_pem(block: &Block<'_>) -> Result<Self, KeyError> {
        match block.content() {
            Content::Public => {}
            Content::Private => return Err(KeyError::Private),
            Content::Other => return Err(KeyError::Pem),
        }
        let (algorithm, key) = block.public_key().ok_or(KeyError::Pem)?;
        Self::new(None, algorithm, key).map_err(|_| KeyError::Pem)
    }
}

fn bits(number: &[u8]) -> usize {
    match number.iter().position(|byte| *byte != 0) {
        Some(first) => {
            (number.len() - first) * 8 - number.get(first).map_or(0, |b| b.leading_zeros() as usize)
        }
        None => 0,
    }
}

/// A key of a set that cannot verify tokens here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skipped {
    /// Its place in the set, from 0.
    pub index: usize,
    /// Why.
    pub why: &'static str,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {} of the set: {}", self.index, self.why)
    }
}

/// Why a key file cannot be used. Repeats nothing of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is empty.
    #[error("key file is empty")]
    Empty,
    /// It is larger than [`KEY_FILE_MAX_BYTES`].
    #[error("key file is larger than {KEY_FILE_MAX_BYTES} bytes")]
    TooLarge,
    /// Its secret is shorter than [`SECRET_MIN_BYTES`].
    #[error("a secret must have at least {SECRET_MIN_BYTES} bytes")]
    ShortSecret,
    /// It is a key in a format that is not read, and must not be taken for a secret.
    #[error("a key must be PEM or JWKS, not DER, bare base64 or SSH")]
    Format,
    /// A PEM block is no key of a kind that is known here.
    #[error(
        "PEM must hold keys of RSA (2048 to 8192 bits), P-256 or Ed25519; a certificate's key is \
         taken out with `openssl x509 -pubkey -noout`"
    )]
    Pem,
    /// A private key where the public one is due.
    #[error("a private key; expected its public key (`openssl pkey -pubout`)")]
    Private,
    /// A public key where the private one is due.
    #[error("a public key; expected the private key or the secret that signs")]
    Public,
    /// The private key is not one that can sign here.
    #[error("expected an unencrypted private key in PKCS #8 (`openssl pkcs8 -topk8 -nocrypt`)")]
    PrivateFormat,
    /// It is no JWKS.
    #[error("no JWKS: expected an object with a list `keys`, or one key")]
    NoKeySet,
    /// It holds no key that can verify tokens.
    #[error("no key that can be used{}", because(.skipped))]
    NoKey {
        /// The first that was left out.
        skipped: Option<Skipped>,
    },
    /// It holds more than [`KEYS_MAX`] keys.
    #[error("more than {KEYS_MAX} keys")]
    TooMany,
    /// A secret in a key set that a URL tells.
    #[error("a published key set must not hold secrets (kty oct)")]
    PublishedSecret,
}

fn because(skipped: &Option<Skipped>) -> String {
    skipped.map(|skipped| format!(" ({skipped})")).unwrap_or_default()
}

//! Tokens made: for `wardlink token`, for tests and for trying a deployment.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};
use wardlink_wire::EndId;

use crate::algorithm::Algorithm;
use crate::claims::Claims;
use crate::keys::{self, Content, KeyError, KeyFile};
use crate::rules::ClaimNames;
use crate::send_for::SendFor;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its holder's end.
    pub end: EndId,
    /// How long it counts.
    pub ttl: Duration,
    /// `iss`.
    pub issuer: Option<String>,
    /// `aud`.
    pub audiences: Vec<String>,
    /// For whom else its holder may send.
    pub send_for: Vec<SendFor>,
}

impl Grant {
    /// A token for an end, without issuer and audience.
    pub fn new(end: EndId, ttl: Duration) -> Self {
        Self { end, ttl, issuer: None, audiences: Vec::new(), send_for: Vec::new() }
    }

    fn claims(&self, names: &ClaimNames, now: u64) -> Claims {
        let mut claims = Claims::new();
        let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        let parts = self.end.as_str().splitn(3, '-');
        for (name, part) in
            [&names.hospital_code, &names.hosarea_code, &names.uid].iter().zip(parts)
        {
            put(name, part.into());
        }
        if let Some(issuer) = &self.issuer {
            put("iss", issuer.as_str().into());
        }
        match self.audiences.as_slice() {
            [] => {}
            [one] => drop(put("aud", one.as_str().into())),
            several => drop(put("aud", json!(several))),
        }
        if !self.send_for.is_empty() {
            let entries: Vec<String> = self.send_for.iter().map(SendFor::to_string).collect();
            put(&names.send_for, json!(entries));
        }
        put("iat", now.into());
        put("exp", now.saturating_add(self.ttl.as_secs()).into());
        claims
    }
}

/// Signs tokens with one key.
pub struct Signer {
    algorithm: Algorithm,
    kid: Option<String>,
    key: EncodingKey,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl Signer {
    /// Reads a key file: a private key in PEM (PKCS #8, or PKCS #1 for RSA), a secret, or a JWKS
    /// with a secret (`oct`). What is what is told as [`Keys::from_file`](crate::Keys::from_file)
    /// does. `kid` is named in the tokens, and chooses among the secrets of a JWKS.
    ///
    /// # Errors
    /// What the file lacks, without repeating anything of it.
    pub fn from_file(bytes: &[u8], kid: Option<&str>) -> Result<Self, KeyError> {
        let kid_owned = kid.map(str::to_owned);
        let signer = match KeyFile::read(bytes)? {
            KeyFile::Secret(secret) => Self::of_secret(kid_owned, secret),
            KeyFile::Json(text) => {
                let (name, secret) = keys::jwks_secret(text, kid)?;
                Self::of_secret(name, &secret)
            }
            KeyFile::Pem(blocks) => {
                // Some tools write a key's parameters before it.
                let found = blocks.iter().find(|it| matches!(it.content(), Content::Private));
                let block = found.ok_or(KeyError::Public)?;
                let (algorithm, key) = block.private_key().ok_or(KeyError::PrivateFormat)?;
                Self { algorithm, kid: kid_owned, key }
            }
        };
        // Whether it is a key at all shows at its first signature.
        signer.sign_claims(&Claims::new()).map(|_| signer)
    }

    fn of_secret(kid: Option<String>, secret: &[u8]) -> Self {
        Self { algorithm: Algorithm::Hs256, kid, key: EncodingKey::from_secret(secret) }
    }

    /// The algorithm of its key.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// A token that counts from `now`, in seconds since 1970.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn sign(&self, grant: &Grant, names: &ClaimNames, now: u64) -> Result<String, KeyError> {
        self.sign_claims(&grant.claims(names, now))
    }

    fn sign_claims(&self, claims: &Claims) -> Result<String, KeyError> {
        let mut header = jsonwebtoken::Header::new(self.algorithm.library());
        header.kid.clone_from(&self.kid);
        jsonwebtoken::encode(&header, claims, &self.key).map_err(|_| KeyError::PrivateFormat)
    }
}

/// A fresh secret for `HS256` from 32 random bytes: one line of text, as a key file holds it. The
/// key is the text's bytes, not what the text decodes to.
pub fn new_secret(random: [u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode(random) + "\n"
}

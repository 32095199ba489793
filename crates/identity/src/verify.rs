//! From a token to an identity.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::algorithm::Algorithm;
use crate::claims::{self, Claims};
use crate::error::TokenError;
use crate::keys::{Key, KeyPrint, Keys};
use crate::rules::{Identity, Rules};

/// Largest token. Those with a person's groups and roles take 2 KiB, and servers on the way
/// pass headers of 8 KiB.
pub const TOKEN_MAX_BYTES: usize = 8 * 1024;

/// Verifies tokens by keys and rules. Cloning copies pointers, and a clone goes on with the keys
/// that it has: who reads keys again makes a new one by [`Verifier::with_keys`].
#[derive(Debug, Clone)]
pub struct Verifier {
    keys: Arc<Keys>,
    rules: Arc<Rules>,
}

impl Verifier {
    /// Verifies by these keys and rules.
    pub fn new(keys: Keys, rules: Rules) -> Self {
        Self { keys: Arc::new(keys), rules: Arc::new(rules) }
    }

    /// The same rules with other keys.
    pub fn with_keys(&self, keys: Keys) -> Self {
        Self { keys: Arc::new(keys), rules: self.rules.clone() }
    }

    /// The rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Who the holder of `token` is at `now`, in seconds since 1970.
    ///
    /// Takes as long as one signature check for each key that may be meant: one with a `kid`,
    /// without it all keys of the token's algorithm, at most [`KEYS_MAX`](crate::KEYS_MAX).
    ///
    /// # Errors
    /// Why it does not count. Nothing that the claims say is told before the signature is good.
    pub fn verify(&self, token: &str, now: u64) -> Result<Identity, TokenError> {
        self.verify_by(token, now).map(|(identity, _)| identity)
    }

    /// [`Verifier::verify`], and the key that made the signature: while a connection lasts, its
    /// holder counts only as long as that key does ([`Verifier::has`]).
    ///
    /// # Errors
    /// As [`Verifier::verify`].
    pub fn verify_by(&self, token: &str, now: u64) -> Result<(Identity, KeyPrint), TokenError> {
        if token.is_empty() {
            return Err(TokenError::Missing);
        }
        if token.len() > TOKEN_MAX_BYTES {
            return Err(TokenError::TooLarge);
        }
        let header = Header::read(token)?;
        // What must be understood and is not known here (RFC 7515, section 4.1.11).
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let algorithm: Algorithm = header.alg.parse().map_err(|_| TokenError::Algorithm)?;
        let (claims, print) = self.signed(token, algorithm, header.kid.as_deref())?;
        Ok((claims::identity(&claims, &self.rules, now)?, print))
    }

    /// Whether the key with this print is among the keys.
    pub fn has(&self, print: KeyPrint) -> bool {
        self.keys.has(print)
    }

    /// The claims, if the signature is by a key that may be meant.
    fn signed(
        &self,
        token: &str,
        algorithm: Algorithm,
        kid: Option<&str>,
    ) -> Result<(Claims, KeyPrint), TokenError> {
        let named: Vec<&Key> = self.keys.named(kid).collect();
        if named.is_empty() {
            return Err(TokenError::UnknownKid);
        }
        let mut refused = TokenError::Algorithm;
        for key in named.into_iter().filter(|key| key.algorithm == algorithm) {
            match jsonwebtoken::decode::<Claims>(token, &key.key, &signature_only(algorithm)) {
                Ok(token) => return Ok((token.claims, key.print)),
                Err(error) => match error.kind() {
                    ErrorKind::InvalidSignature => refused = TokenError::Signature,
                    _ => return Err(TokenError::Malformed),
                },
            }
        }
        Err(refused)
    }
}

/// The claims are read by [`claims`], by the time and the rules that are handed in.
fn signature_only(algorithm: Algorithm) -> jsonwebtoken::Validation {
    let mut validation = jsonwebtoken::Validation::new(algorithm.library());
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

/// What of a token's header decides by which key it is verified.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

impl Header {
    fn read(token: &str) -> Result<Self, TokenError> {
        let mut parts = token.split('.');
        let (Some(header), Some(_), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed);
        };
        let json = URL_SAFE_NO_PAD.decode(header).map_err(|_| TokenError::Malformed)?;
        // serde would take an array for the fields in their order.
        if json.trim_ascii_start().first() != Some(&b'{') {
            return Err(TokenError::Malformed);
        }
        serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)
    }
}

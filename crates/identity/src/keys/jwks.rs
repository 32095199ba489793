//! Keys in a JWKS (RFC 7517).

use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{DecodingKey, DecodingKeyKind};
use serde_json::Value;

use super::{KEYS_MAX, Key, KeyError, SECRET_MIN_BYTES, Skipped};
use crate::algorithm::Algorithm;

/// Most entries of a set, usable or not.
const ENTRIES_MAX: usize = 4 * KEYS_MAX;

/// The keys of a set that can verify tokens, and the others.
pub(super) fn read(text: &str) -> Result<(Vec<Key>, Vec<Skipped>), KeyError> {
    let mut keys = Vec::new();
    let mut skipped = Vec::new();
    for (index, entry) in entries(text)?.into_iter().enumerate() {
        match key(entry) {
            Ok(key) => keys.push(key),
            Err(why) => skipped.push(Skipped { index, why }),
        }
    }
    Ok((keys, skipped))
}

/// The one secret of a set that signs, with its name: the one with this `kid`, or the only one.
pub(crate) fn secret(text: &str, kid: Option<&str>) -> Result<(Option<String>, Vec<u8>), KeyError> {
    let secrets = entries(text)?.into_iter().filter_map(|entry| {
        let jwk: Jwk = serde_json::from_value(entry).ok()?;
        let AlgorithmParameters::OctetKey(_) = jwk.algorithm else { return None };
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        let name = jwk.common.key_id;
        let meant = kid.is_none() || kid == name.as_deref();
        meant.then(|| (name, key.try_get_as_bytes().unwrap_or_default().to_vec()))
    });
    let mut secrets: Vec<_> = secrets.collect();
    match (secrets.pop(), secrets.pop()) {
        (Some((_, secret)), None) if secret.len() < SECRET_MIN_BYTES => Err(KeyError::ShortSecret),
        (Some(secret), None) => Ok(secret),
        (None, _) => Err(KeyError::NoKey { skipped: None }),
        (Some(_), Some(_)) => Err(KeyError::TooMany),
    }
}

fn entries(text: &str) -> Result<Vec<Value>, KeyError> {
    let mut value: Value = serde_json::from_str(text).map_err(|_| KeyError::NoKeySet)?;
    let entries = match value.get_mut("keys").map(Value::take) {
        Some(Value::Array(entries)) => entries,
        None if value.get("kty").is_some() => vec![value],
        Some(_) | None => return Err(KeyError::NoKeySet),
    };
    if entries.len() > ENTRIES_MAX { Err(KeyError::TooMany) } else { Ok(entries) }
}

/// An entry as a key, or why it is none for tokens here.
fn key(entry: Value) -> Result<Key, &'static str> {
    let jwk: Jwk = serde_json::from_value(entry).map_err(|_| "ill formed")?;
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return Err("not for signatures (use)");
    }
    if jwk.common.key_operations.as_ref().is_some_and(|all| !all.contains(&KeyOperations::Verify)) {
        return Err("not for signatures (key_ops)");
    }
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::Rs256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(point) if point.curve == EllipticCurve::P256 => {
            (Algorithm::Es256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDsa, KeyAlgorithm::EdDSA)
        }
        AlgorithmParameters::OctetKey(_) => (Algorithm::Hs256, KeyAlgorithm::HS256),
        _ => return Err("kind of key not known here (kty, crv)"),
    };
    if jwk.common.key_algorithm.is_some_and(|alg| alg != named) {
        return Err("algorithm not known here (alg)");
    }
    let key = DecodingKey::from_jwk(&jwk).map_err(|_| "ill formed")?;
    let key = match key.kind() {
        // Some issuers write numbers with a sign byte, which the check of a signature refuses.
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            DecodingKey::from_rsa_raw_components(number(n), number(e))
        }
        DecodingKeyKind::SecretOrDer(_) => key,
    };
    Key::new(jwk.common.key_id, algorithm, key)
}

/// A number without the zeros before its first digit.
fn number(bytes: &[u8]) -> &[u8] {
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    bytes.get(first..).unwrap_or_default()
}

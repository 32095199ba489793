//! Tokens of all kinds, good ones and others, made as an issuer or a foe makes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::keys::Pair;

/// The issuer and the audience of the tokens, where a BS wants one.
pub(crate) const ISSUER: &str = "https://id.ward.example";
pub(crate) const AUDIENCE: &str = "wardlink";

/// Now, in seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Waits for a second of the wall clock, which is the subject of who calls it.
pub(crate) async fn until(second: u64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    tokio::time::sleep(Duration::from_secs(second).saturating_sub(now)).await;
}

/// Signs with one key, under a name where it has one.
#[derive(Clone)]
pub(crate) struct Mint {
    algorithm: Algorithm,
    kid: Option<String>,
    key: EncodingKey,
}

impl Mint {
    pub(crate) fn rsa(pair: &Pair, kid: Option<&str>) -> Self {
        let key = EncodingKey::from_rsa_pem(pair.private_pem.as_bytes()).expect("key");
        Self { algorithm: Algorithm::RS256, kid: kid.map(str::to_owned), key }
    }

    pub(crate) fn ec(pair: &Pair, kid: Option<&str>) -> Self {
        let key = EncodingKey::from_ec_pem(pair.private_pem.as_bytes()).expect("key");
        Self { algorithm: Algorithm::ES256, kid: kid.map(str::to_owned), key }
    }

    /// A token that says just this.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid.clone_from(&self.kid);
        encode(&header, claims, &self.key).expect("token")
    }

    /// A good token of an end until `exp`.
    pub(crate) fn token(&self, end: &str, exp: u64) -> String {
        self.sign(&claims(end, exp))
    }

    /// A good token of an end for longer than any test.
    pub(crate) fn lasting(&self, end: &str) -> String {
        self.token(end, now() + 3_600)
    }
}

/// Claims of an end until `exp`; a BS without issuer and audience takes them.
pub(crate) fn claims(end: &str, exp: u64) -> Value {
    let mut parts = end.splitn(3, '-');
    let mut part = || parts.next().expect("an end");
    json!({ "hospitalCode": part(), "hosareaCode": part(), "uid": part(), "exp": exp })
}

/// These claims with others in their place; a null removes one.
pub(crate) fn but(claims: &Value, changes: Value) -> Value {
    let mut changed = claims.clone();
    for (name, value) in changes.as_object().expect("object") {
        match value {
            Value::Null => drop(changed.as_object_mut().expect("object").remove(name)),
            value => changed[name] = value.clone(),
        }
    }
    changed
}

//! Keys made at each run, and tokens made by hand, as a foe would.

#![allow(dead_code, reason = "each test program uses a part")]

use std::sync::OnceLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;
use jsonwebtoken::jwk::Jwk;
use serde_json::{Value, json};

/// The time of all tests, in seconds since 1970.
pub(crate) const NOW: u64 = 1_800_000_000;
/// A secret of 32 bytes.
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A key pair as files hold it.
pub(crate) struct Pair {
    pub(crate) private_pem: String,
    pub(crate) public_pem: String,
    pub(crate) public_der: Vec<u8>,
    alg: jsonwebtoken::Algorithm,
}

impl Pair {
    fn new(alg: jsonwebtoken::Algorithm, private_der: &[u8], public_der: &[u8]) -> Self {
        Self {
            private_pem: pem("PRIVATE KEY", private_der),
            public_pem: pem("PUBLIC KEY", public_der),
            public_der: public_der.to_vec(),
            alg,
        }
    }

    /// The public key as an entry of a JWKS.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        let pem = self.private_pem.as_bytes();
        let key = match self.alg {
            jsonwebtoken::Algorithm::RS256 => EncodingKey::from_rsa_pem(pem),
            jsonwebtoken::Algorithm::EdDSA => EncodingKey::from_ed_pem(pem),
            _ => EncodingKey::from_ec_pem(pem),
        };
        let jwk = Jwk::from_encoding_key(&key.expect("key"), self.alg).expect("jwk");
        let mut jwk = serde_json::to_value(jwk).expect("json");
        jwk["kid"] = kid.into();
        jwk
    }
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let lines: Vec<&str> =
        base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("line")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

pub(crate) fn rsa_of(size: KeySize) -> Pair {
    let pair = aws_lc_rs::rsa::KeyPair::generate(size).expect("key");
    let private: Pkcs8V1Der<'_> = pair.as_der().expect("private");
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("public");
    Pair::new(jsonwebtoken::Algorithm::RS256, private.as_ref(), public.as_ref())
}

/// One RSA key for all tests of a program, since it takes long to make.
pub(crate) fn rsa() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(|| rsa_of(KeySize::Rsa2048))
}

fn ec_on(alg: jsonwebtoken::Algorithm, curve: &'static EcdsaSigningAlgorithm) -> Pair {
    let private = EcdsaKeyPair::generate_pkcs8(curve, &SystemRandom::new()).expect("key");
    let pair = EcdsaKeyPair::from_pkcs8(curve, private.as_ref()).expect("pair");
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("public");
    Pair::new(alg, private.as_ref(), public.as_ref())
}

pub(crate) fn ec() -> Pair {
    ec_on(jsonwebtoken::Algorithm::ES256, &ECDSA_P256_SHA256_FIXED_SIGNING)
}

/// A key on a curve that does not count.
pub(crate) fn p384() -> Pair {
    ec_on(jsonwebtoken::Algorithm::ES384, &ECDSA_P384_SHA384_FIXED_SIGNING)
}

pub(crate) fn ed() -> Pair {
    let private = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).expect("key");
    let pair = Ed25519KeyPair::from_pkcs8(private.as_ref()).expect("pair");
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("public");
    Pair::new(jsonwebtoken::Algorithm::EdDSA, private.as_ref(), public.as_ref())
}

pub(crate) fn jwks(keys: &[Value]) -> Vec<u8> {
    serde_json::to_vec(&json!({ "keys": keys })).expect("json")
}

pub(crate) fn oct(kid: &str, secret: &[u8]) -> Value {
    json!({ "kty": "oct", "kid": kid, "k": URL_SAFE_NO_PAD.encode(secret) })
}

/// Claims that count.
pub(crate) fn claims() -> Value {
    json!({ "hospitalCode": "H1", "hosareaCode": "A2", "uid": "u7", "exp": NOW + 60 })
}

/// Claims that count, but for these.
pub(crate) fn claims_with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().expect("object") {
        match value {
            Value::Null => drop(claims.as_object_mut().expect("object").remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

pub(crate) fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

/// A token of any header and claims, signed with HMAC by any bytes.
pub(crate) fn hs256(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let key = EncodingKey::from_secret(secret);
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), &key, jsonwebtoken::Algorithm::HS256);
    format!("{message}.{}", signature.expect("signature"))
}

/// A token of these claims by [`SECRET`].
pub(crate) fn signed(claims: &Value) -> String {
    hs256(&json!({ "alg": "HS256", "typ": "JWT" }), claims, SECRET.as_bytes())
}

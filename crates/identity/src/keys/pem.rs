//! Keys in PEM (RFC 7468).

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{DecodingKey, EncodingKey};

use crate::algorithm::Algorithm;

/// What a block begins with.
pub(crate) const BEGIN: &str = "-----BEGIN";

/// One block, from its first dash to where the next begins.
pub(crate) struct Block<'a> {
    label: &'a str,
    text: &'a str,
}

/// What a block says that it holds.
pub(crate) enum Content {
    Public,
    Private,
    /// A certificate, say, or a key's parameters.
    Other,
}

/// The blocks of a text; `None` where a label does not end. Text between them is ignored.
pub(crate) fn blocks(text: &str) -> Option<Vec<Block<'_>>> {
    let starts: Vec<usize> = text.match_indices(BEGIN).map(|(start, _)| start).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let blocks = starts.iter().zip(ends).map(|(start, end)| {
        let text = text.get(*start..end)?;
        let (label, _) = text.get(BEGIN.len()..)?.split_once("-----")?;
        Some(Block { label: label.trim(), text })
    });
    blocks.collect()
}

impl Block<'_> {
    pub(crate) fn content(&self) -> Content {
        match self.label {
            "PUBLIC KEY" | "RSA PUBLIC KEY" => Content::Public,
            label if label.ends_with("PRIVATE KEY") => Content::Private,
            _ => Content::Other,
        }
    }

    pub(crate) fn public_key(&self) -> Option<(Algorithm, DecodingKey)> {
        let pem = self.text.as_bytes();
        if let Ok(key) = DecodingKey::from_ec_pem(pem) {
            return Some((Algorithm::Es256, key));
        }
        if let Ok(key) = DecodingKey::from_ed_pem(pem) {
            return Some((Algorithm::EdDsa, key));
        }
        // By its numbers, so that its size can be told.
        let key = DecodingKey::from_rsa_pem(pem).ok()?;
        let jwk = Jwk::from_decoding_key(&key, None).ok()?;
        let AlgorithmParameters::RSA(_) = &jwk.algorithm else { return None };
        DecodingKey::from_jwk(&jwk).ok().map(|key| (Algorithm::Rs256, key))
    }

    pub(crate) fn private_key(&self) -> Option<(Algorithm, EncodingKey)> {
        let pem = self.text.as_bytes();
        let ec = EncodingKey::from_ec_pem(pem).map(|key| (Algorithm::Es256, key));
        let ed = || EncodingKey::from_ed_pem(pem).map(|key| (Algorithm::EdDsa, key));
        let rsa = || EncodingKey::from_rsa_pem(pem).map(|key| (Algorithm::Rs256, key));
        ec.or_else(|_| ed()).or_else(|_| rsa()).ok()
    }
}

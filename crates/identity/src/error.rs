//! Why a token is refused.

use std::fmt;

use wardlink_wire::IdError;

use crate::send_for::SendForError;
use crate::verify::TOKEN_MAX_BYTES;

/// Why a token is refused. Its text is for whoever makes the tokens: it repeats nothing of the
/// token, so it may be shown to the terminal and logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is none.
    #[error("no token")]
    Missing,
    /// It is larger than [`TOKEN_MAX_BYTES`].
    #[error("token is larger than {TOKEN_MAX_BYTES} bytes")]
    TooLarge,
    /// It is no signed JWT.
    #[error("token is no signed JWT (header.claims.signature)")]
    Malformed,
    /// `alg` is none of the four, there is no key for it, or the named key is for another.
    #[error("alg must be HS256, RS256, ES256 or EdDSA, and that of the key that is meant")]
    Algorithm,
    /// `kid` names no key. After a rotation it may be in a key set that was not read yet.
    #[error("kid names no key known here")]
    UnknownKid,
    /// No key that may be meant has made the signature.
    #[error("signature is by no key known here")]
    Signature,
    /// `iss` is missing or another one than that of the rules.
    #[error("claim iss is not the issuer that is trusted here")]
    Issuer,
    /// `aud` names another audience, or the rules name one and the token none.
    #[error("claim aud does not name an audience that is served here")]
    Audience,
    /// `exp` has passed.
    #[error("token has expired")]
    Expired,
    /// `nbf` or `iat` is in the future.
    #[error("token is not valid yet")]
    NotYetValid,
    /// A claim is missing or ill formed.
    #[error(transparent)]
    Claim(#[from] ClaimError),
}

impl TokenError {
    /// What [`TokenError::reason`] can be, for metrics.
    pub const REASONS: [&'static str; 11] = [
        "missing",
        "too_large",
        "malformed",
        "algorithm",
        "unknown_kid",
        "signature",
        "issuer",
        "audience",
        "expired",
        "not_yet_valid",
        "claims",
    ];

    /// A word of the closed set [`TokenError::REASONS`], for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            TokenError::Missing => "missing",
            TokenError::TooLarge => "too_large",
            TokenError::Malformed => "malformed",
            TokenError::Algorithm => "algorithm",
            TokenError::UnknownKid => "unknown_kid",
            TokenError::Signature => "signature",
            TokenError::Issuer => "issuer",
            TokenError::Audience => "audience",
            TokenError::Expired => "expired",
            TokenError::NotYetValid => "not_yet_valid",
            TokenError::Claim(_) => "claims",
        }
    }
}

/// A claim that is missing or ill formed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("claim {name} {problem}")]
pub struct ClaimError {
    /// The claim's name, by the rules.
    pub name: Box<str>,
    /// What is wrong with it.
    pub problem: ClaimProblem,
}

impl ClaimError {
    pub(crate) fn new(name: &str, problem: ClaimProblem) -> Self {
        Self { name: name.into(), problem }
    }
}

/// What is wrong with a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimProblem {
    /// It is not there.
    Missing,
    /// It is no string.
    NoString,
    /// It is no number of seconds since 1970.
    NoTime,
    /// It does not satisfy the grammar of its part of an end id.
    Id(IdError),
    /// It is no list of ends that the token may send for.
    SendFor(SendForError),
}

impl fmt::Display for ClaimProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClaimProblem::Missing => f.write_str("is missing"),
            ClaimProblem::NoString => f.write_str("must be a string"),
            ClaimProblem::NoTime => f.write_str("must be a number of seconds since 1970"),
            ClaimProblem::Id(error) => write!(f, "does not make an end id: {error}"),
            ClaimProblem::SendFor(error) => write!(f, "cannot be used: {error}"),
        }
    }
}

//! Who a terminal is: verification keys, tokens, and the claims that make an end id.
//!
//! A [`Verifier`] holds [`Keys`] and [`Rules`] and turns a token (a JWT, RFC 7519) into an
//! [`Identity`], or into a [`TokenError`] that says why not and repeats nothing of the token.
//! [`Signer`] makes such tokens. The crate reads no file and no clock and asks no server: bytes
//! and the time are handed in, so that whoever uses it decides when keys are read again.
//!
//! # What a token needs
//!
//! - One of four algorithms: `HS256`, `RS256`, `ES256`, `EdDSA` (Ed25519). A key serves the one
//!   algorithm that it was made for, so a token cannot choose how its signature is read.
//! - `exp`. `nbf` and `iat` count where they are there, all with the leeway of the rules.
//! - The three claims of the end id, strings that satisfy its grammar.
//! - `iss` and `aud` as the rules say; see [`Rules`].

mod algorithm;
mod claims;
mod error;
mod keys;
mod rules;
mod send_for;
mod sign;
mod verify;

pub use algorithm::Algorithm;
pub use error::{ClaimError, ClaimProblem, TokenError};
pub use keys::{KEY_FILE_MAX_BYTES, KEYS_MAX, KeyError, KeyPrint, Keys, SECRET_MIN_BYTES, Skipped};
pub use rules::{ClaimNames, Identity, Rules};
pub use send_for::{SEND_FOR_MAX, SendFor, SendForError};
pub use sign::{Grant, Signer, new_secret};
pub use verify::{TOKEN_MAX_BYTES, Verifier};

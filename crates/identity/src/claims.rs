//! From the claims of a token whose signature is good to an identity, by the rules.

use serde_json::{Map, Value};
use wardlink_wire::{EndId, IdError};

use crate::error::{ClaimError, ClaimProblem, TokenError};
use crate::rules::{ClaimNames, Identity, Rules};
use crate::send_for::{SEND_FOR_MAX, SendFor, SendForError};

/// The last second of the year 9999: later times are taken for this one, so that whoever
/// calculates with them cannot overflow.
const TIME_MAX: u64 = 253_402_300_799;

pub(crate) type Claims = Map<String, Value>;

/// The holder of these claims at `now`, in seconds since 1970.
pub(crate) fn identity(claims: &Claims, rules: &Rules, now: u64) -> Result<Identity, TokenError> {
    check_issuer(claims, rules)?;
    check_audience(claims, rules)?;
    let leeway = rules.leeway.as_secs();
    let exp = time(claims, "exp")?.ok_or_else(|| ClaimError::new("exp", ClaimProblem::Missing))?;
    let expires_at = exp.saturating_add(leeway).min(TIME_MAX);
    if now >= expires_at {
        return Err(TokenError::Expired);
    }
    for name in ["nbf", "iat"] {
        if time(claims, name)?.is_some_and(|from| from > now.saturating_add(leeway)) {
            return Err(TokenError::NotYetValid);
        }
    }
    let end = end(claims, &rules.claims)?;
    Ok(Identity { end, expires_at, send_for: send_for(claims, &rules.claims.send_for)? })
}

fn check_issuer(claims: &Claims, rules: &Rules) -> Result<(), TokenError> {
    match &rules.issuer {
        Some(issuer) if claims.get("iss").and_then(Value::as_str) != Some(issuer) => {
            Err(TokenError::Issuer)
        }
        _ => Ok(()),
    }
}

fn check_audience(claims: &Claims, rules: &Rules) -> Result<(), TokenError> {
    let served = |name: &Value| {
        name.as_str().is_some_and(|name| rules.audiences.iter().any(|own| own == name))
    };
    let counts = match claims.get("aud") {
        None => rules.audiences.is_empty(),
        Some(Value::Array(names)) => names.iter().any(served),
        Some(name) => served(name),
    };
    if counts { Ok(()) } else { Err(TokenError::Audience) }
}

/// A time in whole seconds. It may have a fraction (RFC 7519, section 2), which is dropped.
fn time(claims: &Claims, name: &str) -> Result<Option<u64>, ClaimError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = match value {
        Value::Number(number) => {
            // A negative one becomes 0, one beyond 64 bits the largest.
            number.as_u64().or_else(|| number.as_f64().map(|seconds| seconds as u64))
        }
        _ => None,
    };
    match seconds {
        Some(seconds) => Ok(Some(seconds.min(TIME_MAX))),
        None => Err(ClaimError::new(name, ClaimProblem::NoTime)),
    }
}

fn end(claims: &Claims, names: &ClaimNames) -> Result<EndId, ClaimError> {
    let hospital_code = text(claims, &names.hospital_code)?;
    let hosarea_code = text(claims, &names.hosarea_code)?;
    let uid = text(claims, &names.uid)?;
    EndId::new(hospital_code, hosarea_code, uid).map_err(|error| {
        let name = match error {
            IdError::HospitalCode => &names.hospital_code,
            IdError::HosareaCode => &names.hosarea_code,
            _ => &names.uid,
        };
        ClaimError::new(name, ClaimProblem::Id(error))
    })
}

fn text<'a>(claims: &'a Claims, name: &str) -> Result<&'a str, ClaimError> {
    let value = claims.get(name).ok_or_else(|| ClaimError::new(name, ClaimProblem::Missing))?;
    value.as_str().ok_or_else(|| ClaimError::new(name, ClaimProblem::NoString))
}

fn send_for(claims: &Claims, name: &str) -> Result<Vec<SendFor>, ClaimError> {
    let entries = match claims.get(name) {
        None => return Ok(Vec::new()),
        Some(Value::Array(entries)) => entries.as_slice(),
        Some(entry) => std::slice::from_ref(entry),
    };
    let read = || {
        if entries.len() > SEND_FOR_MAX {
            return Err(SendForError::TooMany);
        }
        entries.iter().map(|it| it.as_str().ok_or(SendForError::Shape)?.parse()).collect()
    };
    read().map_err(|error| ClaimError::new(name, ClaimProblem::SendFor(error)))
}

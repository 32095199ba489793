//! What a message's body may be: JSON text that every terminal can read.
//!
//! It is checked where it comes in: from a terminal, and from a BS's link, for a BS that is not
//! what it seems must not make others send frames that are none. After that bodies travel as they
//! are.

use serde::de::IgnoredAny;

/// Largest body of a message, in bytes of its JSON text.
pub const BODY_MAX_BYTES: usize = 64 * 1024;
/// How deep the arrays and objects of a body may be nested: what common JSON parsers take. A
/// deeper one could end the program of the terminal that it is for.
pub const BODY_DEPTH_MAX: usize = 128;

/// Why a text is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("not UTF-8")]
    NotUtf8,
    #[error("no JSON value")]
    NotJson,
    #[error("larger than {BODY_MAX_BYTES} bytes")]
    TooLarge,
    #[error("nested deeper than {BODY_DEPTH_MAX}")]
    TooDeep,
}

/// Whether a text that is known to be JSON is a body.
///
/// # Errors
/// Why not.
pub(crate) fn check_json(json: &str) -> Result<(), BodyError> {
    if json.len() > BODY_MAX_BYTES {
        return Err(BodyError::TooLarge);
    }
    if is_deep(json.as_bytes()) { Err(BodyError::TooDeep) } else { Ok(()) }
}

/// Whether these bytes are a body. Nothing is built from them.
///
/// # Errors
/// Why not.
pub(crate) fn check(body: &[u8]) -> Result<(), BodyError> {
    let text = std::str::from_utf8(body).map_err(|_| BodyError::NotUtf8)?;
    // Size and depth first: they bound what the parser does.
    check_json(text)?;
    serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(|_| BodyError::NotJson)
}

/// Whether arrays and objects are nested deeper than a body's may be. For what is no JSON any
/// answer will do.
fn is_deep(json: &[u8]) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => {
                depth += 1;
                if depth > BODY_DEPTH_MAX {
                    return true;
                }
            }
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_json_value_of_bearable_size_and_depth_is_a_body() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
        for good in ["null", "1", r#"{"a":[1,"]]]]",{}]}"#, " 1 ", &nested(128), &text(65_536)] {
            assert_eq!(check(good.as_bytes()), Ok(()), "{good}");
            assert_eq!(check_json(good), Ok(()), "{good}");
        }
        for (bad, error) in [
            ("", BodyError::NotJson),
            ("x", BodyError::NotJson),
            ("1 2", BodyError::NotJson),
            (r#"{"a":1"#, BodyError::NotJson),
            (r#"1,"type":"welcome""#, BodyError::NotJson),
            ("]]", BodyError::NotJson),
            ("\"\u{1}\"", BodyError::NotJson),
            (&nested(129), BodyError::TooDeep),
            (&"[".repeat(60_000), BodyError::TooDeep),
            (&text(65_537), BodyError::TooLarge),
        ] {
            assert_eq!(check(bad.as_bytes()), Err(error), "{bad}");
        }
        assert_eq!(check(b"\"\xff\""), Err(BodyError::NotUtf8));
    }
}

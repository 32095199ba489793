//! A message over HTTP, as JSON: the fields of a `send`, and their rules.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::field::{Field, TextField};
use super::up::{bad, body, present, target, ttl};
use super::{BadUp, Post, TerminalError};

/// All fields; others are ignored.
#[derive(Deserialize)]
struct PostJson<'a> {
    #[serde(borrow, default)]
    id: TextField<'a>,
    #[serde(borrow, default)]
    to: TextField<'a>,
    #[serde(borrow, default)]
    from: TextField<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    body: Option<&'a RawValue>,
    #[serde(default)]
    ttl: Field<u64>,
}

impl Post {
    /// Reads a message. `id`, `from` and `ttl` may be `null`, which is the same as missing.
    ///
    /// A `ttl` above 32 bits is cut to them; cutting it to the limit is the MS's.
    ///
    /// # Errors
    /// What the caller should be told, with the message's id where there is a readable one.
    pub fn decode(text: &str) -> Result<Self, BadUp> {
        let malformed = |text| bad(TerminalError::Malformed, text, None);
        // serde would take an array for the fields in their order.
        if text.trim_ascii_start().starts_with('[') {
            return Err(malformed("message must be an object"));
        }
        let json: PostJson<'_> = serde_json::from_str(text).map_err(|error| {
            let data = error.is_data();
            malformed(if data {
                "message must be an object without double fields"
            } else {
                "message is no JSON"
            })
        })?;
        let read = match &json.id {
            Field::Absent => Ok(None),
            Field::Is(id) => id.parse().map(Some).map_err(drop),
            Field::Wrong => Err(()),
        };
        let id = read.clone().ok().flatten();
        let invalid = |text: &str| bad(TerminalError::Invalid, text, id.clone());
        if read.is_err() {
            return Err(invalid("id must match [A-Za-z0-9_.:-]{1,64}"));
        }
        let to = target(&json.to).map_err(|text| invalid(&text))?;
        let from = match &json.from {
            Field::Absent => None,
            Field::Wrong => return Err(invalid("from must be an end id")),
            Field::Is(from) => {
                Some(from.parse().map_err(|error| invalid(&format!("from: {error}")))?)
            }
        };
        let body = body(json.body).map_err(|bad| BadUp { id: id.clone(), ..bad })?;
        let ttl_s = ttl(&json.ttl).map_err(&invalid)?;
        Ok(Self { id, to, from, body, ttl_s })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BODY_DEPTH_MAX, BODY_MAX_BYTES};
    use super::*;
    use crate::outcome::Reason;

    #[test]
    fn a_message_is_read_and_its_body_left_as_it_is() {
        let text = r#" {"to":"H1-A2-b","body":{ "n": 1.50 },"more":[{}],"id":"m1","from":"H1-A2-a","ttl":60}"#;
        let post = Post::decode(text).unwrap();
        assert_eq!((post.to.as_str(), &post.body[..]), ("H1-A2-b", &b"{ \"n\": 1.50 }"[..]));
        assert_eq!(post.from.unwrap().as_str(), "H1-A2-a");
        assert_eq!((post.id.unwrap().as_str(), post.ttl_s), ("m1", Some(60)));
        let text = r#"{"to":"H1-A2-b","body":null,"id":null,"from":null,"ttl":null}"#;
        let post = Post::decode(text).unwrap();
        assert_eq!(
            (&post.body[..], post.id, post.from, post.ttl_s),
            (&b"null"[..], None, None, None)
        );
        let text = r#"{"to":"H1-A2-b","body":0,"ttl":18446744073709551615}"#;
        assert_eq!(Post::decode(text).unwrap().ttl_s, Some(u32::MAX));
        let text = r#"{"to":"H1-A2-b","body":0,"ttl":60.0}"#;
        assert_eq!(Post::decode(text).unwrap().ttl_s, Some(60));
    }

    #[test]
    fn what_is_wrong_is_named_and_the_id_where_it_can_be_read() {
        use TerminalError::{Invalid, Malformed};
        for (text, code, says, id) in [
            ("", Malformed, "no JSON", false),
            ("[]", Malformed, "object", false),
            ("1", Malformed, "object", false),
            (r#"{"to":"H-A-b","body":1}x"#, Malformed, "no JSON", false),
            (r#"{"to":"H-A-b","to":"H-A-b","body":1}"#, Malformed, "double", false),
            (r#"{"id":"m1"}"#, Invalid, "to ", true),
            (r#"{"id":"m1","to":7,"body":1}"#, Invalid, "to ", true),
            (r#"{"id":"m1","to":"b","body":1}"#, Invalid, "to: ", true),
            (r#"{"id":"m1","to":"H-A-b"}"#, Invalid, "body", true),
            (r#"{"id":"","to":"H-A-b","body":1}"#, Invalid, "id ", false),
            (r#"{"id":7,"to":"H-A-b","body":1}"#, Invalid, "id ", false),
            (r#"{"id":"m1","from":7,"to":"H-A-b","body":1}"#, Invalid, "from ", true),
            (r#"{"id":"m1","from":"a","to":"H-A-b","body":1}"#, Invalid, "from: ", true),
            (r#"{"id":"m1","to":"H-A-b","body":1,"ttl":0}"#, Invalid, "ttl", true),
            (r#"{"id":"m1","to":"H-A-b","body":1,"ttl":1.5}"#, Invalid, "ttl", true),
            (r#"{"id":"m1","to":"H-A-b","body":1,"ttl":-1}"#, Invalid, "ttl", true),
            (r#"{"id":"m1","to":"H-A-b","body":1,"ttl":1e20}"#, Invalid, "ttl", true),
            (
                r#"{"id":"m1","to":"H-A-b","body":1,"ttl":18446744073709551616}"#,
                Invalid,
                "ttl",
                true,
            ),
            (r#"{"id":"m1","to":"H-A-b","body":1,"ttl":"60"}"#, Invalid, "ttl", true),
        ] {
            let bad = Post::decode(text).unwrap_err();
            assert_eq!(
                (bad.code, bad.id.is_some(), bad.reason),
                (code, id, Reason::Invalid),
                "{text}"
            );
            assert!(bad.text.contains(says), "{text}: {}", bad.text);
        }
    }

    #[test]
    fn a_body_has_the_bounds_of_a_frame() {
        let post =
            |body: &str| Post::decode(&format!(r#"{{"id":"m1","to":"H-A-b","body":{body}}}"#));
        let string = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
        assert!(post(&string(BODY_MAX_BYTES)).is_ok());
        let bad = post(&string(BODY_MAX_BYTES + 1)).unwrap_err();
        assert_eq!((bad.reason, bad.id.is_some()), (Reason::TooLarge, true));
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert!(post(&nested(BODY_DEPTH_MAX)).is_ok());
        assert_eq!(post(&nested(BODY_DEPTH_MAX + 1)).unwrap_err().reason, Reason::Invalid);
    }
}

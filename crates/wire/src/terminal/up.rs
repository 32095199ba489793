//! What a terminal sends, as JSON: `decode` is the BS's side, `encode` the terminal's.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::field::{Field, TextField};
use super::write::Object;
use super::{BadUp, TerminalError, Token, Up, UpSend};
use crate::body::{BodyError, check_json};
use crate::id::{EndId, MessageId};
use crate::outcome::Reason;

/// All fields of all types; others are ignored.
#[derive(Deserialize)]
struct UpJson<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: TextField<'a>,
    #[serde(borrow, default)]
    id: TextField<'a>,
    #[serde(borrow, default)]
    to: TextField<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    body: Option<&'a RawValue>,
    #[serde(default)]
    ttl: Field<u64>,
    #[serde(default)]
    seq: Field<u64>,
    #[serde(borrow, default)]
    token: TextField<'a>,
}

/// A body may be `null`, which is not the same as none.
pub(super) fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(
    d: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(d).map(Some)
}

impl Up {
    /// Reads a frame of a terminal. The body is copied out of it, so that it pins nothing.
    ///
    /// A `ttl` above 32 bits is cut to them; cutting it to the limit is the BS's.
    ///
    /// # Errors
    /// What the terminal should be told, with the message's id where the frame has a
    /// readable one and may be a send.
    pub fn decode(text: &str) -> Result<Up, BadUp> {
        let malformed = |text| bad(TerminalError::Malformed, text, None);
        // serde would take an array for the fields in their order.
        if text.trim_ascii_start().starts_with('[') {
            return Err(malformed("frame must be an object"));
        }
        let frame: UpJson<'_> =
            serde_json::from_str(text).map_err(|error| malformed(no_frame(&error)))?;
        let id = frame.id.get().and_then(|id| id.parse().ok());
        match frame.kind.get().map(AsRef::as_ref) {
            Some("send") => send(&frame, id),
            Some("ack") => match frame.seq {
                Field::Is(seq) => Ok(Up::Ack { seq }),
                _ => Err(bad(TerminalError::Invalid, "seq must be a whole number", None)),
            },
            Some("token") => match frame.token {
                Field::Is(token) => Ok(Up::Token(Token(token.into_owned()))),
                _ => Err(bad(TerminalError::Invalid, "token must be a string", None)),
            },
            Some(_) => Err(bad(TerminalError::UnknownType, "type is not known here", id)),
            None => Err(bad(TerminalError::Malformed, "type must be a string", id)),
        }
    }

    /// Appends the frame to `out`.
    pub fn encode(&self, out: &mut String) {
        match self {
            Up::Send(it) => {
                let mut object = Object::begin(out, "send");
                object.word("id", it.id.as_str()).word("to", it.to.as_str());
                object.body("body", &it.body);
                if let Some(ttl) = it.ttl_s {
                    object.plain("ttl", ttl);
                }
                object.end();
            }
            Up::Ack { seq } => {
                let mut object = Object::begin(out, "ack");
                object.plain("seq", seq);
                object.end();
            }
            Up::Token(token) => {
                let mut object = Object::begin(out, "token");
                object.text("token", &token.0);
                object.end();
            }
        }
    }

    /// The frame by itself.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.encode(&mut out);
        out
    }
}

fn send(frame: &UpJson<'_>, id: Option<MessageId>) -> Result<Up, BadUp> {
    let invalid = |text: &str| bad(TerminalError::Invalid, text, id.clone());
    let id = id.clone().ok_or_else(|| invalid("id must match [A-Za-z0-9_.:-]{1,64}"))?;
    let to = target(&frame.to).map_err(|text| invalid(&text))?;
    let body = body(frame.body).map_err(|bad| BadUp { id: Some(id.clone()), ..bad })?;
    let ttl_s = ttl(&frame.ttl).map_err(invalid)?;
    Ok(Up::Send(UpSend { id, to, body, ttl_s }))
}

/// The field `to`.
pub(super) fn target(to: &TextField<'_>) -> Result<EndId, String> {
    let to = to.get().ok_or("to must be an end id")?;
    to.parse().map_err(|error| format!("to: {error}"))
}

/// The field `body`, copied out of the text that it stands in.
pub(super) fn body(body: Option<&RawValue>) -> Result<Bytes, BadUp> {
    let invalid = |text: &str| bad(TerminalError::Invalid, text, None);
    let body = body.ok_or_else(|| invalid("body is missing"))?.get();
    check_json(body).map_err(|error| {
        let too_large = error == BodyError::TooLarge;
        let reason = if too_large { Reason::TooLarge } else { Reason::Invalid };
        BadUp { reason, ..invalid(&format!("body is {error}")) }
    })?;
    Ok(Bytes::copy_from_slice(body.as_bytes()))
}

/// The field `ttl`, in seconds, cut to 32 bits.
pub(super) fn ttl(ttl: &Field<u64>) -> Result<Option<u32>, &'static str> {
    match *ttl {
        Field::Absent => Ok(None),
        Field::Wrong | Field::Is(0) => Err("ttl must be a whole number of seconds, at least 1"),
        Field::Is(ttl) => Ok(Some(u32::try_from(ttl).unwrap_or(u32::MAX))),
    }
}

pub(super) fn bad(code: TerminalError, text: &str, id: Option<MessageId>) -> BadUp {
    BadUp { code, text: text.to_owned(), id, reason: Reason::Invalid }
}

/// The error's own text could repeat what the frame holds.
fn no_frame(error: &serde_json::Error) -> &'static str {
    if error.is_data() {
        "frame must be an object without double fields"
    } else {
        "frame is no JSON"
    }
}

//! What a BS sends to a terminal, as JSON: `encode` is the BS's side, `decode` the terminal's.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::write::Object;
use super::{BadDown, Down, DownMessage, Limits, TerminalError};
use crate::id::{EndId, MessageId, ServerId, SessionId};
use crate::outcome::{Outcome, Reason};

impl Down {
    /// Appends the frame to `out`.
    ///
    /// A body goes in as it is; see [`DownMessage::body`].
    pub fn encode(&self, out: &mut String) {
        match self {
            Down::Welcome { end, session, server, limits } => {
                let mut object = Object::begin(out, "welcome");
                object.word("end", end.as_str()).uuid("session", session.0);
                object.uuid("server", server.0);
                // Four numbers cannot fail to serialize.
                if let Ok(limits) = serde_json::value::to_raw_value(&LimitsJson::from(*limits)) {
                    object.raw("limits", &limits);
                }
                object.end();
            }
            Down::Message(it) => it.encode(out),
            Down::Result { id, outcome, reason } => {
                let mut object = Object::begin(out, "result");
                object.word("id", id.as_str()).word("outcome", outcome.as_str());
                if let Some(reason) = reason {
                    object.word("reason", reason.as_str()).plain("retry", reason.retry());
                }
                object.end();
            }
            Down::Error { code, text, id } => {
                let mut object = Object::begin(out, "error");
                object.word("code", code.as_str()).text("text", text);
                if let Some(id) = id {
                    object.word("id", id.as_str());
                }
                object.end();
            }
            Down::Reconnect { after_ms } => {
                let mut object = Object::begin(out, "reconnect");
                object.plain("afterMs", after_ms);
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

    /// Reads a frame of a BS.
    ///
    /// A reason or an error code of a later version is read as none, or as
    /// [`TerminalError::Invalid`].
    ///
    /// # Errors
    /// Where the frame cannot be used.
    pub fn decode(text: &str) -> Result<Down, BadDown> {
        #[derive(Deserialize)]
        struct Head {
            #[serde(rename = "type")]
            kind: String,
        }
        // serde would take an array for the fields in their order.
        if text.trim_ascii_start().starts_with('[') {
            return Err(bad(TerminalError::Malformed, "frame must be an object".to_owned()));
        }
        let frame: DownJson<'_> = match serde_json::from_str(text) {
            Ok(frame) => frame,
            // A later version's type may use our fields otherwise.
            Err(error) => {
                return Err(match serde_json::from_str::<Head>(text) {
                    Ok(head) if !KINDS.contains(&head.kind.as_str()) => unknown_type(),
                    Ok(_) => bad(TerminalError::Invalid, error.to_string()),
                    Err(error) => bad(TerminalError::Malformed, error.to_string()),
                });
            }
        };
        frame.into_down()
    }
}

impl DownMessage {
    /// Appends the frame to `out`, as [`Down::Message`] does.
    pub fn encode(&self, out: &mut String) {
        out.reserve(self.body.len() + 384);
        let mut object = Object::begin(out, "message");
        object.plain("seq", self.seq).word("id", self.id.as_str());
        if let Some(from) = &self.from {
            object.word("from", from.as_str());
        }
        object.body("body", &self.body);
        object.plain("at", self.at_ms).plain("redelivered", self.redelivered);
        object.end();
    }
}

const KINDS: [&str; 5] = ["welcome", "message", "result", "error", "reconnect"];

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LimitsJson {
    body_bytes: u32,
    open_sends: u32,
    ttl: u32,
    deadline_ms: u32,
}

impl From<Limits> for LimitsJson {
    fn from(it: Limits) -> Self {
        let Limits { body_bytes, open_sends, ttl_s, deadline_ms } = it;
        Self { body_bytes, open_sends, ttl: ttl_s, deadline_ms }
    }
}

impl From<LimitsJson> for Limits {
    fn from(it: LimitsJson) -> Self {
        let LimitsJson { body_bytes, open_sends, ttl, deadline_ms } = it;
        Self { body_bytes, open_sends, ttl_s: ttl, deadline_ms }
    }
}

/// All fields of all types; others are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DownJson<'a> {
    #[serde(rename = "type")]
    kind: String,
    end: Option<EndId>,
    session: Option<SessionId>,
    server: Option<ServerId>,
    limits: Option<LimitsJson>,
    seq: Option<u64>,
    id: Option<MessageId>,
    from: Option<EndId>,
    #[serde(borrow, default, deserialize_with = "super::up::present")]
    body: Option<&'a RawValue>,
    at: Option<u64>,
    #[serde(default)]
    redelivered: bool,
    outcome: Option<Outcome>,
    reason: Option<String>,
    code: Option<String>,
    text: Option<String>,
    after_ms: Option<u32>,
}

impl DownJson<'_> {
    fn into_down(self) -> Result<Down, BadDown> {
        Ok(match self.kind.as_str() {
            "welcome" => Down::Welcome {
                end: need("end", self.end)?,
                session: need("session", self.session)?,
                server: need("server", self.server)?,
                limits: need("limits", self.limits)?.into(),
            },
            "message" => Down::Message(DownMessage {
                seq: need("seq", self.seq)?,
                id: need("id", self.id)?,
                from: self.from,
                body: Bytes::copy_from_slice(need("body", self.body)?.get().as_bytes()),
                at_ms: need("at", self.at)?,
                redelivered: self.redelivered,
            }),
            "result" => Down::Result {
                id: need("id", self.id)?,
                outcome: need("outcome", self.outcome)?,
                reason: self.reason.as_deref().and_then(Reason::parse),
            },
            "error" => Down::Error {
                code: TerminalError::parse(&need("code", self.code)?)
                    .unwrap_or(TerminalError::Invalid),
                text: self.text.unwrap_or_default(),
                id: self.id,
            },
            "reconnect" => Down::Reconnect { after_ms: need("afterMs", self.after_ms)? },
            _ => return Err(unknown_type()),
        })
    }
}

fn need<T>(name: &str, field: Option<T>) -> Result<T, BadDown> {
    field.ok_or_else(|| bad(TerminalError::Invalid, format!("{name} is missing")))
}

fn unknown_type() -> BadDown {
    bad(TerminalError::UnknownType, "type is not known here".to_owned())
}

fn bad(code: TerminalError, text: String) -> BadDown {
    BadDown { code, text }
}

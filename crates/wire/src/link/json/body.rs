//! The two items with a body, and how a body gets into JSON text and out of it: as it is.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::body::check_json;
use crate::id::{EndId, MessageId, SessionId};
use crate::link::frame::malformed;
use crate::link::{Deliver, ErrorItem, Send};
use crate::number::{Epoch, Stamp, text_or_number, u64_as_text};

/// JSON text of a body within a frame.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Body<'a>(Cow<'a, RawValue>);

impl<'a> Body<'a> {
    /// A body that is no JSON is shown as a string, so that the frame is JSON whatever it holds.
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        serde_json::from_slice::<&RawValue>(bytes).map_or_else(
            |_| {
                let text = String::from_utf8_lossy(bytes);
                let raw = serde_json::value::to_raw_value(&text).unwrap_or_default();
                Self(Cow::Owned(raw))
            },
            |raw| Self(Cow::Borrowed(raw)),
        )
    }

    /// A BS's body: JSON it is, but it may be too much.
    pub(super) fn check(&self) -> Result<(), ErrorItem> {
        check_json(self.0.get())
            .map_err(|error| malformed(2, format_args!("messageContent: {error}")))
    }

    pub(super) fn into_bytes(self) -> Bytes {
        Box::<str>::from(self.0.into_owned()).into_boxed_bytes().into()
    }
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SendJson<'a> {
    epoch: Epoch,
    #[serde(rename = "endIdentifer")]
    end: EndId,
    #[serde(rename = "messageContent")]
    body: Body<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<EndId>,
    id: MessageId,
    #[serde(with = "u64_as_text")]
    seq: u64,
    #[serde(deserialize_with = "text_or_number::deserialize")]
    deadline: u32,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    ttl: Option<u32>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    again: bool,
}

impl SendJson<'_> {
    /// As [`Body::check`].
    pub(super) fn check(self) -> Result<Self, ErrorItem> {
        self.body.check()?;
        Ok(self)
    }
}

fn optional<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    #[derive(Deserialize)]
    struct Number(#[serde(deserialize_with = "text_or_number::deserialize")] u32);
    Ok(Option::<Number>::deserialize(deserializer)?.map(|number| number.0))
}

impl<'a> From<&'a Send> for SendJson<'a> {
    fn from(it: &'a Send) -> Self {
        Self {
            epoch: it.epoch,
            end: it.end.clone(),
            body: Body::of(&it.body),
            from: it.from.clone(),
            id: it.id.clone(),
            seq: it.seq,
            deadline: it.deadline_ms,
            ttl: it.ttl_s,
            again: it.again,
        }
    }
}

impl From<SendJson<'_>> for Send {
    fn from(it: SendJson<'_>) -> Self {
        Self {
            epoch: it.epoch,
            end: it.end,
            body: it.body.into_bytes(),
            from: it.from,
            id: it.id,
            seq: it.seq,
            deadline_ms: it.deadline,
            ttl_s: it.ttl,
            again: it.again,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeliverJson<'a> {
    epoch: Epoch,
    #[serde(rename = "endIdentifer")]
    end: EndId,
    #[serde(rename = "messageContent")]
    body: Body<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<EndId>,
    id: MessageId,
    #[serde(with = "u64_as_text")]
    create_at: u64,
    #[serde(with = "u64_as_text")]
    expire_at: u64,
    session: SessionId,
    stamp: Stamp,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    redelivered: bool,
}

impl<'a> From<&'a Deliver> for DeliverJson<'a> {
    fn from(it: &'a Deliver) -> Self {
        Self {
            epoch: it.epoch,
            end: it.end.clone(),
            body: Body::of(&it.body),
            from: it.from.clone(),
            id: it.id.clone(),
            create_at: it.create_at_ms,
            expire_at: it.expire_at_ms,
            session: it.session,
            stamp: it.stamp,
            redelivered: it.redelivered,
        }
    }
}

impl From<DeliverJson<'_>> for Deliver {
    fn from(it: DeliverJson<'_>) -> Self {
        Self {
            epoch: it.epoch,
            end: it.end,
            body: it.body.into_bytes(),
            from: it.from,
            id: it.id,
            create_at_ms: it.create_at,
            expire_at_ms: it.expire_at,
            session: it.session,
            stamp: it.stamp,
            redelivered: it.redelivered,
        }
    }
}

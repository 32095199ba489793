//! Schema to items: every field is checked, every id parsed once. What is missing or ill formed
//! is named by its name in the JSON encoding.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use uuid::Uuid;

use super::{code, schema};
use crate::body::{self, BodyError};
use crate::id::{IdError, MsId, ServerId, SessionId, StartId};
use crate::link::{
    Ack, Counts, Deliver, ErrorCode, ErrorItem, Hello, Known, LinkTokenError, Register, Registered,
    Send, SendResult, Token, Unregister, ViewItem, Welcome,
};
use crate::number::{Epoch, Stamp, ViewNumber};
use crate::outcome::{Outcome, Reason};

/// Why an item is none.
pub(super) enum Why {
    Protobuf,
    Field(&'static str, FieldError),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Protobuf => f.write_str("item is no protobuf of its type"),
            Why::Field(name, error) => write!(f, "{name}: {error}"),
        }
    }
}

#[derive(Clone, Copy)]
pub(super) enum FieldError {
    Id(IdError),
    Body(BodyError),
    Missing,
    NotUtf8,
    NotKnown,
    Lengths,
    Token(LinkTokenError),
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldError::Id(error) => error.fmt(f),
            FieldError::Body(error) => error.fmt(f),
            FieldError::Missing => f.write_str("missing"),
            FieldError::NotUtf8 => f.write_str("not UTF-8"),
            FieldError::NotKnown => f.write_str("value is not known"),
            FieldError::Token(error) => error.fmt(f),
            FieldError::Lengths => f.write_str("owners and epochs differ in number"),
        }
    }
}

/// An id, with the name of its field for the error.
fn id<T: FromStr<Err = IdError>>(name: &'static str, bytes: &Bytes) -> Result<T, Why> {
    if bytes.is_empty() {
        return Err(Why::Field(name, FieldError::Missing));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Why::Field(name, FieldError::NotUtf8))?;
    text.parse().map_err(|error| Why::Field(name, FieldError::Id(error)))
}

fn optional_id<T: FromStr<Err = IdError>>(
    name: &'static str,
    bytes: &Bytes,
) -> Result<Option<T>, Why> {
    if bytes.is_empty() { Ok(None) } else { id(name, bytes).map(Some) }
}

fn uuid(name: &'static str, bytes: &Bytes) -> Result<Uuid, Why> {
    Uuid::from_slice(bytes).map_err(|_| Why::Field(name, FieldError::Id(IdError::Uuid)))
}

fn ms_ids(name: &'static str, ids: &[Bytes]) -> Result<Vec<MsId>, Why> {
    ids.iter().map(|bytes| uuid(name, bytes).map(MsId)).collect()
}

fn stamp(stamp: Option<schema::Stamp>) -> Result<Stamp, Why> {
    stamp.map(Stamp::from).ok_or(Why::Field("stamp", FieldError::Missing))
}

/// A body of a BS, which is believed nothing that it could break other servers' frames with.
fn foreign_body(bytes: Bytes) -> Result<Bytes, Why> {
    let bytes = body(bytes)?;
    body::check(&bytes).map_err(|why| Why::Field("messageContent", FieldError::Body(why)))?;
    Ok(bytes)
}

/// A body of an MS, which has checked it.
fn body(bytes: Bytes) -> Result<Bytes, Why> {
    if bytes.is_empty() {
        return Err(Why::Field("messageContent", FieldError::Missing));
    }
    match std::str::from_utf8(&bytes) {
        Ok(_) => Ok(bytes),
        Err(_) => Err(Why::Field("messageContent", FieldError::NotUtf8)),
    }
}

impl From<schema::Stamp> for Stamp {
    fn from(it: schema::Stamp) -> Self {
        Self { epoch: Epoch(it.epoch), count: it.count }
    }
}

impl TryFrom<schema::Register> for Register {
    type Error = Why;
    fn try_from(it: schema::Register) -> Result<Self, Why> {
        Ok(Self {
            epoch: Epoch(it.epoch),
            end: id("endIdentifer", &it.end)?,
            session: SessionId(uuid("session", &it.session)?),
            stamp: it.stamp.map(Stamp::from),
            client: optional_id("client", &it.client)?,
            n: it.n,
        })
    }
}

impl TryFrom<schema::Unregister> for Unregister {
    type Error = Why;
    fn try_from(it: schema::Unregister) -> Result<Self, Why> {
        Ok(Self {
            epoch: Epoch(it.epoch),
            end: id("endIdentifer", &it.end)?,
            session: SessionId(uuid("session", &it.session)?),
        })
    }
}

impl TryFrom<schema::Send> for Send {
    type Error = Why;
    fn try_from(it: schema::Send) -> Result<Self, Why> {
        Ok(Self {
            epoch: Epoch(it.epoch),
            end: id("endIdentifer", &it.end)?,
            body: foreign_body(it.body)?,
            from: optional_id("from", &it.from)?,
            id: id("id", &it.id)?,
            seq: it.seq,
            deadline_ms: it.deadline_ms,
            ttl_s: it.ttl_s,
            again: it.again,
        })
    }
}

impl TryFrom<schema::Deliver> for Deliver {
    type Error = Why;
    fn try_from(it: schema::Deliver) -> Result<Self, Why> {
        Ok(Self {
            epoch: Epoch(it.epoch),
            end: id("endIdentifer", &it.end)?,
            body: body(it.body)?,
            from: optional_id("from", &it.from)?,
            id: id("id", &it.id)?,
            create_at_ms: it.create_at_ms,
            expire_at_ms: it.expire_at_ms,
            session: SessionId(uuid("session", &it.session)?),
            stamp: stamp(it.stamp)?,
            redelivered: it.redelivered,
        })
    }
}

impl TryFrom<schema::SendResult> for SendResult {
    type Error = Why;
    fn try_from(it: schema::SendResult) -> Result<Self, Why> {
        let outcome = code::find(&Outcome::ALL, code::outcome, it.outcome);
        Ok(Self {
            epoch: Epoch(it.epoch),
            seq: it.seq,
            outcome: outcome.ok_or(Why::Field("outcome", FieldError::NotKnown))?,
            // A reason of a later version must not cost the result.
            reason: code::find(&Reason::ALL, code::reason, it.reason),
        })
    }
}

impl TryFrom<schema::Ack> for Ack {
    type Error = Why;
    fn try_from(it: schema::Ack) -> Result<Self, Why> {
        Ok(Self {
            epoch: Epoch(it.epoch),
            end: id("endIdentifer", &it.end)?,
            session: SessionId(uuid("session", &it.session)?),
            stamp: stamp(it.stamp)?,
            expired: it.expired,
        })
    }
}

impl TryFrom<schema::Registered> for Registered {
    type Error = Why;
    fn try_from(it: schema::Registered) -> Result<Self, Why> {
        Ok(Self {
            epoch: Epoch(it.epoch),
            end: id("endIdentifer", &it.end)?,
            session: SessionId(uuid("session", &it.session)?),
            stamp: stamp(it.stamp)?,
        })
    }
}

impl TryFrom<schema::Hello> for Hello {
    type Error = Why;
    fn try_from(it: schema::Hello) -> Result<Self, Why> {
        Ok(Self {
            server_id: ServerId(uuid("serverId", &it.server_id)?),
            start: StartId(uuid("start", &it.start)?),
            link: it.link,
            version: it.version,
            view: ViewNumber(it.view),
            misses: ms_ids("misses", &it.misses)?,
        })
    }
}

impl TryFrom<schema::Known> for Known {
    type Error = Why;
    fn try_from(it: schema::Known) -> Result<Self, Why> {
        Ok(Self {
            view: it.view.map(ViewNumber),
            synced: it.synced.map(ViewNumber),
            misses: it.misses.map(|it| ms_ids("misses", &it.ids)).transpose()?,
            went_back: it.went_back.map(Epoch),
        })
    }
}

impl TryFrom<schema::Welcome> for Welcome {
    type Error = Why;
    fn try_from(it: schema::Welcome) -> Result<Self, Why> {
        Ok(Self {
            ms_id: MsId(uuid("msId", &it.ms_id)?),
            version: it.version,
            credit: it.credit,
            message_ttl: it.message_ttl,
            clock: it.clock,
        })
    }
}

impl TryFrom<schema::View> for ViewItem {
    type Error = Why;
    fn try_from(it: schema::View) -> Result<Self, Why> {
        if it.owners.len() != it.epochs.len() {
            return Err(Why::Field("partitions", FieldError::Lengths));
        }
        Ok(Self {
            number: ViewNumber(it.number),
            id: uuid("id", &it.id)?,
            members: ms_ids("members", &it.members)?,
            partitions: it.owners.into_iter().zip(it.epochs.into_iter().map(Epoch)).collect(),
        })
    }
}

impl TryFrom<schema::Counts> for Counts {
    type Error = Why;
    fn try_from(it: schema::Counts) -> Result<Self, Why> {
        let link = |count: &schema::Count| Ok((MsId(uuid("links", &count.ms)?), count.links));
        Ok(Self { links: it.links.iter().map(link).collect::<Result<_, Why>>()? })
    }
}

impl From<schema::Error> for ErrorItem {
    fn from(it: schema::Error) -> Self {
        Self {
            code: code::find(&ErrorCode::ALL, code::error, it.code).unwrap_or(ErrorCode::Malformed),
            text: String::from_utf8_lossy(&it.text).into_owned(),
            about: String::from_utf8_lossy(&it.about).into_owned(),
        }
    }
}

impl TryFrom<schema::Token> for Token {
    type Error = Why;
    fn try_from(it: schema::Token) -> Result<Self, Why> {
        let text =
            std::str::from_utf8(&it.token).map_err(|_| Why::Field("token", FieldError::NotUtf8))?;
        let token = text.parse().map_err(|error| Why::Field("token", FieldError::Token(error)))?;
        Ok(Self { token })
    }
}

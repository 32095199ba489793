//! The link protocol: what a BS and an MS say to each other.
//!
//! One schema, two encodings: [`proto`] (binary frames: batches of items) and [`json`] (text
//! frames: an object, or an array of objects). This module owns the items themselves.

mod frame;
pub mod json;
pub mod proto;
mod token;

pub use frame::{FRAME_MAX_ITEMS, FrameError};
pub use token::{LINK_TOKEN_MAX_BYTES, LinkToken, LinkTokenError};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use crate::id::{ClientId, EndId, MessageId, MsId, ServerId, SessionId, StartId};
use crate::number::{Epoch, Stamp, ViewNumber, text_or_number, u64_as_text};
use crate::outcome::{Outcome, Reason};

/// Path of the link on an MS.
pub const LINK_PATH: &str = "/link";
/// WebSocket sub-protocol of a link. A BS that does not ask for it is a plain BS.
pub const LINK_SUBPROTOCOL: &str = "wardlink.link.v1";
/// Version of the link protocol that this build speaks; it understands this one and the one before.
pub const LINK_VERSION: u32 = 1;
/// Largest frame on a link, in bytes: a full batch and one message of the largest size fit.
pub const LINK_FRAME_MAX_BYTES: usize = 1024 * 1024;

/// What a BS sends to an MS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToMs {
    /// Type 0.
    Register(Register),
    /// Type 1.
    Unregister(Unregister),
    /// Type 2.
    Send(Send),
    /// Type 3.
    Ack(Ack),
    /// Type 5.
    Hello(Hello),
    /// Type 6.
    Known(Known),
    /// Type 7.
    Error(ErrorItem),
    /// Type 8.
    Token(Token),
}

/// What an MS sends to a BS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToBs {
    /// Type 2.
    Deliver(Deliver),
    /// Type 3.
    Result(SendResult),
    /// Type 4, state `registered`.
    Registered(Registered),
    /// Type 4, state `superseded`.
    Superseded(Registered),
    /// Type 5.
    Welcome(Welcome),
    /// Type 6, with partitions.
    View(ViewItem),
    /// Type 6, without partitions: the members' link counts, each second.
    Counts(Counts),
    /// Type 7.
    Error(ErrorItem),
}

/// Type 0: an end is at this BS under this session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Register {
    /// Epoch of the end's partition, as the BS knows it.
    pub epoch: Epoch,
    /// The end.
    #[serde(rename = "endIdentifer")]
    pub end: EndId,
    /// The session that serves it.
    pub session: SessionId,
    /// The stamp that an owner gave to this session's registration before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<Stamp>,
    /// The terminal program, over its reconnects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientId>,
    /// Counts the connections of `client`; the higher is the newer. Meaningless without `client`.
    #[serde(default, with = "u64_as_text")]
    pub n: u64,
}

/// Type 1: a session of an end is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unregister {
    /// Epoch of the end's partition, as the BS knows it.
    pub epoch: Epoch,
    /// The end.
    #[serde(rename = "endIdentifer")]
    pub end: EndId,
    /// The session that ended.
    pub session: SessionId,
}

/// Type 2, BS to MS: a message on its way to an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Send {
    /// Epoch of the target's partition, as the BS knows it.
    pub epoch: Epoch,
    /// The target.
    pub end: EndId,
    /// The JSON text of the body (`messageContent`). UTF-8.
    pub body: Bytes,
    /// The sender. `None` for a plain BS.
    pub from: Option<EndId>,
    /// The sender's id of the message.
    pub id: MessageId,
    /// Grows with each send on this link; the result names it.
    pub seq: u64,
    /// Time left until the sender must have a result, in milliseconds.
    pub deadline_ms: u32,
    /// Time to live in seconds, if shorter than the server's.
    pub ttl_s: Option<u32>,
    /// Whether an earlier owner or an earlier link may have had this message before.
    pub again: bool,
}

/// Type 2, MS to BS: a message for an end whose session is at this BS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deliver {
    /// Epoch of the owner.
    pub epoch: Epoch,
    /// The target.
    pub end: EndId,
    /// The JSON text of the body (`messageContent`). UTF-8.
    pub body: Bytes,
    /// The sender. `None` for a message of a plain BS.
    pub from: Option<EndId>,
    /// The sender's id of the message.
    pub id: MessageId,
    /// When an owner accepted it, by the database's clock, in Unix milliseconds.
    pub create_at_ms: u64,
    /// When it may no longer be shown, by the database's clock, in Unix milliseconds.
    pub expire_at_ms: u64,
    /// The session that the owner has as the end's route.
    pub session: SessionId,
    /// The message's stamp, which the ack names.
    pub stamp: Stamp,
    /// Whether a server knows of an earlier attempt.
    pub redelivered: bool,
}

/// Type 3, MS to BS: what became of a send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SendResult {
    /// Epoch under which it was decided.
    pub epoch: Epoch,
    /// The send's `seq` on this link.
    #[serde(with = "u64_as_text")]
    pub seq: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, where there is a reason.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "reason_if_known"
    )]
    pub reason: Option<Reason>,
}

/// Type 3, BS to MS: the terminal acknowledged a deliver, or the BS found it expired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ack {
    /// Epoch of the deliver.
    pub epoch: Epoch,
    /// The target.
    #[serde(rename = "endIdentifer")]
    pub end: EndId,
    /// The session that was shown the message.
    pub session: SessionId,
    /// Stamp of the deliver.
    pub stamp: Stamp,
    /// The BS found the message expired before showing it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expired: bool,
}

/// Type 4: answer to a register. `Registered` where the session has the route, `Superseded`
/// where a newer session has it or takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Registered {
    /// Epoch of the owner.
    pub epoch: Epoch,
    /// The end.
    #[serde(rename = "endIdentifer")]
    pub end: EndId,
    /// The session that is answered.
    pub session: SessionId,
    /// Stamp of the registration that won.
    pub stamp: Stamp,
}

/// Type 5, BS to MS: first item on a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// The BS.
    pub server_id: ServerId,
    /// Random at each start of the BS's process.
    pub start: StartId,
    /// Counts this BS's links; of one start the higher closes the lower.
    #[serde(with = "u64_as_text")]
    pub link: u64,
    /// Link protocol version that the BS speaks.
    #[serde(deserialize_with = "text_or_number::deserialize")]
    pub version: u32,
    /// The highest view number that the BS knows; 0 for none.
    pub view: ViewNumber,
    /// Members of its view that the BS has no welcomed link to.
    #[serde(default)]
    pub misses: Vec<MsId>,
}

/// Type 6, BS to MS: news about the view. Absent fields say nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Known {
    /// The highest view number that the BS knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<ViewNumber>,
    /// The BS has sent on this link all that follows from this view.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced: Option<ViewNumber>,
    /// Members of its view that the BS has no welcomed link to, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub misses: Option<Vec<MsId>>,
    /// A view held an epoch below this one, which the BS knows: it was not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub went_back: Option<Epoch>,
}

/// Type 5, MS to BS: answer to a hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    /// The MS; new at each start.
    pub ms_id: MsId,
    /// Link protocol version that the MS speaks.
    #[serde(deserialize_with = "text_or_number::deserialize")]
    pub version: u32,
    /// Sends that may be open on this link at a time.
    #[serde(deserialize_with = "text_or_number::deserialize")]
    pub credit: u32,
    /// Life of a message, and the most that a sender may ask for, in seconds.
    #[serde(deserialize_with = "text_or_number::deserialize")]
    pub message_ttl: u32,
    /// The database's clock, in Unix milliseconds.
    #[serde(with = "u64_as_text")]
    pub clock: u64,
}

/// Type 6, MS to BS: the view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ViewItem {
    /// Number of the view.
    pub number: ViewNumber,
    /// Random id of the view.
    pub id: Uuid,
    /// Member MSs.
    pub members: Vec<MsId>,
    /// For each of the 256 partitions, in order: index of the owner in `members` (-1: none) and
    /// epoch.
    pub partitions: Vec<(i32, Epoch)>,
}

/// Type 6, MS to BS, each second: how many BSs are linked to each member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Member and number of its linked BSs.
    pub links: Vec<(MsId, u32)>,
}

/// What was wrong with an item. The set is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// The item's type is not known to this version.
    UnknownType,
    /// A field is missing or ill formed.
    Malformed,
    /// The item came before the hello, or twice, or where it has no place.
    OutOfPlace,
    /// More was open than the credit allows.
    OverCredit,
}

impl ErrorCode {
    /// All values, for round-trip tests.
    pub const ALL: [ErrorCode; 4] = [
        ErrorCode::UnknownType,
        ErrorCode::Malformed,
        ErrorCode::OutOfPlace,
        ErrorCode::OverCredit,
    ];
}

/// Type 7: an item could not be used. Never answered itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorItem {
    /// What was wrong.
    pub code: ErrorCode,
    /// For people.
    pub text: String,
    /// What it answers: a type number, or empty.
    #[serde(default)]
    pub about: String,
}

/// Type 8, BS to MS: what this BS shows from now on in place of what it opened the link with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// The token, of the same BS.
    pub token: LinkToken,
}

/// A reason of a later version must not cost the result.
fn reason_if_known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Reason>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.and_then(|text| Reason::parse(&text)))
}

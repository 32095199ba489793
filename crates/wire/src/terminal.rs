//! The terminal protocol: what a terminal and a BS say to each other, as JSON text frames.
//!
//! This module owns the messages; `up` and `down` own their JSON, which leaves bodies as they are, and
//! `post` that of a message over HTTP, which is a send by other means.

mod down;
mod field;
mod post;
mod up;
mod write;

use std::fmt;

use bytes::Bytes;

pub use crate::body::{BODY_DEPTH_MAX, BODY_MAX_BYTES};
use crate::id::{EndId, MessageId, ServerId, SessionId};
use crate::outcome::{Outcome, Reason};

/// Path of the terminals' WebSocket on a BS.
pub const TERMINAL_PATH: &str = "/ws";
/// WebSocket sub-protocol of a terminal; a terminal that names none speaks the same.
pub const TERMINAL_SUBPROTOCOL: &str = "wardlink.v1";
/// Largest frame of the terminal protocol, in bytes: a body and its envelope.
pub const TERMINAL_FRAME_MAX_BYTES: usize = 66 * 1024;

/// What a terminal sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Up {
    /// `{"type":"send","id":…,"to":…,"body":…,"ttl":…}`.
    Send(UpSend),
    /// `{"type":"ack","seq":n}`: all messages of this session up to `n` are processed.
    Ack {
        /// Highest processed `seq`.
        seq: u64,
    },
    /// `{"type":"token","token":…}`: the identity, first or anew.
    Token(Token),
}

/// A terminal's token. It does not show itself in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A message to another end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpSend {
    /// The sender's id of the message.
    pub id: MessageId,
    /// The target.
    pub to: EndId,
    /// JSON text of the body.
    pub body: Bytes,
    /// Time to live in seconds, at least 1.
    pub ttl_s: Option<u32>,
}

/// A message that a system posts over HTTP: a send of which the sender may be another end, and
/// whose id may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// The sender's id of the message; without one a retry is another message.
    pub id: Option<MessageId>,
    /// The target.
    pub to: EndId,
    /// The sender that the target is shown.
    pub from: Option<EndId>,
    /// JSON text of the body.
    pub body: Bytes,
    /// Time to live in seconds, at least 1.
    pub ttl_s: Option<u32>,
}

/// What a BS sends to a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Down {
    /// The session is registered (or its owner did not answer within 3 s).
    Welcome {
        /// The terminal's own end.
        end: EndId,
        /// The session.
        session: SessionId,
        /// The BS.
        server: ServerId,
        /// What the terminal may do.
        limits: Limits,
    },
    /// A message for this terminal.
    Message(DownMessage),
    /// What became of a message that this terminal sent.
    Result {
        /// The sender's id of the message.
        id: MessageId,
        /// What became of it.
        outcome: Outcome,
        /// Why, where there is a reason; `retry` follows from it.
        reason: Option<Reason>,
    },
    /// A frame could not be used.
    Error {
        /// Machine-readable code.
        code: TerminalError,
        /// For people.
        text: String,
        /// The id of the message that it answers, where there is one.
        id: Option<MessageId>,
    },
    /// The terminal is asked to connect again.
    Reconnect {
        /// How long to wait before it, in milliseconds.
        after_ms: u32,
    },
}

/// A message for a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownMessage {
    /// Grows by one in a session; the ack names it.
    pub seq: u64,
    /// The sender's id of the message.
    pub id: MessageId,
    /// The sender; `None` for a message of a plain BS.
    pub from: Option<EndId>,
    /// JSON text of the body.
    pub body: Bytes,
    /// When it was accepted, by the database's clock, in Unix milliseconds.
    pub at_ms: u64,
    /// Whether a server knows of an earlier attempt.
    pub redelivered: bool,
}

/// What a terminal may do; part of `welcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest body, in bytes.
    pub body_bytes: u32,
    /// Sends without a result that a session may have open.
    pub open_sends: u32,
    /// Largest time to live, in seconds.
    pub ttl_s: u32,
    /// Time within which each send has its result, in milliseconds.
    pub deadline_ms: u32,
}

/// What was wrong with a terminal's frame. The set is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TerminalError {
    /// Not JSON, or not an object with a `type`.
    Malformed,
    /// The type is not known to this version.
    UnknownType,
    /// A field is missing or ill formed.
    Invalid,
    /// The frame has no place here, or names a `seq` that was never shown.
    OutOfPlace,
    /// The token does not count; the session goes on with the one before, until that expires.
    BadToken,
}

impl TerminalError {
    /// All values, for closed label sets and round-trip tests.
    pub const ALL: [TerminalError; 5] = [
        TerminalError::Malformed,
        TerminalError::UnknownType,
        TerminalError::Invalid,
        TerminalError::OutOfPlace,
        TerminalError::BadToken,
    ];

    /// The word used on the wire, in logs and as a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            TerminalError::Malformed => "malformed",
            TerminalError::UnknownType => "unknown-type",
            TerminalError::Invalid => "invalid",
            TerminalError::OutOfPlace => "out-of-place",
            TerminalError::BadToken => "bad-token",
        }
    }

    /// The code of this word, where it is one.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for TerminalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a terminal's frame cannot be used, as the terminal is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct BadUp {
    /// Machine-readable code.
    pub code: TerminalError,
    /// For people. Repeats nothing of the frame.
    pub text: String,
    /// The id of the message that it concerns, where one is readable.
    pub id: Option<MessageId>,
    /// Reason of the rejection, where the frame was a send.
    pub reason: Reason,
}

/// Why a frame of a BS cannot be used. [`TerminalError::UnknownType`] comes from a later version
/// and is to be ignored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct BadDown {
    /// Machine-readable code.
    pub code: TerminalError,
    /// For people.
    pub text: String,
}

//! Binary encoding: protobuf.
//!
//! ```text
//! message Frame { repeated Item items = 1; }
//! message Item  { oneof kind { … } }            // tag numbers: see `schema`
//! ```
//!
//! The hot path of a link. Bodies are never copied on decode: they are slices of the frame, so
//! who keeps a body longer than its frame should copy it. [`encode`](encode_to_ms) writes
//! straight from the items, without intermediate values; a test holds its output against the
//! derived `schema`. Ids are checked here; that a body is UTF-8 is checked, that it is JSON is
//! not: who took it from a terminal or from text did.

mod convert;
mod decode;
mod encode;
mod schema;
mod sink;
#[cfg(test)]
mod tests;

pub use decode::{decode_to_bs, decode_to_ms};
pub use encode::{encode_to_bs, encode_to_ms};

/// Tag numbers of `Item`'s `oneof`: the item's type and one, and numbers of their own for the
/// second form of a type. They never change and are never used again.
mod tag {
    pub(super) const REGISTER: u32 = 1;
    pub(super) const UNREGISTER: u32 = 2;
    pub(super) const SEND_OR_DELIVER: u32 = 3;
    pub(super) const ACK_OR_RESULT: u32 = 4;
    pub(super) const REGISTERED: u32 = 5;
    pub(super) const HELLO_OR_WELCOME: u32 = 6;
    pub(super) const KNOWN_OR_VIEW: u32 = 7;
    pub(super) const ERROR: u32 = 8;
    pub(super) const SUPERSEDED: u32 = 9;
    pub(super) const COUNTS: u32 = 10;
    pub(super) const TOKEN: u32 = 11;
}

/// Numbers of the closed sets. 0 is "absent"; they never change and are never used again.
mod code {
    use crate::link::ErrorCode;
    use crate::outcome::{Outcome, Reason};

    pub(super) fn outcome(outcome: Outcome) -> u32 {
        match outcome {
            Outcome::Delivered => 1,
            Outcome::Stored => 2,
            Outcome::Rejected => 3,
            Outcome::Unknown => 4,
        }
    }

    pub(super) fn reason(reason: Reason) -> u32 {
        match reason {
            Reason::MailboxFull => 1,
            Reason::TooLarge => 2,
            Reason::Expired => 3,
            Reason::IdReused => 4,
            Reason::Unavailable => 5,
            Reason::Deadline => 6,
            Reason::Overloaded => 7,
            Reason::Invalid => 8,
            Reason::Stopping => 9,
        }
    }

    pub(super) fn error(code: ErrorCode) -> u32 {
        match code {
            ErrorCode::UnknownType => 1,
            ErrorCode::Malformed => 2,
            ErrorCode::OutOfPlace => 3,
            ErrorCode::OverCredit => 4,
        }
    }

    /// The value of `all` that has this number.
    pub(super) fn find<T: Copy>(all: &[T], number: fn(T) -> u32, wanted: u32) -> Option<T> {
        all.iter().copied().find(|value| number(*value) == wanted)
    }
}

//! What both encodings share: the bound of a frame, why a frame is none, and the error items
//! that answer single items.

use std::fmt;

use super::{ErrorCode, ErrorItem};

/// Most items in one frame. A full batch of the smallest items stays far below
/// [`LINK_FRAME_MAX_BYTES`](super::LINK_FRAME_MAX_BYTES), so only a peer that means harm gets
/// here. Who encodes keeps to it.
pub const FRAME_MAX_ITEMS: usize = 8192;

/// Longest text of an error item that a decoder makes, in bytes.
const ERROR_TEXT_MAX_BYTES: usize = 200;

/// Why a whole frame cannot be read. The set is closed. The peer broke the protocol: retrying
/// the same frame is useless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FrameError {
    /// The binary frame is no protobuf.
    #[error("frame is no protobuf")]
    NotProtobuf,
    /// The text frame is no JSON.
    #[error("frame is no JSON")]
    NotJson,
    /// The text frame is JSON, but neither an object nor an array.
    #[error("frame must be an object or an array of objects")]
    NotItems,
    /// More than [`FRAME_MAX_ITEMS`].
    #[error("frame has more than {FRAME_MAX_ITEMS} items")]
    TooManyItems,
}

impl FrameError {
    /// All values, for closed label sets.
    pub const ALL: [FrameError; 4] = [
        FrameError::NotProtobuf,
        FrameError::NotJson,
        FrameError::NotItems,
        FrameError::TooManyItems,
    ];

    /// Metric label.
    pub fn reason(self) -> &'static str {
        match self {
            FrameError::NotProtobuf => "not_protobuf",
            FrameError::NotJson => "not_json",
            FrameError::NotItems => "not_items",
            FrameError::TooManyItems => "too_many_items",
        }
    }
}

/// The answer to an item of a type that this version does not know in this direction.
pub(super) fn unknown_type(about: impl fmt::Display) -> ErrorItem {
    ErrorItem {
        code: ErrorCode::UnknownType,
        text: "type is not known here".to_owned(),
        about: about.to_string(),
    }
}

/// The answer to an item with a missing or ill-formed field.
pub(super) fn malformed(about: impl fmt::Display, why: impl fmt::Display) -> ErrorItem {
    let mut text = why.to_string();
    if text.len() > ERROR_TEXT_MAX_BYTES {
        text.truncate(text.floor_char_boundary(ERROR_TEXT_MAX_BYTES));
    }
    ErrorItem { code: ErrorCode::Malformed, text, about: about.to_string() }
}

//! What a plain BS speaks: types 0, 1 and 2 with an end and a body, as in the original system.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::items::{decode, parse};
use super::write;
use crate::id::EndId;
use crate::link::frame::unknown_type;
use crate::link::{ErrorItem, FrameError};

/// What a plain BS sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plain {
    /// `{"type":0,"endIdentifer":…}`
    Register {
        /// The end that is at this BS.
        end: EndId,
    },
    /// `{"type":1,"endIdentifer":…}`
    Unregister {
        /// The end that left.
        end: EndId,
    },
    /// `{"type":2,"endIdentifer":…,"messageContent":…}`
    Send {
        /// The target.
        end: EndId,
        /// JSON text of the body.
        body: Bytes,
    },
}

#[derive(Deserialize)]
struct EndJson {
    #[serde(rename = "endIdentifer")]
    end: EndId,
}

#[derive(Serialize, Deserialize)]
struct MessageJson<'a> {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(rename = "endIdentifer")]
    end: EndId,
    #[serde(rename = "messageContent")]
    body: Body<'a>,
}

/// Reads what a plain BS sent.
///
/// # Errors
/// Where the frame is no JSON, neither an object nor an array, or has too many items.
pub fn decode_plain(text: &str) -> Result<Vec<Result<Plain, ErrorItem>>, FrameError> {
    decode(text, |kind, raw| {
        Ok(match kind {
            0 => Plain::Register { end: parse::<EndJson>(kind, raw)?.end },
            1 => Plain::Unregister { end: parse::<EndJson>(kind, raw)?.end },
            2 => {
                let MessageJson { end, body, .. } = parse(kind, raw)?;
                body.check()?;
                Plain::Send { end, body: body.into_bytes() }
            }
            _ => return Err(unknown_type(kind)),
        })
    })
}

/// The frame that hands a message to a plain BS.
pub fn encode_plain_deliver(end: &EndId, body: &[u8]) -> String {
    write(&MessageJson { kind: 2, end: end.clone(), body: Body::of(body) })
}

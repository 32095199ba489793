//! Bytes to items. A frame is walked item by item, so that one bad item costs only itself, and
//! nothing is allocated from a length or a count that the peer merely states.

use bytes::Bytes;
use prost::{Message, decode_length_delimiter};

use super::convert::Why;
use super::{schema, tag};
use crate::link::frame::{malformed, unknown_type};
use crate::link::{ErrorItem, FRAME_MAX_ITEMS, FrameError, ToBs, ToMs};

/// Largest item without a body, in bytes: a view with over 3,000 members fits. It bounds the
/// lists that the derived decoder makes of many tiny elements before they can be checked.
const BODILESS_MAX_BYTES: usize = 64 * 1024;

/// Reads what a BS sent. Bodies are slices of `frame`.
///
/// An item that cannot be used is an `Err` in its place, ready to be sent back as it is.
///
/// # Errors
/// Where the frame is no protobuf or has too many items.
pub fn decode_to_ms(frame: Bytes) -> Result<Vec<Result<ToMs, ErrorItem>>, FrameError> {
    decode(&frame, ToMs::Error, |tag, it| {
        Ok(Some(match tag {
            tag::REGISTER => ToMs::Register(read::<schema::Register>(it)?.try_into()?),
            tag::UNREGISTER => ToMs::Unregister(read::<schema::Unregister>(it)?.try_into()?),
            tag::SEND_OR_DELIVER => ToMs::Send(read::<schema::Send>(it)?.try_into()?),
            tag::ACK_OR_RESULT => ToMs::Ack(read::<schema::Ack>(it)?.try_into()?),
            tag::HELLO_OR_WELCOME => ToMs::Hello(read::<schema::Hello>(it)?.try_into()?),
            tag::KNOWN_OR_VIEW => ToMs::Known(read::<schema::Known>(it)?.try_into()?),
            tag::ERROR => ToMs::Error(read::<schema::Error>(it)?.into()),
            tag::TOKEN => ToMs::Token(read::<schema::Token>(it)?.try_into()?),
            _ => return Ok(None),
        }))
    })
}

/// Reads what an MS sent. Bodies are slices of `frame`.
///
/// An item that cannot be used is an `Err` in its place, ready to be sent back as it is.
///
/// # Errors
/// Where the frame is no protobuf or has too many items.
pub fn decode_to_bs(frame: Bytes) -> Result<Vec<Result<ToBs, ErrorItem>>, FrameError> {
    decode(&frame, ToBs::Error, |tag, it| {
        Ok(Some(match tag {
            tag::SEND_OR_DELIVER => ToBs::Deliver(read::<schema::Deliver>(it)?.try_into()?),
            tag::ACK_OR_RESULT => ToBs::Result(read::<schema::SendResult>(it)?.try_into()?),
            tag::REGISTERED => ToBs::Registered(read::<schema::Registered>(it)?.try_into()?),
            tag::SUPERSEDED => ToBs::Superseded(read::<schema::Registered>(it)?.try_into()?),
            tag::HELLO_OR_WELCOME => ToBs::Welcome(read::<schema::Welcome>(it)?.try_into()?),
            tag::KNOWN_OR_VIEW => ToBs::View(read::<schema::View>(it)?.try_into()?),
            tag::COUNTS => ToBs::Counts(read::<schema::Counts>(it)?.try_into()?),
            tag::ERROR => ToBs::Error(read::<schema::Error>(it)?.into()),
            _ => return Ok(None),
        }))
    })
}

fn read<T: Message + Default>(bytes: Bytes) -> Result<T, Why> {
    T::decode(bytes).map_err(|_| Why::Protobuf)
}

fn decode<T>(
    frame: &Bytes,
    error: fn(ErrorItem) -> T,
    convert: impl Fn(u32, Bytes) -> Result<Option<T>, Why>,
) -> Result<Vec<Result<T, ErrorItem>>, FrameError> {
    let mut items = Vec::new();
    let mut rest = frame.as_ref();
    while let Some((field, item)) = next_message(&mut rest).ok_or(FrameError::NotProtobuf)? {
        if field != 1 {
            continue;
        }
        if items.len() == FRAME_MAX_ITEMS {
            return Err(FrameError::TooManyItems);
        }
        items.push(decode_item(frame, item, error, &convert));
    }
    Ok(items)
}

/// Reads the first field of `Item` that this version knows.
fn decode_item<T>(
    frame: &Bytes,
    mut item: &[u8],
    error: fn(ErrorItem) -> T,
    convert: impl Fn(u32, Bytes) -> Result<Option<T>, Why>,
) -> Result<T, ErrorItem> {
    loop {
        match next_message(&mut item) {
            Some(Some((tag, kind)))
                if tag != tag::SEND_OR_DELIVER && kind.len() > BODILESS_MAX_BYTES =>
            {
                return Err(malformed("", "item is too large"));
            }
            Some(Some((tag, kind))) => match convert(tag, frame.slice_ref(kind)) {
                Ok(Some(it)) => return Ok(it),
                Ok(None) => {}
                // An error is never answered, so one that cannot be read is still an error.
                Err(why) if tag == tag::ERROR => {
                    return Ok(error(ErrorItem { about: String::new(), ..answer(tag, &why) }));
                }
                Err(why) => return Err(answer(tag, &why)),
            },
            Some(None) => return Err(unknown_type("")),
            None => return Err(malformed("", "item is no protobuf")),
        }
    }
}

/// Takes the next length-delimited field off the front, skipping others. `None`: no protobuf.
fn next_message<'a>(rest: &mut &'a [u8]) -> Option<Option<(u32, &'a [u8])>> {
    while !rest.is_empty() {
        let key = decode_length_delimiter(&mut *rest).ok()?;
        let length = match key & 7 {
            0 => {
                decode_length_delimiter(&mut *rest).ok()?;
                continue;
            }
            1 => 8,
            2 => decode_length_delimiter(&mut *rest).ok()?,
            5 => 4,
            _ => return None,
        };
        let (field, after) = rest.split_at_checked(length)?;
        *rest = after;
        if key & 7 == 2 {
            return Some(Some((u32::try_from(key >> 3).ok()?, field)));
        }
    }
    Some(None)
}

fn answer(tag: u32, why: &Why) -> ErrorItem {
    let about = match tag {
        tag::SUPERSEDED => 4,
        tag::COUNTS => 6,
        tag::TOKEN => 8,
        tag => tag.saturating_sub(1),
    };
    malformed(about, why)
}

//! Text encoding: JSON.
//!
//! A frame is an object or an array of objects, each with its `type` from 0 to 8; type 4 says in
//! `state` whether it is `registered` or `superseded`, and type 6 to a BS is the view where it
//! has `partitions`, else the link counts. Numbers of 64 bits are strings, and are read from
//! numbers too. For people, tests and BSs in other languages; not tuned for speed, but as safe as
//! the binary encoding: bodies are never parsed into values, and what cannot be used costs only
//! its item.

mod body;
mod items;
mod plain;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use plain::{Plain, decode_plain, encode_plain_deliver};

use self::body::{DeliverJson, SendJson};
use self::items::{decode, error_item, parse};
use crate::link::frame::{malformed, unknown_type};
use crate::link::{ErrorItem, FrameError, ToBs, ToMs};

/// One frame with `items`: a single item as an object, else an array.
pub fn encode_to_ms(items: &[ToMs]) -> String {
    encode(items, |item| match item {
        ToMs::Register(it) => typed(0, it),
        ToMs::Unregister(it) => typed(1, it),
        ToMs::Send(it) => typed(2, &SendJson::from(it)),
        ToMs::Ack(it) => typed(3, it),
        ToMs::Hello(it) => typed(5, it),
        ToMs::Known(it) => typed(6, it),
        ToMs::Error(it) => typed(7, it),
        ToMs::Token(it) => typed(8, it),
    })
}

/// One frame with `items`: a single item as an object, else an array.
pub fn encode_to_bs(items: &[ToBs]) -> String {
    encode(items, |item| match item {
        ToBs::Deliver(it) => typed(2, &DeliverJson::from(it)),
        ToBs::Result(it) => typed(3, it),
        ToBs::Registered(it) => stated("registered", it),
        ToBs::Superseded(it) => stated("superseded", it),
        ToBs::Welcome(it) => typed(5, it),
        ToBs::View(it) => typed(6, it),
        ToBs::Counts(it) => typed(6, it),
        ToBs::Error(it) => typed(7, it),
    })
}

/// Reads what a BS sent.
///
/// An item that cannot be used is an `Err` in its place, ready to be sent back as it is.
///
/// # Errors
/// Where the frame is no JSON, neither an object nor an array, or has too many items.
pub fn decode_to_ms(text: &str) -> Result<Vec<Result<ToMs, ErrorItem>>, FrameError> {
    decode(text, |kind, raw| {
        Ok(match kind {
            0 => ToMs::Register(parse(kind, raw)?),
            1 => ToMs::Unregister(parse(kind, raw)?),
            2 => ToMs::Send(parse::<SendJson<'_>>(kind, raw)?.check()?.into()),
            3 => ToMs::Ack(parse(kind, raw)?),
            5 => ToMs::Hello(parse(kind, raw)?),
            6 => ToMs::Known(parse(kind, raw)?),
            7 => ToMs::Error(error_item(raw)),
            8 => ToMs::Token(parse(kind, raw)?),
            _ => return Err(unknown_type(kind)),
        })
    })
}

/// Reads what an MS sent.
///
/// An item that cannot be used is an `Err` in its place, ready to be sent back as it is.
///
/// # Errors
/// Where the frame is no JSON, neither an object nor an array, or has too many items.
pub fn decode_to_bs(text: &str) -> Result<Vec<Result<ToBs, ErrorItem>>, FrameError> {
    decode(text, |kind, raw| {
        Ok(match kind {
            2 => ToBs::Deliver(parse::<DeliverJson<'_>>(kind, raw)?.into()),
            3 => ToBs::Result(parse(kind, raw)?),
            4 => match parse::<State>(kind, raw)?.state {
                RegisteredState::Registered => ToBs::Registered(parse(kind, raw)?),
                RegisteredState::Superseded => ToBs::Superseded(parse(kind, raw)?),
            },
            5 => ToBs::Welcome(parse(kind, raw)?),
            6 => match parse::<ViewOrCounts<'_>>(kind, raw)? {
                ViewOrCounts { partitions: Some(_), .. } => ToBs::View(parse(kind, raw)?),
                ViewOrCounts { links: Some(_), .. } => ToBs::Counts(parse(kind, raw)?),
                _ => return Err(malformed(kind, "neither partitions nor links")),
            },
            7 => ToBs::Error(error_item(raw)),
            _ => return Err(unknown_type(kind)),
        })
    })
}

/// What tells the two items of type 4 apart.
#[derive(Deserialize)]
struct State {
    state: RegisteredState,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum RegisteredState {
    Registered,
    Superseded,
}

/// What tells the two items of type 6 apart.
#[derive(Deserialize)]
struct ViewOrCounts<'a> {
    #[serde(borrow)]
    partitions: Option<&'a RawValue>,
    #[serde(borrow)]
    links: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Typed<'a, T> {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(flatten)]
    item: &'a T,
}

fn typed<T: Serialize>(kind: u8, item: &T) -> String {
    write(&Typed { kind, state: None, item })
}

fn stated<T: Serialize>(state: &'static str, item: &T) -> String {
    write(&Typed { kind: 4, state: Some(state), item })
}

/// Items hold texts, numbers, lists and bodies, none of which JSON could refuse.
fn write(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn encode<T>(items: &[T], write: impl Fn(&T) -> String) -> String {
    match items {
        [item] => write(item),
        items => format!("[{}]", items.iter().map(write).collect::<Vec<_>>().join(",")),
    }
}

//! A text frame's items: taken apart without being parsed, so that one bad item costs only
//! itself, and no more of them than a frame may have.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_json::error::Category;
use serde_json::value::{RawValue, Value};

use crate::link::frame::malformed;
use crate::link::{ErrorCode, ErrorItem, FRAME_MAX_ITEMS, FrameError};

/// Reads a frame; `convert` gets each item's type and text.
pub(super) fn decode<T>(
    text: &str,
    convert: impl Fn(u64, &str) -> Result<T, ErrorItem>,
) -> Result<Vec<Result<T, ErrorItem>>, FrameError> {
    let item = |raw: &RawValue| convert(kind(raw.get())?, raw.get());
    match text.trim_ascii_start().as_bytes().first() {
        Some(b'[') => {
            let items: Items<'_> = serde_json::from_str(text).map_err(|error| {
                // A raw value of any kind will do, so only the bound is an error in the data.
                match error.classify() {
                    Category::Data => FrameError::TooManyItems,
                    _ => FrameError::NotJson,
                }
            })?;
            Ok(items.0.into_iter().map(item).collect())
        }
        first => {
            let raw: &RawValue = serde_json::from_str(text).map_err(|_| FrameError::NotJson)?;
            if first != Some(&b'{') {
                return Err(FrameError::NotItems);
            }
            Ok(vec![item(raw)])
        }
    }
}

/// Parses an item as `T`; fields that `T` does not have are ignored.
pub(super) fn parse<'a, T: Deserialize<'a>>(kind: u64, text: &'a str) -> Result<T, ErrorItem> {
    serde_json::from_str(text).map_err(|error| malformed(kind, error))
}

fn kind(text: &str) -> Result<u64, ErrorItem> {
    #[derive(Deserialize)]
    struct Head {
        #[serde(rename = "type")]
        kind: u64,
    }
    if !text.starts_with('{') {
        return Err(malformed("", "item must be an object"));
    }
    let head = serde_json::from_str::<Head>(text).map_err(|error| malformed("", error))?;
    Ok(head.kind)
}

/// An error is never answered, so one that is itself ill formed is taken as far as it is readable.
pub(super) fn error_item(text: &str) -> ErrorItem {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let field = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    ErrorItem {
        code: ErrorCode::deserialize(&value["code"]).unwrap_or(ErrorCode::Malformed),
        text: field("text"),
        about: field("about"),
    }
}

struct Items<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ItemsVisitor)
    }
}

struct ItemsVisitor;

impl<'de> de::Visitor<'de> for ItemsVisitor {
    type Value = Items<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Items<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            if items.len() == FRAME_MAX_ITEMS {
                return Err(de::Error::custom(FrameError::TooManyItems));
            }
            items.push(item);
        }
        Ok(Items(items))
    }
}

//! Fields of a terminal's frame that read anything JSON can hold and remember whether it was
//! what it should be. So one pass over the frame is enough, and a wrong field does not hide the
//! others: the answer can still name the message's id.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// A field: not there (or `null`), of another kind, or as it should be.
#[derive(Debug, Default)]
pub(super) enum Field<T> {
    #[default]
    Absent,
    Wrong,
    Is(T),
}

/// A string, borrowed from the frame where it has no escapes.
pub(super) type TextField<'a> = Field<Cow<'a, str>>;

impl<T> Field<T> {
    /// What should be there, if it is.
    pub(super) fn get(&self) -> Option<&T> {
        match self {
            Field::Is(value) => Some(value),
            Field::Absent | Field::Wrong => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Field<Cow<'a, str>> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text)
    }
}

impl<'de> Deserialize<'de> for Field<u64> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Whole)
    }
}

struct Text;
struct Whole;

macro_rules! wrong {
    ($($visit:ident: $kind:ty),*) => {$(
        fn $visit<E: de::Error>(self, _: $kind) -> Result<Self::Value, E> {
            Ok(Field::Wrong)
        }
    )*};
}

/// The kinds that are wrong for texts and whole numbers alike.
macro_rules! neither_text_nor_whole {
    () => {
        wrong!(visit_bool: bool, visit_i64: i64);

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(Field::Absent)
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            while seq.next_element::<de::IgnoredAny>()?.is_some() {}
            Ok(Field::Wrong)
        }

        fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            while map.next_entry::<de::IgnoredAny, de::IgnoredAny>()?.is_some() {}
            Ok(Field::Wrong)
        }
    };
}

impl<'de> de::Visitor<'de> for Text {
    type Value = TextField<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Field::Is(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Field::Is(Cow::Owned(text.to_owned())))
    }

    wrong!(visit_u64: u64, visit_f64: f64);
    neither_text_nor_whole!();
}

impl<'de> de::Visitor<'de> for Whole {
    type Value = Field<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Field::Is(value))
    }

    /// JSON has one kind of number: 60.0 is 60.
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        // 2^64, the first that does not fit; what is below it and whole is exact.
        let fits = (0.0..18_446_744_073_709_551_616.0).contains(&value) && value.fract() == 0.0;
        Ok(if fits { Field::Is(value as u64) } else { Field::Wrong })
    }

    wrong!(visit_str: &str);
    neither_text_nor_whole!();
}

//! Numbers that order things: view numbers, epochs, stamps, partitions. All 64 bits are used
//! unsigned; in JSON they are strings, for JavaScript's numbers hold only 53 bits. Where a peer
//! writes a whole number instead, it is taken: to serde_json it is exact.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Number of partitions. Fixed for ever: the partition of an end is the lowest byte of a hash.
pub const PARTITIONS: usize = 256;

/// One of the 256 sets of ends that have one owner in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u8);

impl Partition {
    /// All partitions in order.
    pub fn all() -> impl Iterator<Item = Partition> {
        (0..=u8::MAX).map(Partition)
    }

    /// Index into an array of [`PARTITIONS`] elements.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

macro_rules! number {
    ($($(#[$doc:meta])+ $name:ident),+ $(,)?) => {$(
        $(#[$doc])+
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                text_or_number::deserialize(deserializer).map(Self)
            }
        }
    )+};
}
number! {
    /// Number of a view: the database's operation time (seconds in the upper half, an increment
    /// in the lower one) that its change is based on, or one above all that is known.
    ViewNumber,
    /// Number of the view that made a partition's owner its owner. Higher is newer.
    Epoch,
}

/// Given by the owner to each registration and message that it accepts; higher is newer.
/// Compared whole, epoch first.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Stamp {
    /// Epoch of the owner that accepted.
    pub epoch: Epoch,
    /// Grows by one with each acceptance in a partition and epoch.
    #[serde(with = "u64_as_text")]
    pub count: u64,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.count)
    }
}

/// A `u64` that is written as a string and read from a string or a whole number.
pub(crate) mod u64_as_text {
    use serde::Serializer;

    pub(crate) use super::text_or_number::deserialize;

    pub(crate) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }
}

/// An unsigned number that is read from a string of digits or a whole number.
pub(crate) mod text_or_number {
    use std::fmt;
    use std::marker::PhantomData;

    use serde::{Deserializer, de};

    pub(crate) fn deserialize<'de, D, T>(deserializer: D) -> Result<T, D::Error>
    where
        D: Deserializer<'de>,
        T: TryFrom<u64>,
    {
        deserializer.deserialize_any(Number(PhantomData))
    }

    struct Number<T>(PhantomData<T>);

    impl<T: TryFrom<u64>> de::Visitor<'_> for Number<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an unsigned whole number, as a string or as a number")
        }

        fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
            T::try_from(value).map_err(|_| E::custom("number is too large"))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            // `parse` alone would take a plus sign.
            if !text.bytes().all(|b| b.is_ascii_digit()) {
                return Err(E::custom("number must consist of digits"));
            }
            self.visit_u64(text.parse().map_err(E::custom)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_compare_by_epoch_first_and_unsigned() {
        let stamp = |epoch, count| Stamp { epoch: Epoch(epoch), count };
        assert!(stamp(1, 9) < stamp(2, 0));
        assert!(stamp(i64::MAX as u64, 0) < stamp(i64::MAX as u64 + 1, 0));
        assert!(stamp(2, 1) < stamp(2, 2));
    }

    #[test]
    fn numbers_are_strings_in_json() {
        let stamp = Stamp { epoch: Epoch(u64::MAX), count: 7 };
        let text = serde_json::to_string(&stamp).unwrap();
        assert_eq!(text, r#"{"epoch":"18446744073709551615","count":"7"}"#);
        assert_eq!(serde_json::from_str::<Stamp>(&text).unwrap(), stamp);
        let text = r#"{"epoch":18446744073709551615,"count":7}"#;
        assert_eq!(serde_json::from_str::<Stamp>(text).unwrap(), stamp);
        for text in ["1.0", "-1", "18446744073709551616", "\"\"", "\"+1\"", "null", "true"] {
            assert!(serde_json::from_str::<Epoch>(text).is_err(), "{text}");
        }
    }
}

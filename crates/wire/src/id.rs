//! Identities and their grammar. Parsing is the only way in, so a value of one of these types is
//! always well formed.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;
use xxhash_rust::xxh64::xxh64;

use crate::number::Partition;

/// Longest `hospitalCode` and longest `hosareaCode`, in bytes.
const CODE_MAX_BYTES: usize = 32;
/// Longest `uid`, in bytes.
const UID_MAX_BYTES: usize = 64;
/// Longest message id and longest client id, in bytes.
const TOKEN_MAX_BYTES: usize = 64;

/// Why a text is no id. The text itself is not repeated: it came from a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not three parts joined by dashes.
    #[error("end id must be hospitalCode-hosareaCode-uid")]
    EndShape,
    /// `hospitalCode` does not match its grammar.
    #[error("hospitalCode must match [A-Za-z0-9_.]{{1,32}}")]
    HospitalCode,
    /// `hosareaCode` does not match its grammar.
    #[error("hosareaCode must match [A-Za-z0-9_.]{{1,32}}")]
    HosareaCode,
    /// `uid` does not match its grammar.
    #[error("uid must match [A-Za-z0-9_.@-]{{1,64}}")]
    Uid,
    /// A message id or a client id does not match its grammar.
    #[error("id must match [A-Za-z0-9_.:-]{{1,64}}")]
    Token,
    /// A server, session, start or MS id is no UUID.
    #[error("id must be a UUID")]
    Uuid,
}

/// Which bytes a part may hold.
type Alphabet = [bool; 256];

static CODE: Alphabet = alphabet(b"_.");
static UID: Alphabet = alphabet(b"_.@-");
static TOKEN: Alphabet = alphabet(b"_.:-");

/// Letters, digits and `extra`.
const fn alphabet(extra: &[u8]) -> Alphabet {
    let mut bytes = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        bytes[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut i = 0;
    while i < extra.len() {
        bytes[extra[i] as usize] = true;
        i += 1;
    }
    bytes
}

/// Looked up, not compared: ids are checked at each hop of each message.
fn matches(text: &str, max: usize, alphabet: &'static Alphabet) -> bool {
    !text.is_empty() && text.len() <= max && text.bytes().all(|b| alphabet[usize::from(b)])
}

/// Name of one addressable terminal: `hospitalCode-hosareaCode-uid`.
///
/// Both codes match `[A-Za-z0-9_.]{1,32}` and the uid `[A-Za-z0-9_.@-]{1,64}`, so splitting at
/// the first two dashes is unambiguous. Cloning copies a pointer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndId(Arc<str>);

impl EndId {
    /// Joins the three parts.
    ///
    /// # Errors
    /// The first part that does not match its grammar.
    pub fn new(hospital_code: &str, hosarea_code: &str, uid: &str) -> Result<Self, IdError> {
        check_end(hospital_code, hosarea_code, uid)?;
        Ok(Self(format!("{hospital_code}-{hosarea_code}-{uid}").into()))
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The partition that this end belongs to: the lowest byte of XXH64 (seed 0) of its id.
    pub fn partition(&self) -> Partition {
        Partition((xxh64(self.0.as_bytes(), 0) & 0xff) as u8)
    }
}

fn check_end(hospital_code: &str, hosarea_code: &str, uid: &str) -> Result<(), IdError> {
    if !matches(hospital_code, CODE_MAX_BYTES, &CODE) {
        return Err(IdError::HospitalCode);
    }
    if !matches(hosarea_code, CODE_MAX_BYTES, &CODE) {
        return Err(IdError::HosareaCode);
    }
    if !matches(uid, UID_MAX_BYTES, &UID) {
        return Err(IdError::Uid);
    }
    Ok(())
}

impl FromStr for EndId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut parts = text.splitn(3, '-');
        let (Some(hospital), Some(area), Some(uid)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(IdError::EndShape);
        };
        check_end(hospital, area, uid)?;
        Ok(Self(text.into()))
    }
}

impl Borrow<str> for EndId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A sender's name for one message: 1 to 64 of `[A-Za-z0-9_.:-]`, never used again by its end
/// within the message TTL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(Arc<str>);

impl MessageId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A fresh id from a UUID.
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid.to_string().into())
    }
}

/// Names one running terminal program over its reconnects (query parameter `client`); same
/// grammar as a message id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(Arc<str>);

impl ClientId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A fresh id from a UUID.
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid.to_string().into())
    }
}

macro_rules! token_id {
    ($($name:ident),+) => {$(
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                if matches(text, TOKEN_MAX_BYTES, &TOKEN) {
                    Ok(Self(text.into()))
                } else {
                    Err(IdError::Token)
                }
            }
        }
    )+};
}
token_id!(MessageId, ClientId);

macro_rules! text_id {
    ($($name:ident),+) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Parsed(PhantomData))
            }
        }
    )+};
}
text_id!(EndId, MessageId, ClientId);

/// Parses a text where it lies, without an owned copy of it.
struct Parsed<T>(PhantomData<T>);

impl<T: FromStr<Err = IdError>> de::Visitor<'_> for Parsed<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! uuid_id {
    ($($(#[$doc:meta])+ $name:ident),+ $(,)?) => {$(
        $(#[$doc])+
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::parse_str(text).map(Self).map_err(|_| IdError::Uuid)
            }
        }
    )+};
}
uuid_id! {
    /// Identity of one BS (database: `serverIdentifer`). In Kubernetes the pod's UID, elsewhere
    /// random.
    ServerId,
    /// Random at each start of a BS process: a container can restart under its pod's UID.
    StartId,
    /// Identity of one MS, new at each start and at each re-entry into the view.
    MsId,
    /// Identity of one authenticated WebSocket connection of a terminal to a BS.
    SessionId,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_uid_may_hold_dashes_and_codes_may_not() {
        let id: EndId = "H1-A2-u-7@x".parse().unwrap();
        assert_eq!(id, EndId::new("H1", "A2", "u-7@x").unwrap());
        assert_eq!(EndId::new("H-1", "A2", "u"), Err(IdError::HospitalCode));
        assert_eq!(EndId::new("H1", "A@", "u"), Err(IdError::HosareaCode));
    }

    #[test]
    fn ill_formed_ends_name_the_part_that_is_wrong() {
        for (text, error) in [
            ("", IdError::EndShape),
            ("H1-A2", IdError::EndShape),
            ("-A2-u", IdError::HospitalCode),
            ("H1--u", IdError::HosareaCode),
            ("H1-A2-", IdError::Uid),
            ("H1-A2-ü", IdError::Uid),
            ("H1-A2-a b", IdError::Uid),
        ] {
            assert_eq!(text.parse::<EndId>(), Err(error), "{text}");
        }
        assert!(format!("{}-A-u", "h".repeat(33)).parse::<EndId>().is_err());
        assert!(format!("H-A-{}", "u".repeat(65)).parse::<EndId>().is_err());
        assert!(format!("H-A-{}", "u".repeat(64)).parse::<EndId>().is_ok());
    }

    #[test]
    fn partition_is_the_lowest_byte_of_xxh64_with_seed_0() {
        // XXH64("", 0) = ef46db3751d8e999 and XXH64("abc", 0) = 44bc2cf5ad770999 are the
        // published vectors of the hash itself.
        assert_eq!(xxh64(b"abc", 0), 0x44bc_2cf5_ad77_0999);
        let end: EndId = "H1-A2-u7".parse().unwrap();
        assert_eq!(u64::from(end.partition().0), xxh64(b"H1-A2-u7", 0) & 0xff);
    }

    proptest! {
        #[test]
        fn any_well_formed_end_splits_back_into_its_parts(
            h in "[A-Za-z0-9_.]{1,32}", a in "[A-Za-z0-9_.]{1,32}", u in "[A-Za-z0-9_.@-]{1,64}"
        ) {
            let joined = EndId::new(&h, &a, &u).unwrap();
            prop_assert_eq!(joined.as_str().parse::<EndId>().unwrap(), joined.clone());
            let mut parts = joined.as_str().splitn(3, '-');
            prop_assert_eq!(parts.next().unwrap(), h);
            prop_assert_eq!(parts.next().unwrap(), a);
            prop_assert_eq!(parts.next().unwrap(), u);
        }

        #[test]
        fn parsing_any_text_never_panics(text in ".*") {
            let _ = text.parse::<EndId>();
            let _ = text.parse::<MessageId>();
            let _ = text.parse::<SessionId>();
        }
    }
}

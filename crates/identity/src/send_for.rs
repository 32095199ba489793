//! For whom a token may send, besides its own end: the claim `sendFor`.

use std::fmt;
use std::str::FromStr;

use wardlink_wire::EndId;

/// Most entries of the claim. A hospital's system sends for some areas or for all; who needs
/// more names an area or a hospital as a whole.
pub const SEND_FOR_MAX: usize = 64;

/// One entry of the claim `sendFor`: whose messages its holder may send.
///
/// | text | meaning |
/// |---|---|
/// | `H1-A2-gateway7` | this end |
/// | `H1-A2-*` | all ends of an area |
/// | `H1-*` | all ends of a hospital |
/// | `*` | all ends |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendFor(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    End(EndId),
    /// Whole parts of an end id, with the dash behind the last; empty for all ends.
    Prefix(Box<str>),
}

impl SendFor {
    /// Whether it covers this end.
    pub fn covers(&self, end: &EndId) -> bool {
        match &self.0 {
            Kind::End(own) => own == end,
            Kind::Prefix(prefix) => end.as_str().starts_with(&**prefix),
        }
    }
}

/// Why a text or a claim does not say for whom its holder may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendForError {
    /// An entry is of none of the four forms.
    #[error("expected an end id, hospitalCode-hosareaCode-*, hospitalCode-* or *")]
    Pattern,
    /// The claim is neither a string nor a list of strings.
    #[error("expected a string or a list of strings")]
    Shape,
    /// It has more than [`SEND_FOR_MAX`] entries.
    #[error("expected at most {SEND_FOR_MAX} entries")]
    TooMany,
}

impl FromStr for SendFor {
    type Err = SendForError;

    fn from_str(text: &str) -> Result<Self, SendForError> {
        let Some(prefix) = text.strip_suffix('*') else {
            return text.parse().map(|end| Self(Kind::End(end))).map_err(|_| SendForError::Pattern);
        };
        // What stands before the star must be what an end id can begin with, in whole parts.
        let sound = match prefix.strip_suffix('-') {
            None => prefix.is_empty(),
            Some(parts) => match parts.split_once('-') {
                None => EndId::new(parts, "a", "u").is_ok(),
                Some((hospital, area)) => EndId::new(hospital, area, "u").is_ok(),
            },
        };
        if sound { Ok(Self(Kind::Prefix(prefix.into()))) } else { Err(SendForError::Pattern) }
    }
}

impl fmt::Display for SendFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::End(end) => write!(f, "{end}"),
            Kind::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_covers_whole_parts_only() {
        for (pattern, end, covered) in [
            ("H1-A2-u7", "H1-A2-u7", true),
            ("H1-A2-u7", "H1-A2-u70", false),
            ("H1-A2-*", "H1-A2-u7", true),
            ("H1-A2-*", "H1-A2-u-7", true),
            ("H1-A2-*", "H1-A20-u7", false),
            ("H1-*", "H1-A9-u7", true),
            ("H1-*", "H10-A2-u7", false),
            ("*", "X-Y-z", true),
        ] {
            let entry: SendFor = pattern.parse().expect(pattern);
            assert_eq!(entry.covers(&end.parse().expect(end)), covered, "{pattern} {end}");
            assert_eq!(entry.to_string(), pattern);
        }
    }

    #[test]
    fn anything_else_is_no_entry() {
        for text in [
            "",
            "H1",
            "H1-",
            "H1-A2",
            "H1-A2-",
            "H1*",
            "H1-A*",
            "H1-A2-u*",
            "-*",
            "H1--*",
            "**",
            "*-A2-u7",
            "H1-*-u7",
            "H1-A2-u-*",
            "H1 -*",
            "H@-*",
        ] {
            assert_eq!(text.parse::<SendFor>(), Err(SendForError::Pattern), "{text}");
        }
    }
}

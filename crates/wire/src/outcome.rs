//! What a sender is told of its message.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Result of a send. The set is closed; every message of a live session gets exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The target's terminal acknowledged the message.
    Delivered,
    /// The mailbox write is durable and was confirmed by a renewal begun after it.
    Stored,
    /// It will not arrive.
    Rejected,
    /// Nobody can know: it may still arrive. Sent again under the same id it arrives once a
    /// session.
    Unknown,
}

impl Outcome {
    /// All values, for closed label sets and round-trip tests.
    pub const ALL: [Outcome; 4] =
        [Outcome::Delivered, Outcome::Stored, Outcome::Rejected, Outcome::Unknown];

    /// The word used on the wire, in logs and as a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Delivered => "delivered",
            Outcome::Stored => "stored",
            Outcome::Rejected => "rejected",
            Outcome::Unknown => "unknown",
        }
    }

    /// Every outcome with every reason that may come with it: a closed set of results.
    pub fn results() -> impl Iterator<Item = (Outcome, Option<Reason>)> {
        let facts = [(Outcome::Delivered, None), (Outcome::Stored, None)];
        let others = [Outcome::Rejected, Outcome::Unknown].into_iter().flat_map(|outcome| {
            let reasons = Reason::ALL.into_iter().map(Some);
            reasons.chain([None]).map(move |reason| (outcome, reason))
        });
        facts.into_iter().chain(others)
    }

    /// The outcome of this text, where it is one.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a message was `rejected`, or why its fate is `unknown`. The set is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// The target's mailbox holds as many messages as it may.
    #[serde(rename = "mailbox full")]
    MailboxFull,
    /// The message is larger than a server or the database takes.
    #[serde(rename = "too large")]
    TooLarge,
    /// Its time to live ended before it was shown.
    #[serde(rename = "expired")]
    Expired,
    /// A server still holds another message under this id from this end.
    #[serde(rename = "id reused")]
    IdReused,
    /// The database could not be reached, or refused the write.
    #[serde(rename = "unavailable")]
    Unavailable,
    /// The send deadline passed.
    #[serde(rename = "deadline")]
    Deadline,
    /// A queue on the way was full.
    #[serde(rename = "overloaded")]
    Overloaded,
    /// The message itself is wrong: its target, id, body or ttl.
    #[serde(rename = "invalid")]
    Invalid,
    /// The server that had the message stopped.
    #[serde(rename = "stopping")]
    Stopping,
}

impl Reason {
    /// All values, for closed label sets and round-trip tests.
    pub const ALL: [Reason; 9] = [
        Reason::MailboxFull,
        Reason::TooLarge,
        Reason::Expired,
        Reason::IdReused,
        Reason::Unavailable,
        Reason::Deadline,
        Reason::Overloaded,
        Reason::Invalid,
        Reason::Stopping,
    ];

    /// The text used on the wire, in logs and as a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::MailboxFull => "mailbox full",
            Reason::TooLarge => "too large",
            Reason::Expired => "expired",
            Reason::IdReused => "id reused",
            Reason::Unavailable => "unavailable",
            Reason::Deadline => "deadline",
            Reason::Overloaded => "overloaded",
            Reason::Invalid => "invalid",
            Reason::Stopping => "stopping",
        }
    }

    /// Whether sending the same message again, under the same id, may succeed.
    pub fn retry(self) -> bool {
        match self {
            Reason::MailboxFull
            | Reason::Unavailable
            | Reason::Deadline
            | Reason::Overloaded
            | Reason::Stopping => true,
            Reason::TooLarge | Reason::Expired | Reason::IdReused | Reason::Invalid => false,
        }
    }

    /// The reason of this text, where it is one.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_listed_in_their_order() {
        assert!(Outcome::ALL.into_iter().enumerate().all(|(i, outcome)| outcome as usize == i));
        assert!(Reason::ALL.into_iter().enumerate().all(|(i, reason)| reason as usize == i));
    }

    #[test]
    fn words_and_json_agree() {
        for outcome in Outcome::ALL {
            assert_eq!(serde_json::to_string(&outcome).unwrap(), format!("\"{outcome}\""));
            assert_eq!(Outcome::parse(outcome.as_str()), Some(outcome));
        }
        assert_eq!(Outcome::results().count(), 2 + 2 * (Reason::ALL.len() + 1));
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_string(&reason).unwrap(), format!("\"{reason}\""));
            assert_eq!(Reason::parse(reason.as_str()), Some(reason));
        }
    }
}

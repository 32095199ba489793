//! One condition, and how it takes the place of the one before.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use wardlink_operator_api::{ConditionType, MessagingClusterStatus};

use super::Reason;

/// Most bytes of a message. The API server takes 32 KiB; people read less.
const MESSAGE_MAX_BYTES: usize = 2_048;

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody knows.
    Unknown,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What is found of one condition, without time and generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) state: State,
    pub(super) reason: Reason,
    pub(super) message: String,
}

impl Finding {
    pub(super) fn new(state: State, reason: Reason, message: impl Into<String>) -> Self {
        Self { state, reason, message: message.into() }
    }

    pub(super) fn yes(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(State::True, reason, message)
    }

    pub(super) fn no(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(State::False, reason, message)
    }

    pub(super) fn holds(&self) -> bool {
        self.state == State::True
    }

    /// What was found when `before` was written, if it is a condition of this operator.
    pub(super) fn of(before: &Condition) -> Option<Self> {
        let state = match before.status.as_str() {
            "True" => State::True,
            "False" => State::False,
            _ => State::Unknown,
        };
        let reason = Reason::ALL.iter().find(|reason| reason.as_str() == before.reason)?;
        Some(Self { state, reason: *reason, message: before.message.clone() })
    }

    /// As a condition. The time moves only where the status does.
    pub(super) fn condition(
        self,
        kind: ConditionType,
        generation: Option<i64>,
        before: Option<&Condition>,
        now: Timestamp,
    ) -> Condition {
        let status = self.state.as_str();
        let since = before.filter(|before| before.status == status);
        Condition {
            type_: kind.as_str().to_owned(),
            status: status.to_owned(),
            reason: self.reason.as_str().to_owned(),
            message: cut(self.message, MESSAGE_MAX_BYTES),
            observed_generation: generation,
            last_transition_time: since
                .map_or(Time(now), |before| before.last_transition_time.clone()),
        }
    }
}

/// The condition of this type.
pub(super) fn find(
    status: Option<&MessagingClusterStatus>,
    kind: ConditionType,
) -> Option<&Condition> {
    status?.conditions.iter().find(|condition| condition.type_ == kind.as_str())
}

/// At most so many bytes of a text, cut between characters.
pub(super) fn cut(mut text: String, max_bytes: usize) -> String {
    if text.len() > max_bytes {
        let end = (0..=max_bytes - '…'.len_utf8()).rev().find(|i| text.is_char_boundary(*i));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}

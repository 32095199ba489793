//! Events: what is told once, when it changes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use wardlink_operator_api::{ConditionType, MessagingClusterStatus};

use super::Reason;
use super::condition::{Finding, State, cut, find};

/// Most bytes of a note: the API server takes 1 KiB.
const NOTE_MAX_BYTES: usize = 1_000;

/// Whether an event is good or bad news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    /// As it should be.
    Normal,
    /// Somebody should look.
    Warning,
}

/// One event about a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventNote {
    /// Good or bad news.
    pub event_type: EventType,
    /// Of the closed set of [`Reason`], and few words more.
    pub reason: &'static str,
    /// For people. At most 1,000 bytes.
    pub note: String,
}

impl EventNote {
    fn new(event_type: EventType, reason: &'static str, note: impl Into<String>) -> Self {
        Self { event_type, reason, note: cut(note.into(), NOTE_MAX_BYTES) }
    }
}

/// What is to be told of the change from one status to the next; nothing where nothing changed.
pub fn events(
    before: Option<&MessagingClusterStatus>,
    after: &MessagingClusterStatus,
) -> Vec<EventNote> {
    let changes = ConditionType::ALL.into_iter().filter_map(|kind| {
        let now = Finding::of(find(Some(after), kind)?)?;
        let was = find(before, kind).and_then(|condition: &Condition| Finding::of(condition));
        let same =
            was.as_ref().is_some_and(|was| (was.state, was.reason) == (now.state, now.reason));
        if same { None } else { of_condition(kind, was.as_ref(), &now) }
    });
    let mut events: Vec<_> = changes.collect();
    events.extend(of_ttl(before, after));
    events
}

fn of_condition(kind: ConditionType, was: Option<&Finding>, now: &Finding) -> Option<EventNote> {
    let note = |event_type, reason| Some(EventNote::new(event_type, reason, &now.message));
    let warning = || note(EventType::Warning, now.reason.as_str());
    let became = |state| now.state == state && was.is_none_or(|was| was.state != state);
    match kind {
        ConditionType::Ready if became(State::True) => note(EventType::Normal, "Ready"),
        // Why it is not is told of the tier or the database, or as Stalled.
        ConditionType::Ready if was.is_some_and(Finding::holds) && !now.holds() => {
            let calm = matches!(now.reason, Reason::Stopped);
            note(if calm { EventType::Normal } else { EventType::Warning }, "NotReady")
        }
        ConditionType::Ready => None,
        ConditionType::Stalled if now.holds() => warning(),
        ConditionType::Stalled => was?
            .holds()
            .then(|| EventNote::new(EventType::Normal, "StallResolved", now.message.clone())),
        ConditionType::Reconciling => of_progress(now),
        _ if became(State::True) => note(EventType::Normal, good(kind)),
        _ => match now.reason {
            // On the way, or as the resource says.
            Reason::Starting
            | Reason::Stopped
            | Reason::ScaledToZero
            | Reason::NotChecked
            | Reason::WaitsForStorage
            | Reason::WaitsForMessageServers => None,
            _ if now.holds() => None,
            // A server that was not ready yet is news only where it was.
            Reason::NotReady => was?.holds().then(warning).flatten(),
            _ => warning(),
        },
    }
}

fn of_progress(now: &Finding) -> Option<EventNote> {
    let event_type = match now.reason {
        Reason::RolloutStuck
        | Reason::Forbidden
        | Reason::LinkIdentityNotAllowed
        | Reason::KindMissing
        | Reason::SecretNotFound => EventType::Warning,
        Reason::RollingOut | Reason::Paused | Reason::Stopping | Reason::Stopped => {
            EventType::Normal
        }
        _ => return None,
    };
    Some(EventNote::new(event_type, now.reason.as_str(), &now.message))
}

fn good(kind: ConditionType) -> &'static str {
    match kind {
        ConditionType::MessageServerAvailable => "MessageServerAvailable",
        ConditionType::BusinessServerAvailable => "BusinessServerAvailable",
        _ => "StorageReady",
    }
}

fn of_ttl(
    before: Option<&MessagingClusterStatus>,
    after: &MessagingClusterStatus,
) -> Option<EventNote> {
    let was = before?.storage.message_ttl_seconds?;
    let now = after.storage.message_ttl_seconds?;
    let note = format!("the TTL index was changed from {was} s to {now} s");
    (was != now).then(|| EventNote::new(EventType::Normal, "MessageTtlChanged", note))
}

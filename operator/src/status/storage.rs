//! How the database is: the condition `StorageReady`, and the numbers in the status.

use wardlink_operator_api::{ConditionType, StorageStatus};

use super::Reason;
use super::condition::{Finding, State, find};
use crate::model::{StatusInputs, StorageState};

/// Whether the database is as it must be.
pub(super) fn ready(inputs: &StatusInputs<'_>) -> Finding {
    let report = inputs.storage;
    let reason = match report.state {
        StorageState::Unknown => {
            // An operator that has just begun knows less than the one before it said.
            let before = find(inputs.cluster.status.as_ref(), ConditionType::StorageReady);
            return before.and_then(Finding::of).unwrap_or_else(|| {
                Finding::new(State::Unknown, Reason::NotChecked, &report.message)
            });
        }
        StorageState::Ready => return Finding::yes(Reason::IndexesReady, &report.message),
        StorageState::Manual => return Finding::yes(Reason::ManagedByHand, &report.message),
        StorageState::SecretNotFound => Reason::SecretNotFound,
        StorageState::InvalidUri => Reason::InvalidUri,
        StorageState::Unreachable => Reason::Unreachable,
        StorageState::NotAuthorized => Reason::NotAuthorized,
        StorageState::NotReplicaSet => Reason::NotReplicaSet,
        StorageState::IndexConflict => Reason::IndexConflict,
        StorageState::IndexFailed => Reason::IndexFailed,
    };
    Finding::no(reason, &report.message)
}

/// The numbers: what the index was last seen to have, and what servers are told.
pub(super) fn numbers(inputs: &StatusInputs<'_>) -> StorageStatus {
    let before = inputs.cluster.status.as_ref().and_then(|s| s.storage.message_ttl_seconds);
    let seen = match inputs.storage.state {
        StorageState::Manual => None,
        _ => inputs.storage.index_ttl_seconds.or(before),
    };
    StorageStatus {
        message_ttl_seconds: seen,
        server_message_ttl_seconds: Some(inputs.server_message_ttl_seconds),
    }
}

//! The status of a cluster, made of what was seen: pure, no I/O, no clock.
//!
//! One file for each group of conditions. The same inputs give the same bytes, and what a status
//! says does not move by itself: no times, no counters, no random names.

mod condition;
mod events;
mod numbers;
mod problem;
mod progress;
mod ready;
mod reason;
mod storage;
mod tier;
mod trouble;
mod words;

#[cfg(test)]
mod tests;

pub use events::{EventNote, EventType, events};
pub use reason::{Reason, table};

use wardlink_operator_api::{ConditionType, MessagingClusterStatus};

use self::condition::find;
use crate::model::StatusInputs;
use crate::names::Tier;

/// What the operator reports of a cluster.
pub fn status(inputs: &StatusInputs<'_>) -> MessagingClusterStatus {
    let cluster = inputs.cluster;
    let generation = cluster.metadata.generation;
    let message_servers = tier::available(inputs, Tier::MessageServer, true);
    let linkable = message_servers.holds();
    let business_servers = tier::available(inputs, Tier::BusinessServer, linkable);
    let storage_ready = storage::ready(inputs);
    let parts = ready::Parts {
        message_servers: &message_servers,
        business_servers: &business_servers,
        storage: &storage_ready,
    };
    let findings = [
        (ConditionType::Ready, ready::ready(inputs, &parts)),
        (ConditionType::Reconciling, progress::reconciling(inputs, linkable)),
        (ConditionType::Stalled, progress::stalled(inputs)),
        (ConditionType::MessageServerAvailable, message_servers),
        (ConditionType::BusinessServerAvailable, business_servers),
        (ConditionType::StorageReady, storage_ready),
    ];
    let conditions = findings.into_iter().map(|(kind, finding)| {
        let before = find(cluster.status.as_ref(), kind);
        finding.condition(kind, generation, before, inputs.now)
    });
    MessagingClusterStatus {
        observed_generation: generation,
        conditions: conditions.collect(),
        message_server: numbers::numbers(inputs, Tier::MessageServer),
        business_server: numbers::numbers(inputs, Tier::BusinessServer),
        storage: storage::numbers(inputs),
        generated_secrets: numbers::generated_secrets(cluster),
    }
}

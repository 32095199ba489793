//! Whether terminals can exchange messages, and all could be made as the resource says: the
//! condition `Ready`. Its reason is the cause, for it is what `kubectl get` shows.

use wardlink_operator_api::ManagementState;

use super::Reason;
use super::condition::{Finding, State};
use super::problem::{reason, words, worst};
use crate::model::{Problem, StatusInputs};

/// What `Ready` is made of.
pub(super) struct Parts<'a> {
    pub(super) message_servers: &'a Finding,
    pub(super) business_servers: &'a Finding,
    pub(super) storage: &'a Finding,
}

/// Whether the cluster is ready.
pub(super) fn ready(inputs: &StatusInputs<'_>, parts: &Parts<'_>) -> Finding {
    let state = inputs.cluster.spec.management_state;
    if state == ManagementState::Stopped {
        return Finding::no(Reason::Stopped, "the cluster is stopped: managementState is Stopped");
    }
    let mut finding = unpaused(inputs, parts);
    if state == ManagementState::Paused {
        if finding.holds() {
            finding.reason = Reason::Paused;
        }
        finding.message += "; the operator is paused and changes nothing";
    }
    finding
}

fn unpaused(inputs: &StatusInputs<'_>, parts: &Parts<'_>) -> Finding {
    let lasting = |problem: &Problem| !matches!(problem, Problem::Unavailable { .. });
    if let Some(problem) = worst(inputs.problems, lasting) {
        return Finding::no(reason(problem), words(problem));
    }
    // The database first: Message Servers may only wait for it, and Business Servers for them.
    let all = [parts.storage, parts.message_servers, parts.business_servers];
    let bad: Vec<_> = all.into_iter().filter(|part| !part.holds()).collect();
    let Some(first) = bad.first() else {
        return Finding::yes(Reason::Available, "terminals can exchange messages");
    };
    // Where it is not known yet, what is known to be wrong is the better reason.
    let cause = bad.iter().find(|part| part.state == State::False).unwrap_or(first);
    let messages: Vec<_> = bad.iter().map(|part| part.message.as_str()).collect();
    Finding::new(cause.state, cause.reason, messages.join(". "))
}

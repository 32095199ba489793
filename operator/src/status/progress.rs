//! Where the cluster is on its way: the conditions `Reconciling` and `Stalled`.
//!
//! Both are bad news while they are True, as tools that wait for a resource (kstatus, Argo CD,
//! Flux) read them: Reconciling means wait, Stalled means that waiting does not help.

use k8s_openapi::api::apps::v1::Deployment;
use wardlink_operator_api::ManagementState;

use super::condition::Finding;
use super::problem::{reason, words, worst};
use super::{Reason, tier};
use crate::model::{Problem, StatusInputs, StorageState};
use crate::names::Tier;

/// Whether somebody must act before the operator can go on.
pub(super) fn stalled(inputs: &StatusInputs<'_>) -> Finding {
    match worst(inputs.problems, Problem::is_terminal) {
        Some(problem) => Finding::yes(reason(problem), words(problem)),
        None => Finding::no(Reason::NotStalled, "nothing keeps the operator from going on"),
    }
}

/// Whether the cluster is on its way to what its resource says.
pub(super) fn reconciling(inputs: &StatusInputs<'_>, message_servers: bool) -> Finding {
    if let Some(problem) = worst(inputs.problems, Problem::is_terminal) {
        return Finding::no(reason(problem), "the operator waits for a change; see Stalled");
    }
    match inputs.cluster.spec.management_state {
        ManagementState::Paused => {
            return Finding::no(Reason::Paused, "paused: the operator changes nothing");
        }
        ManagementState::Stopped if ends(inputs) => {
            return Finding::yes(Reason::Stopping, "pods end");
        }
        ManagementState::Stopped | ManagementState::Managed => {}
    }
    if let Some(problem) = worst(inputs.problems, |_| true) {
        return Finding::yes(reason(problem), words(problem));
    }
    if let Some(rollout) = rollout(inputs, message_servers) {
        return rollout;
    }
    if let Some(ttl) = changing_ttl(inputs) {
        return ttl;
    }
    if inputs.wrote {
        return Finding::yes(Reason::Applying, "objects were just written");
    }
    match (inputs.storage.state, inputs.cluster.spec.management_state) {
        (_, ManagementState::Stopped) => {
            Finding::no(Reason::Stopped, "the cluster is stopped, all else is as described")
        }
        (StorageState::Ready | StorageState::Manual | StorageState::Unknown, _) => {
            Finding::no(Reason::UpToDate, "all is as the resource says")
        }
        _ => {
            Finding::yes(Reason::WaitingForStorage, "the database is tried again; see StorageReady")
        }
    }
}

/// Whether pods are there which are not wanted any more.
fn ends(inputs: &StatusInputs<'_>) -> bool {
    Tier::ALL.iter().any(|tier| {
        let seen = inputs.tiers.get(*tier);
        let counted = seen.deployment.as_ref().and_then(|d| d.status.as_ref()?.replicas);
        !seen.pods.is_empty() || counted.unwrap_or(0) > 0
    })
}

/// The tiers whose pods are not all as wanted, in words.
fn rollout(inputs: &StatusInputs<'_>, message_servers: bool) -> Option<Finding> {
    let mut stuck = false;
    let mut parts = Vec::new();
    for tier in Tier::ALL {
        let seen = inputs.tiers.get(tier);
        let title = tier.title();
        let Some(deployment) = &seen.deployment else {
            parts.push(format!("{title}s are not there yet"));
            continue;
        };
        let wanted = tier::wanted(inputs, tier);
        let Some(mut words) = incomplete(deployment, wanted) else { continue };
        let progress = tier::condition(deployment, "Progressing");
        stuck |= tier::observed(deployment)
            && progress.is_some_and(|c| c.reason.as_deref() == Some("ProgressDeadlineExceeded"));
        let (reason, why) = tier::why(inputs, tier, message_servers);
        if reason != Reason::Starting {
            words = format!("{words}; {why}");
        }
        parts.push(format!("{title}s: {words}"));
    }
    let reason = if stuck { Reason::RolloutStuck } else { Reason::RollingOut };
    (!parts.is_empty()).then(|| Finding::yes(reason, parts.join(". ")))
}

/// How far a Deployment is, unless it is where it is to be.
fn incomplete(deployment: &Deployment, wanted: i32) -> Option<String> {
    if !tier::observed(deployment) {
        return Some("a change was just written".to_owned());
    }
    let status = deployment.status.clone().unwrap_or_default();
    let updated = status.updated_replicas.unwrap_or(0);
    let old = status.replicas.unwrap_or(0) - updated;
    let available = status.available_replicas.unwrap_or(0);
    if updated < wanted {
        return Some(format!("{updated} of {wanted} pods are as the resource says"));
    }
    if old > 0 || updated > wanted {
        return Some("pods that are not wanted any more end".to_owned());
    }
    (available < wanted).then(|| format!("{available} of {wanted} pods are available"))
}

/// Where the life of messages is on its way from one value to another.
fn changing_ttl(inputs: &StatusInputs<'_>) -> Option<Finding> {
    let wanted = inputs.cluster.spec.storage.message_ttl_seconds;
    let told = inputs.server_message_ttl_seconds;
    let index =
        inputs.storage.index_ttl_seconds.filter(|_| inputs.storage.state == StorageState::Ready);
    let index = index.unwrap_or(wanted);
    (told != wanted || index != wanted).then(|| {
        let words = format!(
            "messages are to live {wanted} s: servers go by {told} s, the index by {index} s"
        );
        Finding::yes(Reason::ChangingMessageTtl, words)
    })
}

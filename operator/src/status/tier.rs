//! Whether enough servers of a tier are available, and if not, why: the conditions
//! `MessageServerAvailable` and `BusinessServerAvailable`.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition};
use wardlink_operator_api::{ConditionType, ManagementState};

use super::Reason;
use super::condition::{Finding, State, find};
use super::trouble::{Trouble, trouble};
use super::words::refusal_words;
use crate::model::{StatusInputs, StorageState, TierObserved};
use crate::names::Tier;

/// The condition of a tier's type.
pub(super) fn kind(tier: Tier) -> ConditionType {
    match tier {
        Tier::MessageServer => ConditionType::MessageServerAvailable,
        Tier::BusinessServer => ConditionType::BusinessServerAvailable,
    }
}

/// Whether a tier is available. `message_servers`: whether the other tier is, for the Business
/// Servers, which need one.
pub(super) fn available(inputs: &StatusInputs<'_>, tier: Tier, message_servers: bool) -> Finding {
    let seen = inputs.tiers.get(tier);
    if inputs.cluster.spec.management_state == ManagementState::Stopped {
        return Finding::no(Reason::Stopped, "the cluster is stopped");
    }
    let wanted = wanted(inputs, tier);
    if wanted == 0 {
        return Finding::no(Reason::ScaledToZero, format!("no {} is wanted", tier.title()));
    }
    let Some(deployment) = &seen.deployment else {
        return Finding::no(Reason::Starting, format!("there are no {}s yet", tier.title()));
    };
    let status = deployment.status.clone().unwrap_or_default();
    let enough = condition(deployment, "Available").is_some_and(|c| c.status == "True")
        && status.available_replicas.unwrap_or(0) > 0;
    if enough {
        return Finding::yes(Reason::Available, format!("enough {}s are available", tier.title()));
    }
    // What the Deployment says is of the generation before, and so is what was said of it.
    let before = find(inputs.cluster.status.as_ref(), kind(tier)).and_then(Finding::of);
    if let Some(before) = before.filter(|before| !observed(deployment) && before.holds()) {
        return before;
    }
    let (reason, message) = why(inputs, tier, message_servers);
    Finding::new(State::False, reason, message)
}

/// Pods that the tier is to have: what its Deployment says, for an autoscaler may have set it.
pub(super) fn wanted(inputs: &StatusInputs<'_>, tier: Tier) -> i32 {
    let deployment = inputs.tiers.get(tier).deployment.as_ref();
    let set = deployment.and_then(|deployment| deployment.spec.as_ref()?.replicas);
    set.unwrap_or(match inputs.cluster.spec.management_state {
        ManagementState::Stopped => 0,
        _ => tier.spec(inputs.cluster).replicas,
    })
}

/// Whether the Deployment's status is of its present generation.
pub(super) fn observed(deployment: &Deployment) -> bool {
    let seen = deployment.status.as_ref().and_then(|status| status.observed_generation);
    seen >= deployment.metadata.generation
}

/// The Deployment's condition of this type.
pub(super) fn condition<'a>(
    deployment: &'a Deployment,
    kind: &str,
) -> Option<&'a DeploymentCondition> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// What is worst in a tier that is not as it should be.
pub(super) fn why(
    inputs: &StatusInputs<'_>,
    tier: Tier,
    message_servers: bool,
) -> (Reason, String) {
    let seen = inputs.tiers.get(tier);
    if let Some(refused) = refused(seen) {
        return refused;
    }
    let Some((worst, pods, count)) = worst(seen) else {
        return (Reason::Starting, format!("{} pods are not there yet", tier.title()));
    };
    let which = match count {
        1 => format!("pod {pods}"),
        _ => format!("{count} pods, the first of them {pods}"),
    };
    let waits_for_storage = !matches!(
        inputs.storage.state,
        StorageState::Ready | StorageState::Manual | StorageState::Unknown
    );
    match tier {
        Tier::MessageServer if worst.runs() && waits_for_storage => (
            Reason::WaitsForStorage,
            "Message Servers run and wait for the database; see StorageReady".to_owned(),
        ),
        Tier::BusinessServer if worst.runs() && !message_servers => (
            Reason::WaitsForMessageServers,
            "Business Servers run and wait for a Message Server".to_owned(),
        ),
        _ => (worst.reason, format!("{which}: {}", worst.words)),
    }
}

/// Why the API server takes no further pods, where the Deployment says so.
fn refused(seen: &TierObserved) -> Option<(Reason, String)> {
    let failure = condition(seen.deployment.as_ref()?, "ReplicaFailure")?;
    if failure.status != "True" {
        return None;
    }
    let words = refusal_words(failure.message.as_deref().unwrap_or("pods cannot be made"));
    let reason = if words.contains("exceeded quota") || words.contains("failed quota") {
        Reason::QuotaExceeded
    } else {
        Reason::PodsRefused
    };
    Some((reason, format!("pods cannot be made: {words}")))
}

/// The worst trouble, the first pod (by name) that has it, and how many have it. Pods that end are
/// no trouble.
fn worst(seen: &TierObserved) -> Option<(Trouble, &str, usize)> {
    let staying = seen.pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let mut troubles: Vec<_> = staying
        .filter_map(|pod| Some((trouble(pod)?, pod.metadata.name.as_deref().unwrap_or_default())))
        .collect();
    troubles.sort_by(|(a, a_name), (b, b_name)| {
        (Trouble::rank(a.reason), a_name).cmp(&(Trouble::rank(b.reason), b_name))
    });
    let (worst, name) = troubles.first().cloned()?;
    let count = troubles.iter().filter(|(trouble, _)| trouble.reason == worst.reason).count();
    Some((worst, name, count))
}

//! In which order a changed life of stored messages reaches the pods and the TTL index.
//!
//! The index must never be shorter than what a pod goes by, or the database would remove what
//! that pod called stored. So where the life grows the index goes first, and where it shrinks the
//! pods go first.

use k8s_openapi::api::core::v1::PodTemplateSpec;

use crate::model::TierObserved;
use crate::names::{MESSAGE_TTL_VARIABLE, parse_message_ttl};

/// What Message Servers were told, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// What they were told last: a new pod goes by it.
    pub last: i32,
    /// The most that a pod goes by which may still run.
    pub most: i32,
}

impl Told {
    /// What the pods go by, from the recorded status, the Deployment and its pods, those that end
    /// included. `None` while there was no Message Server yet.
    ///
    /// The recorded number and the Deployment's count beside the pods: a pod that was made just
    /// now may not be seen yet.
    pub fn of(recorded: Option<i32>, tier: &TierObserved) -> Option<Self> {
        let template = tier
            .deployment
            .as_ref()
            .and_then(|deployment| in_template(&deployment.spec.as_ref()?.template));
        let pods = tier.pods.iter().filter_map(|pod| in_pod(pod.spec.as_ref()?));
        let last = recorded.or(template)?;
        let most = pods.chain(template).fold(last, i32::max);
        Some(Self { last, most })
    }
}

fn in_template(template: &PodTemplateSpec) -> Option<i32> {
    in_pod(template.spec.as_ref()?)
}

fn in_pod(pod: &k8s_openapi::api::core::v1::PodSpec) -> Option<i32> {
    let variables = pod.containers.iter().flat_map(|container| container.env.iter().flatten());
    let mut values = variables.filter(|variable| variable.name == MESSAGE_TTL_VARIABLE);
    parse_message_ttl(values.next()?.value.as_deref()?)
}

/// The next step of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TtlStep {
    /// What the Message Servers are to be told now.
    pub tell: i32,
    /// What the index is to have now.
    pub index: i32,
}

/// The next step from what is to what is wanted, all in seconds.
///
/// `index` is what the TTL index was seen to have, `None` where there is none or nothing is known.
/// `settled`: the Deployment's rollout is complete, so `told.most` misses no pod.
///
/// Guarantees: the step never sets the index below what a pod goes by or is about to go by, and
/// never tells pods more than an index that was seen to be shorter holds. Repeated with what came
/// of it, it arrives at `wanted` for both.
pub fn ttl_order(wanted: i32, index: Option<i32>, told: Option<Told>, settled: bool) -> TtlStep {
    // Message Servers that never ran have promised nothing, and a new one is not ready before
    // the index has what it was told.
    let Some(told) = told else { return TtlStep { tell: wanted, index: wanted } };
    let long_enough = index.is_some_and(|index| index >= wanted);
    let tell = if wanted <= told.last || long_enough { wanted } else { told.last };
    let most = told.most.max(wanted);
    let shortest = if settled { most } else { most.max(index.unwrap_or(most)) };
    TtlStep { tell, index: shortest }
}

/// Whether the pods that were seen are all that there are, and all of the Deployment's present
/// template. Those that end are beside the question: [`Told::most`] counts them.
pub(super) fn settled(tier: &TierObserved) -> bool {
    let staying = tier.pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).count();
    let Some(deployment) = &tier.deployment else { return staying == 0 };
    let status = deployment.status.clone().unwrap_or_default();
    let replicas = status.replicas.unwrap_or(0);
    status.observed_generation >= deployment.metadata.generation
        && status.updated_replicas.unwrap_or(0) == replicas
        && usize::try_from(replicas) == Ok(staying)
}

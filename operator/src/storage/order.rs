//! In which order a changed life of stored messages reaches the pods and the TTL index.
//!
//! The index must never be shorter than what a pod goes by, or the database would remove what
//! that pod called stored. So where the life grows the index goes first, and where it shrinks the
//! pods go first.

use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};

use crate::model::TierObserved;

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

fn in_pod(pod: &PodSpec) -> Option<i32> {
    let mut arguments = pod.containers.iter().flat_map(|container| container.args.iter().flatten());
    let value = arguments.find_map(|argument| argument.strip_prefix("--message-ttl="))?;
    value.strip_suffix('s')?.parse().ok()
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
pub(crate) fn settled(tier: &TierObserved) -> bool {
    let staying = tier.pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).count();
    let Some(deployment) = &tier.deployment else { return staying == 0 };
    let status = deployment.status.clone().unwrap_or_default();
    let replicas = status.replicas.unwrap_or(0);
    status.observed_generation >= deployment.metadata.generation
        && status.updated_replicas.unwrap_or(0) == replicas
        && usize::try_from(replicas) == Ok(staying)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::desired::fixtures::{cluster, render};
    use crate::model::ChildKind;
    use crate::names::Tier;

    fn told(last: i32, most: i32) -> Option<Told> {
        Some(Told { last, most })
    }

    #[test]
    fn a_longer_life_reaches_the_index_first_and_a_shorter_one_the_pods() {
        let step = |tell, index| TtlStep { tell, index };
        assert_eq!(ttl_order(600, None, None, true), step(600, 600), "a new cluster");
        assert_eq!(ttl_order(900, Some(600), told(600, 600), true), step(600, 900));
        assert_eq!(ttl_order(900, Some(900), told(600, 600), true), step(900, 900));
        assert_eq!(ttl_order(300, Some(600), told(600, 600), true), step(300, 600));
        assert_eq!(ttl_order(300, Some(600), told(300, 600), true), step(300, 600), "one old pod");
        assert_eq!(
            ttl_order(300, Some(600), told(300, 300), false),
            step(300, 600),
            "not all seen"
        );
        assert_eq!(ttl_order(300, Some(600), told(300, 300), true), step(300, 300));
        assert_eq!(ttl_order(600, Some(60), told(600, 600), true), step(600, 600), "by hand");
        assert_eq!(ttl_order(600, Some(9_000), told(600, 600), true), step(600, 600), "by hand");
        assert_eq!(ttl_order(900, None, told(600, 600), true), step(600, 900), "not known");
    }

    #[test]
    fn what_pods_were_told_is_read_from_what_the_operator_makes() {
        let desired = render(&cluster(serde_json::json!({})));
        let name = Tier::MessageServer.child_name("ward");
        let made = desired
            .children
            .iter()
            .find(|child| child.kind == ChildKind::Deployment && child.name == name);
        let deployment = serde_json::from_value(made.unwrap().object.clone()).unwrap();
        let mut tier = TierObserved { deployment: Some(deployment), ..Default::default() };
        assert_eq!(Told::of(None, &tier), told(600, 600));
        assert_eq!(Told::of(Some(300), &tier), told(300, 600));
        let template = tier.deployment.as_ref().unwrap().spec.as_ref().unwrap().template.clone();
        let mut spec = template.spec.unwrap();
        for argument in spec.containers[0].args.as_mut().unwrap() {
            *argument = argument.replace("--message-ttl=600s", "--message-ttl=900s");
        }
        tier.pods.push(k8s_openapi::api::core::v1::Pod { spec: Some(spec), ..Default::default() });
        assert_eq!(Told::of(Some(300), &tier), told(300, 900));
        assert_eq!(Told::of(None, &TierObserved::default()), None);
    }

    /// What may happen between two steps.
    #[derive(Debug, Clone)]
    enum Happens {
        /// The resource is changed.
        Wanted(i32),
        /// A pod of an older template ends, or one of the newest begins; neither is ready at once.
        Pod(usize),
        /// The operator takes a step: it sees `index` where the database answers.
        Step { answers: bool },
    }

    fn happens() -> impl Strategy<Value = Happens> {
        prop_oneof![
            1 => (1..5_i32).prop_map(|life| Happens::Wanted(life * 300)),
            4 => (0..4_usize).prop_map(Happens::Pod),
            4 => prop::bool::weighted(0.8).prop_map(|answers| Happens::Step { answers }),
        ]
    }

    /// A cluster of three pods: what each goes by, what the index has, what is recorded.
    #[derive(Debug)]
    struct World {
        wanted: i32,
        index: Option<i32>,
        last: Option<i32>,
        pods: Vec<i32>,
    }

    impl World {
        fn happen(&mut self, happens: &Happens) {
            match happens {
                Happens::Wanted(wanted) => self.wanted = *wanted,
                Happens::Pod(nth) => {
                    // A new pod takes an index that is long enough, or is not ready and harmless.
                    let Some(last) = self.last.filter(|last| self.index >= Some(*last)) else {
                        return;
                    };
                    match self.pods.get_mut(*nth) {
                        Some(pod) => *pod = last,
                        None => self.pods.push(last),
                    }
                }
                Happens::Step { answers } => self.step(*answers),
            }
        }

        fn step(&mut self, answers: bool) {
            let told = self
                .last
                .map(|last| Told { last, most: self.pods.iter().copied().fold(last, i32::max) });
            let seen = self.index.filter(|_| answers);
            let step = ttl_order(self.wanted, seen, told, true);
            if answers {
                self.index = Some(step.index);
            }
            self.last = Some(step.tell);
        }
    }

    proptest! {
        /// At no moment is the index shorter than what a pod goes by; and left alone, both arrive.
        #[test]
        fn no_index_is_shorter_than_what_a_pod_goes_by(
            history in prop::collection::vec(happens(), 1..60),
        ) {
            let mut world = World { wanted: 600, index: None, last: None, pods: Vec::new() };
            for happens in &history {
                world.happen(happens);
                let index = world.index.unwrap_or(i32::MAX);
                prop_assert!(world.pods.iter().all(|pod| index >= *pod), "{happens:?}: {world:?}");
            }
            for nth in 0..8 {
                world.step(true);
                world.happen(&Happens::Pod(nth % 4));
            }
            world.step(true);
            let wanted = world.wanted;
            prop_assert!(world.index == Some(wanted) && world.last == Some(wanted), "{world:?}");
            prop_assert!(world.pods.iter().all(|pod| *pod == wanted), "{world:?}");
        }
    }
}

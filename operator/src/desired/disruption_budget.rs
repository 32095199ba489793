//! PodDisruptionBudgets: how many pods a drain of nodes may take at a time.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{Plan, child};
use crate::model::{Child, ChildKind};
use crate::names::{self, Tier};

/// The budget of one tier. Pods that are not ready can always be evicted: they serve nobody, and
/// a node that is drained must not wait for them.
pub(super) fn build(plan: &Plan<'_>, tier: Tier) -> Child {
    let wanted = &tier.spec(plan.cluster()).disruption_budget;
    let name = tier.child_name(plan.name);
    let budget = PodDisruptionBudget {
        metadata: plan.meta(name.clone(), tier),
        spec: Some(PodDisruptionBudgetSpec {
            min_available: wanted.min_available.clone(),
            max_unavailable: wanted.max_unavailable.clone(),
            selector: Some(LabelSelector {
                match_labels: Some(names::selector(plan.name, tier)),
                ..LabelSelector::default()
            }),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
        }),
        status: None,
    };
    child(ChildKind::PodDisruptionBudget, &name, &budget)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::desired::fixtures::object;

    #[test]
    fn one_pod_may_be_missing_unless_the_resource_says_otherwise() {
        let kind = ChildKind::PodDisruptionBudget;
        let budget = object(json!({}), kind, "ward-message-server").unwrap();
        assert_eq!(budget["spec"]["maxUnavailable"], 1);
        assert_eq!(budget["spec"]["unhealthyPodEvictionPolicy"], "AlwaysAllow");
        assert!(budget.get("status").is_none());

        let spec = json!({"messageServer": {"disruptionBudget": {"minAvailable": "50%"}}});
        let budget = object(spec, kind, "ward-message-server").unwrap();
        assert_eq!(budget["spec"]["minAvailable"], "50%");
        assert!(budget["spec"].get("maxUnavailable").is_none());
    }
}

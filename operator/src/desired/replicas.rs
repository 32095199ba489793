//! How many pods a Deployment is to have, where that is the operator's to say.

use super::Plan;
use crate::model::Replicas;
use crate::names::Tier;

/// The number of one tier. `None`: it is the autoscaler's, and the autoscaler has a number to
/// begin with. One that finds no pods wanted would do nothing at all, so a new Deployment, and one
/// that was stopped, gets the fewest that the autoscaler may choose, once.
pub(super) fn build(plan: &Plan<'_>, tier: Tier) -> Option<Replicas> {
    let wanted = tier.spec(plan.cluster());
    let now = *plan.inputs.replicas_now.get(tier);
    let replicas = match (&wanted.autoscaling, now) {
        _ if plan.is_stopped() => 0,
        (None, _) => wanted.replicas,
        (Some(autoscaling), None | Some(0)) => autoscaling.min_replicas,
        (Some(_), Some(_)) => return None,
    };
    Some(Replicas { tier, replicas })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::desired::fixtures::{cluster, render, render_at};
    use crate::model::{ChildKind, Tiers};

    #[test]
    fn without_an_autoscaler_the_number_is_the_operators() {
        let cluster = cluster(json!({"businessServer": {"replicas": 5}}));
        let now = Tiers { message_server: Some(2), business_server: Some(7) };
        let replicas = render_at(&cluster, now).replicas;
        let expected = [(Tier::MessageServer, 2), (Tier::BusinessServer, 5)];
        let expected = expected.map(|(tier, replicas)| Replicas { tier, replicas });
        assert_eq!(replicas, expected);
    }

    #[test]
    fn an_autoscaler_is_given_a_number_only_where_there_is_none() {
        let autoscaling =
            json!({"minReplicas": 3, "maxReplicas": 9, "targetCpuUtilizationPercentage": 60});
        let cluster = cluster(json!({"businessServer": {"autoscaling": autoscaling}}));
        for (now, expected) in
            [(None, Some(3)), (Some(0), Some(3)), (Some(1), None), (Some(9), None)]
        {
            let now = Tiers { message_server: Some(2), business_server: now };
            let replicas = render_at(&cluster, now).replicas;
            let found = replicas.iter().find(|found| found.tier == Tier::BusinessServer);
            assert_eq!(found.map(|found| found.replicas), expected, "{now:?}");
        }
    }

    #[test]
    fn a_stopped_cluster_has_no_pods_and_all_else() {
        let autoscaling = json!({"maxReplicas": 9, "targetCpuUtilizationPercentage": 60});
        let mut cluster = cluster(json!({"businessServer": {"autoscaling": autoscaling}}));
        let running = render(&cluster);
        cluster.spec.management_state = wardlink_operator_api::ManagementState::Stopped;
        let now = Tiers { message_server: Some(2), business_server: Some(4) };
        let stopped = render_at(&cluster, now);
        assert!(stopped.replicas.iter().all(|found| found.replicas == 0));
        assert_eq!(stopped.replicas.len(), 2);
        let mut rest = running.children;
        rest.retain(|child| child.kind != ChildKind::HorizontalPodAutoscaler);
        assert_eq!(stopped.children, rest);
    }

    #[test]
    fn a_deployment_never_says_how_many_pods_it_has() {
        let desired = render(&cluster(json!({})));
        for child in desired.children.iter().filter(|c| c.kind == ChildKind::Deployment) {
            assert!(child.object["spec"].get("replicas").is_none(), "{}", child.name);
        }
    }
}

//! Deployments: how the pods of a tier are exchanged. What is in a pod: [`pod`](super::pod).

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{Plan, child, pod};
use crate::model::{Child, ChildKind};
use crate::names::{self, Tier};

/// Earlier ReplicaSets that are kept: `kubectl rollout undo` is of no use where an operator
/// applies, so they are there for people to compare with.
const REVISIONS: i32 = 3;
/// Seconds without a further pod after which a rollout counts as stuck, beside those for which a
/// pod must be ready: an image that is pulled slowly, and a database that is awaited.
const PROGRESS_SECONDS: i32 = 600;

/// The Deployment of one tier, without a number of pods: see [`replicas`](super::replicas).
pub(super) fn build(plan: &Plan<'_>, tier: Tier) -> Child {
    let rollout = &tier.spec(plan.cluster()).rollout;
    let name = tier.child_name(plan.name);
    let deployment = Deployment {
        metadata: plan.meta(name.clone(), tier),
        spec: Some(DeploymentSpec {
            selector: LabelSelector {
                match_labels: Some(names::selector(plan.name, tier)),
                ..LabelSelector::default()
            },
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(rollout.max_surge.clone()),
                    max_unavailable: Some(rollout.max_unavailable.clone()),
                }),
            }),
            min_ready_seconds: (rollout.min_ready_seconds > 0).then_some(rollout.min_ready_seconds),
            progress_deadline_seconds: Some(PROGRESS_SECONDS + rollout.min_ready_seconds),
            revision_history_limit: Some(REVISIONS),
            template: pod::template(plan, tier),
            ..DeploymentSpec::default()
        }),
        status: None,
    };
    child(ChildKind::Deployment, &name, &deployment)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::desired::fixtures::object;

    #[test]
    fn pods_are_exchanged_as_the_resource_says() {
        let kind = ChildKind::Deployment;
        let mut plain = object(json!({}), kind, "ward-business-server").unwrap();
        let spec = plain["spec"].as_object_mut().unwrap();
        spec.remove("template");
        assert_eq!(
            plain["spec"],
            json!({
                "selector": {"matchLabels": {
                    "app.kubernetes.io/name": "wardlink",
                    "app.kubernetes.io/instance": "ward",
                    "app.kubernetes.io/component": "business-server",
                }},
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
                },
                "progressDeadlineSeconds": 600,
                "revisionHistoryLimit": 3,
            })
        );

        let rollout = json!({"maxSurge": "25%", "maxUnavailable": 2, "minReadySeconds": 3600});
        let spec = json!({"businessServer": {"rollout": rollout}});
        let slow = object(spec, kind, "ward-business-server").unwrap();
        let update = &slow["spec"]["strategy"]["rollingUpdate"];
        assert_eq!(*update, json!({"maxSurge": "25%", "maxUnavailable": 2}));
        assert_eq!(slow["spec"]["minReadySeconds"], 3600);
        // The API server demands that it is above minReadySeconds.
        assert_eq!(slow["spec"]["progressDeadlineSeconds"], 4200);
    }
}

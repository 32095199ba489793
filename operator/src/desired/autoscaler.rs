//! HorizontalPodAutoscalers: where the resource lets load decide the number of pods.

use k8s_openapi::Resource;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec, MetricIdentifier, MetricSpec,
    MetricTarget, PodsMetricSource, ResourceMetricSource,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use wardlink_operator_api::{Autoscaling, ScaleDown};

use super::{Plan, child};
use crate::model::{Child, ChildKind};
use crate::names::Tier;

/// Metric of a Business Server's pod that says how many sessions it has.
const SESSIONS_METRIC: &str = "wardlink_business_server_sessions";

/// The autoscaler of one tier. `None` where the resource asks for none, and while the cluster is
/// stopped: an autoscaler would start its pods again.
pub(super) fn build(plan: &Plan<'_>, tier: Tier) -> Option<Child> {
    let wanted = tier.spec(plan.cluster()).autoscaling.as_ref().filter(|_| !plan.is_stopped())?;
    let name = tier.child_name(plan.name);
    let autoscaler = HorizontalPodAutoscaler {
        metadata: plan.meta(name.clone(), tier),
        spec: Some(HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some(Deployment::API_VERSION.to_owned()),
                kind: Deployment::KIND.to_owned(),
                name: name.clone(),
            },
            min_replicas: Some(wanted.min_replicas),
            max_replicas: wanted.max_replicas,
            metrics: Some(metrics(wanted)),
            behavior: Some(HorizontalPodAutoscalerBehavior {
                scale_down: Some(scale_down(&wanted.scale_down)),
                scale_up: None,
            }),
        }),
        status: None,
    };
    Some(child(ChildKind::HorizontalPodAutoscaler, &name, &autoscaler))
}

fn metrics(wanted: &Autoscaling) -> Vec<MetricSpec> {
    let cpu = wanted.target_cpu_utilization_percentage.map(|percent| MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(ResourceMetricSource {
            name: "cpu".to_owned(),
            target: MetricTarget {
                type_: "Utilization".to_owned(),
                average_utilization: Some(percent),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    });
    let sessions = wanted.target_sessions_per_pod.map(|sessions| MetricSpec {
        type_: "Pods".to_owned(),
        pods: Some(PodsMetricSource {
            metric: MetricIdentifier { name: SESSIONS_METRIC.to_owned(), selector: None },
            target: MetricTarget {
                type_: "AverageValue".to_owned(),
                average_value: Some(Quantity(sessions.to_string())),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    });
    cpu.into_iter().chain(sessions).collect()
}

/// Growing is left to the autoscaler's defaults: it is fast.
fn scale_down(wanted: &ScaleDown) -> HPAScalingRules {
    HPAScalingRules {
        stabilization_window_seconds: Some(wanted.stabilization_window_seconds),
        policies: Some(vec![HPAScalingPolicy {
            type_: "Pods".to_owned(),
            value: wanted.pods,
            period_seconds: wanted.period_seconds,
        }]),
        ..HPAScalingRules::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::desired::fixtures::object;

    #[test]
    fn an_autoscaler_aims_at_what_the_resource_says_and_shrinks_slowly() {
        let kind = ChildKind::HorizontalPodAutoscaler;
        assert_eq!(object(json!({}), kind, "ward-business-server"), None);

        let spec = json!({"businessServer": {"autoscaling": {
            "maxReplicas": 9, "targetCpuUtilizationPercentage": 60, "targetSessionsPerPod": 20000,
        }}});
        let autoscaler = object(spec, kind, "ward-business-server").unwrap();
        assert_eq!(
            autoscaler["spec"],
            json!({
                "scaleTargetRef": {
                    "apiVersion": "apps/v1", "kind": "Deployment", "name": "ward-business-server",
                },
                "minReplicas": 2,
                "maxReplicas": 9,
                "metrics": [
                    {"type": "Resource", "resource": {
                        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60},
                    }},
                    {"type": "Pods", "pods": {
                        "metric": {"name": "wardlink_business_server_sessions"},
                        "target": {"type": "AverageValue", "averageValue": "20000"},
                    }},
                ],
                "behavior": {"scaleDown": {
                    "stabilizationWindowSeconds": 300,
                    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
                }},
            })
        );
    }

    #[test]
    fn a_stopped_cluster_has_no_autoscaler() {
        let spec = json!({
            "managementState": "Stopped",
            "messageServer": {"autoscaling": {"maxReplicas": 4, "targetCpuUtilizationPercentage": 60}},
        });
        assert_eq!(object(spec, ChildKind::HorizontalPodAutoscaler, "ward-message-server"), None);
    }
}

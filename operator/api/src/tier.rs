//! What both tiers, Message Servers and Business Servers, have in common: their pods, how they
//! roll, scale and are reached.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, EnvVar, LocalObjectReference, Toleration, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Resources;

/// Settings of one tier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TierSpec {
    /// Image of the server. Without it the operator's default, which is resolved once and then
    /// stays (see status), so that a newer operator restarts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,

    /// When the image is pulled. Without it Kubernetes decides by the image's tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "pull_policy")]
    pub image_pull_policy: Option<String>,

    /// Secrets with the credentials of the image's registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<LocalObjectReference>,

    /// Number of pods. With autoscaling it has no effect. `kubectl scale` sets that of the
    /// Business Servers.
    #[serde(default = "two")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: i32,

    /// Compute resources of the server's container.
    #[serde(default)]
    pub resources: Resources,

    /// How a pod that is to end lets its peers go.
    #[serde(default)]
    pub drain: Drain,

    /// Seconds after which a pod that was asked to end is killed. At least the drain's delay, its
    /// seconds and 5 more.
    #[serde(default = "sixty")]
    #[schemars(range(min = 6, max = 7200))]
    pub termination_grace_period_seconds: i64,

    /// How pods are exchanged when the tier changes.
    #[serde(default)]
    pub rollout: Rollout,

    /// Lets a HorizontalPodAutoscaler decide the number of pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,

    /// How many pods voluntary disruptions, such as draining a node, may take at a time.
    #[serde(default)]
    pub disruption_budget: DisruptionBudget,

    /// The tier's Service.
    #[serde(default)]
    pub service: Service,

    /// Labels of the nodes that pods may run on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub node_selector: BTreeMap<String, String>,

    /// Taints of nodes that pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,

    /// Scheduling rules of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,

    /// How pods are spread. Without it softly over zones and hosts; an empty list spreads nothing.
    /// A constraint without labelSelector is about the tier's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,

    /// Priority class of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,

    /// Further labels of the pods. Those of app.kubernetes.io/ and wardlink.dev/ are the
    /// operator's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub pod_labels: BTreeMap<String, String>,

    /// Further annotations of the pods. Those of wardlink.dev/ are the operator's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub pod_annotations: BTreeMap<String, String>,

    /// Further environment variables of the server. Names with WARDLINK_ are the operator's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub env: Vec<EnvVar>,

    /// What is logged: a level, or directives such as `info,wardlink_ms=debug`.
    #[serde(default = "info")]
    #[schemars(length(min = 1, max = 512))]
    pub log_filter: String,
}

fn two() -> i32 {
    2
}

fn sixty() -> i64 {
    60
}

fn info() -> String {
    "info".to_owned()
}

fn pull_policy(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "enum": ["Always", "IfNotPresent", "Never"]})
}

impl Default for TierSpec {
    fn default() -> Self {
        Self {
            image: None,
            image_pull_policy: None,
            image_pull_secrets: Vec::new(),
            replicas: two(),
            resources: Resources::default(),
            drain: Drain::default(),
            termination_grace_period_seconds: sixty(),
            rollout: Rollout::default(),
            autoscaling: None,
            disruption_budget: DisruptionBudget::default(),
            service: Service::default(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            affinity: None,
            topology_spread_constraints: None,
            priority_class_name: None,
            pod_labels: BTreeMap::new(),
            pod_annotations: BTreeMap::new(),
            env: Vec::new(),
            log_filter: info(),
        }
    }
}

/// How a pod ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// Seconds between a pod's leaving the Service and its SIGTERM, in which the nodes hear of it.
    #[serde(default = "five")]
    #[schemars(range(min = 0, max = 600))]
    pub delay_seconds: i64,
    /// Window in seconds over which its peers are told to go elsewhere.
    #[serde(default = "thirty")]
    #[schemars(range(min = 0, max = 3600))]
    pub seconds: i64,
}

fn five() -> i64 {
    5
}

fn thirty() -> i64 {
    30
}

impl Default for Drain {
    fn default() -> Self {
        Self { delay_seconds: five(), seconds: thirty() }
    }
}

/// How pods are exchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!((type(self.maxSurge) == int ? self.maxSurge == 0 : self.maxSurge == '0%') && (type(self.maxUnavailable) == int ? self.maxUnavailable == 0 : self.maxUnavailable == '0%'))").message("maxSurge and maxUnavailable must not both be 0: no pod could ever be exchanged"))]
pub struct Rollout {
    /// Pods beyond the wanted number while a rollout lasts: a number or a percentage.
    #[serde(default = "one")]
    #[schemars(schema_with = "count_or_percentage")]
    pub max_surge: IntOrString,
    /// Pods that may be missing while a rollout lasts: a number or a percentage.
    #[serde(default = "none")]
    #[schemars(schema_with = "count_or_percentage")]
    pub max_unavailable: IntOrString,
    /// Seconds that a new pod must be ready before the next one is exchanged.
    #[serde(default)]
    #[schemars(range(min = 0, max = 3600))]
    pub min_ready_seconds: i32,
}

fn one() -> IntOrString {
    IntOrString::Int(1)
}

fn none() -> IntOrString {
    IntOrString::Int(0)
}

fn count_or_percentage(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "x-kubernetes-int-or-string": true,
        "maxLength": 4,
        "minimum": 0,
        "maximum": 1000,
        "pattern": r"^(0|[1-9][0-9]?|100)%$",
    })
}

impl Default for Rollout {
    fn default() -> Self {
        Self { max_surge: one(), max_unavailable: none(), min_ready_seconds: 0 }
    }
}

/// How many pods there are, by load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.minReplicas <= self.maxReplicas").message("minReplicas must not be above maxReplicas"),
    validation = Rule::new("has(self.targetCpuUtilizationPercentage) || has(self.targetSessionsPerPod)").message("a target is needed: targetCpuUtilizationPercentage or targetSessionsPerPod")
)]
pub struct Autoscaling {
    /// The fewest pods.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: i32,
    /// The most pods.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
    /// CPU use to aim at, in percent of what the pods request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub target_cpu_utilization_percentage: Option<i32>,
    /// Sessions of a pod to aim at (Business Servers). Needs an adapter that serves
    /// wardlink_business_server_sessions as a metric of pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub target_sessions_per_pod: Option<i32>,
    /// How fast the tier shrinks.
    #[serde(default)]
    pub scale_down: ScaleDown,
}

/// How fast a tier shrinks: each pod that goes sends its terminals elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScaleDown {
    /// Seconds of low load before pods are taken away.
    #[serde(default = "three_hundred")]
    #[schemars(range(min = 0, max = 3600))]
    pub stabilization_window_seconds: i32,
    /// Pods that may go in one period.
    #[serde(default = "one_pod")]
    #[schemars(range(min = 1, max = 1000))]
    pub pods: i32,
    /// The period in seconds.
    #[serde(default = "sixty_seconds")]
    #[schemars(range(min = 1, max = 1800))]
    pub period_seconds: i32,
}

fn three_hundred() -> i32 {
    300
}

fn one_pod() -> i32 {
    1
}

fn sixty_seconds() -> i32 {
    60
}

impl Default for ScaleDown {
    fn default() -> Self {
        Self {
            stabilization_window_seconds: three_hundred(),
            pods: one_pod(),
            period_seconds: sixty_seconds(),
        }
    }
}

/// What voluntary disruptions may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.minAvailable) != has(self.maxUnavailable)").message("exactly one of minAvailable and maxUnavailable must be set"))]
pub struct DisruptionBudget {
    /// Pods that must stay: a number or a percentage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "count_or_percentage")]
    pub min_available: Option<IntOrString>,
    /// Pods that may be missing: a number or a percentage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "count_or_percentage")]
    pub max_unavailable: Option<IntOrString>,
}

impl Default for DisruptionBudget {
    fn default() -> Self {
        Self { min_available: None, max_unavailable: Some(one()) }
    }
}

/// How a tier is reached inside the cluster and from outside.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.loadBalancerClass) || self.type == 'LoadBalancer'").message("loadBalancerClass needs type LoadBalancer"),
    validation = Rule::new("!has(self.externalTrafficPolicy) || self.type != 'ClusterIP'").message("externalTrafficPolicy needs type NodePort or LoadBalancer")
)]
pub struct Service {
    /// Type of the Service.
    #[serde(default, rename = "type")]
    pub service_type: ServiceType,
    /// Annotations of the Service, for example for a load balancer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: BTreeMap<String, String>,
    /// Which load balancer implementation serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,
    /// Whether nodes hand traffic from outside to pods of other nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<ExternalTrafficPolicy>,
    /// Preference for near endpoints, such as PreferClose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub traffic_distribution: Option<String>,
}

/// Type of a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// Reachable inside the cluster only.
    #[default]
    ClusterIP,
    /// Reachable on a port of every node, too.
    NodePort,
    /// Reachable by a load balancer of the cloud, too.
    LoadBalancer,
}

/// Whether nodes hand traffic from outside to pods of other nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExternalTrafficPolicy {
    /// They do.
    Cluster,
    /// They do not; the client's address stays visible.
    Local,
}

//! NetworkPolicies: who may reach the pods.
//!
//! They restrict what comes in and nothing else: where MongoDB, a JWKS or the API server is, is
//! not known here. Probes come from the node of a pod, which no policy keeps out.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use wardlink_operator_api::NetworkPolicyMode;

use super::pod::port::{self, Port};
use super::{Plan, child};
use crate::model::{Child, ChildKind};
use crate::names::{self, Tier};

/// The policy of one tier, where policies are wanted.
pub(super) fn build(plan: &Plan<'_>, tier: Tier) -> Option<Child> {
    let wanted = &plan.cluster().spec.network_policy;
    if wanted.mode == NetworkPolicyMode::Disabled {
        return None;
    }
    let everywhere = || {
        let namespace_selector = Some(LabelSelector::default());
        vec![NetworkPolicyPeer { namespace_selector, ..NetworkPolicyPeer::default() }]
    };
    let work = match tier {
        Tier::MessageServer => rule(&port::LINKS, vec![pods_of(plan, Tier::BusinessServer)]),
        Tier::BusinessServer => match &wanted.terminals_from {
            Some(from) => rule(&port::TERMINALS, from.clone()),
            None => Some(everybody(&port::TERMINALS)),
        },
    };
    let admin = rule(&port::ADMIN, wanted.metrics_from.clone().unwrap_or_else(everywhere));
    let name = tier.child_name(plan.name);
    let policy = NetworkPolicy {
        metadata: plan.meta(name.clone(), tier),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(plan, tier)),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(work.into_iter().chain(admin).collect()),
            egress: None,
        }),
    };
    Some(child(ChildKind::NetworkPolicy, &name, &policy))
}

/// `from` may come in. `None` for nobody: a rule without a `from` would let everybody in.
fn rule(port: &Port, from: Vec<NetworkPolicyPeer>) -> Option<NetworkPolicyIngressRule> {
    let rule = NetworkPolicyIngressRule { from: Some(from), ..everybody(port) };
    rule.from.as_ref().is_some_and(|from| !from.is_empty()).then_some(rule)
}

fn everybody(port: &Port) -> NetworkPolicyIngressRule {
    // By number: not everything that enforces policies knows the names of ports.
    let number = IntOrString::Int(port.number);
    let port = NetworkPolicyPort { port: Some(number), ..NetworkPolicyPort::default() };
    NetworkPolicyIngressRule { from: None, ports: Some(vec![port]) }
}

fn pods_of(plan: &Plan<'_>, tier: Tier) -> NetworkPolicyPeer {
    NetworkPolicyPeer { pod_selector: Some(selector(plan, tier)), ..NetworkPolicyPeer::default() }
}

fn selector(plan: &Plan<'_>, tier: Tier) -> LabelSelector {
    LabelSelector {
        match_labels: Some(names::selector(plan.name, tier)),
        ..LabelSelector::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::desired::fixtures::object;

    fn ingress(spec: Value, name: &str) -> Value {
        let policy = object(spec, ChildKind::NetworkPolicy, name).unwrap();
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress"]));
        policy["spec"]["ingress"].clone()
    }

    #[test]
    fn links_come_only_from_the_business_servers_of_the_same_cluster() {
        let rules = ingress(json!({}), "ward-message-server");
        let from = json!([{"podSelector": {"matchLabels": {
            "app.kubernetes.io/name": "wardlink",
            "app.kubernetes.io/instance": "ward",
            "app.kubernetes.io/component": "business-server",
        }}}]);
        let admin = json!({"ports": [{"port": 9090}], "from": [{"namespaceSelector": {}}]});
        assert_eq!(rules, json!([{"ports": [{"port": 7070}], "from": from}, admin]));
    }

    #[test]
    fn terminals_and_metrics_come_from_where_the_resource_says() {
        let rules = ingress(json!({}), "ward-business-server");
        assert_eq!(rules[0], json!({"ports": [{"port": 8080}]}), "everybody");

        let (ward, probe) =
            (json!({"ipBlock": {"cidr": "10.1.0.0/16"}}), json!({"podSelector": {}}));
        let spec = json!({"networkPolicy": {"terminalsFrom": [ward], "metricsFrom": [probe]}});
        let rules = ingress(spec, "ward-business-server");
        assert_eq!(rules[0]["from"], json!([ward]));
        assert_eq!(rules[1]["from"], json!([probe]));
    }

    #[test]
    fn an_empty_list_lets_nobody_in() {
        let spec = json!({"networkPolicy": {"terminalsFrom": [], "metricsFrom": []}});
        assert_eq!(ingress(spec, "ward-business-server"), Value::Null);
    }

    #[test]
    fn there_is_no_policy_where_none_is_wanted() {
        let spec = json!({"networkPolicy": {"mode": "Disabled"}});
        assert_eq!(object(spec, ChildKind::NetworkPolicy, "ward-message-server"), None);
    }
}

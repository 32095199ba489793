//! The HTTPRoute of the Gateway API in front of the Business Servers, where the resource asks for
//! one. Its types are not among those of Kubernetes itself, so it is built as JSON.

use serde_json::{Value, json};
use wardlink_operator_api::GatewayParent;

use super::pod::port;
use super::{Plan, child};
use crate::model::{Child, ChildKind};
use crate::names::Tier;

/// The route: everything under its host names goes to the Business Servers.
pub(super) fn build(plan: &Plan<'_>) -> Option<Child> {
    let wanted = plan.cluster().spec.business_server.http_route.as_ref()?;
    let tier = Tier::BusinessServer;
    let name = tier.child_name(plan.name);
    let parent_refs: Vec<Value> = wanted.parent_refs.iter().map(parent).collect();
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": plan.meta(name.clone(), tier),
        "spec": {
            "parentRefs": parent_refs,
            "hostnames": wanted.hostnames,
            "rules": [{"backendRefs": [{"name": name, "port": port::TERMINALS.number}]}],
        },
    });
    Some(child(ChildKind::HttpRoute, &name, &route))
}

fn parent(parent: &GatewayParent) -> Value {
    json!({
        "name": parent.name,
        "namespace": parent.namespace,
        "sectionName": parent.section_name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::fixtures::object;

    #[test]
    fn a_route_leads_from_its_gateways_to_the_business_servers() {
        let kind = ChildKind::HttpRoute;
        assert_eq!(object(json!({}), kind, "ward-business-server"), None);

        let spec = json!({"businessServer": {"httpRoute": {
            "parentRefs": [{"name": "edge", "namespace": "gateways", "sectionName": "https"}],
            "hostnames": ["ward.example"],
        }}});
        let route = object(spec, kind, "ward-business-server").unwrap();
        assert_eq!(
            route["spec"],
            json!({
                "parentRefs": [{"name": "edge", "namespace": "gateways", "sectionName": "https"}],
                "hostnames": ["ward.example"],
                "rules": [{"backendRefs": [{"name": "ward-business-server", "port": 8080}]}],
            })
        );

        let spec = json!({"businessServer": {"httpRoute": {"parentRefs": [{"name": "edge"}]}}});
        let route = object(spec, kind, "ward-business-server").unwrap();
        assert_eq!(route["spec"]["parentRefs"], json!([{"name": "edge"}]));
        assert!(route["spec"].get("hostnames").is_none());
    }
}

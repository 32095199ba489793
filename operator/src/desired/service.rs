//! Services: that of each tier, and the headless one by which Business Servers find each Message
//! Server.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use wardlink_operator_api::{ExternalTrafficPolicy, ServiceType};

use super::pod::port;
use super::{Plan, child, some_map};
use crate::model::{Child, ChildKind};
use crate::names::{self, Tier};

/// The Service of one tier, as the resource wants it. Its port has the server's number.
pub(super) fn build(plan: &Plan<'_>, tier: Tier) -> Child {
    let wanted = &tier.spec(plan.cluster()).service;
    let name = tier.child_name(plan.name);
    let mut metadata = plan.meta(name.clone(), tier);
    metadata.annotations = some_map(&wanted.annotations);
    let service_type = match wanted.service_type {
        ServiceType::ClusterIP => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    };
    let external = wanted.external_traffic_policy.map(|policy| match policy {
        ExternalTrafficPolicy::Cluster => "Cluster".to_owned(),
        ExternalTrafficPolicy::Local => "Local".to_owned(),
    });
    let service = Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(service_type.to_owned()),
            selector: Some(names::selector(plan.name, tier)),
            ports: Some(vec![service_port(plan, tier)]),
            load_balancer_class: wanted.load_balancer_class.clone(),
            external_traffic_policy: external,
            traffic_distribution: wanted.traffic_distribution.clone(),
            ..ServiceSpec::default()
        }),
        status: None,
    };
    child(ChildKind::Service, &name, &service)
}

/// The headless Service of the Message Servers. Its name resolves to every pod, ready or not:
/// links come before readiness.
pub(super) fn links(plan: &Plan<'_>) -> Child {
    let tier = Tier::MessageServer;
    let name = names::links_service(plan.name);
    let service = Service {
        metadata: plan.meta(name.clone(), tier),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(names::selector(plan.name, tier)),
            ports: Some(vec![service_port(plan, tier)]),
            ..ServiceSpec::default()
        }),
        status: None,
    };
    child(ChildKind::Service, &name, &service)
}

/// Both ports speak WebSocket; gateways and load balancers are told so. The admin port is on pods
/// alone: who scrapes metrics wants each of them.
fn service_port(plan: &Plan<'_>, tier: Tier) -> ServicePort {
    let tls = &plan.cluster().spec.tls;
    let encrypted = match tier {
        Tier::MessageServer => tls.links.is_some(),
        Tier::BusinessServer => tls.terminals.is_some(),
    };
    let protocol = if encrypted { "kubernetes.io/wss" } else { "kubernetes.io/ws" };
    let port = port::of(tier);
    ServicePort {
        name: Some(port.name.to_owned()),
        port: port.number,
        target_port: Some(port.by_name()),
        app_protocol: Some(protocol.to_owned()),
        ..ServicePort::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::desired::fixtures::object;

    #[test]
    fn the_headless_service_shows_message_servers_before_they_are_ready() {
        let links = object(json!({}), ChildKind::Service, "ward-message-server-links").unwrap();
        assert_eq!(
            links["spec"],
            json!({
                "clusterIP": "None",
                "publishNotReadyAddresses": true,
                "selector": {
                    "app.kubernetes.io/name": "wardlink",
                    "app.kubernetes.io/instance": "ward",
                    "app.kubernetes.io/component": "message-server",
                },
                "ports": [{
                    "name": "links",
                    "port": 7070,
                    "targetPort": "links",
                    "appProtocol": "kubernetes.io/ws",
                }],
            })
        );
    }

    #[test]
    fn a_service_is_reached_as_the_resource_says() {
        let plain = object(json!({}), ChildKind::Service, "ward-business-server").unwrap();
        assert_eq!(plain["spec"]["type"], "ClusterIP");
        assert_eq!(plain["spec"]["ports"][0]["port"], 8080);
        assert!(plain["metadata"].get("annotations").is_none());
        assert!(plain["spec"].get("externalTrafficPolicy").is_none());

        let spec = json!({
            "businessServer": {"service": {
                "type": "LoadBalancer",
                "annotations": {"example.com/internal": "true"},
                "loadBalancerClass": "example.com/lb",
                "externalTrafficPolicy": "Local",
                "trafficDistribution": "PreferClose",
            }},
            "tls": {"terminals": {"secretName": "ward-tls"}},
        });
        let outside = object(spec, ChildKind::Service, "ward-business-server").unwrap();
        assert_eq!(outside["metadata"]["annotations"], json!({"example.com/internal": "true"}));
        let spec = &outside["spec"];
        assert_eq!(spec["type"], "LoadBalancer");
        assert_eq!(spec["loadBalancerClass"], "example.com/lb");
        assert_eq!(spec["externalTrafficPolicy"], "Local");
        assert_eq!(spec["trafficDistribution"], "PreferClose");
        assert_eq!(spec["ports"][0]["appProtocol"], "kubernetes.io/wss");
    }
}

//! The Ingress in front of the Business Servers, where the resource asks for one.

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule,
    IngressServiceBackend, IngressSpec, IngressTLS, ServiceBackendPort,
};

use super::pod::port;
use super::{Plan, child, some_map};
use crate::model::{Child, ChildKind};
use crate::names::Tier;

/// The Ingress: everything under its host goes to the Business Servers.
pub(super) fn build(plan: &Plan<'_>) -> Option<Child> {
    let wanted = plan.cluster().spec.business_server.ingress.as_ref()?;
    let tier = Tier::BusinessServer;
    let name = tier.child_name(plan.name);
    let mut metadata = plan.meta(name.clone(), tier);
    metadata.annotations = some_map(&wanted.annotations);
    let port = ServiceBackendPort { name: Some(port::TERMINALS.name.to_owned()), number: None };
    let path = HTTPIngressPath {
        path: Some("/".to_owned()),
        path_type: "Prefix".to_owned(),
        backend: IngressBackend {
            service: Some(IngressServiceBackend { name: name.clone(), port: Some(port) }),
            resource: None,
        },
    };
    let tls = wanted.tls_secret_name.clone().map(|secret| {
        vec![IngressTLS { hosts: Some(vec![wanted.host.clone()]), secret_name: Some(secret) }]
    });
    let ingress = Ingress {
        metadata,
        spec: Some(IngressSpec {
            ingress_class_name: wanted.class_name.clone(),
            rules: Some(vec![IngressRule {
                host: Some(wanted.host.clone()),
                http: Some(HTTPIngressRuleValue { paths: vec![path] }),
            }]),
            tls,
            default_backend: None,
        }),
        status: None,
    };
    Some(child(ChildKind::Ingress, &name, &ingress))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::desired::fixtures::object;

    #[test]
    fn an_ingress_leads_its_host_to_the_business_servers() {
        assert_eq!(object(json!({}), ChildKind::Ingress, "ward-business-server"), None);

        let spec = json!({"businessServer": {"ingress": {
            "className": "nginx", "host": "ward.example", "tlsSecretName": "ward-host",
            "annotations": {"example.com/read-timeout": "60"},
        }}});
        let ingress = object(spec, ChildKind::Ingress, "ward-business-server").unwrap();
        assert_eq!(ingress["metadata"]["annotations"], json!({"example.com/read-timeout": "60"}));
        assert_eq!(
            ingress["spec"],
            json!({
                "ingressClassName": "nginx",
                "rules": [{"host": "ward.example", "http": {"paths": [{
                    "path": "/",
                    "pathType": "Prefix",
                    "backend": {"service": {
                        "name": "ward-business-server", "port": {"name": "terminals"},
                    }},
                }]}}],
                "tls": [{"hosts": ["ward.example"], "secretName": "ward-host"}],
            })
        );
    }
}

//! The ClusterRoleBinding that lets Message Servers have tokens reviewed.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, Resource};

use super::{Plan, child};
use crate::model::{Child, ChildKind};
use crate::names::{self, Tier};

/// The binding. What has no namespace cannot be owned by what has one: the operator's finalizer
/// takes it away.
pub(super) fn build(plan: &Plan<'_>) -> Child {
    let binding = ClusterRoleBinding {
        metadata: ObjectMeta {
            name: Some(names::review_binding(plan.namespace, plan.name)),
            labels: Some(names::review_binding_labels(plan.namespace, plan.name)),
            ..ObjectMeta::default()
        },
        role_ref: RoleRef {
            api_group: ClusterRole::GROUP.to_owned(),
            kind: ClusterRole::KIND.to_owned(),
            name: plan.inputs.token_review_role.to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: Tier::MessageServer.child_name(plan.name),
            namespace: Some(plan.namespace.to_owned()),
            api_group: None,
        }]),
    };
    let name = binding.metadata().name.clone().unwrap_or_default();
    child(ChildKind::ClusterRoleBinding, &name, &binding)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::desired::fixtures::object;

    #[test]
    fn only_message_servers_review_tokens_and_only_with_pod_identity() {
        let name = "wardlink:clinic.ward:token-review";
        let binding = object(json!({}), ChildKind::ClusterRoleBinding, name).unwrap();
        assert_eq!(
            binding["subjects"],
            json!([{"kind": "ServiceAccount", "name": "ward-message-server", "namespace": "clinic"}])
        );
        assert_eq!(
            binding["roleRef"],
            json!({
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "wardlink-token-review",
            })
        );
        assert_eq!(binding["metadata"]["labels"]["wardlink.dev/namespace"], "clinic");
        assert!(binding["metadata"].get("ownerReferences").is_none());

        let shared = json!({"linkAuthentication": {"mode": "SharedSecret"}});
        assert_eq!(object(shared, ChildKind::ClusterRoleBinding, name), None);
    }
}

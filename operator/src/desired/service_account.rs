//! ServiceAccounts: what pods are to the API server, and to each other.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::{Plan, child};
use crate::model::{Child, ChildKind};
use crate::names::Tier;

/// The ServiceAccount of one tier. No pod gets its token unasked.
pub(super) fn build(plan: &Plan<'_>, tier: Tier) -> Child {
    let name = tier.child_name(plan.name);
    let account = ServiceAccount {
        metadata: plan.meta(name.clone(), tier),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    };
    child(ChildKind::ServiceAccount, &name, &account)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::desired::fixtures::object;

    #[test]
    fn a_service_account_hands_out_no_token_unasked() {
        let account = object(json!({}), ChildKind::ServiceAccount, "ward-business-server");
        assert_eq!(
            account.unwrap(),
            json!({
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "automountServiceAccountToken": false,
                "metadata": {
                    "name": "ward-business-server",
                    "namespace": "clinic",
                    "labels": {
                        "app.kubernetes.io/name": "wardlink",
                        "app.kubernetes.io/instance": "ward",
                        "app.kubernetes.io/component": "business-server",
                        "app.kubernetes.io/part-of": "wardlink",
                        "app.kubernetes.io/managed-by": "wardlink-operator",
                    },
                    "ownerReferences": [{
                        "apiVersion": "wardlink.dev/v1alpha1",
                        "kind": "MessagingCluster",
                        "name": "ward",
                        "uid": "7b1c",
                        "controller": true,
                        "blockOwnerDeletion": true,
                    }],
                },
            })
        );
    }
}

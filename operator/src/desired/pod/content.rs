//! Hashes of what Message Servers read only at start, in annotations of their pod template: where
//! one changes, the pods are exchanged.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use wardlink_operator_api::{MessagingCluster, SecretKeyRef};

use super::Plan;
use crate::secrets;

/// Hash of MongoDB's connection string.
const URI_ANNOTATION: &str = "wardlink.dev/mongodb-uri";
/// Hash of the authority of MongoDB's certificate.
const CA_ANNOTATION: &str = "wardlink.dev/mongodb-ca";

/// The annotations. What has no known hash has none; once there is one the template changes, which
/// costs nothing: pods that wait for a Secret have not started.
pub(super) fn annotations(plan: &Plan<'_>) -> BTreeMap<String, String> {
    let hash = |(name, secret): (&str, SecretKeyRef)| {
        Some((name.to_owned(), plan.inputs.content.get(&secret)?.clone()))
    };
    annotated(plan.cluster()).filter_map(hash).collect()
}

/// What the template of the running Message Servers says of the Secrets that `cluster` names now.
///
/// While a Secret is missing, its hash is taken from here, so that nothing restarts that could not
/// start again.
pub fn known_content(
    cluster: &MessagingCluster,
    deployment: &Deployment,
) -> BTreeMap<SecretKeyRef, String> {
    let template = deployment.spec.as_ref().map(|spec| &spec.template);
    let metadata = template.and_then(|template| template.metadata.as_ref());
    let annotations = metadata.and_then(|metadata| metadata.annotations.as_ref());
    let known =
        |(name, secret): (&str, SecretKeyRef)| Some((secret, annotations?.get(name)?.clone()));
    annotated(cluster).filter_map(known).collect()
}

fn annotated(
    cluster: &MessagingCluster,
) -> impl Iterator<Item = (&'static str, SecretKeyRef)> + use<> {
    let uri = (URI_ANNOTATION, secrets::mongodb_uri(cluster));
    let ca = secrets::mongodb_ca(cluster).map(|ca| (CA_ANNOTATION, ca));
    std::iter::once(uri).chain(ca)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::desired::desired;
    use crate::desired::fixtures::{cluster, content, images, object};
    use crate::model::{ChildKind, DesiredInputs, Tiers};

    fn message_servers(
        cluster: &MessagingCluster,
        content: &BTreeMap<SecretKeyRef, String>,
    ) -> Value {
        let desired = desired(DesiredInputs {
            cluster,
            images: &images("1"),
            content,
            server_message_ttl_seconds: 600,
            replicas_now: Tiers::default(),
            token_review_role: "role",
        });
        let found = desired.children.into_iter().find(|child| {
            child.kind == ChildKind::Deployment && child.name == "ward-message-server"
        });
        found.unwrap().object
    }

    #[test]
    fn message_servers_are_exchanged_when_what_they_read_at_start_changes() {
        let tls = json!({"caSecretRef": {"name": "ward-ca"}});
        let cluster = cluster(json!({"storage": {"mongodb": {"tls": tls}}}));
        let mut content = content(&cluster);
        let first = message_servers(&cluster, &content);
        assert_eq!(
            first["spec"]["template"]["metadata"]["annotations"],
            json!({"wardlink.dev/mongodb-uri": "uri-1", "wardlink.dev/mongodb-ca": "ca-1"})
        );
        for hash in content.values_mut() {
            hash.push('2');
        }
        assert_ne!(message_servers(&cluster, &content), first);
        let business = object(json!({}), ChildKind::Deployment, "ward-business-server").unwrap();
        assert!(business["spec"]["template"]["metadata"].get("annotations").is_none());
    }

    #[test]
    fn while_a_secret_is_missing_what_runs_stays_as_it_is() {
        let cluster = cluster(json!({}));
        let running = message_servers(&cluster, &content(&cluster));
        let deployment = serde_json::from_value(running.clone()).unwrap();
        let known = known_content(&cluster, &deployment);
        assert_eq!(known, content(&cluster));
        assert_eq!(message_servers(&cluster, &known), running);
    }
}

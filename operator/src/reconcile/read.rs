//! What a watched resource says, and whether it may be followed.

use kube::ResourceExt;
use kube::core::DynamicObject;
use kube::core::cel::ErrorKind;
use serde_json::{Value, json};
use wardlink_operator_api::{MessagingCluster, MessagingClusterStatus};

use super::Run;
use crate::model::Problem;

/// A resource, and what is wrong with it.
pub(super) struct Parsed {
    /// As it came; where it can not be read, one with its metadata and status and nothing else.
    pub(super) cluster: MessagingCluster,
    /// A rule that it breaks.
    pub(super) invalid: Option<Problem>,
}

impl Run<'_> {
    pub(super) fn parse(&mut self) -> Parsed {
        match read(self.object) {
            Ok(cluster) => {
                let generation = cluster.metadata.generation.unwrap_or_default();
                let checked = self.memory.checked.as_ref();
                let broken = match checked.filter(|(of, _)| *of == generation) {
                    Some((_, broken)) => broken.clone(),
                    None => {
                        let broken = broken_rule(&cluster);
                        self.memory.checked = Some((generation, broken.clone()));
                        broken
                    }
                };
                let invalid = broken.map(|message| Problem::InvalidSpec { message });
                Parsed { cluster, invalid }
            }
            Err(error) => {
                let message = format!("the resource can not be read: {error}");
                let invalid = Some(Problem::InvalidSpec { message });
                Parsed { cluster: stand_in(self.object), invalid }
            }
        }
    }
}

fn read(object: &DynamicObject) -> serde_json::Result<MessagingCluster> {
    serde_json::from_value(serde_json::to_value(object)?)
}

/// The rules that the resource breaks although the API server should enforce them: it may have
/// been made under another version of the CRD. A rule that can not be evaluated here is left to
/// the API server.
fn broken_rule(cluster: &MessagingCluster) -> Option<String> {
    let errors = cluster.validate_cel().err()?;
    let broken = errors.iter().filter(|error| error.kind == ErrorKind::ValidationFailure);
    let broken: Vec<_> = broken.map(|error| error.message.clone()).collect();
    (!broken.is_empty()).then(|| broken.join("; "))
}

fn stand_in(object: &DynamicObject) -> MessagingCluster {
    let spec = json!({"storage": {"mongodb": {"uriSecretRef": {"name": "unknown"}}}});
    let spec = serde_json::from_value(spec).expect("the least that a resource must say");
    let mut cluster = MessagingCluster::new(&object.name_any(), spec);
    cluster.metadata = object.metadata.clone();
    let status = object.data.get("status").cloned().unwrap_or(Value::Null);
    cluster.status = serde_json::from_value::<MessagingClusterStatus>(status).ok();
    cluster
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).expect("an object")
    }

    #[test]
    fn what_breaks_a_rule_is_told_in_the_rules_words() {
        let least = json!({"apiVersion": "wardlink.dev/v1alpha1", "kind": "MessagingCluster",
            "metadata": {"name": "ward", "namespace": "h"},
            "spec": {"storage": {"mongodb": {"uriSecretRef": {"name": "mongodb"}}}}});
        let cluster = read(&object(least.clone())).expect("a cluster");
        assert_eq!(broken_rule(&cluster), None);
        let mut bad = least;
        bad["spec"]["messageServer"] = json!({"drain": {"seconds": 600}});
        let cluster = read(&object(bad)).expect("a cluster");
        let told = broken_rule(&cluster).expect("a broken rule");
        assert!(told.starts_with("messageServer.terminationGracePeriodSeconds must be"), "{told}");
    }

    #[test]
    fn a_resource_that_can_not_be_read_keeps_its_name_and_status() {
        let bad = object(json!({"metadata": {"name": "ward", "namespace": "h", "uid": "1"},
            "spec": {"storage": 3}, "status": {"observedGeneration": 4}}));
        assert!(read(&bad).is_err());
        let cluster = stand_in(&bad);
        assert_eq!(cluster.metadata.uid.as_deref(), Some("1"));
        assert_eq!(cluster.status.and_then(|status| status.observed_generation), Some(4));
    }
}

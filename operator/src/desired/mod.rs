//! What the children of a cluster are to be: [`desired`], a pure function of the resource and of
//! little else ([`DesiredInputs`]). One file for each kind of child.
//!
//! What is built here is all that the operator says of a child, and it is said again each time.
//! Two rules keep pods running:
//!
//! - What the API server would fill in is not said, but where leaving it out would let somebody
//!   else's choice stand. Nothing depends on the operator's version.
//! - A pod template that was once rendered is rendered the same by later operators: a new flag of a
//!   server goes into its arguments only where the resource sets it. `tests/golden` compares.
//!
//! Not here: reading anything of a Kubernetes, writing to it, and `spec.replicas` of a Deployment,
//! which has a field manager of its own ([`Desired::replicas`]).

mod autoscaler;
mod deployment;
mod disruption_budget;
#[cfg(test)]
pub(crate) mod fixtures;
mod generated;
mod http_route;
mod images;
mod ingress;
mod network_policy;
mod pod;
mod replicas;
mod review_binding;
mod service;
mod service_account;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use serde::Serialize;
use serde_json::Value;
use wardlink_operator_api::{LinkMode, ManagementState, MessagingCluster};

pub use self::images::images;
pub use self::pod::known_content;
use crate::model::{Child, ChildKind, Desired, DesiredInputs};
use crate::names::{self, Tier};

/// The children that `inputs.cluster` is to have, in the order in which they are to be applied:
/// what pods need comes before them.
///
/// `managementState` Stopped: no pods and no autoscaler, all else as it is. Paused is not looked
/// at: then the caller applies nothing.
pub fn desired(inputs: DesiredInputs<'_>) -> Desired {
    let plan = Plan::new(inputs);
    let spec = &plan.inputs.cluster.spec;
    let mut children = Vec::new();
    children.extend(Tier::ALL.map(|tier| service_account::build(&plan, tier)));
    if spec.link_authentication.mode == LinkMode::PodIdentity {
        children.push(review_binding::build(&plan));
    }
    children.push(service::links(&plan));
    children.extend(Tier::ALL.map(|tier| service::build(&plan, tier)));
    children.extend(Tier::ALL.into_iter().filter_map(|tier| network_policy::build(&plan, tier)));
    children.extend(Tier::ALL.map(|tier| disruption_budget::build(&plan, tier)));
    children.extend(Tier::ALL.map(|tier| deployment::build(&plan, tier)));
    children.extend(Tier::ALL.into_iter().filter_map(|tier| autoscaler::build(&plan, tier)));
    children.extend(ingress::build(&plan));
    children.extend(http_route::build(&plan));
    let replicas = Tier::ALL.into_iter().filter_map(|tier| replicas::build(&plan, tier)).collect();
    Desired { children, replicas, generated: generated::build(&plan) }
}

/// What every builder knows.
struct Plan<'a> {
    inputs: DesiredInputs<'a>,
    name: &'a str,
    namespace: &'a str,
}

impl<'a> Plan<'a> {
    fn new(inputs: DesiredInputs<'a>) -> Self {
        let metadata = &inputs.cluster.metadata;
        Self {
            inputs,
            name: metadata.name.as_deref().unwrap_or_default(),
            namespace: metadata.namespace.as_deref().unwrap_or_default(),
        }
    }

    fn cluster(&self) -> &'a MessagingCluster {
        self.inputs.cluster
    }

    fn is_stopped(&self) -> bool {
        self.cluster().spec.management_state == ManagementState::Stopped
    }

    /// Metadata of a child that belongs to one tier.
    fn meta(&self, name: String, tier: Tier) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.namespace.to_owned()),
            labels: Some(names::tier_labels(self.name, tier)),
            owner_references: Some(vec![self.owner()]),
            ..ObjectMeta::default()
        }
    }

    fn owner(&self) -> OwnerReference {
        OwnerReference {
            api_version: MessagingCluster::api_version(&()).into_owned(),
            kind: MessagingCluster::kind(&()).into_owned(),
            name: self.name.to_owned(),
            uid: self.cluster().metadata.uid.clone().unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }
}

/// A child from its object. The types have fields only that serialise.
fn child(kind: ChildKind, meta_name: &str, object: &impl Serialize) -> Child {
    let mut object = serde_json::to_value(object).expect("an object of Kubernetes is JSON");
    prune(&mut object);
    Child { kind, name: meta_name.to_owned(), object }
}

/// Takes away what says nothing: null, and empty lists. The API server drops empty lists, so with
/// them an object would never equal what is there. Empty objects say something: `emptyDir: {}`.
fn prune(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(prune);
            map.retain(|_, value| {
                !value.is_null() && value.as_array().is_none_or(|l| !l.is_empty())
            });
        }
        Value::Array(list) => list.iter_mut().for_each(prune),
        _ => {}
    }
}

/// `None` where there is nothing in it.
fn some_map<V: Clone>(map: &BTreeMap<String, V>) -> Option<BTreeMap<String, V>> {
    (!map.is_empty()).then(|| map.clone())
}

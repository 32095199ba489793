//! Pod templates: what both tiers' pods have in common. What each server is told:
//! `message_server`, `business_server`; the files it reads: `files`.
//!
//! Settings are arguments, so that `kubectl describe` shows them and a bad one ends a program at
//! once; secrets are files, never arguments or variables. A variable is set only where it comes
//! from the pod itself.
//!
//! What servers read only at start (MongoDB's URI and its authority) has its hash in an annotation,
//! so that a change rolls the pods. Keys of tokens, certificates and the links' secrets have none:
//! servers read them again when they change, and nothing restarts.

mod business_server;
mod containers;
mod content;
mod files;
mod message_server;
pub(super) mod port;

use k8s_openapi::api::core::v1::{
    PodSecurityContext, PodSpec, PodTemplateSpec, SeccompProfile, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use self::containers::container;
pub use self::content::known_content;
use self::files::Files;
use super::{Plan, some_map};
use crate::names::{self, Tier};

/// User and group of the servers, as in their images.
const USER: i64 = 65532;

/// What one server is told.
struct Server {
    /// Its arguments.
    arguments: Arguments,
    /// The files it reads.
    files: Files,
}

/// The template of one tier's pods.
pub(super) fn template(plan: &Plan<'_>, tier: Tier) -> PodTemplateSpec {
    let wanted = tier.spec(plan.cluster());
    let server = match tier {
        Tier::MessageServer => message_server::server(plan),
        Tier::BusinessServer => business_server::server(plan),
    };
    let mut labels = wanted.pod_labels.clone();
    labels.extend(names::tier_labels(plan.name, tier));
    let mut annotations = wanted.pod_annotations.clone();
    if tier == Tier::MessageServer {
        annotations.extend(content::annotations(plan));
    }
    let (volumes, mounts) = server.files.into_parts();
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: some_map(&annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            containers: vec![container(plan, tier, server.arguments, mounts)],
            volumes: Some(volumes),
            service_account_name: Some(tier.child_name(plan.name)),
            automount_service_account_token: Some(false),
            // Kubernetes would set variables of Services, such as WARD_LINK_PORT for a cluster
            // `ward`, and those of a cluster `wardlink` would be taken for settings.
            enable_service_links: Some(false),
            security_context: Some(security_context()),
            image_pull_secrets: Some(wanted.image_pull_secrets.clone()),
            termination_grace_period_seconds: Some(wanted.termination_grace_period_seconds),
            node_selector: some_map(&wanted.node_selector),
            tolerations: Some(wanted.tolerations.clone()),
            affinity: wanted.affinity.clone(),
            topology_spread_constraints: Some(spread(plan, tier)),
            priority_class_name: wanted.priority_class_name.clone(),
            ..PodSpec::default()
        }),
    }
}

/// As Pod Security `restricted` demands.
fn security_context() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..PodSecurityContext::default()
    }
}

/// How pods are spread: as the resource says, else over zones and hosts where that is possible.
///
/// A constraint that selects no pods would do nothing, so one without a selector gets the tier's.
fn spread(plan: &Plan<'_>, tier: Tier) -> Vec<TopologySpreadConstraint> {
    let selector = || LabelSelector {
        match_labels: Some(names::selector(plan.name, tier)),
        ..LabelSelector::default()
    };
    if let Some(wanted) = &tier.spec(plan.cluster()).topology_spread_constraints {
        let mut wanted = wanted.clone();
        for constraint in &mut wanted {
            constraint.label_selector.get_or_insert_with(selector);
        }
        return wanted;
    }
    let soft = |key: &str| TopologySpreadConstraint {
        topology_key: key.to_owned(),
        max_skew: 1,
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(selector()),
        // Each rollout is spread by itself: the pods that are about to go do not count.
        match_label_keys: Some(vec!["pod-template-hash".to_owned()]),
        ..TopologySpreadConstraint::default()
    };
    ["topology.kubernetes.io/zone", "kubernetes.io/hostname"].map(soft).into()
}

/// Arguments of a server: `--setting=value`.
#[derive(Default)]
struct Arguments(Vec<String>);

impl Arguments {
    /// Kubernetes takes `$(NAME)` in an argument for a variable and `$$` for a dollar.
    fn push(&mut self, setting: &str, value: impl ToString) {
        self.0.push(format!("--{setting}={}", value.to_string().replace('$', "$$")));
    }
}

#[cfg(test)]
mod tests;

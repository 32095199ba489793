//! The one container of a pod: how it is probed, ends, and is confined.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, Lifecycle,
    LifecycleHandler, ObjectFieldSelector, Probe, ResourceRequirements, SecurityContext,
    SleepAction, VolumeMount,
};
use wardlink_operator_api::{LinkMode, TierSpec};

use super::port::{self, Port};
use super::{Arguments, Plan};
use crate::desired::some_map;
use crate::names::Tier;

/// The server's container.
pub(super) fn container(
    plan: &Plan<'_>,
    tier: Tier,
    mut arguments: Arguments,
    mounts: Vec<VolumeMount>,
) -> Container {
    let wanted = tier.spec(plan.cluster());
    arguments.push("drain", format_args!("{}s", wanted.drain.seconds));
    arguments.push("log-format", "json");
    arguments.push("log-filter", &wanted.log_filter);
    Container {
        name: tier.as_str().to_owned(),
        image: Some(plan.inputs.images.of(tier).to_owned()),
        image_pull_policy: wanted.image_pull_policy.clone(),
        args: Some(arguments.0),
        env: Some(variables(plan, tier)),
        ports: Some([port::of(tier), &port::ADMIN].map(container_port).into()),
        resources: Some(ResourceRequirements {
            requests: some_map(&wanted.resources.requests.0),
            limits: some_map(&wanted.resources.limits.0),
            claims: None,
        }),
        // The admin port answers as soon as the settings are read, whether or not there is a
        // database: a minute is for a slow node.
        startup_probe: Some(probe("/livez", 1, 60)),
        // A server that is slow, or that cannot reach its database, is not better off restarted:
        // only one that has not answered for a minute is.
        liveness_probe: Some(probe("/livez", 10, 6)),
        readiness_probe: Some(probe("/readyz", 2, 3)),
        lifecycle: lifecycle(wanted),
        // The last lines of the log say why a server ended.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

/// With a shared secret a Business Server says itself who it is: its pod, as with pod identity, so
/// that a container that restarts takes its place at once.
fn variables(plan: &Plan<'_>, tier: Tier) -> Vec<EnvVar> {
    let shared = plan.cluster().spec.link_authentication.mode == LinkMode::SharedSecret;
    let server_id = (tier == Tier::BusinessServer && shared).then(|| EnvVar {
        name: "WARDLINK_SERVER_ID".to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: None,
                field_path: "metadata.uid".to_owned(),
            }),
            ..EnvVarSource::default()
        }),
    });
    server_id.into_iter().chain(tier.spec(plan.cluster()).env.iter().cloned()).collect()
}

fn container_port(port: &Port) -> ContainerPort {
    ContainerPort {
        name: Some(port.name.to_owned()),
        container_port: port.number,
        ..ContainerPort::default()
    }
}

/// Both time-outs are above what a busy core may take to answer.
fn probe(path: &str, period_seconds: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: port::ADMIN.by_name(),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

/// A pod that is to end leaves the Service first; only then does its server hear of it.
fn lifecycle(wanted: &TierSpec) -> Option<Lifecycle> {
    let seconds = wanted.drain.delay_seconds;
    (seconds > 0).then(|| Lifecycle {
        pre_stop: Some(LifecycleHandler {
            sleep: Some(SleepAction { seconds }),
            ..LifecycleHandler::default()
        }),
        ..Lifecycle::default()
    })
}

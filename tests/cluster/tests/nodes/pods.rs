//! What tests do to pods, and how they reach them.

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use wardlink_cluster_tests::Namespace;

/// Kills one ready pod with this label and returns its name: its processes at once, by SIGKILL,
/// where the nodes are of this machine; else the pod is deleted by force.
pub(crate) async fn kill_one(ns: &Namespace, label: &str) -> anyhow::Result<String> {
    let pods = ns.api::<Pod>();
    let found = pods.list(&ListParams::default().labels(label)).await?.items;
    let pod = found.iter().find(|pod| is_ready(pod)).context("no pod of this label is ready")?;
    let uid = pod.uid().context("a pod without UID")?;
    let _ = kill_processes(&uid);
    // Its container would be started again in the same pod; this one shall be gone.
    let name = pod.name_any();
    pods.delete(&name, &DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() })
        .await?;
    Ok(name)
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Kills the processes of a pod whose node is this machine, but not the one that holds its network,
/// by SIGKILL. Returns how many.
pub(crate) fn kill_processes(uid: &str) -> anyhow::Result<usize> {
    let mut killed = 0;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        // A process may end while it is looked at.
        let Ok(groups) = std::fs::read_to_string(entry.path().join("cgroup")) else { continue };
        let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if !groups.contains(uid) || !name.starts_with("wardlink-") {
            continue;
        }
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
            killed += 1;
        }
    }
    Ok(killed)
}

/// `host:port` where this machine reaches the first port of a Service: its ClusterIP in the lab,
/// elsewhere the address of its load balancer.
pub(crate) async fn service(ns: &Namespace, name: &str) -> anyhow::Result<String> {
    let service = ns.api::<Service>().get(name).await?;
    let spec = service.spec.context("a Service without spec")?;
    let port = spec.ports.unwrap_or_default().first().context("no port")?.port;
    if std::env::var_os("WARDLINK_LAB_RUN").is_some() {
        return Ok(format!("{}:{port}", spec.cluster_ip.context("no ClusterIP")?));
    }
    let balancer = service.status.and_then(|status| status.load_balancer);
    let ingress = balancer.and_then(|balancer| balancer.ingress).unwrap_or_default();
    match ingress.first().and_then(|at| at.ip.clone().or(at.hostname.clone())) {
        Some(host) => Ok(format!("{host}:{port}")),
        None => bail!(
            "Service {name} has no address that this machine reaches: give it a load balancer"
        ),
    }
}

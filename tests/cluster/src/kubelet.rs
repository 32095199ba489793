//! Plays the kubelet, and the scheduler, where there are none.
//!
//! A stand-in for what a control plane alone does not have: pods are made, but nobody runs them.
//! It writes into their status what a kubelet would write; nothing runs, no probe is asked, no
//! image is looked for. What a real node does to pods is tested on nodes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// What becomes of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Play {
    /// It runs and is ready.
    Ready,
    /// It runs and is not ready.
    NotReady,
    /// It stays pending, as made.
    Pending,
    /// No node takes it; the text is the scheduler's.
    Unschedulable(String),
    /// Its image cannot be pulled; the text is the runtime's.
    ImagePullBackOff(String),
    /// Its container ends again and again.
    CrashLoopBackOff {
        /// How it ended last.
        exit_code: i32,
        /// Such as `Error` or `OOMKilled`.
        reason: String,
        /// The end of its log, where the pod asks for it.
        message: String,
    },
}

/// Plays until it is dropped.
pub struct Kubelet {
    plays: Arc<Plays>,
    playing: JoinHandle<()>,
}

#[derive(Default)]
struct Plays {
    /// Label, value, play; of several that fit the last one counts.
    rules: Mutex<Vec<(String, String, Play)>>,
    changed: Notify,
}

impl Plays {
    fn of(&self, pod: &Pod) -> Play {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let fits =
            |(label, value, _): &&(String, String, Play)| pod.labels().get(label) == Some(value);
        rules.iter().rev().find(fits).map_or(Play::Ready, |(_, _, play)| play.clone())
    }
}

impl Kubelet {
    /// All pods become ready, but for what [`Kubelet::play`] says.
    pub(crate) fn start(pods: Api<Pod>) -> anyhow::Result<Self> {
        let plays = Arc::new(Plays::default());
        let playing = tokio::spawn(play(pods, plays.clone()));
        Ok(Self { plays, playing })
    }

    /// From now on this becomes of pods with this label, also of those that are there.
    pub fn play(&self, label: &str, value: &str, play: Play) {
        let mut rules = self.plays.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.push((label.to_owned(), value.to_owned(), play));
        self.plays.changed.notify_one();
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.playing.abort();
    }
}

async fn play(pods: Api<Pod>, plays: Arc<Plays>) {
    // What was written last into each pod's status, and its address.
    let mut written: HashMap<String, (u8, Play)> = HashMap::new();
    let mut events = watcher(pods.clone(), watcher::Config::default()).boxed();
    loop {
        tokio::select! {
            event = events.next() => if event.is_none() { return },
            () = plays.changed.notified() => {}
        }
        if let Err(error) = write(&pods, &plays, &mut written).await {
            // The next change brings the next try.
            eprintln!("playing the kubelet: {error:#}");
        }
    }
}

async fn write(
    pods: &Api<Pod>,
    plays: &Plays,
    written: &mut HashMap<String, (u8, Play)>,
) -> anyhow::Result<()> {
    for pod in pods.list(&ListParams::default()).await?.items {
        let (Some(uid), None) = (pod.uid(), pod.metadata.deletion_timestamp.as_ref()) else {
            continue;
        };
        let play = plays.of(&pod);
        let known = written.get(&uid);
        if known.is_some_and(|(_, last)| *last == play) {
            continue;
        }
        let host = known.map_or((written.len() % 250) as u8 + 1, |(host, _)| *host);
        let status = json!({"status": status(&pod, &play, host, &Timestamp::now().to_string())});
        let name = pod.name_any();
        match pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status)).await {
            Ok(_) => written.insert(uid, (host, play)),
            // It was deleted meanwhile.
            Err(kube::Error::Api(status)) if status.code == 404 => continue,
            Err(error) => return Err(error).context(name),
        };
    }
    Ok(())
}

/// The status that a kubelet would write.
fn status(pod: &Pod, play: &Play, host: u8, now: &str) -> Value {
    if let Play::Pending = play {
        return json!({"phase": "Pending"});
    }
    if let Play::Unschedulable(message) = play {
        let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": message, "lastTransitionTime": now});
        return json!({"phase": "Pending", "conditions": [condition], "containerStatuses": null});
    }
    let ready = *play == Play::Ready;
    let condition = |kind: &str, holds: bool| {
        let status = if holds { "True" } else { "False" };
        let reason = (!holds).then_some("ContainersNotReady");
        json!({"type": kind, "status": status, "reason": reason, "lastTransitionTime": now})
    };
    let phase = if let Play::ImagePullBackOff(_) = play { "Pending" } else { "Running" };
    let address = format!("10.200.250.{host}");
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let containers: Vec<Value> = containers
        .map(|container| {
            let mut status = state(play, now);
            status["name"] = json!(container.name);
            status["image"] = json!(container.image.as_deref().unwrap_or_default());
            status["imageID"] = json!("");
            status["ready"] = json!(ready);
            status
        })
        .collect();
    json!({
        "phase": phase,
        "startTime": now,
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [condition("PodScheduled", true), condition("Initialized", true),
            condition("ContainersReady", ready), condition("Ready", ready)],
        "containerStatuses": containers,
    })
}

/// What a container's status says of its state.
fn state(play: &Play, now: &str) -> Value {
    match play {
        Play::ImagePullBackOff(message) => json!({
            "restartCount": 0, "started": false,
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": message}},
        }),
        Play::CrashLoopBackOff { exit_code, reason, message } => json!({
            "restartCount": 5, "started": false,
            "state": {"waiting": {"reason": "CrashLoopBackOff",
                "message": "back-off 2m40s restarting failed container"}},
            "lastState": {"terminated": {"exitCode": exit_code, "reason": reason,
                "message": message, "startedAt": now, "finishedAt": now}},
        }),
        _ => json!({
            "restartCount": 0, "started": true, "lastState": {},
            "state": {"running": {"startedAt": now}},
        }),
    }
}

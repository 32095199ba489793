//! What keeps a pod from being ready, in words a person can act on.
//!
//! A pod in trouble goes through several states in turn (a pull is tried, then waits; a server
//! ends, waits, runs again). Each is told in the same words, so that a status does not change
//! while nothing does.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};

use super::Reason;
use super::condition::cut;
use super::words::{last_line, registry_words, scheduler_words};

/// Most bytes of what others say in a message.
const WORDS_MAX_BYTES: usize = 512;
/// A server that lived shorter than this before it ended, and runs again without being ready, is
/// still in its loop of crashes. Kubernetes waits up to 5 minutes between, so it is seen so often.
const SHORT_LIFE_S: i64 = 60;

/// What keeps one pod from being ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) reason: Reason,
    /// A sentence without the pod's name.
    pub(super) words: String,
}

impl Trouble {
    fn new(reason: Reason, words: impl Into<String>) -> Self {
        Self { reason, words: cut(words.into(), WORDS_MAX_BYTES) }
    }

    /// How bad: what a person must act on comes before what may pass by itself.
    pub(super) fn rank(reason: Reason) -> usize {
        const WORST_FIRST: [Reason; 9] = [
            Reason::ImagePullFailed,
            Reason::ContainerNotCreated,
            Reason::OutOfMemory,
            Reason::CrashLoop,
            Reason::Unschedulable,
            Reason::PodFailed,
            Reason::WaitsForStorage,
            Reason::NotReady,
            Reason::Starting,
        ];
        WORST_FIRST.iter().position(|worst| *worst == reason).unwrap_or(WORST_FIRST.len())
    }

    /// Whether the server runs and just is not ready.
    pub(super) fn runs(&self) -> bool {
        self.reason == Reason::NotReady
    }
}

/// What keeps this pod from being ready, or `None` where it is ready.
pub(super) fn trouble(pod: &Pod) -> Option<Trouble> {
    let status = pod.status.clone().unwrap_or_default();
    let condition = |kind: &str| status.conditions.iter().flatten().find(|c| c.type_ == kind);
    if condition("Ready").is_some_and(|ready| ready.status == "True") {
        return None;
    }
    if status.phase.as_deref() == Some("Failed") {
        let words = [status.reason, status.message].into_iter().flatten().collect::<Vec<_>>();
        let words = if words.is_empty() { "it failed".to_owned() } else { words.join(": ") };
        return Some(Trouble::new(Reason::PodFailed, words));
    }
    let statuses = || {
        let first = status.init_container_statuses.iter().flatten();
        first.chain(status.container_statuses.iter().flatten())
    };
    let of_containers = statuses().filter_map(of_container);
    if let Some(worst) = of_containers.min_by_key(|trouble| Trouble::rank(trouble.reason)) {
        return Some(worst);
    }
    let scheduled = condition("PodScheduled").filter(|scheduled| scheduled.status == "False");
    if let Some(scheduled) = scheduled {
        let words = scheduled.message.as_deref().unwrap_or("no node takes it");
        return Some(Trouble::new(Reason::Unschedulable, scheduler_words(words)));
    }
    Some(Trouble::new(Reason::Starting, "starts"))
}

fn of_container(status: &ContainerStatus) -> Option<Trouble> {
    let state = status.state.clone().unwrap_or_default();
    let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    if let Some(waiting) = &state.waiting {
        let said = waiting.message.as_deref().unwrap_or_default();
        return match waiting.reason.as_deref().unwrap_or_default() {
            "ErrImagePull"
            | "ImagePullBackOff"
            | "InvalidImageName"
            | "ErrImageNeverPull"
            | "RegistryUnavailable"
            | "ImageInspectError"
            | "SignatureValidationFailed" => {
                let words = format!("image {} cannot be pulled", status.image);
                let said = registry_words(said);
                Some(Trouble::new(Reason::ImagePullFailed, join(words, &said)))
            }
            reason @ ("CreateContainerConfigError"
            | "CreateContainerError"
            | "RunContainerError"
            | "PreCreateHookError"
            | "PreStartHookError"
            | "PostStartHookError") => {
                Some(Trouble::new(Reason::ContainerNotCreated, join(reason.to_owned(), said)))
            }
            "CrashLoopBackOff" => Some(last.map_or_else(
                || Trouble::new(Reason::CrashLoop, "the server ends again and again"),
                ended,
            )),
            _ => None,
        };
    }
    if let Some(terminated) = &state.terminated {
        // Without a failure it has done its work, as an init container does.
        return (terminated.exit_code != 0).then(|| ended(terminated));
    }
    if state.running.is_none() || status.ready {
        return None;
    }
    if let Some(last) = last.filter(|last| short_life(last)) {
        return Some(ended(last));
    }
    Some(Trouble::new(Reason::NotReady, "the server runs and is not ready"))
}

fn ended(terminated: &ContainerStateTerminated) -> Trouble {
    let said = last_line(terminated.message.as_deref().unwrap_or_default());
    if terminated.reason.as_deref() == Some("OOMKilled") {
        let words = "the server was killed: it needed more memory than its limit";
        return Trouble::new(Reason::OutOfMemory, words);
    }
    let code = terminated.exit_code;
    let reason = terminated.reason.as_deref().filter(|reason| !matches!(*reason, "Error" | ""));
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    Trouble::new(
        Reason::CrashLoop,
        join(format!("the server ends with exit code {code}{reason}"), &said),
    )
}

fn short_life(terminated: &ContainerStateTerminated) -> bool {
    let span = terminated.started_at.as_ref().zip(terminated.finished_at.as_ref());
    span.is_some_and(|(from, to)| to.0.as_second() - from.0.as_second() < SHORT_LIFE_S)
}

fn join(what: String, said: &str) -> String {
    if said.is_empty() { what } else { format!("{what}: {said}") }
}

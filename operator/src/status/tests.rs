//! Statuses of clusters as Kubernetes shows them.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use wardlink_operator_api::{ConditionType, MessagingCluster, MessagingClusterStatus};

use super::{EventNote, EventType, Reason, events, status};
use crate::model::{
    ChildKind, Images, Problem, StatusInputs, StorageReport, StorageState, TierObserved, Tiers,
};
use crate::names::Tier;

/// A cluster that is as it should be, for a test to spoil.
struct World {
    cluster: MessagingCluster,
    tiers: Tiers<TierObserved>,
    storage: StorageReport,
    problems: Vec<Problem>,
    wrote: bool,
    now: i64,
}

impl World {
    fn well() -> Self {
        Self {
            cluster: cluster(json!({})),
            tiers: Tiers {
                message_server: tier(Tier::MessageServer, 2),
                business_server: tier(Tier::BusinessServer, 2),
            },
            storage: report(StorageState::Ready, "the indexes are there"),
            problems: Vec::new(),
            wrote: false,
            now: 1_000,
        }
    }

    fn spec(mut self, spec: Value) -> Self {
        self.cluster = cluster(spec);
        self
    }

    fn status(&self) -> MessagingClusterStatus {
        let images = Images { message_server: "r/ms:1".into(), business_server: "r/bs:1".into() };
        let status = status(&StatusInputs {
            cluster: &self.cluster,
            images: &images,
            tiers: &self.tiers,
            storage: &self.storage,
            server_message_ttl_seconds: self.storage.server_message_ttl_seconds,
            problems: &self.problems,
            wrote: self.wrote,
            now: Timestamp::from_second(self.now).unwrap(),
        });
        for condition in &status.conditions {
            let reason = Reason::ALL.iter().find(|r| r.as_str() == condition.reason).unwrap();
            let mut of = reason.conditions().iter().map(|kind| kind.as_str());
            assert!(of.any(|kind| kind == condition.type_), "undocumented: {condition:?}");
        }
        status
    }

    /// The next status, with this one recorded; and what is told of it.
    fn step(&mut self) -> (MessagingClusterStatus, Vec<EventNote>) {
        self.now += 10;
        let after = self.status();
        let told = events(self.cluster.status.as_ref(), &after);
        self.cluster.status = Some(after.clone());
        (after, told)
    }

    /// One pod of the Message Servers is like this; no other is ready either.
    fn spoil(&mut self, status: Value) {
        let tier = &mut self.tiers.message_server;
        *tier = self::tier(Tier::MessageServer, 0);
        tier.pods = vec![pod("ward-message-server-a", status)];
        set_condition(tier, "Available", "False", "MinimumReplicasUnavailable", "");
    }
}

fn cluster(spec: Value) -> MessagingCluster {
    let mut all = json!({ "storage": { "mongodb": { "uriSecretRef": { "name": "db" } } } });
    merge(&mut all, spec);
    serde_json::from_value(json!({
        "apiVersion": "wardlink.dev/v1alpha1", "kind": "MessagingCluster",
        "metadata": { "name": "ward", "namespace": "east", "uid": "u", "generation": 3 },
        "spec": all,
    }))
    .unwrap()
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn report(state: StorageState, message: &str) -> StorageReport {
    StorageReport {
        state,
        message: message.to_owned(),
        index_ttl_seconds: (state == StorageState::Ready).then_some(600),
        server_message_ttl_seconds: 600,
    }
}

/// A tier of two, with so many ready pods.
fn tier(tier: Tier, ready: i32) -> TierObserved {
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": { "name": tier.child_name("ward"), "generation": 7 },
        "spec": { "replicas": 2, "selector": {}, "template": {} },
        "status": {
            "observedGeneration": 7, "replicas": 2, "updatedReplicas": 2,
            "readyReplicas": ready, "availableReplicas": ready,
            "conditions": [
                { "type": "Available", "status": if ready > 0 { "True" } else { "False" } },
                { "type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable" },
            ],
        },
    }))
    .unwrap();
    let pods = (0..2).map(|i| {
        let ready = if i < ready { "True" } else { "False" };
        pod(
            &format!("{}-{i}", tier.child_name("ward")),
            json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": ready }] }),
        )
    });
    TierObserved { deployment: Some(deployment), autoscaler: None, pods: pods.collect() }
}

fn pod(name: &str, status: Value) -> Pod {
    serde_json::from_value(json!({ "metadata": { "name": name }, "status": status })).unwrap()
}

fn container(state: Value, last: Value) -> Value {
    json!({ "phase": "Pending", "containerStatuses": [{
        "name": "server", "image": "r.example/ms:9", "imageID": "", "ready": false,
        "restartCount": 4, "state": state, "lastState": last,
    }] })
}

fn set_condition(tier: &mut TierObserved, kind: &str, status: &str, reason: &str, message: &str) {
    let status_of = tier.deployment.as_mut().unwrap().status.as_mut().unwrap();
    let conditions = status_of.conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != kind);
    conditions.push(DeploymentCondition {
        type_: kind.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        ..Default::default()
    });
}

fn get(status: &MessagingClusterStatus, kind: ConditionType) -> &Condition {
    status.conditions.iter().find(|condition| condition.type_ == kind.as_str()).unwrap()
}

fn is(status: &MessagingClusterStatus, kind: ConditionType) -> (&str, &str) {
    let condition = get(status, kind);
    (&condition.status, &condition.reason)
}

use ConditionType::{
    BusinessServerAvailable, MessageServerAvailable, Ready, Reconciling, Stalled, StorageReady,
};

#[test]
fn a_cluster_that_is_well_is_ready_and_done() {
    let status = World::well().status();
    assert_eq!(is(&status, Ready), ("True", "Available"));
    assert_eq!(is(&status, Reconciling), ("False", "UpToDate"));
    assert_eq!(is(&status, Stalled), ("False", "NotStalled"));
    assert_eq!(is(&status, MessageServerAvailable), ("True", "Available"));
    assert_eq!(is(&status, BusinessServerAvailable), ("True", "Available"));
    assert_eq!(is(&status, StorageReady), ("True", "IndexesReady"));
    assert!(status.conditions.iter().all(|c| c.observed_generation == Some(3)));
    assert_eq!(status.observed_generation, Some(3));
    let tier = &status.message_server;
    assert_eq!((tier.ready.as_deref(), tier.image.as_deref()), (Some("2/2"), Some("r/ms:1")));
    assert_eq!(
        status.business_server.selector.as_deref(),
        Some(
            "app.kubernetes.io/component=business-server,app.kubernetes.io/instance=ward,\
             app.kubernetes.io/name=wardlink"
        )
    );
    assert_eq!(status.storage.message_ttl_seconds, Some(600));
    assert_eq!(status.generated_secrets.identity.unwrap().name, "ward-identity");
    assert_eq!(status.generated_secrets.link, None);
}

#[test]
fn a_time_moves_only_with_its_status_and_nothing_else_moves() {
    let mut world = World::well();
    let (first, told) = world.step();
    assert!(told.iter().any(|note| note.reason == "Ready"), "{told:?}");
    let (second, told) = world.step();
    assert_eq!(serde_json::to_string(&first).unwrap(), serde_json::to_string(&second).unwrap());
    assert_eq!(told, []);

    world.storage = report(StorageState::Unreachable, "nobody answers at 10.0.0.1:27017");
    let (third, told) = world.step();
    assert_eq!(is(&third, StorageReady), ("False", "Unreachable"));
    assert_ne!(
        get(&third, StorageReady).last_transition_time.0,
        get(&first, StorageReady).last_transition_time.0
    );
    assert_eq!(
        get(&third, Stalled).last_transition_time,
        get(&first, Stalled).last_transition_time
    );
    let warnings = told.iter().filter(|note| note.event_type == EventType::Warning);
    assert_eq!(warnings.map(|note| note.reason).collect::<Vec<_>>(), ["NotReady", "Unreachable"]);

    world.storage = report(StorageState::InvalidUri, "no such scheme");
    let (fourth, _) = world.step();
    assert_eq!(is(&fourth, StorageReady), ("False", "InvalidUri"));
    assert_eq!(
        get(&fourth, StorageReady).last_transition_time,
        get(&third, StorageReady).last_transition_time,
        "still False"
    );
}

#[test]
fn a_database_that_is_away_makes_no_tier_unavailable_and_stalls_nothing() {
    let mut world = World::well();
    world.storage = report(StorageState::Unreachable, "nobody answers");
    let status = world.status();
    assert_eq!(is(&status, Ready), ("False", "Unreachable"));
    assert_eq!(is(&status, MessageServerAvailable), ("True", "Available"));
    assert_eq!(is(&status, BusinessServerAvailable), ("True", "Available"));
    assert_eq!(is(&status, Reconciling), ("True", "WaitingForStorage"));
    assert_eq!(is(&status, Stalled), ("False", "NotStalled"));
}

#[test]
fn an_operator_that_has_just_begun_takes_nothing_back() {
    let mut world = World::well();
    let (before, _) = world.step();
    world.storage = report(StorageState::Unknown, "not looked at yet");
    let (after, told) = world.step();
    assert_eq!(before, after);
    assert_eq!(told, []);
    let mut new = World::well();
    new.storage = report(StorageState::Unknown, "not looked at yet");
    assert_eq!(is(&new.status(), StorageReady), ("Unknown", "NotChecked"));
    assert_eq!(is(&new.status(), Ready), ("Unknown", "NotChecked"));
}

#[test]
fn what_keeps_pods_from_being_ready_is_told_in_words() {
    let waiting = |reason: &str, message: &str| {
        container(json!({ "waiting": { "reason": reason, "message": message } }), json!({}))
    };
    let pull = "rpc error: code = NotFound desc = r.example/ms:9: not found";
    let ended = json!({ "terminated": {
        "exitCode": 64, "reason": "Error",
        "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z",
        "message": "{\"level\":\"ERROR\",\"message\":\"--drain: must be a duration\"}\n",
    } });
    let killed = json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } });
    let back_off = json!({ "waiting": { "reason": "CrashLoopBackOff" } });
    let running = json!({ "running": {} });
    let unscheduled = json!({ "phase": "Pending", "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient cpu. preemption: none",
    }] });
    let evicted = json!({ "phase": "Failed", "reason": "Evicted", "message": "low on memory" });
    let lived = json!({ "terminated": { "exitCode": 1,
        "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-02T00:00:00Z" } });
    for (pod, reason, words) in [
        (waiting("ErrImagePull", pull), "ImagePullFailed", "r.example/ms:9: not found"),
        (
            waiting(
                "ImagePullBackOff",
                &format!("Back-off pulling image \"x\": ErrImagePull: {pull}"),
            ),
            "ImagePullFailed",
            "image r.example/ms:9 cannot be pulled: r.example/ms:9: not found",
        ),
        (
            waiting("CreateContainerConfigError", "secret \"db\" not found"),
            "ContainerNotCreated",
            "secret \"db\" not found",
        ),
        (container(back_off.clone(), ended.clone()), "CrashLoop", "exit code 64: --drain: must be"),
        (container(ended.clone(), json!({})), "CrashLoop", "exit code 64: --drain: must be"),
        (container(running.clone(), ended), "CrashLoop", "exit code 64: --drain: must be"),
        (container(back_off, killed), "OutOfMemory", "more memory than its limit"),
        (container(running.clone(), lived), "NotReady", "is not ready"),
        (container(running, json!({})), "NotReady", "is not ready"),
        (waiting("ContainerCreating", ""), "Starting", "starts"),
        (unscheduled, "Unschedulable", "1 Insufficient cpu."),
        (evicted, "PodFailed", "Evicted: low on memory"),
    ] {
        let mut world = World::well();
        world.spoil(pod);
        let status = world.status();
        assert_eq!(is(&status, MessageServerAvailable), ("False", reason), "{words}");
        let message = &get(&status, MessageServerAvailable).message;
        assert!(
            message.starts_with("pod ward-message-server-a: ") && message.contains(words),
            "{message}"
        );
        assert_eq!(is(&status, Ready), ("False", reason));
        assert_eq!(is(&status, Reconciling).0, "True");
        assert_eq!(is(&status, BusinessServerAvailable), ("True", "Available"));
    }
}

#[test]
fn a_loop_of_crashes_is_told_once_through_all_its_states() {
    let ended = json!({ "terminated": { "exitCode": 1, "reason": "Error", "message": "bad",
        "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:05Z" } });
    let mut world = World::well();
    world.step();
    world.spoil(container(ended.clone(), json!({})));
    let (first, told) = world.step();
    assert!(told.iter().any(|note| note.reason == "CrashLoop"), "{told:?}");
    for state in [json!({ "waiting": { "reason": "CrashLoopBackOff" } }), json!({ "running": {} })]
    {
        world.spoil(container(state, ended.clone()));
        let (next, told) = world.step();
        assert_eq!(next, first);
        assert_eq!(told, []);
    }
}

#[test]
fn of_many_pods_the_worst_speaks_and_the_order_of_pods_does_not_matter() {
    let mut world = World::well();
    let waiting = |reason: &str| container(json!({ "waiting": { "reason": reason } }), json!({}));
    let mut pods = vec![
        pod("d", waiting("ImagePullBackOff")),
        pod("c", waiting("ContainerCreating")),
        pod("b", waiting("ErrImagePull")),
        pod("a", container(json!({ "running": {} }), json!({}))),
    ];
    world.spoil(json!({}));
    world.tiers.message_server.pods = pods.clone();
    let first = world.status();
    let message = &get(&first, MessageServerAvailable).message;
    assert!(message.starts_with("2 pods, the first of them b: image"), "{message}");
    pods.reverse();
    // A pod that ends is no trouble.
    let mut ending = pod("0", waiting("ErrImagePull"));
    ending.metadata.deletion_timestamp =
        Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
    pods.push(ending);
    world.tiers.message_server.pods = pods;
    assert_eq!(world.status(), first);
}

#[test]
fn a_quota_is_told_without_the_name_of_a_pod_that_never_was() {
    let mut world = World::well();
    world.spoil(json!({}));
    let said = |name: &str| {
        format!(
            "pods \"{name}\" is forbidden: exceeded quota: few, requested: pods=1, used: pods=2"
        )
    };
    set_condition(
        &mut world.tiers.message_server,
        "ReplicaFailure",
        "True",
        "FailedCreate",
        &said("x-1"),
    );
    let first = world.status();
    assert_eq!(is(&first, MessageServerAvailable), ("False", "QuotaExceeded"));
    set_condition(
        &mut world.tiers.message_server,
        "ReplicaFailure",
        "True",
        "FailedCreate",
        &said("x-2"),
    );
    assert_eq!(world.status(), first);
    let refused = "pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\"";
    set_condition(
        &mut world.tiers.message_server,
        "ReplicaFailure",
        "True",
        "FailedCreate",
        refused,
    );
    assert_eq!(is(&world.status(), MessageServerAvailable), ("False", "PodsRefused"));
}

#[test]
fn servers_that_wait_say_for_what() {
    let mut world = World::well();
    let running = container(json!({ "running": {} }), json!({}));
    world.spoil(running.clone());
    world.storage = report(StorageState::IndexConflict, "msglists{createAt} is unique");
    world.tiers.business_server = tier(Tier::BusinessServer, 0);
    world.tiers.business_server.pods = vec![pod("b", running)];
    let status = world.status();
    assert_eq!(is(&status, MessageServerAvailable), ("False", "WaitsForStorage"));
    assert_eq!(is(&status, BusinessServerAvailable), ("False", "WaitsForMessageServers"));
    assert_eq!(is(&status, Ready), ("False", "IndexConflict"), "the cause, not what waits for it");
    assert_eq!(is(&status, Stalled).0, "False");
}

#[test]
fn a_rollout_keeps_ready_and_is_reconciling_until_the_last_old_pod_is_gone() {
    let mut world = World::well();
    world.step();
    let deployment = |world: &mut World, change: &dyn Fn(&mut Deployment)| {
        change(world.tiers.message_server.deployment.as_mut().unwrap());
    };
    // Written, not observed: even its being unavailable is of the generation before.
    deployment(&mut world, &|d| d.metadata.generation = Some(8));
    set_condition(&mut world.tiers.message_server, "Available", "False", "", "");
    let (status, _) = world.step();
    assert_eq!(is(&status, Reconciling), ("True", "RollingOut"));
    assert_eq!(is(&status, Ready).0, "True");
    set_condition(&mut world.tiers.message_server, "Available", "True", "", "");
    deployment(&mut world, &|d| {
        let status = d.status.as_mut().unwrap();
        status.observed_generation = Some(8);
        (status.replicas, status.updated_replicas) = (Some(3), Some(1));
    });
    let (status, told) = world.step();
    assert_eq!(is(&status, Reconciling), ("True", "RollingOut"));
    assert!(get(&status, Reconciling).message.contains("1 of 2 pods"), "{status:?}");
    assert_eq!(told, [], "of one rollout once");
    set_condition(
        &mut world.tiers.message_server,
        "Progressing",
        "False",
        "ProgressDeadlineExceeded",
        "",
    );
    let (status, told) = world.step();
    assert_eq!(is(&status, Reconciling), ("True", "RolloutStuck"));
    assert_eq!(is(&status, Stalled).0, "False");
    assert_eq!(told[0].reason, "RolloutStuck");
    deployment(&mut world, &|d| d.status.as_mut().unwrap().updated_replicas = Some(2));
    let (status, _) = world.step();
    assert_eq!(is(&status, Reconciling).0, "True", "one old pod is left");
    deployment(&mut world, &|d| d.status.as_mut().unwrap().replicas = Some(2));
    let (status, _) = world.step();
    assert_eq!(is(&status, Reconciling), ("False", "UpToDate"));
}

#[test]
fn what_only_a_person_can_solve_is_stalled_and_not_reconciling() {
    let mut world = World::well();
    world.step();
    let name = "ward-message-server".to_owned();
    world.problems = vec![
        Problem::Unavailable { message: "busy".into() },
        Problem::NameConflict { kind: ChildKind::Service, name },
    ];
    let (status, told) = world.step();
    assert_eq!(is(&status, Stalled), ("True", "NameConflict"));
    assert_eq!(is(&status, Reconciling), ("False", "NameConflict"));
    assert_eq!(is(&status, Ready), ("False", "NameConflict"));
    assert!(get(&status, Ready).message.contains("Service ward-message-server"));
    assert!(told.iter().any(|n| n.reason == "NameConflict" && n.event_type == EventType::Warning));
    world.problems = vec![];
    let (_, told) = world.step();
    assert!(told.iter().any(|note| note.reason == "StallResolved"), "{told:?}");
}

#[test]
fn what_the_operator_may_not_do_is_told_with_the_command_and_tried_again() {
    let mut world = World::well();
    let command = "kubectl create clusterrolebinding x".to_owned();
    world.problems = vec![Problem::LinkIdentityNotAllowed { command }];
    let status = world.status();
    assert_eq!(is(&status, Ready), ("False", "LinkIdentityNotAllowed"));
    assert!(get(&status, Ready).message.ends_with("kubectl create clusterrolebinding x"));
    assert_eq!(is(&status, Reconciling), ("True", "LinkIdentityNotAllowed"));
    assert_eq!(is(&status, Stalled).0, "False");
    world.problems = vec![Problem::Unavailable { message: "429".into() }];
    let status = world.status();
    assert_eq!(is(&status, Ready).0, "True", "the API server's trouble is not the cluster's");
    assert_eq!(is(&status, Reconciling), ("True", "ApiUnavailable"));
}

#[test]
fn a_paused_cluster_is_reported_as_it_is() {
    let mut world = World::well().spec(json!({ "managementState": "Paused" }));
    let status = world.status();
    assert_eq!(is(&status, Ready), ("True", "Paused"));
    assert_eq!(is(&status, Reconciling), ("False", "Paused"));
    assert_eq!(status.generated_secrets.identity, None, "nothing is made");
    world.spoil(json!({ "phase": "Failed", "reason": "Evicted" }));
    let status = world.status();
    assert_eq!(is(&status, Ready), ("False", "PodFailed"));
    assert!(get(&status, Ready).message.ends_with("the operator is paused and changes nothing"));
}

#[test]
fn a_stopped_cluster_is_done_when_its_pods_are_gone() {
    let mut world = World::well();
    world.step();
    let before = world.cluster.status.clone();
    world = world.spec(json!({ "managementState": "Stopped" }));
    world.cluster.status = before;
    let (status, told) = world.step();
    assert_eq!(is(&status, Ready), ("False", "Stopped"));
    assert_eq!(is(&status, Reconciling), ("True", "Stopping"));
    assert!(told.iter().all(|note| note.event_type == EventType::Normal), "{told:?}");
    for tier in [&mut world.tiers.message_server, &mut world.tiers.business_server] {
        tier.pods.clear();
        let deployment = tier.deployment.as_mut().unwrap();
        deployment.spec.as_mut().unwrap().replicas = Some(0);
        let status = deployment.status.as_mut().unwrap();
        (status.replicas, status.updated_replicas, status.ready_replicas) = (None, None, None);
    }
    let (status, _) = world.step();
    assert_eq!(is(&status, Reconciling), ("False", "Stopped"));
    assert_eq!(is(&status, MessageServerAvailable), ("False", "Stopped"));
    assert_eq!(status.message_server.ready.as_deref(), Some("0/0"));
}

#[test]
fn a_tier_of_no_servers_is_done_and_not_available() {
    let mut world = World::well().spec(json!({ "businessServer": { "replicas": 0 } }));
    let tier = &mut world.tiers.business_server;
    tier.pods.clear();
    tier.deployment.as_mut().unwrap().spec.as_mut().unwrap().replicas = Some(0);
    let status = tier.deployment.as_mut().unwrap().status.as_mut().unwrap();
    (status.replicas, status.updated_replicas) = (None, None);
    (status.ready_replicas, status.available_replicas) = (None, None);
    let status = world.status();
    assert_eq!(is(&status, BusinessServerAvailable), ("False", "ScaledToZero"));
    assert_eq!(is(&status, Ready), ("False", "ScaledToZero"));
    assert_eq!(is(&status, Reconciling), ("False", "UpToDate"));
}

#[test]
fn a_changed_life_of_messages_is_reconciling_until_servers_and_index_have_it() {
    let mut world = World::well().spec(json!({ "storage": { "messageTtlSeconds": 300 } }));
    let status = world.status();
    assert_eq!(is(&status, Reconciling), ("True", "ChangingMessageTtl"));
    assert_eq!(is(&status, Ready).0, "True");
    world.storage.server_message_ttl_seconds = 300;
    assert_eq!(is(&world.status(), Reconciling), ("True", "ChangingMessageTtl"));
    world.storage.index_ttl_seconds = Some(300);
    assert_eq!(is(&world.status(), Reconciling), ("False", "UpToDate"));
}

#[test]
fn indexes_by_hand_keep_nothing_from_being_ready() {
    let mut world = World::well();
    world.storage = report(StorageState::Manual, "indexes are managed by hand");
    let status = world.status();
    assert_eq!(is(&status, StorageReady), ("True", "ManagedByHand"));
    assert_eq!(is(&status, Ready).0, "True");
    assert_eq!(status.storage.message_ttl_seconds, None);
}

#[test]
fn a_new_cluster_is_on_its_way() {
    let mut world = World::well();
    world.tiers = Tiers::default();
    world.storage = report(StorageState::Unknown, "not looked at yet");
    world.wrote = true;
    let status = world.status();
    assert_eq!(is(&status, Ready), ("False", "Starting"));
    assert_eq!(is(&status, Reconciling), ("True", "RollingOut"));
    assert_eq!(status.message_server.ready.as_deref(), Some("0/2"));
}

#[test]
fn long_words_of_others_are_cut() {
    let mut world = World::well();
    world.step();
    let message = "é".repeat(40_000);
    world.problems = vec![Problem::InvalidSpec { message }];
    let (status, told) = world.step();
    assert!(get(&status, Ready).message.len() <= 2_048);
    assert!(told.iter().all(|note| note.note.len() <= 1_000));
}

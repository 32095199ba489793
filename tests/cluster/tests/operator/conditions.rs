//! The status says why a cluster is not ready in words a person can act on, on a real API server
//! with its controllers and a real database; only the pods are played.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use wardlink_cluster_tests::{
    Cluster, Kubelet, Namespace, Operator, PATIENCE, Play, Security, eventually,
};
use wardlink_tests::database::Database;

const COMPONENT: &str = "app.kubernetes.io/component";

/// A cluster `ward` with one server in each tier, on this database, and further lines of its
/// `spec` in YAML's flow style.
async fn apply(ns: &Namespace, database: &Database, more: &str) -> anyhow::Result<()> {
    let uri = database.uri("unused");
    ns.apply(&format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: mongodb}}, stringData: {{uri: '{uri}'}}}}\n\
         ---\n\
         {{apiVersion: wardlink.dev/v1alpha1, kind: MessagingCluster, metadata: {{name: ward}}, \
         spec: {{messageServer: {{replicas: 1}}, businessServer: {{replicas: 1}}, {more}\
         storage: {{mongodb: {{database: {}, uriSecretRef: {{name: mongodb}}}}}}}}}}",
        ns.name()
    ))
    .await
    .map(drop)
}

/// Waits for a condition and returns its message.
async fn reports(
    ns: &Namespace,
    operator: &Operator,
    [kind, status, reason]: [&str; 3],
) -> anyhow::Result<String> {
    let what = format!("{kind} is {status}, {reason}");
    let is = async || {
        let args = ["get", "messagingcluster/ward", "-o", "json"];
        let ward: Value = serde_json::from_str(&ns.kubectl(&args).await?.ok()?)?;
        let conditions = ward["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().find(|condition| {
            let of = ["type", "status", "reason"].map(|field| condition[field].as_str());
            of == [Some(kind), Some(status), Some(reason)]
        });
        let message = found.and_then(|found| found["message"].as_str()).map(str::to_owned);
        message.map(Some).with_context(|| format!("{conditions:?}"))
    };
    eventually(PATIENCE, &what, is).await.with_context(|| operator.log())
}

/// A namespace with a database, an operator and a played kubelet.
async fn with_ward(
    more: &str,
    test: impl AsyncFn(&Namespace, &Operator, &Kubelet, &mut Database) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            let mut database = Database::start().await?;
            let kubelet = ns.play_kubelet().await?;
            let operator = Operator::start(&ns, &[]).await?;
            apply(&ns, &database, more).await?;
            test(&ns, &operator, &kubelet, &mut database).await
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_gets_ready_and_what_befalls_its_pods_is_told() -> anyhow::Result<()> {
    with_ward("", async |ns, operator, kubelet, _| {
        let ready = ns.await_condition("msgc/ward", "condition=Ready", PATIENCE).await;
        ready.with_context(|| operator.log())?;
        reports(ns, operator, ["Reconciling", "False", "UpToDate"]).await?;
        let columns = ns.kubectl(&["get", "msgc", "ward", "--no-headers"]).await?.ok()?;
        let columns: Vec<_> = columns.split_whitespace().take(5).collect();
        ensure!(columns == ["ward", "True", "1/1", "1/1", "Available"], "{columns:?}");

        let pull = "Back-off pulling image \"x\": ErrImagePull: rpc error: code = NotFound desc = \
                    wardlink-bs:test: not found";
        let crash = |reason: &str| Play::CrashLoopBackOff {
            exit_code: 64,
            reason: reason.to_owned(),
            message: "{\"level\":\"ERROR\",\"message\":\"--drain: expects a duration\"}".to_owned(),
        };
        for (play, reason, words) in [
            (
                Play::ImagePullBackOff(pull.to_owned()),
                "ImagePullFailed",
                "wardlink-bs:test: not found",
            ),
            (crash("Error"), "CrashLoop", "exit code 64: --drain: expects a duration"),
            (crash("OOMKilled"), "OutOfMemory", "more memory"),
            (
                Play::Unschedulable("0/3 nodes are available".to_owned()),
                "Unschedulable",
                "0/3 nodes",
            ),
            (Play::NotReady, "NotReady", "is not ready"),
        ] {
            kubelet.play(COMPONENT, "business-server", play);
            let told = reports(ns, operator, ["BusinessServerAvailable", "False", reason]).await?;
            ensure!(told.contains(words), "{told}");
            reports(ns, operator, ["Ready", "False", reason]).await?;
            reports(ns, operator, ["MessageServerAvailable", "True", "Available"]).await?;
        }
        kubelet.play(COMPONENT, "business-server", Play::Ready);
        reports(ns, operator, ["Ready", "True", "Available"]).await?;
        let events = ns.kubectl(&["get", "events", "--output=json"]).await?.ok()?;
        for reason in ["ImagePullFailed", "CrashLoop", "BusinessServerAvailable"] {
            ensure!(
                events.contains(&format!("\"reason\": \"{reason}\"")),
                "no event {reason}: {events}"
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_that_allows_no_pod_is_told() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            let database = Database::start().await?;
            let _kubelet = ns.play_kubelet().await?;
            let operator = Operator::start(&ns, &[]).await?;
            ns.apply(
                "{apiVersion: v1, kind: ResourceQuota, metadata: {name: few}, \
                 spec: {hard: {pods: '0'}}}",
            )
            .await?;
            let counted = "jsonpath={.status.hard.pods}=0";
            ns.await_condition("resourcequota/few", counted, PATIENCE).await?;
            apply(&ns, &database, "").await?;
            let of = ["MessageServerAvailable", "False", "QuotaExceeded"];
            let told = reports(&ns, &operator, of).await?;
            ensure!(told.contains("exceeded quota: few"), "{told}");
            ns.kubectl(&["delete", "resourcequota/few"]).await?.ok()?;
            reports(&ns, &operator, ["Ready", "True", "Available"]).await.map(drop)
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_and_comes_turns_only_what_is_its_own() -> anyhow::Result<()> {
    with_ward("", async |ns, operator, _, database| {
        reports(ns, operator, ["Ready", "True", "Available"]).await?;
        database.kill();
        // The next look is far away; another connection string is looked at once.
        let other = "{apiVersion: v1, kind: Secret, metadata: {name: mongodb}, \
                     stringData: {uri: 'mongodb://user:pass-w0rd@127.0.0.1:1/'}}";
        ns.apply(other).await?;
        let told = reports(ns, operator, ["StorageReady", "False", "Unreachable"]).await?;
        ensure!(!told.contains("pass-w0rd"), "{told}");
        reports(ns, operator, ["Ready", "False", "Unreachable"]).await?;
        reports(ns, operator, ["Stalled", "False", "NotStalled"]).await?;
        reports(ns, operator, ["MessageServerAvailable", "True", "Available"]).await?;
        ns.kubectl(&["delete", "secret/mongodb"]).await?.ok()?;
        reports(ns, operator, ["StorageReady", "False", "SecretNotFound"]).await?;
        database.restart().await?;
        apply(ns, database, "").await?;
        reports(ns, operator, ["Ready", "True", "Available"]).await.map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shorter_life_of_messages_reaches_pods_and_then_the_index() -> anyhow::Result<()> {
    with_ward("", async |ns, operator, _, _| {
        reports(ns, operator, ["Reconciling", "False", "UpToDate"]).await?;
        for seconds in [300, 900] {
            let patch = format!("{{\"spec\":{{\"storage\":{{\"messageTtlSeconds\":{seconds}}}}}}}");
            ns.kubectl(&["patch", "msgc/ward", "--type=merge", "--patch", &patch]).await?.ok()?;
            let index = format!("jsonpath={{.status.storage.messageTtlSeconds}}={seconds}");
            let told = format!("jsonpath={{.status.storage.serverMessageTtlSeconds}}={seconds}");
            for condition in [told, index] {
                let arrived = ns.await_condition("msgc/ward", &condition, PATIENCE).await;
                arrived.with_context(|| operator.log())?;
            }
            ns.await_condition("msgc/ward", "condition=Reconciling=False", Duration::from_secs(60))
                .await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_cluster_has_no_pods_and_says_so() -> anyhow::Result<()> {
    with_ward("", async |ns, operator, _, database| {
        reports(ns, operator, ["Ready", "True", "Available"]).await?;
        apply(ns, database, "managementState: Stopped, ").await?;
        reports(ns, operator, ["Ready", "False", "Stopped"]).await?;
        // Nobody plays the end of a pod that is asked to end: without a node it is gone at once.
        reports(ns, operator, ["Reconciling", "False", "Stopped"]).await?;
        apply(ns, database, "managementState: Managed, ").await?;
        reports(ns, operator, ["Ready", "True", "Available"]).await.map(drop)
    })
    .await
}

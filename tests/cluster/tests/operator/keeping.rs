//! The operator keeps a cluster's children as they should be, and nothing else.

use anyhow::{Context, ensure};
use hyper::Method;
use serde_json::{Value, json};
use wardlink_cluster_tests::{
    Answer, Cluster, Fault, Namespace, Operator, PATIENCE, Proxy, Security, eventually,
};

use wardlink_tests::database::Database;

use crate::ward::{
    CHILDREN, SECRET, SOON, becomes, gone, object, reports, rests, there, ward, with_children,
    writes, writes_nothing,
};

#[tokio::test]
async fn nothing_is_written_where_nothing_differs_nor_by_an_operator_that_starts_anew()
-> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            let database = Database::start().await?;
            let mut operator = Operator::start(&ns, &["--resync", "1s"]).await?;
            let _kubelet = ns.play_kubelet().await?;
            let uri = database.uri("unused");
            ns.apply(&SECRET.replace("'mongodb://", &format!("'{uri}', other: '"))).await?;
            let own = format!("database: {}, ", ns.name());
            ns.apply(&ward("").replace("mongodb: {", &format!("mongodb: {{{own}"))).await?;
            ns.await_condition("messagingcluster/ward", "condition=Ready", PATIENCE)
                .await
                .with_context(|| operator.log())?;
            rests(&operator, 2).await?;
            writes_nothing(&ns, &operator, 4).await?;
            operator.stop().await?;
            let access = ns.service_account(wardlink_cluster_tests::OPERATOR_ACCOUNT).await?;
            let mark = cluster.audit()?.mark().await?;
            let operator = Operator::launch(&ns, access, &["--resync", "1s"]).await?;
            rests(&operator, 3).await?;
            let written = writes(&ns, &operator, mark).await?;
            ensure!(written.is_empty(), "{written:#?}\n{}", operator.log());
            Ok(())
        })
        .await
}

#[tokio::test]
async fn a_child_that_is_deleted_comes_back() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            let operator = Operator::start(&ns, &[]).await?;
            with_children(&ns, "").await?;
            for child in CHILDREN {
                let before = there(&ns, child).await?["metadata"]["uid"].clone();
                ns.kubectl(&["delete", child, "--wait=false"]).await?.ok()?;
                let other = |now: &Value| now["metadata"]["uid"] != before;
                becomes(&ns, child, "is there again", other)
                    .await
                    .with_context(|| operator.log())?;
            }
            // Two pods from the beginning, not one first.
            for tier in ["message-server", "business-server"] {
                let deployment = there(&ns, &format!("deployment/ward-{tier}")).await?;
                ensure!(deployment["spec"]["replicas"] == 2, "{deployment:#}");
            }
            Ok(())
        })
        .await
}

#[tokio::test]
async fn a_child_that_is_edited_is_put_right() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            let operator = Operator::start(&ns, &[]).await?;
            with_children(&ns, "").await?;
            let label = "/metadata/labels/app.kubernetes.io~1managed-by";
            for (child, pointer, patch) in [
                ("service/ward-business-server", "/spec/ports/0/port", json!(1234)),
                ("deployment/ward-message-server", "/spec/replicas", json!(5)),
                (
                    "deployment/ward-message-server",
                    "/spec/template/spec/containers/0/image",
                    json!("other:1"),
                ),
                ("deployment/ward-business-server", label, json!("somebody")),
                ("service/ward-message-server", "/metadata/ownerReferences", json!([])),
                (
                    "serviceaccount/ward-message-server",
                    "/automountServiceAccountToken",
                    json!(true),
                ),
                ("poddisruptionbudget/ward-message-server", "/spec/maxUnavailable", json!(2)),
                (
                    "networkpolicy/ward-message-server",
                    "/spec/podSelector/matchLabels",
                    json!({"app": "other"}),
                ),
            ] {
                rests(&operator, 0).await?;
                let before = there(&ns, child).await?;
                let wanted = before.pointer(pointer).context("no such field")?.clone();
                let patch = json!([{"op": "replace", "path": pointer, "value": patch}]).to_string();
                ns.kubectl(&["patch", child, "--type=json", "-p", &patch]).await?.ok()?;
                let right = |now: &Value| now.pointer(pointer) == Some(&wanted);
                becomes(&ns, child, pointer, right).await.with_context(|| operator.log())?;
                let uid = &there(&ns, child).await?["metadata"]["uid"];
                ensure!(*uid == before["metadata"]["uid"], "{child} was made anew");
            }
            Ok(())
        })
        .await
}

const FOREIGN: &str = "{apiVersion: v1, kind: Service, metadata: {name: ward-business-server}, \
    spec: {selector: {app: other}, ports: [{port: 99}]}}";

async fn foreign_is_untouched(ns: &Namespace) -> anyhow::Result<()> {
    let service = there(ns, "service/ward-business-server").await?;
    let managers: Vec<_> = service["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| entry["manager"].as_str().unwrap_or_default())
        .collect();
    ensure!(managers == ["kubectl"], "{managers:?}");
    ensure!(service["metadata"]["ownerReferences"].is_null(), "{service:#}");
    Ok(())
}

#[tokio::test]
async fn an_object_of_somebody_else_is_never_taken_over() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            ns.apply(FOREIGN).await?;
            let operator = Operator::start(&ns, &["--resync", "2s"]).await?;
            ns.apply(SECRET).await?;
            ns.apply(&ward("")).await?;
            let told = reports(&ns, "Stalled", "True", "NameConflict").await?;
            ensure!(told.contains("ward-business-server"), "{told}");
            foreign_is_untouched(&ns).await?;
            // All else is made, and the conflict is looked at, not fought.
            there(&ns, "deployment/ward-business-server").await?;
            reports(&ns, "StorageReady", "False", "Unreachable").await?;
            let mark = cluster.audit()?.mark().await?;
            let stalled = "wardlink_operator_reconciles_total{result=\"stalled\"}";
            let before = operator.metric(stalled).await?.unwrap_or_default();
            eventually(PATIENCE, "three resyncs", async || {
                Ok(operator.metric(stalled).await?.filter(|now| *now >= before + 3.0))
            })
            .await?;
            let written = writes(&ns, &operator, mark).await?;
            ensure!(written.is_empty(), "{written:#?}");
            ns.kubectl(&["delete", "service", "ward-business-server"]).await?.ok()?;
            reports(&ns, "Stalled", "False", "NotStalled").await.with_context(|| operator.log())?;
            Ok(())
        })
        .await
}

#[tokio::test]
async fn somebody_who_is_quicker_keeps_the_name() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            ns.apply(FOREIGN).await?;
            let proxy = Proxy::start(&cluster).await?;
            // The operator looks and finds nothing: as if it were made a moment later.
            let blind = Fault::new(Answer::Status(404)).method(Method::GET).watches(false);
            let blind = proxy.add(blind.path("/services/ward-business-server").times(1));
            let operator = Operator::start_through(&ns, &proxy, &[]).await?;
            ns.apply(SECRET).await?;
            ns.apply(&ward("")).await?;
            reports(&ns, "Stalled", "True", "NameConflict")
                .await
                .with_context(|| operator.log())?;
            ensure!(proxy.used(blind) == 1, "the operator did not look");
            foreign_is_untouched(&ns).await
        })
        .await
}

#[tokio::test]
async fn what_is_not_wanted_any_more_is_removed() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            let operator = Operator::start(&ns, &[]).await?;
            let more = "businessServer: {ingress: {host: ward.example}, \
                resources: {requests: {cpu: 100m}}, \
                autoscaling: {maxReplicas: 5, targetCpuUtilizationPercentage: 70}}, ";
            with_children(&ns, more).await?;
            there(&ns, "ingress/ward-business-server").await?;
            there(&ns, "horizontalpodautoscaler/ward-business-server").await?;
            ns.apply(&ward("networkPolicy: {mode: Disabled}, ")).await?;
            for child in [
                "ingress/ward-business-server",
                "horizontalpodautoscaler/ward-business-server",
                "networkpolicy/ward-message-server",
                "networkpolicy/ward-business-server",
            ] {
                gone(&ns, child).await.with_context(|| operator.log())?;
            }
            there(&ns, "service/ward-business-server").await?;
            Ok(())
        })
        .await
}

#[tokio::test]
async fn a_paused_cluster_is_watched_and_left_alone() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            let operator = Operator::start(&ns, &["--resync", "1s"]).await?;
            with_children(&ns, "").await?;
            ns.apply(&ward("managementState: Paused, ")).await?;
            reports(&ns, "Reconciling", "False", "Paused").await?;
            let mark = cluster.audit()?.mark().await?;
            ns.kubectl(&["delete", "service", "ward-business-server"]).await?.ok()?;
            ns.kubectl(&["scale", "deployment/ward-message-server", "--replicas=1"]).await?.ok()?;
            rests(&operator, 3).await?;
            let written = writes(&ns, &operator, mark).await?;
            let status = |line: &String| line.contains("messagingclusters.wardlink.dev/status");
            ensure!(
                written.iter().all(|line| status(line) || line.contains("events")),
                "{written:?}"
            );
            ensure!(object(&ns, "service/ward-business-server").await?.is_none());
            ns.apply(&ward("managementState: Managed, ")).await?;
            there(&ns, "service/ward-business-server").await?;
            let two = |now: &Value| now["spec"]["replicas"] == 2;
            becomes(&ns, "deployment/ward-message-server", "two pods", two).await?;
            ns.apply(&ward("managementState: Stopped, ")).await?;
            let none = |now: &Value| now["spec"]["replicas"] == 0;
            becomes(&ns, "deployment/ward-message-server", "no pods", none).await?;
            there(&ns, "service/ward-business-server").await?;
            Ok(())
        })
        .await
}

#[tokio::test]
async fn a_secret_that_is_named_is_noticed_at_once_when_it_comes_and_changes() -> anyhow::Result<()>
{
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            let operator = Operator::start(&ns, &["--resync", "1h"]).await?;
            ns.apply(&ward("")).await?;
            there(&ns, "deployment/ward-message-server").await?;
            let hash = |deployment: &Value| {
                let annotations = &deployment["spec"]["template"]["metadata"]["annotations"];
                annotations.as_object().map(|map| Value::from(map.clone())).unwrap_or_default()
            };
            let before = hash(&there(&ns, "deployment/ward-message-server").await?);
            ns.apply(SECRET).await?;
            let other = |now: &Value| hash(now) != before;
            let there_now = becomes(&ns, "deployment/ward-message-server", "a hash", other).await;
            let with = hash(&there_now.with_context(|| operator.log())?);
            ns.apply(&SECRET.replace("word", "pass")).await?;
            let other = |now: &Value| hash(now) != with;
            let now = becomes(&ns, "deployment/ward-message-server", "another hash", other).await?;
            let log = operator.log();
            for secret in ["user:word", "user:pass"] {
                ensure!(!now.to_string().contains(secret) && !log.contains(secret));
            }
            // A label of it changes no pod.
            let last = hash(&now);
            ns.kubectl(&["label", "secret/mongodb", "a=b"]).await?.ok()?;
            rests(&operator, 1).await?;
            ensure!(hash(&there(&ns, "deployment/ward-message-server").await?) == last);
            Ok(())
        })
        .await
}

#[tokio::test]
async fn a_generated_secret_is_made_once_and_made_anew_only_when_it_is_gone() -> anyhow::Result<()>
{
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            let operator = Operator::start(&ns, &["--resync", "1s"]).await?;
            with_children(&ns, "linkAuthentication: {mode: SharedSecret}, ").await?;
            let link = there(&ns, "secret/ward-link").await?["data"].clone();
            let edit = r#"{"stringData":{"key":"a key of the hospital's own, long enough"}}"#;
            ns.kubectl(&["patch", "secret/ward-identity", "-p", edit]).await?.ok()?;
            let own = there(&ns, "secret/ward-identity").await?["data"].clone();
            rests(&operator, 3).await?;
            ensure!(there(&ns, "secret/ward-identity").await?["data"] == own);
            ensure!(there(&ns, "secret/ward-link").await?["data"] == link);
            ns.kubectl(&["delete", "secret/ward-link"]).await?.ok()?;
            let other = |now: &Value| now["data"] != link;
            becomes(&ns, "secret/ward-link", "another value", other).await?;
            // Pods of the template that names it still run: it stays until they are exchanged.
            ns.apply(&ward("")).await?;
            let deployment = "deployment/ward-message-server";
            let names_it = |now: &Value| now["spec"]["template"].to_string().contains("ward-link");
            becomes(&ns, deployment, "has the new template", |now| !names_it(now)).await?;
            rests(&operator, 3).await?;
            there(&ns, "secret/ward-link").await?;
            let _kubelet = ns.play_kubelet().await?;
            gone(&ns, "secret/ward-link").await?;
            Ok(())
        })
        .await
}

const ROUTES: &str = include_str!("httproutes.yaml");

#[tokio::test]
async fn a_kind_that_is_missing_is_told_and_used_when_it_comes() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            // Left by a run that failed.
            let crd =
                ["delete", "crd", "httproutes.gateway.networking.k8s.io", "--ignore-not-found"];
            cluster.kubectl(&crd).await?.ok()?;
            let operator = Operator::start(&ns, &["--resync", "5s"]).await?;
            let more = "businessServer: {httpRoute: {parentRefs: [{name: gate}]}}, ";
            with_children(&ns, more).await?;
            reports(&ns, "Reconciling", "True", "KindMissing")
                .await
                .with_context(|| operator.log())?;
            cluster.apply(ROUTES).await?;
            let made = eventually(PATIENCE, "the route is made", async || {
                object(&ns, "httproute/ward-business-server").await
            });
            made.await.with_context(|| operator.log())?;
            ns.apply(&ward("")).await?;
            let what = "the route is removed";
            let removed = eventually(PATIENCE, what, async || {
                Ok(object(&ns, "httproute/ward-business-server").await?.is_none().then_some(()))
            });
            removed.await.with_context(|| operator.log())?;
            cluster.kubectl(&crd).await?.ok()?;
            Ok(())
        })
        .await
}

#[tokio::test]
async fn one_cluster_in_trouble_stops_no_other() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            let proxy = Proxy::start(&cluster).await?;
            let operator =
                Operator::start_through(&ns, &proxy, &["--reconcile-deadline", "3s"]).await?;
            proxy.add(Fault::new(Answer::Hang).method(Method::POST).path("ward-"));
            proxy.add(Fault::new(Answer::Hang).path("/serviceaccounts/sick-message-server"));
            ns.apply(SECRET).await?;
            ns.apply(&ward("").replace("name: ward", "name: sick")).await?;
            let deadline = "wardlink_operator_reconciles_total{result=\"deadline\"}";
            eventually(PATIENCE, "a reconcile is given up", async || {
                Ok(operator.metric(deadline).await?.filter(|count| *count >= 1.0))
            })
            .await?;
            with_children(&ns, "").await.with_context(|| operator.log())?;
            let soon = SOON;
            eventually(soon, "the status of the other one", async || {
                let ward = object(&ns, "messagingcluster/ward").await?;
                Ok(ward.filter(|ward| !ward["status"]["conditions"].is_null()))
            })
            .await?;
            Ok(())
        })
        .await
}

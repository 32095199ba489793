//! The control plane itself, and the harness on it.

use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::TryStreamExt;
use hyper::Method;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ListParams, PostParams, WatchEvent, WatchParams};
use wardlink_cluster_tests::{
    Answer, Cluster, Fault, Namespace, PATIENCE, Play, Proxy, Security, eventually,
};

const READER: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [configmaps], verbs: [list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader}]
"#;

const DEPLOYMENT: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "lab.local/none:1"}]}
"#;

#[tokio::test]
async fn what_is_applied_is_there_and_what_is_refused_says_why() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Any, async |ns| {
            ns.apply(DEPLOYMENT).await?;
            ns.await_condition("deployment/web", "jsonpath={.spec.replicas}=2", PATIENCE).await?;
            let refused = ns.try_apply(&DEPLOYMENT.replace("replicas: 2", "replicas: -1")).await?;
            ensure!(!refused.success && refused.stderr.contains("spec.replicas"), "{refused:?}");
            Ok(())
        })
        .await
}

#[tokio::test]
async fn a_restricted_namespace_refuses_a_pod_that_may_do_more() -> anyhow::Result<()> {
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a, image: a}]}}";
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            let refused = ns.try_apply(pod).await?;
            ensure!(!refused.success && refused.stderr.contains("restricted"), "{refused:?}");
            Ok(())
        })
        .await?;
    cluster.with_namespace(Security::Any, async |ns| ns.apply(pod).await.map(drop)).await
}

#[tokio::test]
async fn a_service_account_has_exactly_its_rights_and_the_audit_log_says_what_it_did()
-> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Any, async |ns| {
            ns.apply(READER).await?;
            let reader = ns.service_account("reader").await?;
            let maps: Api<ConfigMap> = Api::namespaced(reader.client(), ns.name());
            let audit = cluster.audit()?;
            let mark = audit.mark().await?;
            maps.list(&ListParams::default()).await?;
            let made = maps.create(&PostParams::default(), &ConfigMap::default()).await;
            ensure!(matches!(made, Err(kube::Error::Api(status)) if status.code == 403));
            let entries = audit.of(reader.user(), mark).await?;
            let did: Vec<_> = entries
                .iter()
                .map(|entry| (entry.verb.as_str(), entry.what(), entry.is_write(), entry.code))
                .collect();
            let what = || "configmaps".to_owned();
            ensure!(
                did == [("list", what(), false, 200), ("create", what(), true, 403)],
                "{did:?}"
            );
            Ok(())
        })
        .await
}

#[tokio::test]
async fn the_proxy_makes_the_faults_that_it_is_told_and_else_passes_on() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Any, async |ns| {
            ns.apply(READER).await?;
            let proxy = Proxy::start(&cluster).await?;
            let reader = ns.service_account("reader").await?.through(&proxy).await?;
            let maps: Api<ConfigMap> = Api::namespaced(reader.client(), ns.name());
            let all = ListParams::default();
            maps.list(&all).await?;

            let conflict = Fault::new(Answer::Status(409)).method(Method::GET).times(1);
            let conflict = proxy.add(conflict.path("/configmaps"));
            let refused = maps.list(&all).await;
            ensure!(matches!(refused, Err(kube::Error::Api(status)) if status.is_conflict()));
            maps.list(&all).await?;
            ensure!(proxy.used(conflict) == 1);

            proxy.go_down();
            eventually(PATIENCE, "it is down", async || Ok(maps.list(&all).await.err())).await?;
            proxy.come_up();
            eventually(PATIENCE, "it is up", async || Ok(maps.list(&all).await.ok())).await?;

            let hang = proxy.add(Fault::new(Answer::Hang));
            let listed = tokio::time::timeout(Duration::from_millis(300), maps.list(&all)).await;
            ensure!(listed.is_err() && proxy.used(hang) == 1);
            proxy.remove(hang);
            maps.list(&all).await?;
            Ok(())
        })
        .await
}

#[tokio::test]
async fn the_proxy_breaks_watches_and_says_that_they_are_too_old() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Any, async |ns| {
            ns.apply(READER).await?;
            let proxy = Proxy::start(&cluster).await?;
            let reader = ns.service_account("reader").await?.through(&proxy).await?;
            let maps: Api<ConfigMap> = Api::namespaced(reader.client(), ns.name());

            let mut watch = Box::pin(maps.watch(&WatchParams::default(), "0").await?);
            watch.try_next().await?.context("the first event passes")?;
            ensure!(proxy.expire_watches() == 1);
            let gone = loop {
                match watch.try_next().await?.context("an event says that it is gone")? {
                    WatchEvent::Error(status) => break status,
                    _ => continue,
                }
            };
            ensure!(gone.code == 410, "{gone:?}");

            let mut watch = Box::pin(maps.watch(&WatchParams::default(), "0").await?);
            watch.try_next().await?.context("the first event passes")?;
            ensure!(proxy.break_watches() == 1);
            // Whether this is an error is the client's to decide.
            while let Ok(Some(_)) = watch.try_next().await {}
            Ok(())
        })
        .await
}

/// Waits until `jsonpath` of the pods has this text once for each of the two.
async fn until_pods(ns: &Namespace, jsonpath: &str, wanted: &str) -> anyhow::Result<()> {
    let path = format!("jsonpath={{.items[*]{jsonpath}}}");
    let args = ["get", "pods", "-o", &path];
    eventually(PATIENCE, &format!("two pods have {wanted}"), async || {
        let text = ns.kubectl(&args).await?.ok()?;
        Ok((text == format!("{wanted} {wanted}")).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_played_kubelet_makes_pods_ready_or_fail_as_it_is_told() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Any, async |ns| {
            let kubelet = ns.play_kubelet().await?;
            ns.apply(DEPLOYMENT).await?;
            ns.await_condition("deployment/web", "condition=Available", PATIENCE).await?;

            kubelet.play("app", "web", Play::ImagePullBackOff("no such image".to_owned()));
            let waiting = ".status.containerStatuses[0].state.waiting.reason";
            until_pods(&ns, waiting, "ImagePullBackOff").await?;
            ns.await_condition("deployment/web", "condition=Available=False", PATIENCE).await?;

            let crash = Play::CrashLoopBackOff {
                exit_code: 64,
                reason: "Error".to_owned(),
                message: String::new(),
            };
            kubelet.play("app", "web", crash);
            until_pods(&ns, waiting, "CrashLoopBackOff").await?;
            let exit = ".status.containerStatuses[0].lastState.terminated.exitCode";
            until_pods(&ns, exit, "64").await?;

            kubelet.play("app", "web", Play::Unschedulable("no node".to_owned()));
            until_pods(&ns, ".status.conditions[0].reason", "Unschedulable").await?;

            kubelet.play("app", "web", Play::Ready);
            ns.await_condition("deployment/web", "condition=Available", PATIENCE).await
        })
        .await
}

//! What a deleted cluster leaves: nothing, and it goes in any case.

use std::time::Duration;

use anyhow::{Context, ensure};
use hyper::Method;
use wardlink_cluster_tests::{
    Answer, Cluster, Fault, Namespace, Operator, PATIENCE, Proxy, Security, eventually,
};

use crate::ward::{CHILDREN, SECRET, gone, object, reports, there, ward, with_children};

fn binding(ns: &Namespace) -> String {
    format!("clusterrolebinding/wardlink:{}.ward:token-review", ns.name())
}

#[tokio::test]
async fn a_deleted_cluster_leaves_nothing() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            let operator = Operator::start(&ns, &[]).await?;
            with_children(&ns, "").await?;
            there(&ns, &binding(&ns)).await?;
            ns.kubectl(&["delete", "msgc/ward", "--timeout=30s"]).await?.ok()?;
            gone(&ns, &binding(&ns)).await.with_context(|| operator.log())?;
            for child in CHILDREN {
                gone(&ns, child).await?;
            }
            eventually(PATIENCE, "the operator counts no cluster", async || {
                let count = operator.metric("wardlink_operator_clusters{state=\"not_ready\"}");
                Ok(count.await?.filter(|count| *count == 0.0))
            })
            .await?;
            Ok(())
        })
        .await
}

#[tokio::test]
async fn a_binding_that_is_not_needed_any_more_goes_and_the_finalizer_with_it() -> anyhow::Result<()>
{
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            let operator = Operator::start(&ns, &[]).await?;
            with_children(&ns, "").await?;
            there(&ns, &binding(&ns)).await?;
            let finalizers = async || {
                let ward = object(&ns, "messagingcluster/ward").await?.context("no cluster")?;
                Ok::<_, anyhow::Error>(ward["metadata"]["finalizers"].as_array().map(Vec::len))
            };
            ensure!(finalizers().await? == Some(1));
            ns.apply(&ward("linkAuthentication: {mode: SharedSecret}, ")).await?;
            // Pods whose tokens are reviewed run until they are exchanged.
            let _kubelet = ns.play_kubelet().await?;
            gone(&ns, &binding(&ns)).await.with_context(|| operator.log())?;
            eventually(PATIENCE, "the finalizer is gone", async || {
                Ok(finalizers().await?.is_none().then_some(()))
            })
            .await
        })
        .await
}

#[tokio::test]
async fn a_cluster_goes_although_its_binding_cannot_be_removed() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            let proxy = Proxy::start(&cluster).await?;
            let settings = ["--cleanup-deadline", "3s"];
            let operator = Operator::start_through(&ns, &proxy, &settings).await?;
            with_children(&ns, "").await?;
            there(&ns, &binding(&ns)).await?;
            let broken = Fault::new(Answer::Status(500)).method(Method::DELETE);
            proxy.add(broken.path("/clusterrolebindings/"));
            ns.kubectl(&["delete", "msgc/ward", "--timeout=45s"])
                .await?
                .ok()
                .with_context(|| operator.log())?;
            let events = ns.kubectl(&[
                "get",
                "events.events.k8s.io",
                "-o",
                "name",
                "--field-selector=reason=CleanupIncomplete",
            ]);
            let events = events.await?.ok()?;
            ensure!(events.lines().count() == 1, "{events}");
            cluster.kubectl(&["delete", &binding(&ns)]).await?.ok()?;
            Ok(())
        })
        .await
}

#[tokio::test]
async fn an_operator_that_may_not_bind_says_what_an_administrator_runs() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            let access = Operator::install(&ns).await?;
            let right = format!("clusterrolebinding/{}-operator-wardlink-identity", ns.name());
            cluster.kubectl(&["delete", &right]).await?.ok()?;
            // It may look, not make.
            let look = format!(
                "{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {{name: {0}-look}}, \
                 rules: [{{apiGroups: [rbac.authorization.k8s.io], resources: [clusterrolebindings], verbs: [get, list, watch]}}]}}\n---\n\
                 {{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {{name: {0}-look}}, \
                 roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {0}-look}}, \
                 subjects: [{{kind: ServiceAccount, name: operator-wardlink, namespace: {0}}}]}}",
                ns.name()
            );
            cluster.apply(&look).await?;
            let operator = Operator::launch(&ns, access, &["--resync", "2s"]).await?;
            with_children(&ns, "").await?;
            let told = reports(&ns, "Ready", "False", "LinkIdentityNotAllowed").await?;
            let command = told.split("kubectl ").nth(1).context("no command")?;
            let command: Vec<_> = command.split_whitespace().take(5).collect();
            ensure!(command[..2] == ["create", "clusterrolebinding"], "{told}");
            let command: Vec<_> =
                command.iter().map(|word| word.trim_matches(&['`', '\'', '"'][..])).take(5).collect();
            cluster.kubectl(&command).await?.ok()?;
            let what = "the binding of the administrator is taken";
            eventually(Duration::from_secs(90), what, async || {
                let ward = object(&ns, "messagingcluster/ward").await?.context("no cluster")?;
                Ok((!ward["status"].to_string().contains("LinkIdentityNotAllowed")).then_some(()))
            })
            .await
            .with_context(|| operator.log())?;
            let binding = there(&ns, &binding(&ns)).await?;
            ensure!(binding["metadata"]["labels"].is_null(), "{binding:#}");
            ns.kubectl(&["delete", "msgc/ward", "--timeout=30s"]).await?.ok()?;
            for kind in ["clusterrole", "clusterrolebinding"] {
                cluster.kubectl(&["delete", kind, &format!("{}-look", ns.name())]).await?.ok()?;
            }
            cluster.kubectl(&["delete", &self::binding(&ns)]).await?.ok().map(drop)
        })
        .await
}

#[tokio::test]
async fn an_index_that_cannot_be_dropped_keeps_no_cluster() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            let operator = Operator::start(&ns, &["--cleanup-deadline", "3s"]).await?;
            ns.apply(SECRET).await?;
            let drop = ward("linkAuthentication: {mode: SharedSecret}, ")
                .replace("storage: {", "storage: {deletionPolicy: DropIndex, ");
            ns.apply(&drop).await?;
            there(&ns, "deployment/ward-message-server").await?;
            ns.kubectl(&["delete", "msgc/ward", "--timeout=60s"])
                .await?
                .ok()
                .with_context(|| operator.log())?;
            let events = ns.kubectl(&[
                "get",
                "events.events.k8s.io",
                "-o",
                "name",
                "--field-selector=reason=CleanupIncomplete",
            ]);
            let events = events.await?.ok()?;
            ensure!(events.lines().count() == 1, "{events}");
            Ok(())
        })
        .await
}

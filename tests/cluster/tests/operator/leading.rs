//! Of several operators one writes.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use wardlink_cluster_tests::{
    Answer, Cluster, Fault, Namespace, OPERATOR_ACCOUNT, Operator, PATIENCE, Proxy, Security,
    eventually,
};

use crate::ward::{becomes, there, with_children};

const TERMS: [&str; 4] = ["--lease-duration", "6s", "--resync", "1s"];

async fn leads(operator: &Operator) -> anyhow::Result<bool> {
    Ok(operator.metric("wardlink_operator_leader").await? == Some(1.0))
}

async fn until_leads(operator: &Operator, deadline: Duration) -> anyhow::Result<()> {
    let is = async || Ok(leads(operator).await?.then_some(()));
    eventually(deadline, "it leads", is).await.with_context(|| operator.log())
}

async fn second(ns: &Namespace) -> anyhow::Result<Operator> {
    Operator::launch(ns, ns.service_account(OPERATOR_ACCOUNT).await?, &TERMS).await
}

#[tokio::test]
async fn one_that_ends_gives_the_lead_to_another_at_once() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            let terms = ["--lease-duration", "10m"];
            let mut first = Operator::start(&ns, &terms).await?;
            until_leads(&first, PATIENCE).await?;
            let access = ns.service_account(OPERATOR_ACCOUNT).await?;
            // It looks at the Lease often although that lasts for ten minutes.
            let other = Operator::launch(&ns, access, &["--lease-duration", "6s"]).await?;
            ensure!(!leads(&other).await?, "two lead");
            ensure!(first.stop().await?.success());
            until_leads(&other, PATIENCE).await?;
            with_children(&ns, "").await.with_context(|| other.log())
        })
        .await
}

#[tokio::test]
async fn another_takes_over_from_one_that_dies() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            let mut first = Operator::start(&ns, &TERMS).await?;
            until_leads(&first, PATIENCE).await?;
            let other = second(&ns).await?;
            first.kill().await?;
            ensure!(!leads(&other).await?, "it leads before the Lease is over");
            until_leads(&other, PATIENCE).await?;
            with_children(&ns, "").await.with_context(|| other.log())
        })
        .await
}

#[tokio::test]
async fn one_that_cannot_renew_writes_nothing_once_another_may_lead() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            let proxy = Proxy::start(&cluster).await?;
            let first = Operator::start_through(&ns, &proxy, &TERMS).await?;
            until_leads(&first, PATIENCE).await?;
            with_children(&ns, "").await.with_context(|| first.log())?;
            let other = second(&ns).await?;
            // All else it can reach: it could go on writing.
            let lease = proxy.add(Fault::new(Answer::Status(500)).path("/leases"));
            until_leads(&other, PATIENCE).await?;
            ensure!(!leads(&first).await?, "two lead");
            let made = "wardlink_operator_applies_total{kind=\"Service\",outcome=\"created\"}";
            let before = first.metric(made).await?;
            for _ in 0..3 {
                let service = there(&ns, "service/ward-business-server").await?;
                ns.kubectl(&["delete", "service/ward-business-server"]).await?.ok()?;
                let uid = service["metadata"]["uid"].clone();
                let anew = |now: &Value| now["metadata"]["uid"] != uid;
                becomes(&ns, "service/ward-business-server", "is there again", anew).await?;
            }
            ensure!(first.metric(made).await? == before, "the first one wrote");
            ensure!(other.metric(made).await? >= Some(3.0), "the other one did not");
            // It comes back as one that waits, and stays ready.
            proxy.remove(lease);
            first.get("/readyz").await?;
            ensure!(leads(&other).await? && !leads(&first).await?);
            Ok(())
        })
        .await
}

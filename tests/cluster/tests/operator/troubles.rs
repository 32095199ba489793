//! Whatever the API server does, the operator arrives where it should.

use std::time::Duration;

use anyhow::{Context, ensure};
use hyper::Method;
use serde_json::Value;
use wardlink_cluster_tests::{Answer, Cluster, Fault, Namespace, Operator, Proxy, Security};

use crate::ward::{CHILDREN, SECRET, becomes, gone, there, ward, with_children};

async fn arrives(ns: &Namespace, operator: &Operator) -> anyhow::Result<()> {
    ns.apply(SECRET).await?;
    ns.apply(&ward("")).await?;
    for child in CHILDREN {
        there(ns, child).await.with_context(|| operator.log())?;
    }
    Ok(())
}

/// What the API server does for a while, and for which requests.
async fn in_spite_of(faults: &[Fault]) -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            let proxy = Proxy::start(&cluster).await?;
            let settings = ["--reconcile-deadline", "5s"];
            let operator = Operator::start_through(&ns, &proxy, &settings).await?;
            let rules: Vec<_> = faults.iter().map(|fault| proxy.add(fault.clone())).collect();
            arrives(&ns, &operator).await?;
            ensure!(rules.iter().any(|rule| proxy.used(*rule) > 0), "no fault happened");
            Ok(())
        })
        .await
}

#[tokio::test]
async fn conflicts_pass() -> anyhow::Result<()> {
    in_spite_of(&[Fault::new(Answer::Status(409)).method(Method::PATCH).path("ward-").times(5)])
        .await
}

#[tokio::test]
async fn an_api_server_that_is_too_busy_or_broken_for_a_while_is_asked_again() -> anyhow::Result<()>
{
    let some = |code| Fault::new(Answer::Status(code)).path("/namespaces/").times(6);
    in_spite_of(&[some(429), some(500), some(503)]).await
}

#[tokio::test]
async fn what_was_written_and_not_answered_is_found() -> anyhow::Result<()> {
    in_spite_of(&[Fault::new(Answer::Lost(504)).method(Method::POST).times(8)]).await
}

#[tokio::test]
async fn a_request_that_is_never_answered_is_given_up() -> anyhow::Result<()> {
    let hangs = Fault::new(Answer::Hang).method(Method::POST).path("/deployments").times(2);
    in_spite_of(&[hangs]).await
}

#[tokio::test]
async fn a_slow_api_server_only_takes_longer() -> anyhow::Result<()> {
    let late = Answer::Late(Duration::from_millis(200));
    in_spite_of(&[Fault::new(late).watches(false)]).await
}

#[tokio::test]
async fn what_happens_while_watches_are_broken_is_not_missed() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            let proxy = Proxy::start(&cluster).await?;
            let operator = Operator::start_through(&ns, &proxy, &[]).await?;
            with_children(&ns, "").await?;
            for child in ["service/ward-business-server", "poddisruptionbudget/ward-message-server"]
            {
                let before = there(&ns, child).await?["metadata"]["uid"].clone();
                // No watch begins, those that are open end, and it is deleted meanwhile.
                let blind = proxy.add(Fault::new(Answer::Status(410)).watches(true));
                proxy.expire_watches();
                ns.kubectl(&["delete", child]).await?.ok()?;
                proxy.remove(blind);
                let other = |now: &Value| now["metadata"]["uid"] != before;
                becomes(&ns, child, "is there again", other)
                    .await
                    .with_context(|| operator.log())?;
            }
            Ok(())
        })
        .await
}

#[tokio::test]
async fn an_api_server_that_was_down_finds_the_operator_at_work_again() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            let proxy = Proxy::start(&cluster).await?;
            let terms = ["--lease-duration", "3s"];
            let operator = Operator::start_through(&ns, &proxy, &terms).await?;
            with_children(&ns, "").await?;
            proxy.go_down();
            ns.kubectl(&["delete", "service/ward-business-server"]).await?.ok()?;
            // Longer than the lead lasts.
            wardlink_cluster_tests::eventually(
                Duration::from_secs(30),
                "it leads no more",
                async || {
                    Ok(operator
                        .metric("wardlink_operator_leader")
                        .await?
                        .filter(|leads| *leads == 0.0))
                },
            )
            .await?;
            proxy.come_up();
            there(&ns, "service/ward-business-server").await.with_context(|| operator.log())?;
            Ok(())
        })
        .await
}

#[tokio::test]
async fn a_first_list_that_fails_is_not_taken_for_nothing() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            let mut first = Operator::start(&ns, &[]).await?;
            let scaled = "businessServer: {autoscaling: {maxReplicas: 9, \
                          targetCpuUtilizationPercentage: 50}}, ";
            with_children(&ns, scaled).await?;
            let (name, replicas) = ("deployment/ward-business-server", "/spec/replicas");
            let pods = |value: &Value| value.pointer(replicas).and_then(Value::as_i64);
            becomes(&ns, name, "has the fewest pods", |value| pods(value) == Some(2)).await?;
            there(&ns, "hpa/ward-business-server").await?;
            // As an autoscaler does under load.
            ns.kubectl(&["scale", name, "--replicas=5"]).await?.ok()?;
            first.stop().await?;

            let proxy = Proxy::start(&cluster).await?;
            let fault = Fault::new(Answer::Status(500)).method(Method::GET).path("/deployments");
            let fault = proxy.add(fault.times(1));
            let operator = Operator::start_through(&ns, &proxy, &[]).await?;
            ns.apply(&ward(&format!("{scaled}networkPolicy: {{mode: Disabled}}, "))).await?;
            gone(&ns, "networkpolicy/ward-business-server")
                .await
                .with_context(|| operator.log())?;
            ensure!(proxy.used(fault) == 1, "the list did not fail");
            let now = there(&ns, name).await?;
            ensure!(pods(&now) == Some(5), "{:?}\n{}", pods(&now), operator.log());
            Ok(())
        })
        .await
}

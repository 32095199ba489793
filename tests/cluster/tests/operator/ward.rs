//! The cluster `ward` that the tests of the operator have, and how they look at it.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use wardlink_cluster_tests::{Mark, Namespace, Operator, PATIENCE, eventually};

/// How soon the operator must have put right what somebody changed: at once, but for a machine
/// that does much else. Far below the resync of five minutes.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// What every cluster of six lines has, beside the ClusterRoleBinding.
pub(crate) const CHILDREN: [&str; 12] = [
    "serviceaccount/ward-message-server",
    "serviceaccount/ward-business-server",
    "service/ward-message-server",
    "service/ward-message-server-links",
    "service/ward-business-server",
    "networkpolicy/ward-message-server",
    "networkpolicy/ward-business-server",
    "poddisruptionbudget/ward-message-server",
    "poddisruptionbudget/ward-business-server",
    "deployment/ward-message-server",
    "deployment/ward-business-server",
    "secret/ward-identity",
];

/// A Secret whose database nobody runs.
pub(crate) const SECRET: &str = "{apiVersion: v1, kind: Secret, metadata: {name: mongodb}, \
    stringData: {uri: 'mongodb://user:word@127.0.0.1:1/?serverSelectionTimeoutMS=500'}}";

/// The resource, with further lines of its `spec` in YAML's flow style, such as
/// `managementState: Paused, `.
pub(crate) fn ward(more: &str) -> String {
    format!(
        "{{apiVersion: wardlink.dev/v1alpha1, kind: MessagingCluster, metadata: {{name: ward}}, \
         spec: {{{more}storage: {{mongodb: {{uriSecretRef: {{name: mongodb}}}}}}}}}}"
    )
}

/// Applies the Secret and the resource, and waits for the children.
pub(crate) async fn with_children(ns: &Namespace, more: &str) -> anyhow::Result<()> {
    ns.apply(SECRET).await?;
    ns.apply(&ward(more)).await?;
    for child in CHILDREN {
        there(ns, child).await?;
    }
    Ok(())
}

/// An object, such as `service/a`; `None` where there is none.
pub(crate) async fn object(ns: &Namespace, name: &str) -> anyhow::Result<Option<Value>> {
    let args = ["get", name, "-o", "json", "--ignore-not-found", "--show-managed-fields"];
    let text = ns.kubectl(&args).await?.ok()?;
    Ok(if text.trim().is_empty() { None } else { Some(serde_json::from_str(&text)?) })
}

/// Waits for an object.
pub(crate) async fn there(ns: &Namespace, name: &str) -> anyhow::Result<Value> {
    eventually(PATIENCE, &format!("{name} is there"), async || object(ns, name).await).await
}

/// Waits until an object is not there any more.
pub(crate) async fn gone(ns: &Namespace, name: &str) -> anyhow::Result<()> {
    let what = format!("{name} is gone");
    eventually(SOON, &what, async || Ok(object(ns, name).await?.is_none().then_some(()))).await
}

/// Waits until an object is as `is` says.
pub(crate) async fn becomes(
    ns: &Namespace,
    name: &str,
    what: &str,
    is: impl Fn(&Value) -> bool,
) -> anyhow::Result<Value> {
    let what = format!("{name}: {what}");
    eventually(SOON, &what, async || Ok(object(ns, name).await?.filter(|value| is(value)))).await
}

/// Waits for a condition of the cluster's status, and returns its message.
pub(crate) async fn reports(
    ns: &Namespace,
    kind: &str,
    status: &str,
    reason: &str,
) -> anyhow::Result<String> {
    let what = format!("{kind} is {status}, {reason}");
    let is = async || {
        let ward = object(ns, "messagingcluster/ward").await?.context("no cluster")?;
        let conditions = ward["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().find(|condition| {
            condition["type"] == kind
                && condition["status"] == status
                && condition["reason"] == reason
        });
        let message = found.and_then(|found| found["message"].as_str()).map(str::to_owned);
        message.map(Some).with_context(|| format!("{conditions:?}"))
    };
    eventually(PATIENCE, &what, is).await
}

/// Waits for so many reconciles that found nothing to write, one after the other.
pub(crate) async fn rests(operator: &Operator, times: u32) -> anyhow::Result<()> {
    let count = async |result: &str| {
        let series = format!("wardlink_operator_reconciles_total{{result=\"{result}\"}}");
        operator.metric(&series).await.map(Option::unwrap_or_default)
    };
    let busy = async || {
        let mut sum = 0.0;
        for result in ["changed", "failed", "deadline", "panicked"] {
            sum += count(result).await?;
        }
        anyhow::Ok(sum)
    };
    let (mut calm, mut before) = (count("unchanged").await?, busy().await?);
    eventually(PATIENCE, "the operator finds nothing to write", async || {
        let now = busy().await?;
        if now > before {
            (calm, before) = (count("unchanged").await?, now);
        }
        Ok((count("unchanged").await? >= calm + f64::from(times)).then_some(()))
    })
    .await
    .with_context(|| operator.log())
}

/// What the operator wrote since the mark, but for its Lease.
pub(crate) async fn writes(
    ns: &Namespace,
    operator: &Operator,
    since: Mark,
) -> anyhow::Result<Vec<String>> {
    let entries = ns.cluster().audit()?.of(operator.user(), since).await?;
    let writes = entries.iter().filter(|entry| entry.is_write() && entry.resource != "leases");
    let text = writes
        .map(|entry| format!("{} {} {} {}", entry.verb, entry.what(), entry.name, entry.code));
    Ok(text.collect())
}

/// Holds that the operator writes nothing while it reconciles `times` times.
pub(crate) async fn writes_nothing(
    ns: &Namespace,
    operator: &Operator,
    times: u32,
) -> anyhow::Result<()> {
    let mark = ns.cluster().audit()?.mark().await?;
    rests(operator, times).await?;
    let written = writes(ns, operator, mark).await?;
    ensure!(written.is_empty(), "{written:#?}\n{}", operator.log());
    Ok(())
}

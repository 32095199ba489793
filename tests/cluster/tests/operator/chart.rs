//! The chart renders for each way of watching, and a real API server takes what it renders.

use anyhow::ensure;
use wardlink_cluster_tests::{Cluster, Security};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/wardlink");

#[tokio::test]
async fn an_api_server_takes_the_chart_for_each_way_of_watching() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            ns.run("helm", &["lint", "--strict", CHART], "").await?.ok()?;
            let list = format!("watch.mode=List,watch.namespaces={{{}}}", ns.name());
            for set in ["watch.mode=All", "watch.mode=Own", &list, "rbac.linkIdentity=false"] {
                let args = ["install", "wardlink", CHART, "--dry-run=server", "--set", set];
                let args = [&args[..], &["--take-ownership"]].concat();
                let shown = ns.run("helm", &args, "").await?.ok()?;
                ensure!(shown.contains("kind: Deployment"), "{set}: {shown}");
                let rendered = ["template", "wardlink", CHART, "--set", set];
                let rendered = ns.run("helm", &rendered, "").await?.ok()?;
                let args =
                    ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-"];
                ns.run("kubectl", &args, &rendered).await?.ok()?;
            }
            Ok(())
        })
        .await
}

#[tokio::test]
async fn a_value_that_the_chart_does_not_know_is_refused() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    for (set, expected) in [
        ("watch.mod=Own", "mod"),
        ("watch.mode=Some", "mode"),
        ("replicas=many", "replicas"),
        ("watch.mode=List", "watch.namespaces: watch.mode List needs at least one"),
    ] {
        let output = cluster.run("helm", &["template", "w", CHART, "--set", set], "").await?;
        ensure!(!output.success && output.stderr.contains(expected), "{set}: {output:?}");
    }
    Ok(())
}

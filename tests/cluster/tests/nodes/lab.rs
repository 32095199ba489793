//! The nodes themselves.

use std::path::Path;

use anyhow::ensure;
use wardlink_cluster_tests::{Cluster, Output};

/// A lab of this machine's own, and not another cluster.
fn is_lab() -> bool {
    std::env::var_os("WARDLINK_LAB_RUN").is_some()
}

async fn lab(cluster: &Cluster, script: &str, args: &[&str], run: &Path) -> anyhow::Result<Output> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/lab/").to_owned() + script;
    let setting = format!("WARDLINK_LAB_RUN={}", run.display());
    let mut all = vec![setting.as_str(), script.as_str()];
    all.extend(args);
    cluster.run("env", &all, "").await
}

#[tokio::test]
async fn a_second_set_of_nodes_is_refused_and_the_first_is_left_alone() -> anyhow::Result<()> {
    if !is_lab() {
        return Ok(());
    }
    let cluster = Cluster::from_environment().await?;
    let before = cluster.kubectl(&["get", "nodes", "-o", "name"]).await?.ok()?;
    ensure!(before.contains("node/node1"), "{before}");

    let folder = tempfile::tempdir()?;
    let run = folder.path().join("lab");
    let refused = lab(&cluster, "up", &[], &run).await?;
    ensure!(!refused.success && refused.stderr.contains("another lab"), "{refused:?}");
    ensure!(!run.exists(), "its folder is left");

    cluster.kubectl(&["wait", "--for=condition=Ready", "node/node1"]).await?.ok()?;
    lab(&cluster, "left", &[], &run).await?;
    Ok(())
}

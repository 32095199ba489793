//! Faults under load, with real processes on MongoDB's wire protocol.
//!
//! Each story runs a cluster under the load of many pairs of terminals, does something to it, and
//! checks what was promised: nothing accepted is lost, no session sees anything twice, streams
//! keep their order, every message has a result in time, and every end is reachable again soon.
//! They take turns, for what they measure is time.

mod frozen;
mod healing;
mod kills;
mod outage;
mod planned;

use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::sync::{Mutex, MutexGuard};
use wardlink_tests::cluster::{Cluster, Latencies};

/// Every end is reachable again within so long after a fault.
const REACHABLE: Duration = Duration::from_secs(5);
/// The same where the database had to start again.
const REACHABLE_DATABASE: Duration = Duration::from_secs(10);

static TURN: Mutex<()> = Mutex::const_new(());

/// One story at a time.
async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

/// The id that an MS goes by now.
async fn id_of(cluster: &Cluster, ms: usize) -> anyhow::Result<String> {
    let view = cluster.ms(ms).view().await.context("an MS that answers")?;
    Ok(view["me"].as_str().context("its id")?.to_owned())
}

/// Number of the view and its members, as an MS knows it.
async fn view_of(cluster: &Cluster, ms: usize) -> anyhow::Result<(u64, Vec<String>)> {
    let view = cluster.ms(ms).view().await.context("an MS that answers")?;
    let number = view["number"].as_str().context("a view")?.parse()?;
    let members = view["members"].as_array().context("members")?;
    let id = |member: &serde_json::Value| {
        member["id"].as_str().or(member.as_str()).map(str::to_owned).context("a member's id")
    };
    Ok((number, members.iter().map(id).collect::<anyhow::Result<_>>()?))
}

/// Whether an MS owns any partition, as another one knows it.
async fn owns(cluster: &Cluster, asked: usize, id: &str) -> bool {
    let view = cluster.ms(asked).view().await.unwrap_or_default();
    view["partitions"].as_array().into_iter().flatten().any(|slot| slot["owner"] == *id)
}

/// Prints a pause beside the aim for its 99th percentile, and holds it to a bound that a busy
/// machine keeps too.
fn pause(what: &str, pauses: &Latencies, aim: Duration, bound: Duration) -> anyhow::Result<()> {
    let [p50, p99, max] = [50, 99, 100].map(|percent| pauses.percentile(percent));
    println!("{what:36} pauses p50 {p50:8.1?} p99 {p99:8.1?} max {max:8.1?} (aim {aim:?})");
    ensure!(p99 <= bound, "{what}: a pause of {p99:?}");
    Ok(())
}

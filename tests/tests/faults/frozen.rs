//! Processes stand still and go on.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::sleep;
use wardlink_tests::cluster::{Cluster, PATIENCE, Store, eventually};
use wardlink_tests::database::Database;
use wardlink_tests::load::{Load, LoadPlan};

use super::{REACHABLE, id_of, owns, pause, turn, view_of};

/// Long enough to be missed by all BSs, too short to be taken for dead.
const SHORT: Duration = Duration::from_secs(3);
/// Long enough to be taken for dead.
const LONG: Duration = Duration::from_secs(15);
/// So long the database stands still.
const DATABASE: Duration = Duration::from_secs(12);
/// The MS that stands still.
const FROZEN: usize = 1;
/// Pause that the simulated membership gave for this fault, 99th percentile.
const AIM: Duration = Duration::from_millis(2_700);

/// The MS stands still for so long, which the story is about.
async fn freeze(cluster: &Cluster, load: &Load, time: Duration) -> anyhow::Result<()> {
    let from = load.now();
    let id = id_of(cluster, FROZEN).await?;
    cluster.ms(FROZEN).pause()?;
    let end = tokio::time::Instant::now() + time;
    let others = async || !owns(cluster, 0, &id).await;
    eventually(REACHABLE, "the others take its partitions", others).await?;
    tokio::time::sleep_until(end).await;
    cluster.ms(FROZEN).resume()?;
    load.until_flowing(load.now(), REACHABLE).await?;
    let pauses = load.pauses(from, load.now());
    pause(&format!("an MS stands still for {time:?}"), &pauses, AIM, REACHABLE)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_server_that_stood_still_comes_back_and_does_no_harm() -> anyhow::Result<()> {
    let _turn = turn().await;
    let database = Database::start().await?;
    let cluster = Cluster::start(Store::Mongo(&database), 3, 3).await?;
    cluster.until_spread().await?;
    let load = Load::start(LoadPlan { wandering: 5, ..LoadPlan::new(cluster.urls()) }).await?;
    let first = id_of(&cluster, FROZEN).await?;
    freeze(&cluster, &load, SHORT).await?;
    let (_, members) = view_of(&cluster, 0).await?;
    ensure!(members.contains(&first), "after {SHORT:?} it is no member: {members:?}");
    ensure!(id_of(&cluster, FROZEN).await? == first, "after {SHORT:?} it has another id");
    cluster.until_spread().await?;

    freeze(&cluster, &load, LONG).await?;
    eventually(PATIENCE, "it is a member again, under a new id", async || {
        let Ok(id) = id_of(&cluster, FROZEN).await else { return false };
        let Ok((_, members)) = view_of(&cluster, 0).await else { return false };
        id != first && members.contains(&id) && !members.contains(&first)
    })
    .await?;
    load.until_flowing(load.now(), REACHABLE).await?;
    println!("all: {}", load.finish().await?);
    cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_stood_still_expels_no_message_server() -> anyhow::Result<()> {
    let _turn = turn().await;
    let database = Database::start().await?;
    let cluster = Cluster::start(Store::Mongo(&database), 3, 3).await?;
    cluster.until_spread().await?;
    let load = Load::start(LoadPlan::new(cluster.urls())).await?;
    let from = load.now();
    let before = view_of(&cluster, 0).await?;
    database.pause()?;
    sleep(DATABASE).await;
    database.resume()?;
    // The judge has had its chance when all have renewed again a few times.
    load.until_flowing(load.now() + SHORT, SHORT + REACHABLE).await?;
    let to = load.now();
    for ms in 0..3 {
        let after = view_of(&cluster, ms).await?;
        ensure!(after == before, "view of ms{ms} before {before:?} and after {after:?}");
    }
    pause("the database stands still for 12 s", &load.pauses(from, to), AIM, REACHABLE)?;
    let results = load.results(from, to);
    ensure!(results.rejected + results.unknown == 0, "both ends were online: {results}");
    println!("all: {}", load.finish().await?);
    cluster.end().await
}

//! Message Servers come and go, one is killed, the only one starts again.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::sleep;
use wardlink_tests::cluster::{Cluster, Plan, Store, eventually};
use wardlink_tests::database::Database;
use wardlink_tests::load::{Load, LoadPlan};

use super::{REACHABLE, id_of, pause, turn, view_of};

/// Aims for the 99th percentile of the pause that a stream sees.
const AIM_PLANNED: Duration = Duration::from_millis(250);
const AIM_KILLED: Duration = Duration::from_secs(2);
const AIM_RESTARTED: Duration = Duration::from_secs(2);
/// What a busy machine keeps in a planned change.
const PLANNED: Duration = Duration::from_secs(1);
/// How long the only MS is down, each time; less than a send's deadline.
const DOWN: [Duration; 4] =
    [Duration::ZERO, Duration::ZERO, Duration::from_secs(3), Duration::from_secs(5)];
/// Load before a restart.
const BEFORE: Duration = Duration::from_secs(1);

/// Twenty messages a second each: the pause of a stream at rest is 50 ms.
fn plan(cluster: &Cluster) -> LoadPlan {
    LoadPlan { interval: Duration::from_millis(50), ..LoadPlan::new(cluster.urls()) }
}

async fn add(cluster: &mut Cluster, which: &[usize], load: &Load) -> anyhow::Result<()> {
    let from = load.now();
    for i in which {
        cluster.ms_mut(*i).launch()?;
    }
    for i in which {
        cluster.ms_mut(*i).until_ready().await?;
    }
    // Ends when the partitions are evened out.
    cluster.until_spread().await?;
    load.until_flowing(load.now(), REACHABLE).await?;
    let pauses = load.pauses(from, load.now());
    pause(&format!("ms{which:?} added"), &pauses, AIM_PLANNED, PLANNED)
}

async fn stop(cluster: &mut Cluster, which: &[usize], load: &Load) -> anyhow::Result<()> {
    let from = load.now();
    for i in which {
        cluster.ms(*i).terminate()?;
    }
    for i in which {
        cluster.ms_mut(*i).until_stopped().await?;
    }
    load.until_flowing(load.now(), REACHABLE).await?;
    let pauses = load.pauses(from, load.now());
    let took = load.now() - from;
    pause(&format!("ms{which:?} stopped in {took:.2?}"), &pauses, AIM_PLANNED, PLANNED)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn message_servers_join_and_leave_and_no_message_is_refused() -> anyhow::Result<()> {
    let _turn = turn().await;
    let database = Database::start().await?;
    let plan_of = Plan { ms: 1, spare_ms: 4, bs: 3, ..Plan::default() };
    let mut cluster = Cluster::build(Store::Mongo(&database), plan_of).await?;
    let load = Load::start(plan(&cluster)).await?;
    add(&mut cluster, &[1], &load).await?;
    add(&mut cluster, &[2], &load).await?;
    add(&mut cluster, &[3, 4], &load).await?;
    stop(&mut cluster, &[1], &load).await?;
    stop(&mut cluster, &[2, 3], &load).await?;
    let (_, members) = view_of(&cluster, 0).await?;
    ensure!(members.len() == 2, "members that stayed: {members:?}");
    let report = load.finish().await?;
    println!("all: {report}");
    let refused = report.results.rejected + report.results.unknown;
    ensure!(refused == 0, "refused in planned changes: {refused}");
    cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_message_servers_is_killed_and_its_ends_wait_a_moment() -> anyhow::Result<()> {
    let _turn = turn().await;
    let database = Database::start().await?;
    let mut cluster = Cluster::start(Store::Mongo(&database), 3, 3).await?;
    cluster.until_spread().await?;
    let load = Load::start(plan(&cluster)).await?;
    let (from, killed) = (load.now(), id_of(&cluster, 1).await?);
    cluster.ms_mut(1).kill();
    load.until_flowing(load.now(), REACHABLE).await?;
    eventually(REACHABLE, "the dead one is no member", async || {
        view_of(&cluster, 0).await.is_ok_and(|(_, members)| !members.contains(&killed))
    })
    .await?;
    load.until_flowing(load.now(), REACHABLE).await?;
    let pauses = load.pauses(from, load.now());
    pause("one of three MSs killed", &pauses, AIM_KILLED, REACHABLE)?;
    println!("all: {}", load.finish().await?);
    cluster.end().await
}

async fn restart_the_only_one(store: Store<'_>, name: &str) -> anyhow::Result<()> {
    let mut cluster = Cluster::start(store, 1, 3).await?;
    let load = Load::start(plan(&cluster)).await?;
    for down in DOWN {
        load.until_flowing(load.now() + BEFORE, BEFORE + REACHABLE).await?;
        let from = load.now();
        cluster.ms_mut(0).stop().await?;
        let stopped = load.now();
        sleep(down).await;
        cluster.ms_mut(0).launch()?;
        let up = load.now();
        load.until_flowing(up, REACHABLE).await?;
        let flows = load.now() - up;
        cluster.ms_mut(0).until_ready().await?;
        load.until_flowing(load.now(), REACHABLE).await?;
        let pauses = load.pauses(from, load.now());
        println!(
            "stopped in {:.2?}, down {down:?}, all streams flow {flows:.2?} after the start",
            stopped - from
        );
        let bound = REACHABLE + down;
        pause(&format!("the only MS restarted, {name}"), &pauses, down + AIM_RESTARTED, bound)?;
        ensure!(flows <= REACHABLE, "flows {flows:?} after the start");
    }
    let report = load.finish().await?;
    println!("all: {report}");
    let refused = report.results.rejected + report.results.unknown;
    ensure!(refused == 0, "refused in restarts shorter than the deadline: {refused}");
    cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_message_server_restarts_on_embedded() -> anyhow::Result<()> {
    let _turn = turn().await;
    restart_the_only_one(Store::Embedded, "embedded").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_message_server_restarts_on_mongodb() -> anyhow::Result<()> {
    let _turn = turn().await;
    let database = Database::start().await?;
    restart_the_only_one(Store::Mongo(&database), "MongoDB").await
}

//! Every process is restarted, one after the other, while messages flow.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::Instant;
use wardlink_client::{Client, ClientConfig, Status};
use wardlink_tests::cluster::{Cluster, PATIENCE, Plan, Store, within};
use wardlink_tests::database::Database;
use wardlink_tests::load::{Load, LoadPlan};

use super::turn;

/// The window of a drain, as the servers are told.
const DRAIN: Duration = Duration::from_secs(6);
/// What a stopping process may take beyond its window.
const SLACK: Duration = Duration::from_secs(5);
/// A stream's longest pause, where its terminals were told to go.
const PAUSE: Duration = Duration::from_secs(2);
/// Terminals whose reconnects are looked at.
const WATCHED: usize = 120;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_process_is_restarted_in_turn_and_no_message_is_refused() -> anyhow::Result<()> {
    let _turn = turn().await;
    let database = Database::start().await?;
    let drain = vec!["--drain".to_owned(), format!("{}s", DRAIN.as_secs())];
    let plan = Plan { ms: 2, bs: 2, bs_flags: drain, ..Plan::default() };
    let mut cluster = Cluster::build(Store::Mongo(&database), plan).await?;
    cluster.until_spread().await?;
    let load = Load::start(LoadPlan { pairs: 40, ..LoadPlan::new(cluster.urls()) }).await?;
    let from = load.now();
    for bs in 0..2 {
        let began = Instant::now();
        cluster.bs(bs).terminate()?;
        cluster.bs_mut(bs).until_stopped().await?;
        let took = began.elapsed();
        ensure!(took <= DRAIN + SLACK, "bs{bs} took {took:?} to end");
        println!("bs{bs} stopped in {took:.2?}");
        cluster.bs_mut(bs).start().await?;
        load.until_flowing(load.now(), PATIENCE).await?;
    }
    for ms in 0..2 {
        let began = Instant::now();
        cluster.ms(ms).terminate()?;
        cluster.ms_mut(ms).until_stopped().await?;
        println!("ms{ms} stopped in {:.2?}", began.elapsed());
        cluster.ms_mut(ms).start().await?;
        cluster.until_spread().await?;
        load.until_flowing(load.now(), PATIENCE).await?;
    }
    let pauses = load.pauses(from, load.now());
    println!("pauses of the streams: {pauses}");
    let report = load.finish().await?;
    println!("all: {report}");
    let refused = report.results.rejected + report.results.unknown;
    ensure!(refused == 0, "refused in planned restarts: {refused}");
    ensure!(pauses.percentile(99) <= PAUSE, "a pause of {:?}", pauses.percentile(99));
    cluster.end().await
}

/// When a client was connected to another server than `left`, after all were connected.
async fn moved(
    config: ClientConfig,
    left: String,
    begin: Instant,
    all: Arc<Barrier>,
) -> anyhow::Result<Duration> {
    let (client, _messages) = Client::connect(config)?;
    client.connected().await?;
    all.wait().await;
    let mut status = client.status();
    let elsewhere = |status: &Status| match status {
        Status::Connected { url, .. } => **url != *left,
        _ => false,
    };
    let moved = within(PATIENCE, "a session elsewhere", status.wait_for(elsewhere)).await?;
    moved.context("the client is gone")?;
    let at = begin.elapsed();
    client.close().await;
    Ok(at)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconnects_are_spread_over_the_drain_window() -> anyhow::Result<()> {
    let _turn = turn().await;
    let drain = vec!["--drain".to_owned(), format!("{}s", DRAIN.as_secs())];
    let plan = Plan { ms: 1, bs: 2, bs_flags: drain, ..Plan::default() };
    let mut cluster = Cluster::build(Store::Embedded, plan).await?;
    let begin = Instant::now();
    let all = Arc::new(Barrier::new(WATCHED + 1));
    let mut clients = JoinSet::new();
    for i in 0..WATCHED {
        // The first URL is that of the server that will stop.
        let config = cluster.config(&format!("H1-A2-watched{i}"))?;
        clients.spawn(moved(config, cluster.bs(0).terminal_url(), begin, all.clone()));
    }
    within(PATIENCE, "all are connected", all.wait()).await?;
    let asked = begin.elapsed();
    cluster.bs(0).terminate()?;
    let mut quarters = [0_usize; 4];
    while let Some(at) = clients.join_next().await {
        let after = at??.saturating_sub(asked);
        ensure!(after <= DRAIN + SLACK, "a terminal came back after {after:?}");
        let quarter = (after.as_millis() * 4 / DRAIN.as_millis()).min(3) as usize;
        quarters[quarter] += 1;
    }
    cluster.bs_mut(0).until_stopped().await?;
    println!("reconnects in each quarter of {DRAIN:?}: {quarters:?}");
    let least = WATCHED / 4 / 3;
    ensure!(quarters.iter().all(|n| *n >= least), "not spread: {quarters:?}");
    cluster.end().await
}

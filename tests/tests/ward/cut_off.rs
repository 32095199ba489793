//! One BS is cut off from one MS, and from nothing else.

use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::time::Instant;
use wardlink_tests::cluster::{Cluster, Plan, Store, eventually};
use wardlink_tests::database::Database;
use wardlink_tests::load::{Load, LoadPlan};

use super::turn;

/// Its terminals are served elsewhere within so long.
const ELSEWHERE: Duration = Duration::from_secs(15);
/// The first pause that a stream may see that has no terminal there: what a busy machine adds to
/// a stream of ten messages a second.
const UNNOTICED: Duration = Duration::from_secs(1);
/// How long the cut is watched before it is mended.
const WATCHED: Duration = Duration::from_secs(18);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_business_server_that_is_cut_off_sends_its_terminals_elsewhere() -> anyhow::Result<()> {
    let _turn = turn().await;
    let database = Database::start().await?;
    // More than half of the BSs must reach the MS.
    let plan = Plan { ms: 2, bs: 3, proxied: vec![(0, 1)], ..Plan::default() };
    let mut cluster = Cluster::build(Store::Mongo(&database), plan).await?;
    cluster.until_spread().await?;
    let load = Load::start(LoadPlan { pairs: 30, ..LoadPlan::new(cluster.urls()) }).await?;

    let cut_off = cluster.bs(0).terminal_url();
    let touches = |i: usize| {
        let (sender, target) = load.servers(i);
        [sender, target].iter().flatten().any(|url| *url == cut_off)
    };
    let (there, away): (Vec<usize>, Vec<usize>) = (0..30).partition(|i| touches(*i));
    ensure!(there.len() >= 10 && away.len() >= 5, "there {}, away {}", there.len(), away.len());

    let from = load.now();
    let began = Instant::now();
    cluster.proxy(0).cut();
    eventually(ELSEWHERE, "no terminal is left there", async || (0..30).all(|i| !touches(i)))
        .await?;
    let emptied = began.elapsed();
    load.until_flowing(load.now(), ELSEWHERE.saturating_sub(began.elapsed())).await?;
    let served = began.elapsed();
    ensure!(!cluster.bs(0).ready().await, "the BS that is cut off says that it is ready");
    println!("cut off: empty after {emptied:.2?}, all streams flow after {served:.2?}");

    let paused = load.longest_pause(&away, from, load.now());
    println!("streams that have no terminal there: longest pause {paused:.2?}");
    ensure!(paused <= UNNOTICED, "others noticed: a pause of {paused:?}");
    tokio::time::sleep_until(began + WATCHED).await;
    for ms in 0..2 {
        let view = cluster.ms(ms).view().await.context("an MS that answers")?;
        let members = view["members"].as_array().map_or(0, Vec::len);
        ensure!(members == 2, "ms{ms} knows {members} members: one was taken out for this");
    }
    cluster.proxy(0).mend();
    cluster.bs_mut(0).until_ready().await?;
    let report = load.finish().await?;
    println!("all: {report}");
    cluster.end().await
}

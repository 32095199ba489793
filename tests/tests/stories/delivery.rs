//! Both ends are online.

use wardlink_tests::cluster::{Cluster, Latencies, Store, Terminal};
use wardlink_tests::database::Database;

/// Messages of one measurement.
const MESSAGES: usize = 300;

/// Sends one message after the other and checks each result, and what arrives.
async fn deliver(sender: &Terminal, targets: &mut [Terminal]) -> anyhow::Result<Latencies> {
    let mut times = Latencies::default();
    let count = targets.len();
    for i in 0..MESSAGES {
        times.push(sender.deliver(&mut targets[i % count], &format!("m{i}")).await?);
    }
    Ok(times)
}

async fn on_one_bs(store: Store<'_>) -> anyhow::Result<Latencies> {
    let cluster = Cluster::start(store, 1, 1).await?;
    let sender = cluster.terminal("H1-A2-nurse").await?;
    let mut targets = [cluster.terminal("H1-A2-pump").await?];
    let times = deliver(&sender, &mut targets).await?;
    cluster.end().await?;
    Ok(times)
}

async fn on_two_bss(store: Store<'_>) -> anyhow::Result<Latencies> {
    let cluster = Cluster::start(store, 1, 2).await?;
    let sender = cluster.terminal_at(0, "H1-A2-nurse").await?;
    let mut targets = [cluster.terminal_at(1, "H1-A2-pump").await?];
    let times = deliver(&sender, &mut targets).await?;
    cluster.end().await?;
    Ok(times)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_to_the_same_bs_is_delivered_on_embedded() -> anyhow::Result<()> {
    println!("one BS, embedded: {}", on_one_bs(Store::Embedded).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_to_the_same_bs_is_delivered_on_mongodb() -> anyhow::Result<()> {
    let database = Database::start().await?;
    println!("one BS, MongoDB: {}", on_one_bs(Store::Mongo(&database)).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_to_another_bs_is_delivered_on_embedded() -> anyhow::Result<()> {
    println!("two BSs, embedded: {}", on_two_bss(Store::Embedded).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_to_another_bs_is_delivered_on_mongodb() -> anyhow::Result<()> {
    let database = Database::start().await?;
    println!("two BSs, MongoDB: {}", on_two_bss(Store::Mongo(&database)).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_three_mss_every_message_is_delivered() -> anyhow::Result<()> {
    let database = Database::start().await?;
    let cluster = Cluster::start(Store::Mongo(&database), 3, 2).await?;
    cluster.until_spread().await?;
    let sender = cluster.terminal_at(0, "H1-A2-nurse").await?;
    let mut targets = Vec::new();
    let mut owners = [0; 3];
    for i in 0..12 {
        targets.push(cluster.terminal_at(i % 2, &format!("H1-A2-pump{i}")).await?);
        let owner = cluster.owner_of(targets[i].end()).await;
        owners[owner.expect("a running owner")] += 1;
    }
    anyhow::ensure!(owners.iter().all(|ends| *ends > 0), "owners of {owners:?} ends");
    let times = deliver(&sender, &mut targets).await?;
    println!("three MSs (owners of {owners:?} ends), MongoDB: {times}");
    cluster.end().await
}

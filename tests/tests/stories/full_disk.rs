//! The disk under the embedded store is full for a while.

use std::time::Duration;

use anyhow::ensure;
use futures_util::future::join_all;
use tokio::time::Instant;
use wardlink_client::SendOutcome;
use wardlink_tests::cluster::{Cluster, PATIENCE, Store, Terminal, eventually, within};
use wardlink_tests::load::{Load, LoadPlan};
use wardlink_tests::small_disk::{SmallDisk, alone};
use wardlink_wire::{EndId, Outcome, Reason};

/// Within so long a message has its result: the deadline, and what a busy machine adds.
const DEADLINE: Duration = Duration::from_millis(11_500);
/// Bytes of a message's body.
const BODY: usize = 40 * 1024;
/// How long the disk is full at least, with live traffic beside it.
const FULL: Duration = Duration::from_secs(5);

fn body(i: usize) -> String {
    format!("{i} {}", "x".repeat(BODY))
}

/// Sends one for an end that is away.
async fn send(from: &Terminal, to: &EndId, i: usize) -> anyhow::Result<SendOutcome> {
    let sending = from.send(to, &body(i)).await?;
    within(DEADLINE, "a result", sending).await
}

fn refused(result: &SendOutcome) -> bool {
    (result.outcome, result.reason) == (Outcome::Rejected, Some(Reason::Unavailable))
}

#[test]
fn on_a_full_disk_what_cannot_be_stored_is_rejected_and_nothing_stored_is_lost()
-> anyhow::Result<()> {
    alone("full_disk::child_with_a_small_disk")
}

#[ignore = "a child of on_a_full_disk_what_cannot_be_stored_is_rejected_and_nothing_stored_is_lost"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_with_a_small_disk() -> anyhow::Result<()> {
    let disk = SmallDisk::mount(48)?;
    let mut cluster = Cluster::start(Store::EmbeddedIn(&disk.path().join("data")), 1, 2).await?;
    let plan = LoadPlan { pairs: 10, wandering: 2, ..LoadPlan::new(cluster.urls()) };
    let load = Load::start(plan).await?;
    let sender = cluster.terminal("H1-A2-nurse").await?;
    let absent: EndId = "H1-A2-absent".parse()?;
    let mut stored = Vec::new();
    for i in 0..20 {
        let result = send(&sender, &absent, i).await?;
        ensure!(result.outcome == Outcome::Stored, "with space: {result:?}");
        stored.push(i);
    }

    disk.fill(300_000)?;
    let (from, begun) = (load.now(), Instant::now());
    let mut next = 20;
    loop {
        let result = send(&sender, &absent, next).await?;
        next += 1;
        match result.outcome {
            Outcome::Stored => stored.push(next - 1),
            _ if refused(&result) => break,
            _ => anyhow::bail!("on a disk that becomes full: {result:?}"),
        }
    }
    println!("{} were stored, then: rejected", stored.len());
    while begun.elapsed() < FULL {
        let more = join_all((next..next + 5).map(|i| send(&sender, &absent, i))).await;
        next += 5;
        for result in more {
            let result = result?;
            ensure!(refused(&result), "on a full disk: {result:?}");
        }
    }
    let live = load.staying_results(from, load.now());
    println!("both ends online, disk full for {:?}: {live}", begun.elapsed());
    ensure!(live.rejected + live.unknown + live.stored == 0, "both ends were online: {live}");

    disk.free()?;
    let back = Instant::now();
    while stored.last() != Some(&next) {
        ensure!(back.elapsed() < PATIENCE, "no message is stored again");
        next += 1;
        if send(&sender, &absent, next).await?.outcome == Outcome::Stored {
            stored.push(next);
        }
    }
    println!("stored again {:?} after there was space", back.elapsed());
    eventually(PATIENCE, "the log says that it is over", async || {
        cluster.ms(0).log_text().contains("store is written to again")
    })
    .await?;
    let warned = cluster.ms(0).log_text().matches("store is degraded").count();
    ensure!(warned == 1, "warned {warned} times");

    cluster.ms_mut(0).restart().await?;
    let mut comes = cluster.terminal(absent.as_str()).await?;
    for i in &stored {
        let message = comes.next().await?;
        message.ack();
        ensure!(message.body_text() == serde_json::to_string(&body(*i))?, "{i} was due");
    }
    println!("all: {}", load.finish().await?);
    cluster.end().await
}

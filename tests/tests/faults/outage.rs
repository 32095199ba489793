//! The database is away for a while.

use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::time::{Instant, sleep_until};
use wardlink_client::SendOutcome;
use wardlink_tests::cluster::{Cluster, Store, Terminal, eventually, within};
use wardlink_tests::database::Database;
use wardlink_tests::load::{Load, LoadPlan};
use wardlink_wire::{EndId, Outcome, Reason};

use super::{REACHABLE, REACHABLE_DATABASE, pause, turn, view_of};

/// The database stands still for so long, and is dead for so long after it.
const HALF: Duration = Duration::from_secs(10);
/// Within so long a message has its result: the deadline, and what a busy machine adds.
const DEADLINE: Duration = Duration::from_millis(11_500);
/// Pause of a stream while both its ends are online: none, but for noise.
const AIM: Duration = Duration::from_millis(250);

/// A message for an end that is away, sent while the database is away too.
async fn refused(sender: &Terminal, to: &EndId, body: &str) -> anyhow::Result<SendOutcome> {
    let sending = sender.send(to, body).await?;
    let result = within(DEADLINE, "a result while the database is away", sending).await?;
    let honest = match result.outcome {
        Outcome::Rejected => result.reason == Some(Reason::Unavailable),
        Outcome::Unknown => true,
        _ => false,
    };
    ensure!(honest, "while the database was away: {result:?}");
    Ok(result)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_database_live_traffic_flows_and_the_rest_is_refused() -> anyhow::Result<()> {
    let _turn = turn().await;
    let mut database = Database::start().await?;
    let cluster = Cluster::start(Store::Mongo(&database), 2, 3).await?;
    cluster.until_spread().await?;
    let load = Load::start(LoadPlan { wandering: 6, ..LoadPlan::new(cluster.urls()) }).await?;
    let sender = cluster.terminal("H1-A2-nurse").await?;
    let absent: EndId = "H1-A2-absent".parse()?;
    let (_, members) = view_of(&cluster, 0).await?;

    let (from, begun) = (load.now(), Instant::now());
    database.pause()?;
    let still = refused(&sender, &absent, "it stands still").await?;
    // Who comes meanwhile is welcomed, and cannot be reached before the database is back.
    let mut late = cluster.terminal("H1-A2-late").await?;
    sleep_until(begun + HALF).await;
    database.kill();
    let dead = refused(&sender, &absent, "it is dead").await?;
    sleep_until(begun + HALF * 2).await;
    let to = load.now();
    pause("without the database for 20 s", &load.pauses(from, to), AIM, REACHABLE)?;
    println!("for an absent end: {still:?}, {dead:?}");

    database.restart().await?;
    let back = Instant::now();
    eventually(REACHABLE_DATABASE, "an absent end's message is stored", async || {
        let Ok(sending) = sender.send(&absent, "it is back").await else { return false };
        sending.await.outcome == Outcome::Stored
    })
    .await?;
    println!("stores again {:.2?} after its start", back.elapsed());
    let sending = sender.send(late.end(), "you are there").await?;
    let result = within(REACHABLE_DATABASE, "the late one's message", sending);
    let (result, message) = tokio::join!(result, async {
        let message = late.next().await?;
        message.ack();
        anyhow::Ok(message)
    });
    let (result, message) = (result?, message?);
    // Until its registration is repeated it counts as away.
    let arrives = matches!(result.outcome, Outcome::Delivered | Outcome::Stored);
    ensure!(arrives, "to the late one: {result:?}");
    ensure!(message.body_text().contains("you are there"), "{}", message.body_text());
    let mut comes = cluster.terminal(absent.as_str()).await?;
    let last = async {
        // What was `unknown` may have come as well.
        while !comes.next().await?.body_text().contains("it is back") {}
        anyhow::Ok(())
    };
    within(REACHABLE, "what was stored", last).await?.context("the absent one")?;

    let (_, after) = view_of(&cluster, 0).await?;
    ensure!(after == members, "members before {members:?} and after {after:?}");
    let live = load.staying_results(from, to);
    let delivered = live.rejected + live.unknown + live.stored == 0;
    ensure!(delivered, "both ends were online: {live}");
    println!("both ends online, database away: {live}");
    println!("all: {}", load.finish().await?);
    cluster.end().await
}

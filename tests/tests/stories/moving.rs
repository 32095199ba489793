//! The target goes away and comes back elsewhere while messages are sent to it.

use wardlink_tests::cluster::{Cluster, Flow, PATIENCE, Store, Tally, Terminal, within};
use wardlink_tests::database::Database;
use wardlink_wire::Outcome;

const MESSAGES: usize = 200;
/// The sender is so far ahead of the target at most.
const AHEAD: usize = 10;
/// The target moves after each so many messages.
const STAY: usize = 40;

/// The terminal's program closes its session and opens one at the next BS.
async fn by_itself(store: Store<'_>, ms: usize) -> anyhow::Result<Tally> {
    let cluster = Cluster::start(store, ms, 3).await?;
    let sender = cluster.terminal_at(0, "H1-A2-nurse").await?;
    let mut flow = Flow::begin(sender.client().clone(), "H1-A2-pump".parse()?, MESSAGES, AHEAD);
    let mut target = cluster.terminal_at(1, "H1-A2-pump").await?;
    while !flow.arrived() {
        if flow.due() % STAY == STAY - 1 {
            target.close().await;
            target = cluster.terminal_at(flow.due() / STAY % 3, "H1-A2-pump").await?;
        }
        flow.take(&target.next().await?)?;
    }
    finish(cluster, &sender, target, flow).await
}

/// The BS of the terminal is killed, and the client goes to another by itself.
async fn by_kill(store: Store<'_>, ms: usize) -> anyhow::Result<Tally> {
    let mut cluster = Cluster::start(store, ms, 4).await?;
    let sender = cluster.terminal_at(0, "H1-A2-nurse").await?;
    let mut flow = Flow::begin(sender.client().clone(), "H1-A2-pump".parse()?, MESSAGES, AHEAD);
    let mut config = cluster.config("H1-A2-pump")?;
    // The first one is the sender's and lives.
    config.urls.remove(0);
    let mut target = Terminal::connect(config).await?;
    while !flow.arrived() {
        if flow.due() % STAY == STAY - 1 {
            let at = target.server().await?;
            let bs = cluster.bs_at(&at).expect("one of ours");
            cluster.bs_mut(bs).kill();
            cluster.bs_mut(bs).launch()?;
        }
        flow.take(&target.next().await?)?;
    }
    finish(cluster, &sender, target, flow).await
}

/// All results are in, and nothing is left: the next message is the first one after all.
async fn finish(
    cluster: Cluster,
    sender: &Terminal,
    mut target: Terminal,
    flow: Flow,
) -> anyhow::Result<Tally> {
    let tally = flow.finish().await?;
    // The client may not have noticed yet that its BS is gone, so this may be stored.
    let last = sender.send(target.end(), "last").await?;
    let message = target.next().await?;
    message.ack();
    anyhow::ensure!(message.body_text() == "\"last\"", "nothing else was due: {message:?}");
    let result = within(PATIENCE, "the last result", last).await?;
    anyhow::ensure!(matches!(result.outcome, Outcome::Delivered | Outcome::Stored), "{result:?}");
    cluster.end().await?;
    Ok(tally)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_that_moves_sees_each_message_once_in_order_on_embedded() -> anyhow::Result<()> {
    println!("moving, embedded: {}", by_itself(Store::Embedded, 1).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_that_moves_sees_each_message_once_in_order_on_mongodb() -> anyhow::Result<()> {
    let database = Database::start().await?;
    println!("moving, MongoDB: {}", by_itself(Store::Mongo(&database), 2).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_whose_bs_is_killed_sees_each_message_once_in_order_on_embedded()
-> anyhow::Result<()> {
    println!("BS killed, embedded: {}", by_kill(Store::Embedded, 1).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_whose_bs_is_killed_sees_each_message_once_in_order_on_mongodb()
-> anyhow::Result<()> {
    let database = Database::start().await?;
    println!("BS killed, MongoDB: {}", by_kill(Store::Mongo(&database), 2).await?);
    Ok(())
}

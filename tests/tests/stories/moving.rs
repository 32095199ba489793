//! The target goes away and comes back elsewhere while messages are sent to it.

use std::future::Future;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use wardlink_client::{Client, Message, Sending};
use wardlink_tests::cluster::{Cluster, PATIENCE, Store, Terminal, within};
use wardlink_tests::database::Database;
use wardlink_wire::{EndId, Outcome};

const MESSAGES: usize = 200;
/// The sender is so far ahead of the target at most, so that messages are sent during each of
/// the target's absences and not all in the first.
const AHEAD: usize = 12;
/// The target moves after each so many messages.
const STAY: usize = 25;

/// Sends numbered messages, none later than the target allows, and counts the results:
/// delivered, stored. Any other is an error.
fn send_all(
    client: Client,
    to: EndId,
    mut seen: watch::Receiver<usize>,
) -> JoinHandle<anyhow::Result<(usize, usize)>> {
    tokio::spawn(async move {
        let mut open: Vec<Sending> = Vec::new();
        for i in 0..MESSAGES {
            let allowed = seen.wait_for(|seen| i < seen + AHEAD);
            within(PATIENCE, &format!("the target goes on, before m{i}"), allowed).await??;
            open.push(client.send(&to, &i).await?);
        }
        let (mut delivered, mut stored) = (0, 0);
        for (i, sending) in open.into_iter().enumerate() {
            match within(PATIENCE, &format!("the result of m{i}"), sending).await? {
                result if result.outcome == Outcome::Delivered => delivered += 1,
                result if result.outcome == Outcome::Stored => stored += 1,
                result => anyhow::bail!("m{i}: {result:?}"),
            }
        }
        Ok((delivered, stored))
    })
}

/// Takes the message that is due. A repeat and a gap are errors alike.
fn take(message: &Message, due: usize, seen: &watch::Sender<usize>) -> anyhow::Result<()> {
    let number: usize = message.json()?;
    anyhow::ensure!(number == due, "m{due} was due, got {message:?}");
    message.ack();
    seen.send_replace(due + 1);
    Ok(())
}

/// The terminal's program closes its session and opens one at the next BS.
async fn by_itself(store: Store<'_>, ms: usize) -> anyhow::Result<String> {
    let cluster = Cluster::start(store, ms, 3).await?;
    let sender = cluster.terminal_at(0, "H1-A2-nurse").await?;
    let (seen, seen_by) = watch::channel(0);
    let sending = send_all(sender.client().clone(), "H1-A2-pump".parse()?, seen_by);
    let mut target = cluster.terminal_at(1, "H1-A2-pump").await?;
    let mut redelivered = 0;
    for due in 0..MESSAGES {
        if due % STAY == STAY - 1 {
            target.close().await;
            target = cluster.terminal_at(due / STAY % 3, "H1-A2-pump").await?;
        }
        let message = target.next().await?;
        redelivered += usize::from(message.redelivered);
        take(&message, due, &seen)?;
    }
    finish(cluster, &sender, target, sending, redelivered).await
}

/// The BS of the terminal is killed, and the client goes to another by itself.
async fn by_kill(store: Store<'_>, ms: usize) -> anyhow::Result<String> {
    let mut cluster = Cluster::start(store, ms, 4).await?;
    let sender = cluster.terminal_at(0, "H1-A2-nurse").await?;
    let (seen, seen_by) = watch::channel(0);
    let sending = send_all(sender.client().clone(), "H1-A2-pump".parse()?, seen_by);
    let mut config = cluster.config("H1-A2-pump")?;
    // The first one is the sender's and lives.
    config.urls.remove(0);
    let mut target = Terminal::connect(config).await?;
    let mut redelivered = 0;
    for due in 0..MESSAGES {
        if due % STAY == STAY - 1 {
            let at = target.server().await?;
            let bs = (1..4).find(|i| cluster.bs(*i).terminal_url() == at).expect("one of ours");
            cluster.bs_mut(bs).kill();
            cluster.bs_mut(bs).launch()?;
        }
        let message = target.next().await?;
        redelivered += usize::from(message.redelivered);
        take(&message, due, &seen)?;
    }
    finish(cluster, &sender, target, sending, redelivered).await
}

/// All results are in, and nothing is left: the next message is the first one after all.
async fn finish(
    cluster: Cluster,
    sender: &Terminal,
    mut target: Terminal,
    sending: impl Future<Output = Result<anyhow::Result<(usize, usize)>, tokio::task::JoinError>>,
    redelivered: usize,
) -> anyhow::Result<String> {
    let (delivered, stored) = sending.await??;
    // The client may not have noticed yet that its BS is gone, so this may be stored.
    let last = sender.send(target.end(), "last").await?;
    let message = target.next().await?;
    message.ack();
    anyhow::ensure!(message.body_text() == "\"last\"", "nothing else was due: {message:?}");
    let result = within(PATIENCE, "the last result", last).await?;
    anyhow::ensure!(matches!(result.outcome, Outcome::Delivered | Outcome::Stored), "{result:?}");
    cluster.end().await?;
    Ok(format!("{delivered} delivered, {stored} stored, {redelivered} shown marked redelivered"))
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

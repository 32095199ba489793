//! The target is away: its mailbox, and the life of what is in it.

use std::time::{Duration, SystemTime};

use futures_util::future::try_join_all;
use wardlink_ms::store::embedded::EmbeddedStore;
use wardlink_ms::store::{OpTime, Store as _};
use wardlink_tests::cluster::{Cluster, PATIENCE, Store, Terminal, eventually};
use wardlink_tests::database::Database;
use wardlink_wire::{EndId, Outcome};

const MESSAGES: usize = 20;
/// The default of `--message-ttl`, in seconds.
const TTL_S: u32 = 600;
/// Life of what is to expire.
const SHORT: Duration = Duration::from_secs(2);

/// How many messages the store holds for an end, at the end of a story. The embedded store is
/// its MS's alone, so that MS is stopped first.
async fn left(cluster: &mut Cluster, end: &EndId) -> anyhow::Result<usize> {
    if cluster.database_uri().is_some() {
        return cluster.peek().await?.waiting_count(end).await;
    }
    if cluster.ms(0).started() {
        cluster.ms_mut(0).stop().await?;
    }
    let store = EmbeddedStore::open(cluster.embedded_dir(), TTL_S)?;
    Ok(store.count(vec![end.clone()], OpTime(0)).await?.value[0])
}

async fn send_numbered(sender: &Terminal, to: &EndId, outcome: Outcome) -> anyhow::Result<()> {
    let mut open = Vec::new();
    for i in 0..MESSAGES {
        open.push(sender.send(to, &format!("m{i}")).await?);
    }
    for (i, sending) in open.into_iter().enumerate() {
        let result = tokio::time::timeout(PATIENCE, sending).await?;
        anyhow::ensure!(result.outcome == outcome, "m{i}: {result:?}");
    }
    Ok(())
}

/// The next message is this one and no other.
async fn next_is(target: &mut Terminal, body: &str) -> anyhow::Result<()> {
    let message = target.next().await?;
    message.ack();
    anyhow::ensure!(message.body_text() == format!("{body:?}"), "{body} was due: {message:?}");
    anyhow::ensure!(!message.redelivered, "nobody had it before: {message:?}");
    Ok(())
}

async fn stored_and_fetched(store: Store<'_>) -> anyhow::Result<()> {
    let mut cluster = Cluster::start(store, 1, 2).await?;
    let sender = cluster.terminal_at(0, "H1-A2-nurse").await?;
    let end: EndId = "H1-A2-pump".parse()?;
    send_numbered(&sender, &end, Outcome::Stored).await?;
    if let Ok(peek) = cluster.peek().await {
        let bodies: Vec<_> = peek.waiting(&end).await?.into_iter().map(|it| it.body).collect();
        let wanted: Vec<_> = (0..MESSAGES).map(|i| format!("\"m{i}\"")).collect();
        anyhow::ensure!(bodies == wanted, "in the mailbox: {bodies:?}");
    }

    let mut target = cluster.terminal_at(1, "H1-A2-pump").await?;
    for i in 0..MESSAGES {
        next_is(&mut target, &format!("m{i}")).await?;
    }
    target.close().await;
    // It comes again: what it had is not sent a second time, for this is what comes first.
    let mut target = cluster.terminal_at(0, "H1-A2-pump").await?;
    sender.deliver(&mut target, "last").await?;
    if let Ok(peek) = cluster.peek().await {
        eventually(PATIENCE, "the mailbox becomes empty", || async {
            matches!(peek.waiting_count(&end).await, Ok(0))
        })
        .await?;
    }
    let left = left(&mut cluster, &end).await?;
    anyhow::ensure!(left == 0, "{left} messages are left in the mailbox");
    cluster.end().await
}

async fn expired(store: Store<'_>) -> anyhow::Result<()> {
    let mut cluster = Cluster::start(store, 1, 1).await?;
    let sender = cluster.terminal("H1-A2-nurse").await?;
    let end: EndId = "H1-A2-pump".parse()?;
    let senders = (0..MESSAGES).map(|i| {
        let (sender, end) = (&sender, &end);
        async move { sender.send_for(end, &format!("m{i}"), SHORT).await }
    });
    for result in try_join_all(senders).await? {
        anyhow::ensure!(result.outcome == Outcome::Stored, "{result:?}");
    }
    // All run on this machine, so the database's clock is this one.
    let over = SystemTime::now() + SHORT;
    eventually(PATIENCE, "the messages' life is over", || async { SystemTime::now() > over })
        .await?;
    if let Ok(peek) = cluster.peek().await {
        let there = peek.waiting_count(&end).await?;
        println!("{there} of {MESSAGES} expired messages are still in the database");
    }
    let mut target = cluster.terminal("H1-A2-pump").await?;
    sender.deliver(&mut target, "last").await?;
    if let Ok(peek) = cluster.peek().await {
        eventually(PATIENCE, "the owner removes what it met", || async {
            matches!(peek.waiting_count(&end).await, Ok(0))
        })
        .await?;
    }
    let left = left(&mut cluster, &end).await?;
    anyhow::ensure!(left == 0, "{left} messages are left in the mailbox");
    cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_stored_comes_once_and_in_order_on_embedded() -> anyhow::Result<()> {
    stored_and_fetched(Store::Embedded).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_stored_comes_once_and_in_order_on_mongodb() -> anyhow::Result<()> {
    let database = Database::start().await?;
    stored_and_fetched(Store::Mongo(&database)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_expired_does_not_come_on_embedded() -> anyhow::Result<()> {
    expired(Store::Embedded).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_expired_does_not_come_on_mongodb() -> anyhow::Result<()> {
    let database = Database::start().await?;
    expired(Store::Mongo(&database)).await
}

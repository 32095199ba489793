//! Terminals that misbehave, and those beside them.

use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::SinkExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use wardlink_client::{Connection, Target};
use wardlink_service::limits;
use wardlink_tests::cluster::{Cluster, Latencies, Plan, Store, Terminal};
use wardlink_wire::terminal::Up;
use wardlink_wire::{EndId, Outcome};

use super::turn;

/// Terminals that only are there.
const IDLE: usize = 5_000;
/// Of those that connect at a time.
const CONNECTING: usize = 100;
/// Pairs whose latency is measured.
const PAIRS: usize = 10;
/// Messages of a pair in one measurement, and the time between two.
const MESSAGES: usize = 200;
const BEAT: Duration = Duration::from_millis(10);
/// Measurements of each kind, by turns.
const ROUNDS: usize = 3;
/// How much the neighbours may add to the 99th percentile: what they cost in processor time on a
/// machine that they share with those who are measured.
const RATIO_MAX: f64 = 3.0;
/// Below this a ratio says nothing.
const FLOOR: Duration = Duration::from_millis(10);

/// One measurement: all pairs send at once, each one message after the other.
async fn measure(pairs: &[(Terminal, EndId)]) -> anyhow::Result<Latencies> {
    let each = pairs.iter().map(async |(from, to)| {
        let mut beat = interval(BEAT);
        let mut times = Vec::with_capacity(MESSAGES);
        for n in 0..MESSAGES {
            beat.tick().await;
            let begun = Instant::now();
            let result = from.send(to, &format!("beat {n}")).await?.await;
            ensure!(
                result.outcome == Outcome::Delivered,
                "beat {n} to {to} after {:.2?}: {result:?}",
                begun.elapsed()
            );
            times.push(begun.elapsed());
        }
        anyhow::Ok(times)
    });
    let mut latencies = Latencies::default();
    for times in futures_util::future::try_join_all(each).await? {
        times.into_iter().for_each(|time| latencies.push(time));
    }
    Ok(latencies)
}

/// Sends to an end as fast as its results allow, at most `open` at a time, until it is aborted.
async fn flood(from: Terminal, to: String, body: usize, open: usize) -> anyhow::Result<()> {
    let (to, body) = (to.parse()?, "x".repeat(body));
    let mut results = JoinSet::new();
    loop {
        let sending = from.send(&to, &body).await?;
        results.spawn(sending);
        if results.len() >= open {
            results.join_next().await;
        }
    }
}

/// Takes and acknowledges all that comes.
async fn takes(terminal: Terminal) {
    let (_client, mut messages) = terminal.into_parts();
    while let Some(message) = messages.recv().await {
        message.ack();
    }
}

/// Connects and never reads; comes back when it is closed.
async fn never_reads(url: String, end: String) -> anyhow::Result<()> {
    let target = Target::new(url, end.parse()?);
    loop {
        let mut connection = Connection::connect(&target).await?;
        // It finds out that it was closed only by writing.
        while connection.send(&Up::Ack { seq: 0 }).await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    }
}

/// Reads and never acknowledges.
async fn never_acks(url: String, end: String) -> anyhow::Result<()> {
    let target = Target::new(url, end.parse()?);
    loop {
        let mut connection = Connection::connect(&target).await?;
        while connection.next().await.is_ok() {}
    }
}

/// Writes what is no frame of the protocol, as fast as it is taken.
async fn garbage(port: u16) -> anyhow::Result<()> {
    loop {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let url = format!("ws://127.0.0.1:{port}/ws?hospitalCode=H1&hosareaCode=A2&uid=garbage");
        let (mut socket, _) = client_async(url, stream).await?;
        for n in 0_u64.. {
            let frame = match n % 4 {
                0 => "not json".to_owned(),
                1 => format!("{{\"type\":\"send\",\"id\":\"g{n}\",\"to\":\"nowhere\",\"body\":1}}"),
                2 => "[".repeat(1_000),
                _ => "{\"type\":\"ack\",\"seq\":99999999}".to_owned(),
            };
            if socket.send(Message::text(frame)).await.is_err() {
                break;
            }
        }
    }
}

async fn idle(url: String, from: usize) -> anyhow::Result<Vec<Connection>> {
    let mut connections = Vec::new();
    for i in (from..IDLE).step_by(CONNECTING) {
        let target = Target::new(url.clone(), format!("H1-A2-idle{i}").parse()?);
        connections.push(Connection::connect(&target).await?);
    }
    Ok(connections)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terminals_that_misbehave_do_not_hurt_those_beside_them() -> anyhow::Result<()> {
    let _turn = turn().await;
    ensure!(limits::open_files() > IDLE + 1_000, "too few open files: {}", limits::open_files());
    let cluster = Cluster::build(Store::Embedded, Plan { bs: 2, ..Plan::default() }).await?;
    let mut pairs = Vec::new();
    let mut targets = JoinSet::new();
    for i in 0..PAIRS {
        let from = cluster.terminal_at(0, &format!("H1-A2-nurse{i}")).await?;
        let to = cluster.terminal_at(1, &format!("H1-A2-pump{i}")).await?;
        pairs.push((from, to.end().clone()));
        targets.spawn(takes(to));
    }
    measure(&pairs).await?;

    let mut alone = Vec::new();
    let mut beside = Vec::new();
    let mut connections = Vec::new();
    for round in 0..ROUNDS {
        alone.push(measure(&pairs).await?);
        if round == 0 {
            let url = cluster.bs(1).terminal_url();
            let all = (0..CONNECTING).map(|from| idle(url.clone(), from));
            let all = futures_util::future::try_join_all(all);
            let all = timeout(Duration::from_secs(60), all).await.context("idle terminals")??;
            connections = all;
        }
        let mut bad = JoinSet::new();
        let (url, port) = (cluster.bs(1).terminal_url(), cluster.bs(1).port());
        bad.spawn(never_reads(url.clone(), "H1-A2-deaf".to_owned()));
        bad.spawn(never_acks(url, "H1-A2-mute".to_owned()));
        bad.spawn(garbage(port));
        let flooder = cluster.terminal_at(0, &format!("H1-A2-flood{round}a")).await?;
        bad.spawn(flood(flooder, "H1-A2-deaf".to_owned(), 16_000, 16));
        let flooder = cluster.terminal_at(0, &format!("H1-A2-flood{round}b")).await?;
        bad.spawn(flood(flooder, "H1-A2-mute".to_owned(), 100, 16));
        beside.push(measure(&pairs).await?);
        while let Some(ended) = bad.try_join_next() {
            ended?.context("a terminal that misbehaves ended by itself")?;
        }
    }
    ensure!(connections.iter().map(Vec::len).sum::<usize>() == IDLE, "idle terminals");

    let p99 = |all: &[Latencies]| {
        let mut all: Vec<Duration> = all.iter().map(|one| one.percentile(99)).collect();
        all.sort_unstable();
        all[all.len() / 2]
    };
    let (alone, beside) = (p99(&alone), p99(&beside));
    let ratio = beside.max(FLOOR).as_secs_f64() / alone.max(FLOOR).as_secs_f64();
    println!("p99 alone {alone:.2?}, beside bad neighbours {beside:.2?}: ratio {ratio:.2}");
    ensure!(ratio <= RATIO_MAX, "the others are hurt: {alone:?} became {beside:?}");
    drop(connections);
    cluster.end().await
}

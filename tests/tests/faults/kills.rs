//! Processes are killed at random moments.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use mongodb::bson::doc;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep};
use uuid::Uuid;
use wardlink_tests::cluster::{
    Cluster, PATIENCE, Plan, Process, Store, Terminal, eventually, within,
};
use wardlink_tests::database::Database;
use wardlink_tests::load::{Load, LoadPlan};
use wardlink_wire::{EndId, Outcome};

use super::{REACHABLE, REACHABLE_DATABASE, turn};

const ROUNDS: usize = 30;
const MSS: usize = 3;
const BSS: usize = 3;
/// Load after a recovery, before the next fault.
const SETTLE: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    SenderBs,
    TargetBs,
    OwnerMs,
    AnyMs,
    Database,
}

const FAULTS: [Fault; 5] =
    [Fault::SenderBs, Fault::OwnerMs, Fault::TargetBs, Fault::AnyMs, Fault::Database];

/// What one kill did.
#[derive(Debug)]
struct Round {
    what: String,
    fault: Fault,
    down: Duration,
    from: Duration,
    to: Duration,
    /// How long a message for an absent end took to be stored and fetched.
    stored: Duration,
}

/// The seed: random, unless `WARDLINK_TEST_SEED` says which.
fn seed() -> anyhow::Result<u64> {
    match std::env::var("WARDLINK_TEST_SEED") {
        Ok(text) => text.parse().context("WARDLINK_TEST_SEED is no number"),
        Err(_) => Ok(Uuid::new_v4().as_u64_pair().0),
    }
}

/// Which process a fault hits: one that serves the pair, where it says so.
async fn victim(
    fault: Fault,
    cluster: &Cluster,
    load: &Load,
    rng: &mut SmallRng,
) -> anyhow::Result<usize> {
    let targets = load.targets();
    let pair = rng.random_range(0..targets.len());
    let (sender_at, target_at) = load.servers(pair);
    let bs = |url: Option<String>| (0..BSS).find(|i| Some(cluster.bs(*i).terminal_url()) == url);
    let victim = match fault {
        Fault::SenderBs => bs(sender_at),
        Fault::TargetBs => bs(target_at),
        Fault::OwnerMs => cluster.owner_of(&targets[pair]).await,
        Fault::AnyMs => Some(rng.random_range(0..MSS)),
        Fault::Database => Some(0),
    };
    victim.with_context(|| format!("who serves pair {pair}"))
}

async fn round(
    fault: Fault,
    cluster: &mut Cluster,
    database: &mut Database,
    load: &Load,
    rng: &mut SmallRng,
) -> anyhow::Result<Round> {
    // The moment, and how long it stays down: not at all, or a while.
    sleep(Duration::from_millis(rng.random_range(0..1_000))).await;
    let down = if rng.random_bool(0.5) { rng.random_range(0..2_000) } else { 0 };
    let down = Duration::from_millis(down);
    let victim = victim(fault, cluster, load, rng).await?;
    let from = load.now();
    let (what, deadline) = if fault == Fault::Database {
        database.kill();
        sleep(down).await;
        database.restart().await?;
        ("database".to_owned(), REACHABLE_DATABASE)
    } else {
        let process = process(fault, cluster, victim);
        process.kill();
        sleep(down).await;
        process.launch()?;
        (process.name().to_owned(), REACHABLE)
    };
    load.until_flowing(load.now(), deadline).await.with_context(|| format!("{what} killed"))?;
    if fault != Fault::Database {
        process(fault, cluster, victim).until_ready().await?;
    }
    // It is back, and some time passes.
    load.until_flowing(load.now() + SETTLE, SETTLE + deadline).await?;
    let to = load.now();
    let pause = load.pauses(from, to).percentile(100);
    ensure!(
        pause <= deadline,
        "{what} killed at {from:.2?}: a pause of {pause:.2?}: {}",
        load.slowest(from, to)
    );
    Ok(Round { what, fault, down, from, to, stored: Duration::ZERO })
}

fn process(fault: Fault, cluster: &mut Cluster, victim: usize) -> &mut Process {
    match fault {
        Fault::SenderBs | Fault::TargetBs => cluster.bs_mut(victim),
        _ => cluster.ms_mut(victim),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_any_process_takes_no_accepted_message_with_it() -> anyhow::Result<()>
{
    let _turn = turn().await;
    let seed = seed()?;
    println!("seed {seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut database = Database::start().await?;
    let ms_flags = vec!["--sweep".to_owned(), "5s".to_owned()];
    let plan = Plan { ms: MSS, bs: BSS, ms_flags, ..Plan::default() };
    let mut cluster = Cluster::build(Store::Mongo(&database), plan).await?;
    cluster.until_spread().await?;
    let plan = LoadPlan { wandering: 10, burst: 2, ..LoadPlan::new(cluster.urls()) };
    let mut load = Load::start(plan).await?;
    let nurse = cluster.terminal("H1-A2-nurse").await?;
    let mut rounds = Vec::new();
    for i in 0..ROUNDS {
        let fault = FAULTS[i % FAULTS.len()];
        let mut round = round(fault, &mut cluster, &mut database, &load, &mut rng).await?;
        round.stored = store_and_fetch(&cluster, &nurse, i).await?;
        println!("{}", line(i, &round, &load));
        rounds.push(round);
    }
    let mut longest: BTreeMap<Fault, Duration> = BTreeMap::new();
    for round in &rounds {
        let pause = load.pauses(round.from, round.to).percentile(100);
        let entry = longest.entry(round.fault).or_default();
        *entry = pause.max(*entry);
    }
    println!("longest pauses: {longest:.2?}");
    load.drain().await?;
    let peek = cluster.peek().await?;
    eventually(PATIENCE, "all mailboxes are empty", async || {
        peek.mailboxes().count_documents(doc! {}).await.is_ok_and(|left| left == 0)
    })
    .await?;
    println!("all: {}", load.finish().await?);
    cluster.end().await
}

/// Time in which a message for an absent end is stored, and fetched by it.
async fn store_and_fetch(
    cluster: &Cluster,
    nurse: &Terminal,
    round: usize,
) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let end: EndId = format!("H1-A2-absent{round}").parse()?;
    let sending = nurse.send(&end, "come").await?;
    let result = within(REACHABLE_DATABASE, "the result for an absent end", sending).await?;
    ensure!(result.outcome == Outcome::Stored, "for an absent end: {result:?}");
    let mut terminal = cluster.terminal(end.as_str()).await?;
    terminal.next().await?.ack();
    let took = begun.elapsed();
    ensure!(took <= REACHABLE, "stored and fetched after {took:?}");
    terminal.close().await;
    Ok(took)
}

fn line(i: usize, round: &Round, load: &Load) -> String {
    let Round { what, fault, down, from, to, stored } = round;
    let pauses = load.pauses(*from, *to);
    let name = format!("{fault:?}");
    format!(
        "{i:2} {name:8} {what:8} at {from:7.2?} down {down:6.0?} pauses p50 {:6.2?} max {:6.2?}; \
         {}; absent end {stored:.0?}",
        pauses.percentile(50),
        pauses.percentile(100),
        load.results(*from, *to)
    )
}

//! Messages that a hospital's own systems post over HTTP.

use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};
use wardlink_tests::cluster::{
    Answered, Call, Cluster, PATIENCE, Plan, Process, Store, Terminal, eventually,
};
use wardlink_tests::database::Database;
use wardlink_wire::Outcome;

/// Long enough for a message that should not come.
const QUIET: Duration = Duration::from_millis(500);

fn message(id: &str, to: &str, body: &str) -> Call {
    Call::new(&json!({ "to": to, "body": body, "id": id, "from": "H1-LAB-analyser" }))
}

fn taken(answered: &Answered, id: &str, outcome: &str) -> anyhow::Result<()> {
    let wanted = json!({ "id": id, "outcome": outcome });
    ensure!(answered.status == 200 && answered.json == wanted, "{answered:?}");
    Ok(())
}

/// The next message is this one, and it is acknowledged.
async fn next_is(target: &mut Terminal, id: &str, body: &str) -> anyhow::Result<()> {
    let message = target.next().await?;
    message.ack();
    ensure!(message.id.as_str() == id && message.body_text() == format!("{body:?}"), "{message:?}");
    let from = message.from.as_ref().map(|from| from.as_str());
    ensure!(from == Some("H1-LAB-analyser"), "{message:?}");
    Ok(())
}

async fn nothing_more(target: &mut Terminal) -> anyhow::Result<()> {
    let more = target.next_within(QUIET).await?;
    ensure!(more.is_none(), "shown again: {more:?}");
    Ok(())
}

async fn delivered_and_tried_again(store: Store<'_>) -> anyhow::Result<()> {
    let cluster = Cluster::start(store, 1, 2).await?;
    let mut pump = cluster.terminal_at(1, "H1-W2-pump").await?;
    let call = message("lab-1", "H1-W2-pump", "pause");
    let (answered, shown) =
        tokio::join!(call.make(cluster.bs(0)), next_is(&mut pump, "lab-1", "pause"));
    shown?;
    taken(&answered?, "lab-1", "delivered")?;
    // Again at the same BS, which remembers, and at another, where the session knows it.
    for bs in [0, 1] {
        taken(&call.make(cluster.bs(bs)).await?, "lab-1", "delivered")?;
    }
    nothing_more(&mut pump).await?;

    let other = message("lab-1", "H1-W2-pump", "go on").make(cluster.bs(0)).await?;
    ensure!((other.status, &other.json["reason"]) == (422, &json!("id reused")), "{other:?}");
    nothing_more(&mut pump).await?;
    cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_posted_message_is_shown_once_however_often_it_is_posted_on_embedded()
-> anyhow::Result<()> {
    delivered_and_tried_again(Store::Embedded).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_posted_message_is_shown_once_however_often_it_is_posted_on_mongodb() -> anyhow::Result<()>
{
    let database = Database::start().await?;
    delivered_and_tried_again(Store::Mongo(&database)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_for_an_end_that_is_away_is_stored_once_and_shown_once_it_comes()
-> anyhow::Result<()> {
    let cluster = Cluster::start(Store::Embedded, 1, 2).await?;
    let call = message("lab-2", "H1-W2-doctor", "please call");
    for bs in [0, 0, 1] {
        taken(&call.make(cluster.bs(bs)).await?, "lab-2", "stored")?;
    }
    let last = message("lab-3", "H1-W2-doctor", "never mind");
    taken(&last.make(cluster.bs(1)).await?, "lab-3", "stored")?;
    let mut doctor = cluster.terminal("H1-W2-doctor").await?;
    next_is(&mut doctor, "lab-2", "please call").await?;
    next_is(&mut doctor, "lab-3", "never mind").await?;
    taken(&call.make(cluster.bs(0)).await?, "lab-2", "stored")?;
    nothing_more(&mut doctor).await?;
    cluster.end().await
}

/// A metric without labels of a BS.
async fn metric(bs: &Process, name: &str) -> anyhow::Result<f64> {
    let (_, text) = bs.get("/metrics").await?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.unwrap_or("0").parse()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_hangs_up_leaves_nothing_open_and_may_post_again() -> anyhow::Result<()> {
    let cluster = Cluster::start(Store::Embedded, 1, 1).await?;
    let mut pump = cluster.terminal("H1-W2-pump").await?;
    let call = message("lab-4", "H1-W2-pump", "pause");
    let hanging = call.begin(cluster.bs(0)).await?;
    // It has the message and does not acknowledge it yet.
    let shown = pump.next().await?;
    ensure!(metric(cluster.bs(0), "wardlink_business_server_posts").await? == 1.0);
    drop(hanging);
    eventually(PATIENCE, "the call is forgotten", || async {
        matches!(metric(cluster.bs(0), "wardlink_business_server_posts").await, Ok(0.0))
    })
    .await?;
    let again = call.begin(cluster.bs(0)).await?;
    shown.ack();
    taken(&wardlink_tests::cluster::answer(again).await?, "lab-4", "delivered")?;
    nothing_more(&mut pump).await?;
    cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_call_is_told_and_terminals_beside_it_are_served() -> anyhow::Result<()>
{
    let cluster = Cluster::start(Store::Embedded, 1, 1).await?;
    let nurse = cluster.terminal("H1-W1-nurse").await?;
    let mut pump = cluster.terminal("H1-W2-pump").await?;
    let from = "H1-LAB-analyser";
    let sized = |bytes: usize| {
        Call::new(&json!({ "to": "H1-W2-away", "from": from, "body": "x".repeat(bytes - 2) }))
    };
    let mut get = Call::text("");
    get.method = "GET";
    let plain = Call { headers: vec![], ..Call::text("{}") };
    for (call, status, word) in [
        (Call::text("{"), 400, "malformed"),
        (Call::text(r#"{"to":"H1-W2-pump"}"#), 400, "invalid"),
        (Call::new(&json!({ "to": "H1-W2-pump", "body": 1 })), 400, "invalid"),
        (Call::new(&json!({ "to": "H1-W2", "from": from, "body": 1 })), 400, "invalid"),
        (get, 405, "method"),
        (sized(65_537), 413, "too-large"),
        (sized(70_000), 413, "too-large"),
        (plain, 415, "media-type"),
        (message("m1", "H1-W2-pump", "x").with("Idempotency-Key", "m2"), 422, "id-mismatch"),
    ] {
        let answered = call.make(cluster.bs(0)).await?;
        ensure!(answered.status == status, "{answered:?}");
        ensure!(answered.json["type"] == format!("urn:wardlink:problem:{word}"), "{answered:?}");
        ensure!(answered.head.contains("application/problem+json"), "{answered:?}");
        nurse.deliver(&mut pump, "still here").await?;
    }
    let answered = sized(65_536).make(cluster.bs(0)).await?;
    ensure!(answered.json["outcome"] == "stored", "{answered:?}");
    ensure!(answered.json["id"].as_str().is_some_and(|id| id.len() == 36), "{answered:?}");
    cluster.end().await
}

/// Calls one after the other, each made again until it has a result.
async fn post_all(bs: &Process, to: &str, count: usize) -> anyhow::Result<usize> {
    let mut again = 0;
    for n in 0..count {
        let call = message(&format!("lab-{n}"), to, &format!("m{n}"));
        loop {
            let answered = call.make(bs).await?;
            if answered.status == 200 {
                break;
            }
            let retry = answered.json["retry"] == Value::Bool(true);
            ensure!(retry && [503, 504].contains(&answered.status), "{answered:?}");
            again += 1;
        }
    }
    Ok(again)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_get_their_results_in_order_while_the_owner_is_killed() -> anyhow::Result<()> {
    const COUNT: usize = 200;
    let database = Database::start().await?;
    let plan = Plan { ms: 2, bs: 1, ..Plan::default() };
    let mut cluster = Cluster::build(Store::Mongo(&database), plan).await?;
    let mut pump = cluster.terminal("H1-W2-pump").await?;
    let owner = cluster.owner_of(pump.end()).await.expect("somebody owns the pump");
    // The killing needs the cluster, the calls only the BS.
    let (mss, bss) = cluster.parts_mut();
    let posting = post_all(&bss[0], "H1-W2-pump", COUNT);
    let showing = async {
        for n in 0..COUNT {
            if n == COUNT / 4 {
                mss[owner].kill();
            }
            next_is(&mut pump, &format!("lab-{n}"), &format!("m{n}")).await?;
        }
        anyhow::Ok(())
    };
    let (again, shown) = tokio::join!(posting, showing);
    shown?;
    println!("{} of {COUNT} calls were made again", again?);
    nothing_more(&mut pump).await?;
    cluster.ms_mut(owner).start().await?;
    cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_answers_the_calls_that_wait() -> anyhow::Result<()> {
    let bs_flags = vec!["--drain".to_owned(), "30s".to_owned()];
    let plan = Plan { bs: 2, bs_flags, ..Plan::default() };
    let mut cluster = Cluster::build(Store::Embedded, plan).await?;
    let pump = cluster.terminal_at(1, "H1-W2-pump").await?;
    let waiting = message("lab-5", "H1-W2-pump", "pause").begin(cluster.bs(0)).await?;
    eventually(PATIENCE, "the call waits", || async {
        matches!(metric(cluster.bs(0), "wardlink_business_server_posts").await, Ok(1.0))
    })
    .await?;
    cluster.bs(0).terminate()?;
    // Nobody acknowledges: the message is stored at two thirds of the deadline.
    taken(&wardlink_tests::cluster::answer(waiting).await?, "lab-5", "stored")?;
    cluster.bs_mut(0).until_stopped().await?;
    let nurse = cluster.terminal_at(1, "H1-W1-nurse").await?;
    nurse.send_and_expect(&"H1-W2-away".parse()?, "on", Outcome::Stored).await?;
    drop(pump);
    cluster.end().await
}

//! The newest session of an end wins: registers and unregisters of older ones that come late.

use anyhow::{Context, ensure};
use uuid::Uuid;
use wardlink_client::{Closed, Connection, Target};
use wardlink_tests::cluster::{
    Clock, Cluster, LinkPeer, PATIENCE, Plan, Registration, Store, Terminal, eventually, welcomed,
    within,
};
use wardlink_tests::database::Database;
use wardlink_wire::terminal::{Down, Up};
use wardlink_wire::{ClientId, CloseCode, EndId, Outcome, SessionId};

/// How far the clocks of the MSs are apart, in seconds.
const APART: i64 = 300;

/// MS 0 has a clock that is five minutes ahead, and the other MS the true one.
async fn with_clocks_apart(database: &Database) -> anyhow::Result<Cluster> {
    let clocks = vec![Clock::ahead(APART)];
    let plan = Plan { ms: 2, bs: 2, clocks, ..Plan::default() };
    let cluster = Cluster::build(Store::Mongo(database), plan).await?;
    let (wrong, right) = (logged_at(&cluster, 0)?, logged_at(&cluster, 1)?);
    let apart = wrong - right;
    ensure!((APART - 30..=APART + 30).contains(&apart), "the clocks are {apart} s apart");
    cluster.until_spread().await?;
    Ok(cluster)
}

/// The time of an MS's first log line by its own clock, in Unix seconds.
fn logged_at(cluster: &Cluster, ms: usize) -> anyhow::Result<i64> {
    let log = cluster.ms(ms).log_text();
    let line: serde_json::Value = serde_json::from_str(log.lines().next().context("no log")?)?;
    let time = humantime::parse_rfc3339(line["timestamp"].as_str().context("no timestamp")?)?;
    Ok(i64::try_from(time.duration_since(std::time::UNIX_EPOCH)?.as_secs())?)
}

/// An end that this MS owns.
async fn end_of(cluster: &Cluster, ms: usize, name: &str) -> anyhow::Result<EndId> {
    for i in 0..1_000 {
        let end: EndId = format!("H1-A2-{name}{i}").parse()?;
        if cluster.owner_of(&end).await == Some(ms) {
            return Ok(end);
        }
    }
    anyhow::bail!("ms{ms} owns nothing")
}

/// A session of a terminal without a client around it.
async fn session(
    cluster: &Cluster,
    bs: usize,
    end: &EndId,
    client: Option<(ClientId, u64)>,
) -> anyhow::Result<(Connection, SessionId)> {
    let url = cluster.bs(bs).terminal_url();
    let target = Target { client, ..Target::new(url, end.clone()) };
    let (connection, welcome) = welcomed(&target).await?;
    Ok((connection, welcome.session))
}

/// This session is the end's: its row is there, and a message comes to it.
async fn has_the_end(
    cluster: &Cluster,
    sender: &Terminal,
    end: &EndId,
    (connection, session): &mut (Connection, SessionId),
) -> anyhow::Result<()> {
    if let Ok(peek) = cluster.peek().await {
        let row = peek.row(end).await?.context("the row is gone")?;
        ensure!(row.session == session.to_string(), "{row:?} is not of {session}");
    }
    let body = Uuid::new_v4().to_string();
    let shown = async {
        match within(PATIENCE, "a message", connection.next()).await?? {
            Down::Message(message) => {
                let up = Up::Ack { seq: message.seq };
                connection.send(&up).await?;
                Ok(message.body)
            }
            other => anyhow::bail!("in place of a message came {other:?}"),
        }
    };
    let (result, shown) =
        tokio::join!(sender.send_and_expect(end, &body, Outcome::Delivered), shown);
    ensure!(shown? == format!("{body:?}"), "another message");
    result.map(drop)
}

/// Late register and unregister of an older session, for an end that `ms` owns.
async fn newer_stays(cluster: &Cluster, ms: usize) -> anyhow::Result<()> {
    let sender = cluster.terminal_at(0, &format!("H1-A2-nurse{ms}")).await?;
    let mut peer = LinkPeer::connect(cluster).await?;

    // Two programs: the register that was accepted later is the newer.
    let end = end_of(cluster, ms, "pump").await?;
    let mut old = Registration::new();
    peer.register(&end, old.clone()).await?;
    let (registered, answer) = peer.answer().await?;
    ensure!(registered && answer.session == old.session, "{answer:?}");
    old.stamp = Some(answer.stamp);
    let mut new = session(cluster, 1, &end, None).await?;
    let (registered, answer) = peer.answer().await?;
    ensure!(!registered && answer.session == old.session, "{answer:?}");
    peer.unregister(&end, old.session).await?;
    // One end's registrations are serial: with this answer the unregister is done as well.
    peer.register(&end, old.clone()).await?;
    let (registered, answer) = peer.answer().await?;
    ensure!(!registered && answer.session == old.session, "{answer:?}");
    ensure!(Some(answer.stamp) > old.stamp, "the winner's stamp is the higher: {answer:?}");
    has_the_end(cluster, &sender, &end, &mut new).await?;

    // One program: the higher connection number is the newer, without any stamp.
    let end = end_of(cluster, ms, "phone").await?;
    let client = ClientId::from_uuid(Uuid::new_v4());
    let mut new = session(cluster, 1, &end, Some((client.clone(), 2))).await?;
    let late = Registration::of(client, 1);
    peer.register(&end, late.clone()).await?;
    let (registered, answer) = peer.answer().await?;
    ensure!(!registered && answer.session == late.session, "{answer:?}");
    peer.unregister(&end, late.session).await?;
    peer.register(&end, late.clone()).await?;
    ensure!(!peer.answer().await?.0, "the older connection got the route");
    has_the_end(cluster, &sender, &end, &mut new).await
}

/// The older session of two real ones is closed, and told why.
async fn older_is_closed(cluster: &Cluster) -> anyhow::Result<()> {
    let sender = cluster.terminal_at(0, "H1-A2-doctor").await?;
    let end: EndId = "H1-A2-tablet".parse()?;
    let (mut old, _) = session(cluster, 0, &end, None).await?;
    let mut new = session(cluster, 1, &end, None).await?;
    match within(PATIENCE, "the older session ends", old.next()).await? {
        Err(Closed::Code { code, .. }) if code == CloseCode::Replaced.code() => {}
        other => anyhow::bail!("the older session got {other:?}"),
    }
    has_the_end(cluster, &sender, &end, &mut new).await?;
    new.0.close().await;
    if let Ok(peek) = cluster.peek().await {
        let gone = || async { matches!(peek.row(&end).await, Ok(None)) };
        eventually(PATIENCE, "the row of who left is removed", gone).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_register_and_unregister_keep_the_newer_session_on_embedded() -> anyhow::Result<()> {
    let cluster = Cluster::start(Store::Embedded, 1, 2).await?;
    newer_stays(&cluster, 0).await?;
    older_is_closed(&cluster).await?;
    cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_register_and_unregister_keep_the_newer_session_whatever_the_clocks_say()
-> anyhow::Result<()> {
    let database = Database::start().await?;
    let cluster = with_clocks_apart(&database).await?;
    newer_stays(&cluster, 0).await?;
    newer_stays(&cluster, 1).await?;
    older_is_closed(&cluster).await?;
    cluster.end().await
}

/// The session that registered with an owner whose clock was five minutes ahead is the older
/// one all the same, for the owner after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newer_session_stays_when_the_owner_with_the_fast_clock_is_killed() -> anyhow::Result<()>
{
    let database = Database::start().await?;
    let mut cluster = with_clocks_apart(&database).await?;
    let sender = cluster.terminal_at(0, "H1-A2-nurse").await?;
    let mut peer = LinkPeer::connect(&cluster).await?;
    let pump = end_of(&cluster, 0, "pump").await?;
    let mut old = Registration::new();
    peer.register(&pump, old.clone()).await?;
    let (registered, answer) = peer.answer().await?;
    ensure!(registered, "{answer:?}");
    old.stamp = Some(answer.stamp);

    cluster.ms_mut(0).kill();
    let mut new = session(&cluster, 1, &pump, None).await?;
    eventually(PATIENCE, "the other MS owns the end", || async {
        cluster.owner_of(&pump).await == Some(1)
    })
    .await?;
    has_the_end(&cluster, &sender, &pump, &mut new).await?;
    peer.register(&pump, old.clone()).await?;
    // It may also be told that the row, which named it, went to the newer session.
    let (registered, answer) = peer.answer().await?;
    ensure!(!registered && answer.session == old.session, "{answer:?}");
    peer.unregister(&pump, old.session).await?;
    peer.register(&pump, old.clone()).await?;
    let (registered, answer) = peer.answer().await?;
    ensure!(!registered && answer.session == old.session, "{answer:?}");
    has_the_end(&cluster, &sender, &pump, &mut new).await?;
    cluster.end().await
}

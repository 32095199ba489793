//! What is logged: never a message's body, never a token or a secret, whatever the level.

use anyhow::{Context, ensure};
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use wardlink_tests::cluster::{Cluster, PATIENCE, Plan, Process, Store, Terminal, within};
use wardlink_tests::database::Database;
use wardlink_wire::{EndId, Outcome};

/// In every body of this story, good or bad.
const BODY: &str = "bodymark7f3a";
/// In every token and secret of this story.
const SECRET: &str = "secretmark9c1e";

/// Opens a WebSocket with a token in each place where one may be, sends these frames, and reads
/// until the server closes it or has answered each.
async fn raw(url: &str, protocol: Option<&str>, frames: &[String]) -> anyhow::Result<()> {
    let mut request = ClientRequestBuilder::new(url.parse()?)
        .with_header("Authorization", format!("Bearer {SECRET}"));
    if let Some(protocol) = protocol {
        request = request.with_sub_protocol(protocol);
    }
    // A server that refuses the handshake has logged what it wants to.
    let Ok((mut socket, _)) = connect_async(request).await else { return Ok(()) };
    for frame in frames {
        if socket.send(Frame::text(frame.clone())).await.is_err() {
            break;
        }
        within(PATIENCE, "an answer to a bad frame", socket.next()).await?;
    }
    // The server may be gone already.
    let _ = socket.close(None).await;
    Ok(())
}

async fn bad_frames(bs: &Process, ms: &Process) -> anyhow::Result<()> {
    let query = "hospitalCode=H1&hosareaCode=A2&uid=bad";
    let bad = [
        format!("{{ {BODY}"),
        format!(r#"{{"type":"{BODY}"}}"#),
        format!(r#"{{"type":"send","id":"1","to":"{BODY}","body":"{BODY}"}}"#),
        format!(r#"{{"type":"send","id":"{BODY} ","to":"H1-A2-x","body":"{BODY}"}}"#),
        format!(r#"{{"type":"ack","seq":"{BODY}"}}"#),
        format!(r#"{{"type":"token","token":"{SECRET}"}}"#),
    ];
    for frame in &bad {
        let url = format!("{}?{query}", bs.terminal_url());
        raw(&url, Some("wardlink.v1"), std::slice::from_ref(frame)).await?;
    }
    let with_token = format!("{}?{query}&token={SECRET}&access_token={SECRET}", bs.terminal_url());
    raw(&with_token, Some(&format!("wardlink.bearer.{SECRET}")), &[]).await?;
    raw(&ms.link_url(), Some("wardlink.link.v1"), &[format!("{{ {BODY} {SECRET}")]).await?;
    let item = format!(r#"{{"type":2,"endIdentifer":"H1-A2-x","messageContent":"{BODY}"}}"#);
    raw(&ms.link_url(), Some("wardlink.link.v1"), std::slice::from_ref(&item)).await
}

/// Delivered, stored, shown later, sent again through another owner, refused.
async fn traffic(cluster: &mut Cluster) -> anyhow::Result<()> {
    let sender = cluster.terminal_at(0, "H1-A2-nurse").await?;
    let mut target = cluster.terminal_at(1, "H1-A2-pump").await?;
    for i in 0..20 {
        sender.deliver(&mut target, &format!("{BODY} {i}")).await?;
    }
    let away: EndId = "H1-A2-away".parse()?;
    for i in 0..5 {
        sender.send_and_expect(&away, &format!("{BODY} {i}"), Outcome::Stored).await?;
    }
    let large = BODY.repeat(64 * 1024 / BODY.len() + 1);
    let refused = sender.send(&away, &large).await;
    if let Ok(sending) = refused {
        within(PATIENCE, "the result of a large one", sending).await?;
    }
    let mut back = cluster.terminal_at(1, "H1-A2-away").await?;
    let message = back.next().await?;
    ensure!(message.body_text().contains(BODY), "{message:?}");
    // It leaves without an ack: the rest is marked, and appended again.
    back.close().await;
    bad_frames(cluster.bs(0), cluster.ms(0)).await?;
    let open = sender.send(target.end(), BODY).await?;
    cluster.ms_mut(0).kill();
    cluster.ms_mut(0).start().await?;
    let _taken: Result<_, _> = target.next().await.map(|message| message.ack());
    within(PATIENCE, "a result after the restart", open).await?;
    stop(sender, target).await
}

async fn stop(sender: Terminal, target: Terminal) -> anyhow::Result<()> {
    sender.close().await;
    target.close().await;
    Ok(())
}

/// Each line is JSON with the fields that OPERATIONS.md names; how many there are of a level.
fn check(log: &str, name: &str, level: &str) -> anyhow::Result<usize> {
    let mut count = 0;
    for line in log.lines() {
        let line: serde_json::Value =
            serde_json::from_str(line).with_context(|| format!("{name}: {line}"))?;
        for field in ["timestamp", "level", "target", "message"] {
            ensure!(line[field].is_string(), "{name}: no {field} in {line}");
        }
        count += usize::from(line["level"] == level);
    }
    Ok(count)
}

async fn nothing_secret(store: Store<'_>) -> anyhow::Result<()> {
    let plan = Plan { bs: 2, log_filter: "trace".to_owned(), ..Plan::default() };
    let mut cluster = Cluster::build(store, plan).await?;
    traffic(&mut cluster).await?;
    let mut all = [0; 3];
    let mut processes = vec![cluster.ms_mut(0)];
    for process in &mut processes {
        process.stop().await?;
    }
    for i in 0..2 {
        cluster.bs_mut(i).stop().await?;
    }
    for process in [cluster.ms(0), cluster.bs(0), cluster.bs(1)] {
        let (log, name) = (process.log_text(), process.name());
        for (level, sum) in ["DEBUG", "INFO", "WARN"].into_iter().zip(&mut all) {
            *sum += check(&log, name, level)?;
        }
        ensure!(log.contains("server stopped"), "{name} does not say that it stopped");
        for mark in [BODY, SECRET] {
            let leak = log.lines().find(|line| line.contains(mark));
            ensure!(leak.is_none(), "{name} logs {mark}: {leak:?}");
        }
    }
    ensure!(all.iter().all(|count| *count > 0), "lines of DEBUG, INFO and WARN: {all:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_body_and_no_token_is_logged_at_any_level_on_embedded() -> anyhow::Result<()> {
    nothing_secret(Store::Embedded).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_body_and_no_token_is_logged_at_any_level_on_mongodb() -> anyhow::Result<()> {
    let database = Database::start().await?;
    nothing_secret(Store::Mongo(&database)).await
}

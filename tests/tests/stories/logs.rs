//! What is logged: never a message's body, never a token or a secret, whatever the level.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use wardlink_identity::{ClaimNames, Grant, Signer, new_secret};
use wardlink_tests::cluster::{Cluster, Links, PATIENCE, Plan, Process, Store, Terminal, within};
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

/// Where a token is.
#[derive(Debug, Clone, Copy)]
enum Carrier {
    Header,
    SubProtocol,
    FirstFrame,
}

/// Connects with a token, and says whether it was welcomed. In a session it then sends the token
/// once more, as a refresh, and a message.
async fn enter(url: &str, carrier: Carrier, token: &str) -> anyhow::Result<bool> {
    let mut request = ClientRequestBuilder::new(url.parse()?).with_sub_protocol("wardlink.v1");
    match carrier {
        Carrier::Header => {
            request = request.with_header("Authorization", format!("Bearer {token}"));
        }
        Carrier::SubProtocol => {
            request = request.with_sub_protocol(format!("wardlink.bearer.{token}"));
        }
        Carrier::FirstFrame => {}
    }
    let Ok((mut socket, _)) = connect_async(request).await else { return Ok(false) };
    let frame = format!(r#"{{"type":"token","token":"{token}"}}"#);
    socket.send(Frame::text(frame.clone())).await?;
    let mut welcomed = false;
    while let Some(Ok(answer)) = within(PATIENCE, "an answer", socket.next()).await? {
        let Frame::Text(text) = answer else { break };
        if text.contains(r#""type":"welcome""#) {
            welcomed = true;
            socket.send(Frame::text(frame.clone())).await?;
            let to = r#"{"type":"send","id":"1","to":"H1-A2-away","body":1}"#;
            socket.send(Frame::text(to.to_owned())).await?;
        } else if text.contains(r#""type":"result""#) {
            break;
        }
    }
    // The server may be gone already.
    let _ = socket.close(None).await;
    Ok(welcomed)
}

/// Posts a message, good or bad, and says with which status it was answered.
async fn post(bs: &Process, token: &str, body: &str) -> anyhow::Result<String> {
    let mut socket = TcpStream::connect(("127.0.0.1", bs.port())).await?;
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all((head + body).as_bytes()).await?;
    let mut answer = String::new();
    within(PATIENCE, "an answer", socket.read_to_string(&mut answer)).await??;
    Ok(answer.split(' ').nth(1).context("a status")?.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_and_no_key_is_logged_whether_it_counts_or_not() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (secret, other) = (new_secret([7; 32]), new_secret([8; 32]));
    let file = dir.path().join("keys");
    std::fs::write(&file, &secret)?;
    let link = dir.path().join("link-secret");
    std::fs::write(&link, format!("{SECRET}{SECRET}\n"))?;
    let link = link.to_string_lossy();
    let flags =
        ["--auth", "jwt", "--jwt-keys", &file.to_string_lossy(), "--link-secret-file", &link];
    let plan = Plan {
        links: Links::Flags,
        ms_flags: ["--link-secret-file", &link].map(str::to_owned).to_vec(),
        bs_flags: flags.map(str::to_owned).to_vec(),
        log_filter: "trace".to_owned(),
        ..Plan::default()
    };
    let mut cluster = Cluster::build(Store::Embedded, plan).await?;
    let url = cluster.bs(0).terminal_url();
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let sign = |secret: &str, uid: &str, at: u64| -> anyhow::Result<String> {
        let grant = Grant::new(format!("H1-A2-{uid}").parse()?, Duration::from_secs(600));
        Ok(Signer::from_file(secret.as_bytes(), None)?.sign(&grant, &ClaimNames::default(), at)?)
    };
    let mut shown = vec![secret.trim().to_owned(), SECRET.to_owned(), BODY.to_owned()];
    for carrier in [Carrier::Header, Carrier::SubProtocol, Carrier::FirstFrame] {
        for (secret, at, counts) in
            [(&secret, now, true), (&secret, now - 3_600, false), (&other, now, false)]
        {
            let token = sign(secret, &format!("{carrier:?}"), at)?;
            let welcomed = enter(&url, carrier, &token).await?;
            ensure!(welcomed == counts, "{carrier:?}: welcomed is {welcomed}");
            // Any part of it: the claims name a person, the signature is the secret.
            shown.extend(token.split('.').skip(1).map(str::to_owned));
        }
    }
    // Of a program that knows no link secret.
    raw(&cluster.ms(0).link_url(), Some("wardlink.link.v1"), &[]).await?;
    let token = sign(&secret, "post", now)?;
    let good = format!(r#"{{"to":"H1-A2-away","id":"p1","body":"{BODY}"}}"#);
    for (token, body, status) in [
        (token.as_str(), good.as_str(), "200"),
        (&token, &format!(r#"{{"to":"{BODY}","body":"{BODY}"}}"#), "400"),
        (&token, &format!("{{ {BODY}"), "400"),
        (&format!("{SECRET}.x.y"), &good, "401"),
    ] {
        let answered = post(cluster.bs(0), token, body).await?;
        ensure!(answered == status, "{answered} in place of {status}");
    }
    shown.extend(token.split('.').skip(1).map(str::to_owned));
    cluster.bs_mut(0).stop().await?;
    cluster.ms_mut(0).stop().await?;
    for process in [cluster.ms(0), cluster.bs(0)] {
        let (log, name) = (process.log_text(), process.name());
        ensure!(check(&log, name, "DEBUG")? + check(&log, name, "INFO")? > 5, "{name} logs little");
        for mark in &shown {
            ensure!(!log.contains(mark.as_str()), "{name} logs {mark}");
        }
    }
    Ok(())
}

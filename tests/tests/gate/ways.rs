//! The ways in, and that a token is one end and no other.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::time::Instant;
use wardlink_tests::cluster::Terminal;
use wardlink_tests::raw::{BINARY, Came, Frame, PING, PONG, Raw};

use super::keys::{jwks, rsa};
use super::mint::Mint;
use super::{
    Gate, authorization, enter, send_frame, sent_away, subprotocols, token_frame, welcomed,
};

/// Nobody the query may say, whoever the token names.
const OTHER: &str = "/ws?hospitalCode=H9&hosareaCode=A9&uid=chief&client=c1&n=1";

async fn open() -> anyhow::Result<(Gate, Mint)> {
    let gate = Gate::open(&jwks(&[rsa().jwk("r1")]), &[]).await?;
    Ok((gate, Mint::rsa(rsa(), Some("r1"))))
}

/// Sends from a connection, and the target must get it from `from`.
async fn sends_as(raw: &mut Raw, pump: &mut Terminal, id: &str, from: &str) -> anyhow::Result<()> {
    let to = pump.end().as_str();
    let frame = json!({
        "type": "send", "id": id, "to": to, "body": id, "from": "H9-A9-chief",
        "end": "H9-A9-chief", "token": "x",
    });
    raw.send(Frame::text(frame.to_string())).await;
    let message = pump.next().await?;
    ensure!(message.body_text() == format!("\"{id}\""), "{message:?}");
    let came = message.from.as_ref().map(|from| from.as_str());
    ensure!(came == Some(from), "from {came:?} in place of {from}");
    message.ack();
    let result: Value = serde_json::from_str(&raw.text().await?)?;
    ensure!(result["outcome"] == "delivered", "{result}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_shows_a_token_in_whichever_way_is_its_end_and_no_other() -> anyhow::Result<()> {
    let (gate, mint) = open().await?;
    let mut pump = gate.terminal("H1-A2-pump", &mint.lasting("H1-A2-pump")).await?;
    for (i, path) in ["/ws", OTHER].into_iter().enumerate() {
        let token = mint.lasting("H1-A2-nurse");
        let list = format!("Sec-WebSocket-Protocol: wardlink.bearer.{token}\r\n");
        for (what, headers) in [
            ("authorization", authorization(&token)),
            ("lower", format!("authorization: bearer  {token} \r\n")),
            ("list", subprotocols(&token)),
            ("both", format!("{}{}", authorization(&token), subprotocols("x"))),
            ("only-token", list),
        ] {
            let mut raw = Raw::connect(gate.bs().port()).await?;
            let request = wardlink_tests::raw::upgrade(gate.bs().port(), path, &headers);
            let (status, head) = raw.request(&request).await?;
            ensure!(status == 101, "{what}: {head}");
            let answered: Vec<&str> = head
                .lines()
                .filter(|line| line.to_ascii_lowercase().starts_with("sec-websocket-protocol"))
                .collect();
            match what {
                "list" | "both" => ensure!(
                    matches!(answered[..], [one] if one.ends_with(": wardlink.v1")),
                    "{what}: {answered:?}"
                ),
                _ => ensure!(answered.is_empty(), "{what}: {answered:?}"),
            }
            ensure!(!head.contains(&token), "the token is told back");
            let end = welcomed(&mut raw).await.context(what)?;
            ensure!(end == "H1-A2-nurse", "{what}: {end}");
            sends_as(&mut raw, &mut pump, &format!("{what}-{i}"), "H1-A2-nurse").await?;
        }
        let mut raw = Raw::open(gate.bs().port(), path, "").await?;
        raw.send(token_frame(&token)).await;
        let end = welcomed(&mut raw).await.context("first frame")?;
        ensure!(end == "H1-A2-nurse", "first frame: {end}");
        sends_as(&mut raw, &mut pump, &format!("frame-{i}"), "H1-A2-nurse").await?;
    }
    gate.cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_shows_no_token_is_sent_away_after_ten_seconds() -> anyhow::Result<()> {
    let (gate, _) = open().await?;
    for pings in [false, true] {
        let begun = Instant::now();
        let mut raw = Raw::open(gate.bs().port(), OTHER, "").await?;
        if pings {
            // A sign of life is not a token.
            raw.send(Frame::new(PING, "")).await;
        }
        sent_away(&mut raw, 4501, "no token within 10 s").await?;
        let took = begun.elapsed().as_secs_f64();
        ensure!((9.9..13.0).contains(&took), "after {took} s");
    }
    gate.cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_taken_before_the_token() -> anyhow::Result<()> {
    let (gate, mint) = open().await?;
    let token = mint.lasting("H1-A2-nurse");
    let mut pump = gate.terminal("H1-A2-pump", &mint.lasting("H1-A2-pump")).await?;
    let must = "the first frame must be a token";
    let large = "the first frame is too large for a token";
    for (what, frame, why) in [
        ("a send", send_frame("early", "H1-A2-pump", "early"), must),
        ("an ack", Frame::text("{\"type\":\"ack\",\"seq\":1}"), must),
        ("garbage", Frame::text("garbage"), must),
        ("a token that is no text", Frame::text("{\"type\":\"token\",\"token\":1}"), must),
        ("a binary token", Frame::new(BINARY, token.clone()), must),
        ("the bare token", Frame::text(token.clone()), must),
        ("a frame of 60 KB", Frame::text("x".repeat(60_000)), large),
    ] {
        let mut raw = Raw::open(gate.bs().port(), OTHER, "").await?;
        raw.send(frame).await;
        // Too late, however good.
        raw.send(token_frame(&token)).await;
        raw.send(send_frame("late", "H1-A2-pump", "late")).await;
        sent_away(&mut raw, 4501, why).await.context(what)?;
    }
    // The beginning of one is enough: the rest is not waited for, nor held.
    let mut raw = Raw::open(gate.bs().port(), OTHER, "").await?;
    raw.write(&Frame::text("x".repeat(60_000)).bytes()[..20_000]).await;
    sent_away(&mut raw, 4501, large).await.context("a third of a frame of 60 KB")?;
    // One that is beyond every bound of the port.
    let mut raw = Raw::open(gate.bs().port(), OTHER, "").await?;
    raw.send(Frame::text("x".repeat(100_000))).await;
    let end = raw.end().await?;
    ensure!(matches!(end, Came::Close(4502, _)), "{end:?}");
    // And nothing of all this has gone on.
    let (mut raw, _) = enter(gate.bs(), &token).await?;
    sends_as(&mut raw, &mut pump, "first", "H1-A2-nurse").await?;
    gate.cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_not_read_for_long_is_not_taken_for_silent() -> anyhow::Result<()> {
    let gate = Gate::open(&jwks(&[rsa().jwk("r1")]), &["--session-rate", "1"]).await?;
    let mint = Mint::rsa(rsa(), Some("r1"));
    let (mut raw, _) = enter(gate.bs(), &mint.lasting("H1-A2-nurse")).await?;
    // Worth 50 frames: it is not read for longer than a silent one is kept.
    let begun = Instant::now();
    raw.send(token_frame(&mint.lasting("H1-A2-nurse"))).await;
    raw.send(Frame::new(PING, "there?")).await;
    let came = loop {
        match raw.next().await {
            // Nothing yet.
            Err(_) if begun.elapsed().as_secs() < 60 => {}
            came => break came?,
        }
    };
    ensure!(came == Came::Frame(PONG, b"there?".to_vec()), "{came:?} in place of a pong");
    ensure!(begun.elapsed().as_secs() >= 40, "it was read after {:?}", begun.elapsed());
    gate.cluster.end().await
}

//! A session lasts as long as its token: it ends then, and a frame with another token keeps it.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use wardlink_tests::cluster::{Beside, within};
use wardlink_tests::raw::{ANSWER, Came, Raw};

use super::keys::{jwks, rsa};
use super::mint::{Mint, now, until};
use super::{Gate, closes, enter, stands, token_frame};

/// Seconds for which a token counts after its `exp`.
const LEEWAY: u64 = 1;
/// What a busy machine may add, in seconds.
const SLACK: u64 = 3;

async fn open() -> anyhow::Result<(Gate, Mint)> {
    let gate = Gate::open(&jwks(&[rsa().jwk("r1")]), &["--jwt-leeway", "1s"]).await?;
    Ok((gate, Mint::rsa(rsa(), Some("r1"))))
}

/// The session must be closed when this `exp` is over, not sooner and not later.
async fn ends_at(raw: &mut Raw, exp: u64) -> anyhow::Result<()> {
    let end = within(ANSWER * 2, "the end of the session", raw.end()).await??;
    let at = now();
    ensure!(matches!(end, Came::Close(4506, _)), "{end:?}");
    let due = exp + LEEWAY;
    ensure!((due..=due + SLACK).contains(&at), "closed {} s after exp", at as i64 - exp as i64);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_when_its_token_does() -> anyhow::Result<()> {
    let (gate, mint) = open().await?;
    let nurse = gate.terminal("H1-A2-nurse", &mint.lasting("H1-A2-nurse")).await?;
    let pump = gate.terminal("H1-A2-pump", &mint.lasting("H1-A2-pump")).await?;
    let mut beside = Beside::new(nurse, pump).await?;
    let exp = now() + 3;
    let (mut one, _) = enter(gate.bs(), &mint.token("H1-A2-one", exp)).await?;
    // One that came by its first frame is no other.
    let mut two = Raw::open(gate.bs().port(), "/ws", "").await?;
    two.send(token_frame(&mint.token("H1-A2-two", exp))).await;
    super::welcomed(&mut two).await?;
    // Traffic does not keep it.
    stands(&mut one).await?;
    let (first, second) = tokio::join!(ends_at(&mut one, exp), ends_at(&mut two, exp));
    first.and(second)?;
    beside.unharmed("two ends of sessions").await?;
    ensure!(closes(gate.bs(), "identity_expired").await? == 2.0, "they are counted");
    // Nor may it come again.
    let token = mint.token("H1-A2-one", exp);
    let (status, text) = super::handshake(gate.bs(), "/ws", &super::authorization(&token)).await?;
    ensure!(status == 401 && text.contains("token has expired"), "{text}");
    gate.cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_goes_on_with_a_fresh_token_until_that_ends() -> anyhow::Result<()> {
    let (gate, mint) = open().await?;
    let first = now() + 3;
    let (mut raw, _) = enter(gate.bs(), &mint.token("H1-A2-nurse", first)).await?;
    let second = first + 4;
    raw.send(token_frame(&mint.token("H1-A2-nurse", second))).await;
    // It is not answered: the pong is next.
    stands(&mut raw).await?;
    until(first + LEEWAY + 1).await;
    stands(&mut raw).await.context("beyond its first token")?;
    ends_at(&mut raw, second).await?;
    // One that ends sooner shortens it as well.
    let (mut raw, _) = enter(gate.bs(), &mint.lasting("H1-A2-nurse")).await?;
    let soon = now() + 1;
    raw.send(token_frame(&mint.token("H1-A2-nurse", soon))).await;
    ends_at(&mut raw, soon).await?;
    gate.cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_fresh_token_leaves_a_session_its_old_end() -> anyhow::Result<()> {
    let (gate, mint) = open().await?;
    let exp = now() + 5;
    let (mut raw, _) = enter(gate.bs(), &mint.token("H1-A2-nurse", exp)).await?;
    let other = super::keys::rsa_of(aws_lc_rs::rsa::KeySize::Rsa2048);
    for (what, token, why) in [
        ("another end's", mint.lasting("H1-A2-chief"), "token is another end's"),
        ("expired", mint.token("H1-A2-nurse", now() - 60), "token has expired"),
        (
            "another key's",
            Mint::rsa(&other, Some("r1")).lasting("H1-A2-nurse"),
            "signature is by no key known here",
        ),
        ("garbage", "garbage".to_owned(), "token is no signed JWT (header.claims.signature)"),
        ("none", String::new(), "no token"),
    ] {
        raw.send(token_frame(&token)).await;
        let text = raw.text().await.context(what)?;
        let error: Value = serde_json::from_str(&text)?;
        let wanted = json!({ "type": "error", "code": "bad-token", "text": why });
        ensure!(error == wanted, "{what}: {text}");
        stands(&mut raw).await.context(what)?;
    }
    ends_at(&mut raw, exp).await?;
    gate.cluster.end().await
}

//! Keys that come from a URL: when they are fetched, and that trouble with them harms nobody whose
//! key is known.

use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::time::{Instant, sleep};
use wardlink_tests::cluster::{Beside, Call, Cluster, PATIENCE, Plan, Process, Store, eventually};
use wardlink_tests::raw::{Came, Raw};

use super::key_server::{Answer, KeyServer};
use super::keys::{Pair, ec, jwks, oct, rsa};
use super::mint::Mint;
use super::{authorization, closes, enter, handshake, sent_away, stands, terminal, token_frame};

/// Keys are not fetched twice within this, whatever tokens are shown.
const GAP: Duration = Duration::from_secs(10);
/// Between two looks at a BS.
const LOOK: Duration = Duration::from_millis(50);

async fn open(server: &KeyServer) -> anyhow::Result<Cluster> {
    let flags = ["--auth", "jwt", "--jwt-jwks-url", &server.url()].map(str::to_owned).to_vec();
    Cluster::build(Store::Embedded, Plan { bs_flags: flags, ..Plan::default() }).await
}

/// Three keys, and what signs with each.
struct Issuer {
    pairs: [Pair; 2],
}

impl Issuer {
    fn new() -> Self {
        Self { pairs: [ec(), ec()] }
    }

    fn a(&self) -> Mint {
        Mint::rsa(rsa(), Some("a"))
    }

    fn b(&self) -> Mint {
        Mint::ec(&self.pairs[0], Some("b"))
    }

    /// Of a key that is never told.
    fn never(&self) -> Mint {
        Mint::ec(&self.pairs[1], Some("never"))
    }

    fn only_a(&self) -> Vec<u8> {
        jwks(&[rsa().jwk("a")])
    }

    fn both(&self) -> Vec<u8> {
        jwks(&[rsa().jwk("a"), self.pairs[0].jwk("b")])
    }

    fn only_b(&self) -> Vec<u8> {
        jwks(&[self.pairs[0].jwk("b")])
    }
}

async fn status(bs: &Process, token: &str) -> anyhow::Result<u16> {
    Ok(handshake(bs, "/ws", &authorization(token)).await?.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bs_is_not_ready_and_lets_nobody_in_before_it_has_keys() -> anyhow::Result<()> {
    let issuer = Issuer::new();
    let mut server = KeyServer::start(issuer.only_a()).await?;
    let mut cluster = open(&server).await?;
    enter(cluster.bs(0), &issuer.a().lasting("H1-A2-nurse")).await?;
    server.down().await;
    let bs = cluster.bs_mut(0);
    bs.kill();
    bs.launch()?;
    let waits = async || match bs.get("/readyz").await {
        Ok((503, text)) => text.contains("keys") && !text.contains("links"),
        Ok(_) | Err(_) => false,
    };
    eventually(PATIENCE, "it waits for keys alone", waits).await?;
    let token = issuer.a().lasting("H1-A2-nurse");
    let (status, answer) = handshake(bs, "/ws", &authorization(&token)).await?;
    ensure!(status == 503 && answer.contains("keys for tokens have not been read"), "{answer}");
    ensure!(answer.to_ascii_lowercase().contains("retry-after: "), "{answer}");
    let call = Call::new(&serde_json::json!({ "to": "H1-A2-pump", "body": 1 }));
    let answered = call.bearer(&token).make(bs).await?;
    ensure!(answered.status == 503 && answered.json["retry"] == true, "{answered:?}");
    ensure!(answered.head.contains("\r\nretry-after: 5\r\n"), "{}", answered.head);
    let mut raw = Raw::open(bs.port(), "/ws", "").await?;
    raw.send(token_frame(&token)).await;
    sent_away(&mut raw, 4003, "the keys for tokens have not been read yet").await?;
    // An answer that holds no keys is not enough.
    server.answer(Answer::Body(b"{\"keys\":[]}".to_vec()));
    let asked = server.asked();
    server.up().await?;
    let again = || std::future::ready(server.asked() > asked + 1);
    eventually(PATIENCE, "it asks twice", again).await?;
    ensure!(!bs.ready().await, "it is ready without keys");
    server.answer(Answer::Body(issuer.only_a()));
    bs.until_ready().await?;
    enter(bs, &token).await?;
    cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_kid_brings_new_keys_and_takes_away_old_ones() -> anyhow::Result<()> {
    let issuer = Issuer::new();
    let server = KeyServer::start(issuer.only_a()).await?;
    let cluster = open(&server).await?;
    let bs = cluster.bs(0);
    ensure!(server.asked() == 1, "fetched once, at the start");
    let (mut old, _) = enter(bs, &issuer.a().lasting("H1-A2-old")).await?;
    server.answer(Answer::Body(issuer.both()));
    // Until the gap is over it is refused; then it brings its key by itself.
    let token = issuer.b().lasting("H1-A2-new");
    let known = async || matches!(status(bs, &token).await, Ok(101));
    eventually(GAP + Duration::from_secs(5), "the new key is known", known).await?;
    let begun = Instant::now();
    ensure!(server.asked() == 2, "fetched once more, not {} times", server.asked());
    let (mut new, _) = enter(bs, &token).await?;
    // However many come with unknown keys, nobody asks its server for them.
    for i in 0..50 {
        let token = issuer.never().lasting(&format!("H1-A2-foe{i}"));
        ensure!(status(bs, &token).await? == 401, "a key that nobody knows");
    }
    ensure!(begun.elapsed() > GAP || server.asked() == 2, "fetched for nothing");
    stands(&mut old).await?;
    // The next fetch takes the old key away, and whom it had let in.
    server.answer(Answer::Body(issuer.only_b()));
    let token = issuer.never().lasting("H1-A2-foe");
    let foe = async {
        loop {
            ensure!(status(bs, &token).await? == 401, "a key that nobody knows");
            sleep(LOOK).await;
        }
    };
    let end = tokio::select! {
        end = old.end() => end?,
        never = foe => return never,
    };
    ensure!(matches!(end, Came::Close(4007, _)), "{end:?}");
    let took = begun.elapsed();
    let (from, to) = (GAP - Duration::from_secs(1), GAP + Duration::from_secs(5));
    ensure!(from < took && took < to, "the keys were fetched again after {took:?}");
    ensure!(server.asked() == 3, "fetched {} times", server.asked());
    ensure!(status(bs, &issuer.a().lasting("H1-A2-old")).await? == 401, "the old key is gone");
    stands(&mut new).await?;
    ensure!(closes(bs, "key_withdrawn").await? == 1.0, "it is counted");
    cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_stay_as_they_are_while_their_server_is_in_trouble() -> anyhow::Result<()> {
    let issuer = Issuer::new();
    let mut server = KeyServer::start(issuer.only_a()).await?;
    let cluster = open(&server).await?;
    let bs = cluster.bs(0);
    let nurse = terminal(&cluster, "H1-A2-nurse", &issuer.a().lasting("H1-A2-nurse")).await?;
    let pump = terminal(&cluster, "H1-A2-pump", &issuer.a().lasting("H1-A2-pump")).await?;
    let mut beside = Beside::new(nurse, pump).await?;
    let (mut old, _) = enter(bs, &issuer.a().lasting("H1-A2-old")).await?;
    let foe = issuer.never().lasting("H1-A2-foe");
    let mut huge = issuer.both();
    huge.resize(2 * 1024 * 1024, b' ');
    let secret = jwks(&[rsa().jwk("a"), oct("never", &[7; 32])]);
    let elsewhere = "302 Found\r\nLocation: http://127.0.0.1:1/";
    // Each with what the log must say of it. No two neighbours say the same, which would be
    // logged once.
    let troubles = [
        ("500", Answer::Status("500 Internal Server Error"), "answered 500"),
        ("a huge body", Answer::Body(huge), "larger than 1048576 bytes"),
        ("a redirect", Answer::Status(elsewhere), "answered 302"),
        ("a body without an end", Answer::Flood, "larger than 1048576 bytes"),
        ("a secret", Answer::Body(secret), "must not hold secrets"),
        ("a body that drips", Answer::Drip, "no answer"),
        ("garbage", Answer::Body(b"<html>sign in</html>".to_vec()), "no JWKS"),
        ("no keys", Answer::Body(b"{\"keys\":[]}".to_vec()), "no key that can be used"),
    ];
    let count = |text: &str| bs.log_text().matches(text).count();
    let unread = async || bs.metric("wardlink_business_server_keys_unread_total").await;
    let read_at = async || bs.metric("wardlink_business_server_keys_read_time_seconds").await;
    let well = read_at().await?;
    ensure!(well > 1.7e9 && unread().await? == 0.0, "read at {well}");
    for (what, answer, logged) in troubles {
        let before = count(logged);
        server.answer(answer);
        // Who comes with an unknown key makes it ask, where it does not by itself.
        let noticed = async || matches!(status(bs, &foe).await, Ok(401)) && count(logged) > before;
        eventually(PATIENCE * 2, what, noticed).await?;
        stands(&mut old).await.context(what)?;
        enter(bs, &issuer.a().lasting("H1-A2-new")).await.context(what)?;
        ensure!(bs.ready().await, "{what}: it is not ready");
        beside.unharmed(what).await?;
    }
    let before = count("no answer");
    server.down().await;
    let noticed = async || matches!(status(bs, &foe).await, Ok(401)) && count("no answer") > before;
    eventually(PATIENCE * 2, "nobody listens", noticed).await?;
    stands(&mut old).await?;
    enter(bs, &issuer.a().lasting("H1-A2-new")).await?;
    beside.unharmed("nobody listens").await?;
    ensure!(unread().await? >= 9.0 && read_at().await? == well, "each trouble is counted");
    // When it is well again, new keys come.
    server.answer(Answer::Body(issuer.both()));
    server.up().await?;
    let token = issuer.b().lasting("H1-A2-new");
    let known = async || matches!(status(bs, &token).await, Ok(101));
    eventually(PATIENCE * 2, "the new key is known", known).await?;
    ensure!(read_at().await? > well, "they were read again");
    stands(&mut old).await?;
    beside.unharmed("all").await?;
    cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bs_that_waits_for_keys_stops_cleanly() -> anyhow::Result<()> {
    let issuer = Issuer::new();
    let server = KeyServer::start(issuer.only_a()).await?;
    let mut cluster = open(&server).await?;
    server.answer(Answer::Silence);
    let asked = server.asked();
    let bs = cluster.bs_mut(0);
    bs.kill();
    bs.launch()?;
    let waits = async || server.asked() > asked;
    eventually(PATIENCE, "it asks for keys", waits).await?;
    let begun = Instant::now();
    // Fails where it does not exit with 0.
    bs.stop().await?;
    ensure!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
    cluster.end().await
}

//! P8, the terminals' part: who shows no good token is not let in, who shows one is that end and
//! no other, for as long as the token and its key count, and nobody beside notices anything.
//!
//! A real BS, tokens made by hand as a foe would make them ([`mint`]), and peers made of bytes.

mod bad_tokens;
mod expiry;
mod fetched;
mod key_server;
#[path = "../../../crates/identity/tests/support/mod.rs"]
mod keys;
mod mint;
mod rotation;
mod shell;
mod ways;

use std::path::PathBuf;

use anyhow::{Context, ensure};
use serde_json::Value;
use tempfile::TempDir;
use wardlink_client::{BearerToken, Identity, TokenSource};
use wardlink_tests::cluster::{Cluster, Plan, Process, Store, Terminal};
use wardlink_tests::raw::{Came, Frame, PING, PONG, Raw};

/// A BS that verifies tokens by keys of a file, and its MS.
struct Gate {
    cluster: Cluster,
    file: PathBuf,
    _dir: TempDir,
}

impl Gate {
    /// With these keys, and further flags of the BS.
    async fn open(keys: &[u8], flags: &[&str]) -> anyhow::Result<Self> {
        let dir = TempDir::with_prefix("wardlink-gate-")?;
        let file = dir.path().join("keys");
        std::fs::write(&file, keys)?;
        let mut bs_flags = vec!["--auth", "jwt", "--jwt-keys", file.to_str().context("a path")?];
        bs_flags.extend(flags);
        let bs_flags = bs_flags.into_iter().map(str::to_owned).collect();
        let cluster = Cluster::build(Store::Embedded, Plan { bs_flags, ..Plan::default() }).await?;
        Ok(Self { cluster, file, _dir: dir })
    }

    fn bs(&self) -> &Process {
        self.cluster.bs(0)
    }

    /// Puts other keys in the place of those that there are.
    fn rotate(&self, keys: &[u8]) -> anyhow::Result<()> {
        let new = self.file.with_extension("new");
        std::fs::write(&new, keys)?;
        Ok(std::fs::rename(&new, &self.file)?)
    }

    /// A terminal of the client library with this token.
    async fn terminal(&self, end: &str, token: &str) -> anyhow::Result<Terminal> {
        terminal(&self.cluster, end, token).await
    }
}

async fn terminal(cluster: &Cluster, end: &str, token: &str) -> anyhow::Result<Terminal> {
    let mut config = cluster.config(end)?;
    config.identity = Identity::Bearer(TokenSource::fixed(BearerToken::new(token)?));
    Terminal::connect(config).await
}

fn authorization(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn subprotocols(token: &str) -> String {
    format!("Sec-WebSocket-Protocol: wardlink.v1, wardlink.bearer.{token}\r\n")
}

/// The first frame of a terminal that shows its token so, and every later one.
fn token_frame(token: &str) -> Frame {
    Frame::text(serde_json::json!({ "type": "token", "token": token }).to_string())
}

/// A send of a terminal.
fn send_frame(id: &str, to: &str, body: &str) -> Frame {
    let frame = serde_json::json!({ "type": "send", "id": id, "to": to, "body": body });
    Frame::text(frame.to_string())
}

/// A connection with a token in its handshake, and the end that it is welcomed as.
async fn enter(bs: &Process, token: &str) -> anyhow::Result<(Raw, String)> {
    let mut raw = Raw::open(bs.port(), "/ws", &authorization(token)).await?;
    let end = welcomed(&mut raw).await?;
    Ok((raw, end))
}

/// The end that a connection is welcomed as; the welcome must be next.
async fn welcomed(raw: &mut Raw) -> anyhow::Result<String> {
    let welcome: Value = serde_json::from_str(&raw.text().await?)?;
    ensure!(welcome["type"] == "welcome", "{welcome}");
    Ok(welcome["end"].as_str().context("an end")?.to_owned())
}

/// Status and text of a handshake with these headers.
async fn handshake(bs: &Process, path: &str, headers: &str) -> anyhow::Result<(u16, String)> {
    let mut raw = Raw::connect(bs.port()).await?;
    raw.request(&wardlink_tests::raw::upgrade(bs.port(), path, headers)).await
}

/// The next must be this error and then this close.
async fn sent_away(raw: &mut Raw, code: u16, why: &str) -> anyhow::Result<()> {
    let text = raw.text().await?;
    let error: Value = serde_json::from_str(&text)?;
    ensure!(error["type"] == "error" && error["code"] == "bad-token", "{text}");
    ensure!(error["text"] == why, "{text} in place of {why}");
    match raw.next().await? {
        Came::Close(came, _) if came == code => Ok(()),
        other => anyhow::bail!("{other:?} in place of {code}"),
    }
}

/// The session still stands: it answers, and this is the first that it says.
async fn stands(raw: &mut Raw) -> anyhow::Result<()> {
    raw.send(Frame::new(PING, "there?")).await;
    let came = raw.next().await?;
    ensure!(came == Came::Frame(PONG, b"there?".to_vec()), "{came:?} in place of a pong");
    Ok(())
}

/// Sessions that a BS has closed by this code, by the code's label.
async fn closes(bs: &Process, label: &str) -> anyhow::Result<f64> {
    let (_, text) = bs.get("/metrics").await?;
    let sample = format!("wardlink_business_server_session_closes_total{{code=\"{label}\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&sample));
    Ok(value.with_context(|| format!("{sample} is not shown"))?.parse()?)
}

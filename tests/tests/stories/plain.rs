//! A plain BS, written in Node, beside real ones.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use wardlink_tests::cluster::{Cluster, PATIENCE, Store, Terminal, eventually, within};
use wardlink_tests::database::Database;
use wardlink_wire::{CloseCode, EndId, Outcome};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stories/plain_bs.mjs");
/// Lines that wait for the story, which causes a handful.
const QUEUE: usize = 256;

/// The Node program and its link. Dropping it kills the program.
struct PlainBs {
    child: Child,
    stdin: ChildStdin,
    lines: mpsc::Receiver<Value>,
}

impl PlainBs {
    fn start(cluster: &Cluster) -> anyhow::Result<Self> {
        let mut child = Command::new("node")
            // On by default since version 22.
            .args(["--experimental-websocket", "--no-warnings", PROGRAM])
            .arg(cluster.ms(0).link_url())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("this story needs Node 20.10 or later on the PATH")?;
        let stdin = child.stdin.take().context("no stdin")?;
        let stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        let (line_in, lines) = mpsc::channel(QUEUE);
        // Ends with the program's output.
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if line_in.blocking_send(value).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, stdin, lines })
    }

    fn say(&mut self, item: Value) -> anyhow::Result<()> {
        Ok(writeln!(self.stdin, "{item}")?)
    }

    async fn hear(&mut self) -> anyhow::Result<Value> {
        within(PATIENCE, "a frame for the plain BS", self.lines.recv()).await?.context("it ended")
    }
}

impl Drop for PlainBs {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn message(end: &EndId, body: Value) -> Value {
    json!({ "type": 2, "endIdentifer": end, "messageContent": body })
}

/// Nothing answers a plain unregister either, and it waits for the lane's database operation that
/// is under way: sends until something is stored, and gives its body. What is delivered until then
/// is written to the link.
async fn first_that_waits(
    terminal: &Terminal,
    to: &EndId,
    plain: &mut PlainBs,
) -> anyhow::Result<String> {
    let end = Instant::now() + PATIENCE;
    for i in 0.. {
        ensure!(Instant::now() < end, "the unregister has no effect");
        let body = format!("third {i}");
        let sending = terminal.send(to, &body).await?;
        match within(PATIENCE, "a result", sending).await?.outcome {
            Outcome::Stored => {
                println!("{i} messages were delivered before a plain unregister took effect");
                return Ok(body);
            }
            Outcome::Delivered => {
                ensure!(plain.hear().await? == message(to, json!(body)), "{body} was due");
            }
            other => anyhow::bail!("{body}: {other}"),
        }
    }
    unreachable!("the loop ends by itself")
}

async fn both_roles(store: Store<'_>) -> anyhow::Result<()> {
    let cluster = Cluster::start(store, 1, 1).await?;
    let mut plain = PlainBs::start(&cluster)?;
    let mut terminal = cluster.terminal("H1-A2-nurse").await?;
    let old: EndId = "H1-A2-old".parse()?;

    // To a terminal of the plain BS: a frame that was written is delivered.
    plain.say(json!({ "type": 0, "endIdentifer": old }))?;
    // Nothing answers a plain register; what comes before it is stored, and then sent on.
    let first = terminal.send(&old, "first").await?;
    ensure!(plain.hear().await? == message(&old, json!("first")), "another frame");
    let result = within(PATIENCE, "a result", first).await?;
    ensure!(matches!(result.outcome, Outcome::Delivered | Outcome::Stored), "{result:?}");
    terminal.send_and_expect(&old, "second", Outcome::Delivered).await?;
    ensure!(plain.hear().await? == message(&old, json!("second")), "another frame");

    // From it, to a terminal of a real BS; there is no sender's name.
    plain.say(message(terminal.end(), json!({ "text": "Grüße", "n": [1, 2.5] })))?;
    let got = terminal.next().await?;
    ensure!(got.from.is_none(), "{got:?}");
    ensure!(got.json::<Value>()? == json!({ "text": "Grüße", "n": [1, 2.5] }), "{got:?}");

    // Its terminal leaves: what is sent to it waits, and comes when it is back.
    plain.say(json!({ "type": 1, "endIdentifer": old }))?;
    // The link is in order: with this message the MS has the unregister as well.
    plain.say(message(terminal.end(), json!("left")))?;
    ensure!(terminal.next().await?.body_text() == r#""left""#, "another message");
    let third = first_that_waits(&terminal, &old, &mut plain).await?;
    terminal.send_and_expect(&old, "last", Outcome::Stored).await?;
    plain.say(json!({ "type": 0, "endIdentifer": old }))?;
    for body in [third.as_str(), "last"] {
        ensure!(plain.hear().await? == message(&old, json!(body)), "{body} was due");
    }

    // To a terminal that is away.
    let away: EndId = "H1-A2-away".parse()?;
    plain.say(message(&away, json!("later")))?;
    if let Ok(peek) = cluster.peek().await {
        eventually(PATIENCE, "the message is in the mailbox", || async {
            matches!(peek.waiting_count(&away).await, Ok(1))
        })
        .await?;
        let waiting = peek.waiting(&away).await?;
        ensure!(waiting[0].from.is_none() && waiting[0].body == r#""later""#, "{waiting:?}");
    }
    let mut back = cluster.terminal("H1-A2-away").await?;
    ensure!(back.next().await?.body_text() == r#""later""#, "another message");
    cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_bs_sends_and_receives_on_embedded() -> anyhow::Result<()> {
    both_roles(Store::Embedded).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_bs_sends_and_receives_on_mongodb() -> anyhow::Result<()> {
    let database = Database::start().await?;
    both_roles(Store::Mongo(&database)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_bs_is_told_what_to_use_where_there_are_several_mss() -> anyhow::Result<()> {
    let database = Database::start().await?;
    let cluster = Cluster::start(Store::Mongo(&database), 2, 1).await?;
    let mut plain = PlainBs::start(&cluster)?;
    let closed = plain.hear().await?;
    ensure!(closed["closed"] == CloseCode::PlainWithSeveral.code(), "{closed}");
    let reason = closed["reason"].as_str().unwrap_or_default();
    ensure!(reason.contains("wardlink-bs"), "{closed}");
    cluster.end().await
}

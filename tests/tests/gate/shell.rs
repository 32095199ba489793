//! What a person at a shell does: makes a key and tokens with `wardlink token`, and connects with
//! them. All programs are the real ones.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use anyhow::{Context, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use wardlink_tests::cluster::{PATIENCE, Program, within};

use super::mint::{now, until};
use super::{Gate, closes};

/// For how long a token of the listener counts, in seconds, and how much longer at the BS.
const LIFE: u64 = 6;
const LEEWAY: u64 = 1;

const TABLET: &str = "H1-A2-tablet";
const NURSE: &str = "H1-A2-nurse";

fn wardlink(arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(Program::Cli.path()?);
    // Settings of whoever runs the tests.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WARDLINK_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

async fn run(arguments: &[&str]) -> anyhow::Result<Output> {
    let what = arguments.join(" ");
    within(PATIENCE, &what, wardlink(arguments)?.output()).await?.context(what)
}

/// A folder with a key, and the tokens that a person keeps in it.
struct Desk {
    dir: TempDir,
}

impl Desk {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn new_key(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let path = self.path(name);
        let made = run(&["token", "--new-key", text(&path)?]).await?;
        ensure!(made.status.success(), "{made:?}");
        Ok(std::fs::read(path)?)
    }

    /// Puts a token into a file, as a program that renews it does: the file is always whole.
    async fn token(&self, key: &str, end: &str, life: u64, file: &str) -> anyhow::Result<()> {
        let (key, life) = (self.path(key), format!("{life}s"));
        let made = run(&["token", "--key", text(&key)?, "--ttl", &life, end]).await?;
        ensure!(made.status.success() && made.stderr.is_empty(), "{made:?}");
        let new = self.path("new");
        std::fs::write(&new, &made.stdout)?;
        Ok(std::fs::rename(new, self.path(file))?)
    }
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path")
}

/// `wardlink listen` as it runs.
struct Listener {
    out: Lines<BufReader<ChildStdout>>,
    err: Lines<BufReader<ChildStderr>>,
    _child: Child,
}

impl Listener {
    fn start(url: &str, token_file: &Path) -> anyhow::Result<Self> {
        let file = text(token_file)?;
        let arguments = ["listen", TABLET, "--json", "--server", url, "--token-file", file];
        let mut command = wardlink(&arguments)?;
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let out = BufReader::new(child.stdout.take().context("stdout")?).lines();
        let err = BufReader::new(child.stderr.take().context("stderr")?).lines();
        Ok(Self { out, err, _child: child })
    }

    /// The next line of stderr, which must hold this.
    async fn says(&mut self, what: &str) -> anyhow::Result<()> {
        let line = within(PATIENCE, what, self.err.next_line()).await??;
        let line = line.with_context(|| format!("it ended in place of: {what}"))?;
        ensure!(line.contains(what), "{line} in place of {what}");
        Ok(())
    }

    async fn message(&mut self) -> anyhow::Result<Value> {
        let line = within(PATIENCE, "a message", self.out.next_line()).await??;
        Ok(serde_json::from_str(&line.context("it ended")?)?)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_and_tokens_from_the_shell_open_the_gate_until_they_end() -> anyhow::Result<()> {
    let desk = Desk { dir: TempDir::with_prefix("wardlink-desk-")? };
    let key = desk.new_key("ward.key").await?;
    let gate = Gate::open(&key, &["--jwt-leeway", "1s"]).await?;
    let url = gate.bs().terminal_url();
    let (tablet, nurse) = (desk.path("tablet.jwt"), desk.path("nurse.jwt"));
    let server = ["--server", url.as_str()];
    let send = async |body: &str| {
        let who = ["send", "--from", NURSE, TABLET, body, "--json", "--token-file", text(&nurse)?];
        let sent = run(&[&who[..], &server].concat()).await?;
        ensure!(sent.status.success(), "{sent:?}");
        let result: Value = serde_json::from_slice(&sent.stdout)?;
        ensure!(result["outcome"] == "delivered", "{result}");
        anyhow::Ok(())
    };

    desk.token("ward.key", NURSE, 3_600, "nurse.jwt").await?;
    desk.token("ward.key", TABLET, LIFE, "tablet.jwt").await?;
    let mut ends = now() + LIFE + LEEWAY;
    let mut listener = Listener::start(&url, &tablet)?;
    listener.says("is connected to").await?;
    send("{\"bed\":1}").await?;
    let message = listener.message().await?;
    ensure!(message["from"] == NURSE && message["body"]["bed"] == 1, "{message}");

    // Renewed twice, long before the one before ends: the session outlives them.
    for bed in [2, 3] {
        let next = now() + 2 * LIFE + LEEWAY;
        desk.token("ward.key", TABLET, 2 * LIFE, "tablet.jwt").await?;
        until(ends + 1).await;
        send(&format!("{{\"bed\":{bed}}}")).await?;
        let message = listener.message().await?;
        ensure!(message["body"]["bed"] == bed && message["seq"] == bed, "{message}");
        ends = next;
    }
    ensure!(closes(gate.bs(), "identity_expired").await? == 0.0, "a session was lost");

    // Not renewed: it is closed, tries again, and says so; and comes back with the next token.
    listener.says("401").await?;
    ensure!(closes(gate.bs(), "identity_expired").await? == 1.0, "closed for another reason");
    desk.token("ward.key", TABLET, 3_600, "tablet.jwt").await?;
    listener.says("is connected to").await?;
    send("{\"bed\":4}").await?;
    let message = listener.message().await?;
    ensure!(message["body"]["bed"] == 4, "{message}");
    gate.cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_token_at_the_shell_sends_nothing_and_says_why() -> anyhow::Result<()> {
    let desk = Desk { dir: TempDir::with_prefix("wardlink-desk-")? };
    let key = desk.new_key("ward.key").await?;
    desk.new_key("other.key").await?;
    let gate = Gate::open(&key, &[]).await?;
    let url = gate.bs().terminal_url();
    desk.token("ward.key", NURSE, 3_600, "nurse.jwt").await?;
    desk.token("other.key", NURSE, 3_600, "forged.jwt").await?;
    let (nurse, forged) = (desk.path("nurse.jwt"), desk.path("forged.jwt"));
    let chief = "H1-A2-chief";
    for (from, more, why) in [
        (chief, &["--token-file", text(&nurse)?][..], "identity is that of another end"),
        (NURSE, &["--token-file", text(&forged)?, "--timeout", "3s"], "401"),
        (NURSE, &[], "identity missing or refused; the server wants a token: --token-file"),
    ] {
        let arguments = ["send", "--from", from, TABLET, "\"hi\"", "--server", url.as_str()];
        let sent = run(&[&arguments[..], more].concat()).await?;
        let errors = String::from_utf8(sent.stderr.clone())?;
        ensure!(sent.status.code() == Some(1) && errors.contains(why), "{why}: {sent:?}");
        ensure!(errors.contains("rejected") || from == chief, "{why}: {errors}");
        ensure!(!errors.contains("WARN"), "{why}: {errors}");
    }
    // One that says nothing is told as well, when the server has waited long enough.
    let listened = run(&["listen", TABLET, "--server", &url]).await?;
    let errors = String::from_utf8(listened.stderr)?;
    ensure!(errors.contains("the server wants a token: --token-file"), "{errors}");
    // Nothing of it waits for the tablet.
    desk.token("ward.key", TABLET, 3_600, "tablet.jwt").await?;
    let mut listener = Listener::start(&url, &desk.path("tablet.jwt"))?;
    listener.says("is connected to").await?;
    let server = ["--server", &url, "--token-file", text(&nurse)?];
    let sent = run(&[&["send", "--from", NURSE, TABLET, "1"][..], &server].concat()).await?;
    ensure!(sent.status.success(), "{sent:?}");
    let message = listener.message().await?;
    ensure!(message["body"] == 1 && message["seq"] == 1, "{message}");
    gate.cluster.end().await
}

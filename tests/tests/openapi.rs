//! `docs/openapi.yaml` says what a BS does: Schemathesis makes calls from it, right ones and wrong
//! ones, against a real BS, and compares every answer. And what the document's lists name is what
//! the code has.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use serde_json::json;
use tempfile::TempDir;
use wardlink_identity::{ClaimNames, Grant, Signer, new_secret};
use wardlink_tests::cluster::{Call, Cluster, Plan, Store};
use wardlink_wire::{Outcome, Reason};

/// Calls that Schemathesis makes up for each of its ways to make them up.
const EXAMPLES: &str = "50";
/// The same calls each time.
const SEED: &str = "1";
/// Below what one caller may post.
const RATE: &str = "100/s";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A cluster whose BS verifies tokens, and what signs them.
struct Guarded {
    cluster: Cluster,
    signer: Signer,
    dir: TempDir,
}

impl Guarded {
    async fn start() -> anyhow::Result<Self> {
        let dir = TempDir::with_prefix("wardlink-http-")?;
        let keys = dir.path().join("secret");
        let secret = new_secret(*b"a secret for the tests of a port");
        std::fs::write(&keys, &secret)?;
        let signer = Signer::from_file(secret.as_bytes(), None)?;
        let keys = keys.display().to_string();
        let bs_flags = ["--auth", "jwt", "--jwt-keys", &keys].map(str::to_owned).to_vec();
        let plan = Plan { bs_flags, ..Plan::default() };
        let cluster = Cluster::build(Store::Embedded, plan).await?;
        Ok(Self { cluster, signer, dir })
    }

    fn token(&self, send_for: &[&str], ttl: Duration) -> anyhow::Result<String> {
        let mut grant = Grant::new("H1-LAB-analyser".parse()?, ttl);
        for pattern in send_for {
            grant.send_for.push(pattern.parse()?);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        Ok(self.signer.sign(&grant, &ClaimNames::default(), now)?)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_and_the_server_agree() -> anyhow::Result<()> {
    let guarded = Guarded::start().await?;
    let token = guarded.token(&["*"], Duration::from_secs(600))?;
    let url = format!("http://127.0.0.1:{}", guarded.cluster.bs(0).port());
    // It leaves a record of its calls where it runs.
    let dir = guarded.dir.path().to_owned();
    let run = tokio::task::spawn_blocking(move || {
        Command::new("schemathesis")
            .current_dir(dir)
            .args(["--config-file", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openapi.toml")])
            .arg("run")
            .arg(root().join("docs/openapi.yaml"))
            .args(["--url", &url, "--header", &format!("Authorization: Bearer {token}")])
            .args(["--checks", "all", "--max-examples", EXAMPLES, "--seed", SEED])
            .args(["--rate-limit", RATE, "--generation-database", "none", "--no-color"])
            .stdin(Stdio::null())
            .output()
            .context("this test needs schemathesis on the PATH: scripts/install-tools schemathesis")
    });
    let output = run.await??;
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{text}\n{errors}");
    // It says so too where it found nothing to call.
    ensure!(text.contains("Tested: 1"), "{text}");
    guarded.cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_says_in_whose_name_may_be_posted() -> anyhow::Result<()> {
    let guarded = Guarded::start().await?;
    let hour = Duration::from_secs(3_600);
    let (own, ward, all) = (
        guarded.token(&[], hour)?,
        guarded.token(&["H1-W1-*"], hour)?,
        guarded.token(&["*"], hour)?,
    );
    let plain = || Call::new(&json!({ "to": "H1-W2-away", "body": 1 }));
    let from = |from| Call::new(&json!({ "to": "H1-W2-away", "body": 1, "from": from }));
    let ours = "H1-LAB-analyser";
    for (call, status) in [
        (plain(), 401),
        (plain().bearer("nonsense"), 401),
        (plain().with("Authorization", "Basic dXNlcjpwYXNz"), 401),
        (plain().bearer(&own).bearer(&own), 401),
        (plain().bearer(&format!("{own}x")), 401),
        (plain().bearer(&own), 200),
        (from(ours).bearer(&own), 200),
        (from("H1-W1-nurse").bearer(&own), 403),
        (from("H1-W1-nurse").bearer(&ward), 200),
        (from("H1-W2-nurse").bearer(&ward), 403),
        (from("H2-X-nurse").bearer(&all), 200),
    ] {
        let answered = call.make(guarded.cluster.bs(0)).await?;
        ensure!(answered.status == status, "{:?}: {answered:?}", String::from_utf8(call.body));
        ensure!((status == 401) == answered.head.contains("\r\nwww-authenticate: bearer"));
        ensure!((status == 200) == (answered.json["outcome"] == "stored"), "{answered:?}");
    }
    let log = guarded.cluster.bs(0).log_text();
    ensure!(![own, ward, all].iter().any(|token| log.contains(token)), "a token is in the log");
    guarded.cluster.end().await
}

#[test]
fn the_lists_of_outcomes_and_reasons_are_those_of_the_code() {
    let document = std::fs::read_to_string(root().join("docs/openapi.yaml")).expect("docs");
    let outcomes = Outcome::ALL.map(Outcome::as_str).join(", ");
    assert!(document.contains(&format!("enum: [{outcomes}]")));
    let reasons = Reason::ALL.map(|reason| format!("        - {reason}\n")).concat();
    assert!(document.contains(&format!("      enum:\n{reasons}    Taken:")), "{reasons}");
}

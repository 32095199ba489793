//! What the servers show at `/metrics` is what docs/OPERATIONS.md says, no more and no less, and
//! what Prometheus takes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use wardlink_tests::cluster::{Cluster, PATIENCE, Process, Store, eventually};
use wardlink_tests::database::Database;
use wardlink_wire::{EndId, Outcome};

/// A metric's type and the names of its labels.
type Shape = (String, BTreeSet<String>);

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The tables of docs/OPERATIONS.md.
fn documented() -> anyhow::Result<BTreeMap<String, Shape>> {
    let text = std::fs::read_to_string(repository().join("docs/OPERATIONS.md"))?;
    let ticked = |cell: &str| -> Vec<String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let &["", name, kind, labels, _unit, meaning, ""] = cells.as_slice() else { continue };
        let Some(name) = ticked(name).pop().filter(|name| name.contains('_')) else { continue };
        ensure!(!meaning.is_empty(), "{name} has no meaning");
        let shape = (kind.to_owned(), ticked(labels).into_iter().collect());
        ensure!(found.insert(name.clone(), shape).is_none(), "{name} is listed twice");
    }
    Ok(found)
}

/// What a scrape shows.
#[derive(Debug)]
struct Scrape {
    text: String,
    shapes: BTreeMap<String, Shape>,
}

impl Scrape {
    async fn of(process: &Process) -> anyhow::Result<Self> {
        let (status, text) = process.get("/metrics").await?;
        ensure!(status == 200, "{} answers {status}", process.name());
        let mut shapes: BTreeMap<String, Shape> = BTreeMap::new();
        let mut current = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').context("a type without a name")?;
                current = name.to_owned();
                shapes.insert(current.clone(), (kind.to_owned(), BTreeSet::new()));
            } else if !line.starts_with('#') {
                let (_, labels) = shapes.get_mut(&current).context("a sample before its type")?;
                let inside = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}'));
                let names = inside.into_iter().flat_map(|(inside, _)| inside.split("\","));
                let names = names.filter_map(|pair| pair.split_once('=')).map(|(name, _)| name);
                labels.extend(names.filter(|name| *name != "le").map(str::to_owned));
            }
        }
        Ok(Self { text, shapes })
    }

    /// The value of a sample, by its name and labels as they are written.
    fn value(&self, sample: &str) -> anyhow::Result<f64> {
        let line = self.text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        Ok(line.with_context(|| format!("{sample} is not shown"))?.parse()?)
    }
}

/// What one program shows and the document does not say, or the other way round.
fn compare(documented: &BTreeMap<String, Shape>, scrape: &Scrape, prefix: &str) -> Vec<String> {
    let here = |name: &str| {
        name.starts_with(prefix) || name.starts_with("process_") || name == "wardlink_build_info"
    };
    let mut wrong = Vec::new();
    for (name, shape) in documented.iter().filter(|(name, _)| here(name)) {
        match scrape.shapes.get(name) {
            None => wrong.push(format!("{name} is documented and not exported")),
            Some(shown) if shown != shape => {
                wrong.push(format!("{name} is documented as {shape:?} and exported as {shown:?}"));
            }
            Some(_) => {}
        }
    }
    let unknown =
        scrape.shapes.keys().filter(|name| !(here(name) && documented.contains_key(*name)));
    wrong.extend(unknown.map(|name| format!("{name} is exported and not documented")));
    wrong
}

/// Runs promtool, which must be there and have nothing to say against it.
fn promtool(arguments: &[&str], input: &str) -> anyhow::Result<()> {
    let program = std::env::var_os("WARDLINK_PROMTOOL").unwrap_or_else(|| "promtool".into());
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("promtool is not installed: run `make tools`, or set WARDLINK_PROMTOOL")?;
    child.stdin.take().context("no input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "promtool {arguments:?} says:\n{said}");
    Ok(())
}

/// Delivered, stored, rejected; then what the servers show of it.
async fn shown(store: Store<'_>) -> anyhow::Result<()> {
    let cluster = Cluster::start(store, 1, 2).await?;
    let sender = cluster.terminal_at(0, "H1-A2-nurse").await?;
    let mut target = cluster.terminal_at(1, "H1-A2-pump").await?;
    for i in 0..5 {
        sender.deliver(&mut target, &format!("m{i}")).await?;
    }
    let away: EndId = "H1-A2-away".parse()?;
    for i in 0..3 {
        sender.send_and_expect(&away, &format!("s{i}"), Outcome::Stored).await?;
    }

    let documented = documented()?;
    let ms = Scrape::of(cluster.ms(0)).await?;
    let bs = Scrape::of(cluster.bs(0)).await?;
    let mut wrong = compare(&documented, &ms, "wardlink_message_server_");
    wrong.extend(compare(&documented, &bs, "wardlink_business_server_"));
    ensure!(wrong.is_empty(), "docs/OPERATIONS.md:\n{}", wrong.join("\n"));
    for scrape in [&ms, &bs] {
        promtool(&["check", "metrics"], &scrape.text)?;
    }

    let results = |outcome: &str| format!(r#"_results_total{{outcome="{outcome}",reason="none"}}"#);
    let timed = |outcome: &str| format!(r#"_result_seconds_count{{outcome="{outcome}"}}"#);
    for (name, scrape) in [("wardlink_message_server", &ms), ("wardlink_business_server", &bs)] {
        for (outcome, count) in [("delivered", 5.0), ("stored", 3.0)] {
            for sample in [results(outcome), timed(outcome)] {
                let value = scrape.value(&format!("{name}{sample}"))?;
                ensure!(value == count, "{name}{sample} is {value}, not {count}");
            }
        }
        let took = scrape.value(&format!(r#"{name}_result_seconds_sum{{outcome="stored"}}"#))?;
        ensure!(took > 0.0 && took < 30.0, "{name}: stored took {took} s");
    }
    for (sample, count) in [
        ("wardlink_message_server_partitions_owned", 256.0),
        ("wardlink_message_server_view_members", 1.0),
        ("wardlink_message_server_routes", 2.0),
        (r#"wardlink_message_server_links{peer="bs"}"#, 2.0),
        ("wardlink_message_server_appended_total", 3.0),
        ("wardlink_message_server_degraded", 0.0),
        ("wardlink_message_server_handed_out_total", 5.0),
    ] {
        let value = ms.value(sample)?;
        ensure!(value == count, "{sample} is {value}, not {count}");
    }
    let written = ms.value(
        r#"wardlink_message_server_database_operations_total{kind="append",result="done"}"#,
    )?;
    ensure!((1.0..=3.0).contains(&written), "{written} appends");
    ensure!(
        bs.value("wardlink_business_server_sessions")? == 1.0,
        "one session is at the first BS"
    );
    ensure!(
        bs.value("wardlink_business_server_engine_busy_seconds_total")? > 0.0,
        "the engine has worked"
    );
    let number = |scrape: &Scrape, name: &str| -> anyhow::Result<[f64; 2]> {
        Ok([
            scrape.value(&format!("{name}_view_number_seconds"))?,
            scrape.value(&format!("{name}_view_number_increment"))?,
        ])
    };
    ensure!(
        number(&ms, "wardlink_message_server")? == number(&bs, "wardlink_business_server")?,
        "they use one view"
    );
    cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_those_of_the_document_on_embedded() -> anyhow::Result<()> {
    shown(Store::Embedded).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_those_of_the_document_on_mongodb() -> anyhow::Result<()> {
    let database = Database::start().await?;
    shown(Store::Mongo(&database)).await
}

/// The mailbox as a whole is looked at each sweep.
async fn mailbox(store: Store<'_>) -> anyhow::Result<()> {
    let plan = wardlink_tests::cluster::Plan {
        ms_flags: vec!["--sweep".to_owned(), "200ms".to_owned()],
        ..Default::default()
    };
    let cluster = Cluster::build(store, plan).await?;
    let sender = cluster.terminal("H1-A2-nurse").await?;
    let away: EndId = "H1-A2-away".parse()?;
    for i in 0..4 {
        sender.send_and_expect(&away, &format!("s{i}"), Outcome::Stored).await?;
    }
    eventually(PATIENCE, "four documents are seen, and that they age", || async {
        let Ok(ms) = Scrape::of(cluster.ms(0)).await else { return false };
        let documents = ms.value("wardlink_message_server_mailbox_documents");
        let age = ms.value("wardlink_message_server_mailbox_oldest_age_seconds");
        documents.is_ok_and(|n| n == 4.0) && age.is_ok_and(|age| age > 0.2 && age < 30.0)
    })
    .await?;
    cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_in_all_mailboxes_is_shown_on_embedded() -> anyhow::Result<()> {
    mailbox(Store::Embedded).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_in_all_mailboxes_is_shown_on_mongodb() -> anyhow::Result<()> {
    let database = Database::start().await?;
    mailbox(Store::Mongo(&database)).await
}

#[test]
fn alerts_are_rules_about_metrics_that_there_are() -> anyhow::Result<()> {
    let file = repository().join("examples/alerts.yaml");
    promtool(&["check", "rules", &file.to_string_lossy()], "")?;
    let documented = documented()?;
    let text = std::fs::read_to_string(file)?;
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let mut names = 0;
    for word in words.filter(|word| word.starts_with("wardlink_") || word.starts_with("process_")) {
        let bare = ["_bucket", "_count", "_sum"].iter().find_map(|end| word.strip_suffix(end));
        let known = documented.contains_key(word)
            || bare.is_some_and(|bare| documented.get(bare).is_some_and(|m| m.0 == "histogram"));
        ensure!(known, "an alert asks for {word}, which is not documented");
        names += 1;
    }
    ensure!(names > 10, "only {names} names were found");
    Ok(())
}

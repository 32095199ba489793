//! Settings that those who run clusters give: names in the database, its authority, the size of
//! messages; as flags and as environment variables.

use std::process::Command;

use anyhow::ensure;
use mongodb::bson::{Document as Fields, doc};
use tokio::time::timeout;
use wardlink_ms::store::Store as _;
use wardlink_ms::store::mongodb::{MongoStore, Names};
use wardlink_tests::cluster::{Call, Cluster, PATIENCE, Plan, Program, Store};
use wardlink_tests::database::Database;
use wardlink_tests::pki::Pki;
use wardlink_wire::{EndId, Outcome, Reason};

/// What an operator renders beside the URI.
const NAMES: [&str; 10] = [
    "--store-database",
    "ward-seven",
    "--registry-collection",
    "who_is_where",
    "--mailbox-collection",
    "waiting",
    "--servers-collection",
    "servers",
    "--views-collection",
    "view.of.members",
];

fn flags(flags: &[&str]) -> Vec<String> {
    flags.iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_and_authority_of_the_database_are_those_of_the_settings() -> anyhow::Result<()> {
    let (pki, other) = (Pki::new()?, Pki::new()?);
    let own = pki.issue("database", &["127.0.0.1"])?;
    let database = Database::start_tls(&own, pki.ca()).await?;
    let ca = pki.ca().display().to_string();
    let ms_flags = flags(&[&NAMES[..], &["--store-tls-ca", &ca]].concat());
    let cluster =
        Cluster::build(Store::Mongo(&database), Plan { ms_flags, ..Plan::default() }).await?;
    let sender = cluster.terminal("H1-A2-nurse").await?;
    let away: EndId = "H1-A2-pump".parse()?;
    let result = timeout(PATIENCE, sender.send(&away, "later").await?).await?;
    ensure!(result.outcome == Outcome::Stored, "{result:?}");

    let uri = format!("{}?tlsCAFile={ca}&tls=true", database.uri("ward-seven"));
    let bare = mongodb::Client::with_uri_str(&uri).await?.database("ward-seven");
    let mut names = bare.list_collection_names().await?;
    names.sort();
    ensure!(names == ["servers", "view.of.members", "waiting", "who_is_where"], "{names:?}");
    let waiting = bare.collection::<Fields>("waiting").count_documents(doc! {}).await?;
    let rows = bare.collection::<Fields>("who_is_where").count_documents(doc! {}).await?;
    ensure!((waiting, rows) == (1, 1), "{waiting} messages, {rows} rows");

    // The driver does not trust what another authority has signed.
    let uri = database.uri("ward-seven");
    let stranger = MongoStore::open(&uri, Names::default(), Some(other.ca())).await?;
    let error = stranger.prepare(true, 600).await.expect_err("another authority");
    ensure!(error.text.to_lowercase().contains("certificate"), "{error}");
    cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_body_is_a_setting_that_terminals_and_callers_are_held_to() -> anyhow::Result<()>
{
    let bs_flags = flags(&["--max-body-bytes", "100"]);
    let cluster = Cluster::build(Store::Embedded, Plan { bs_flags, ..Plan::default() }).await?;
    let sender = cluster.terminal("H1-A2-nurse").await?;
    let away: EndId = "H1-A2-pump".parse()?;
    for (letters, outcome, reason) in
        [(98, Outcome::Stored, None), (99, Outcome::Rejected, Some(Reason::TooLarge))]
    {
        let result = timeout(PATIENCE, sender.send(&away, &"x".repeat(letters)).await?).await?;
        ensure!((result.outcome, result.reason) == (outcome, reason), "{letters}: {result:?}");
        let message = serde_json::json!({
            "from": "H1-A2-lab", "to": "H1-A2-pump", "body": "x".repeat(letters),
        });
        let answered = Call::new(&message).make(cluster.bs(0)).await?;
        let status = if reason.is_none() { 200 } else { 413 };
        ensure!(answered.status == status, "{letters}: {answered:?}");
    }
    cluster.end().await
}

/// What `--help` says is the environment variable of a flag is one.
#[test]
fn environment_variables_are_settings_and_a_bad_one_ends_with_64_on_stderr() -> anyhow::Result<()> {
    for (program, name, value) in [
        (Program::Ms, "WARDLINK_STORE_DATABASE", "a.b"),
        (Program::Ms, "WARDLINK_VIEWS_COLLECTION", "system.views"),
        (Program::Ms, "WARDLINK_STORE_TLS_CA", "/nowhere/ca.crt"),
        (Program::Bs, "WARDLINK_MAX_BODY_BYTES", "65537"),
    ] {
        let output = Command::new(program.path()?)
            .env_clear()
            .env("WARDLINK_STORE", "mongodb://127.0.0.1/x")
            .env("WARDLINK_LINK_AUTH", "none")
            .env("WARDLINK_LISTEN", "127.0.0.1:0")
            .env("WARDLINK_ADMIN_LISTEN", "127.0.0.1:0")
            .env("WARDLINK_MS", "ws://127.0.0.1:1/link")
            .env("WARDLINK_AUTH", "development")
            .env(name, value)
            .output()?;
        let told = String::from_utf8(output.stderr)?;
        let flag = name.trim_start_matches("WARDLINK_").to_lowercase().replace('_', "-");
        ensure!(output.status.code() == Some(64), "{name}={value}: {:?}", output.status);
        ensure!(told.contains(&format!("--{flag}")), "{name}={value}: {told}");
        ensure!(output.stdout.is_empty(), "{name}={value} speaks on stdout");
    }
    Ok(())
}

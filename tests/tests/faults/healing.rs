//! Somebody spoils what the servers rely on in the database.

use std::time::Duration;

use anyhow::{Context, ensure};
use mongodb::bson::doc;
use wardlink_tests::cluster::{Cluster, Plan, Store, eventually};
use wardlink_tests::database::Database;
use wardlink_tests::load::{Load, LoadPlan};

use super::{REACHABLE, turn, view_of};

/// What the sweep takes beside its interval of 2 s.
const SWEPT: Duration = Duration::from_secs(5);

fn plan() -> Plan {
    let ms_flags = vec!["--sweep".to_owned(), "2s".to_owned()];
    Plan { ms: 2, spare_ms: 1, bs: 2, ms_flags, ..Plan::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_and_view_that_somebody_spoils_are_healed_and_nothing_is_lost() -> anyhow::Result<()> {
    let _turn = turn().await;
    let database = Database::start().await?;
    let mut cluster = Cluster::build(Store::Mongo(&database), plan()).await?;
    cluster.until_spread().await?;
    let load = Load::start(LoadPlan { wandering: 5, ..LoadPlan::new(cluster.urls()) }).await?;
    let peek = cluster.peek().await?;
    let targets = load.targets();

    let from = load.now();
    peek.registry().delete_many(doc! {}).await?;
    let ends: Vec<&str> = targets.iter().map(|end| end.as_str()).collect();
    eventually(SWEPT, "the rows of all who are there", async || {
        let filter = doc! { "endIdentifer": { "$in": &ends } };
        let rows = peek.registry().count_documents(filter).await;
        rows.is_ok_and(|rows| rows == targets.len() as u64)
    })
    .await?;
    println!("rows: back after {:.2?}", load.now() - from);

    let (before, members) = peek.view().await?.context("a view")?;
    let from = load.now();
    peek.delete_view().await?;
    healed(&cluster, &load, before, &members).await?;
    println!("view deleted: {} after {:.2?}", load.pauses(from, load.now()), load.now() - from);

    // A copy from before a third one joined.
    let copy = peek.views().find_one(doc! {}).await?.context("a view")?;
    cluster.ms_mut(2).start().await?;
    cluster.until_spread().await?;
    let (before, members) = peek.view().await?.context("a view")?;
    ensure!(members.len() == 3, "members {members:?}");
    let from = load.now();
    peek.views().replace_one(doc! {}, copy).await?;
    healed(&cluster, &load, before, &members).await?;
    println!("view set back: {} after {:.2?}", load.pauses(from, load.now()), load.now() - from);
    println!("all: {}", load.finish().await?);
    cluster.end().await
}

/// Waits until all members know a newer view than the one `before`, with the same members, and
/// every stream flows.
async fn healed(
    cluster: &Cluster,
    load: &Load,
    before: u64,
    members: &[String],
) -> anyhow::Result<()> {
    let peek = cluster.peek().await?;
    let mut wanted = members.to_vec();
    wanted.sort();
    eventually(REACHABLE, "a newer view with the same members", async || {
        let Ok(Some((number, mut found))) = peek.view().await else { return false };
        found.sort();
        let mut all = number > before && found == wanted;
        for ms in 0..members.len() {
            all &= view_of(cluster, ms).await.is_ok_and(|(known, _)| known == number);
        }
        all
    })
    .await
    .with_context(|| format!("view {before} of {members:?}"))?;
    load.until_flowing(load.now(), REACHABLE).await
}

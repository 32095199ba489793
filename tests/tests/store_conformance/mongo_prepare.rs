//! What a MongoDB must be and have before the first call.

use std::sync::Arc;

use futures_util::future::join_all;
use mongodb::bson::{Document as Fields, doc};
use wardlink_ms::store::mongodb::MongoStore;
use wardlink_ms::store::{OpTime, Store};
use wardlink_tests::database::Database;

use crate::fixtures::{end, fresh_name, open_mongo, server, shared_database};

async fn both(database: &Database) -> (MongoStore, mongodb::Database) {
    let uri = database.uri(&fresh_name());
    let client = mongodb::Client::with_uri_str(&uri).await.unwrap();
    (open_mongo(&uri).await, client.default_database().unwrap())
}

async fn indexes(bare: &mongodb::Database, collection: &str) -> Vec<Fields> {
    let reply = bare.run_command(doc! { "listIndexes": collection }).await.unwrap();
    let batch = reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
    batch.iter().map(|index| index.as_document().unwrap().clone()).collect()
}

fn index_of(indexes: &[Fields], field: &str) -> Fields {
    let has =
        |index: &&Fields| index.get_document("key").unwrap().keys().collect::<Vec<_>>() == [field];
    indexes.iter().find(has).cloned().unwrap_or_default()
}

fn seconds(index: &Fields) -> i64 {
    let value = index.get("expireAfterSeconds").unwrap();
    value.as_i64().or(value.as_i32().map(i64::from)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standalone_is_refused_for_good() {
    let database = Database::start_with(&["--standalone"]).await.unwrap();
    let (store, _) = both(&database).await;
    let error = store.prepare(true, 600).await.unwrap_err();
    assert!(!error.retry && error.text.contains("replica set"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_there_may_come_later() {
    let store = open_mongo("mongodb://127.0.0.1:1/x").await;
    assert!(store.prepare(true, 600).await.unwrap_err().retry);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_time_to_live_changes_the_index_in_place() {
    let database = shared_database().await;
    let (store, bare) = both(&database).await;
    store.prepare(true, 600).await.unwrap();
    let before = indexes(&bare, "msglists").await;
    assert_eq!(seconds(&index_of(&before, "createAt")), 600);
    store.prepare(true, 300).await.unwrap();
    let after = indexes(&bare, "msglists").await;
    assert_eq!(seconds(&index_of(&after, "createAt")), 300);
    assert_eq!(after.len(), before.len());
    assert_eq!(index_of(&after, "createAt").get("name"), index_of(&before, "createAt").get("name"));
    store.prepare(true, 300).await.unwrap();
    let rows = indexes(&bare, "wsendmaps").await;
    assert!(index_of(&rows, "endIdentifer").get_bool("unique").unwrap());
    assert_eq!(index_of(&rows, "serverIdentifer").get_str("name").unwrap(), "wardlink_server");
    assert_eq!(seconds(&index_of(&indexes(&bare, "wsservers").await, "seenAt")), 3_600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_is_there_is_used_whatever_its_name() {
    let database = shared_database().await;
    let (store, bare) = both(&database).await;
    let old = doc! { "createIndexes": "msglists", "indexes": [
        { "key": { "createAt": 1 }, "name": "createAt_1", "expireAfterSeconds": 60.0 },
        { "key": { "endIdentifer": 1 }, "name": "endIdentifer_1" },
    ] };
    bare.run_command(old).await.unwrap();
    store.prepare(true, 600).await.unwrap();
    let after = indexes(&bare, "msglists").await;
    let ttl = index_of(&after, "createAt");
    assert_eq!((ttl.get_str("name").unwrap(), seconds(&ttl)), ("createAt_1", 600));
    assert_eq!(after.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn required_indexes_are_named_until_they_are_right() {
    let database = shared_database().await;
    let (store, _) = both(&database).await;
    let error = store.prepare(false, 600).await.unwrap_err();
    assert!(error.retry);
    for what in ["wsendmaps{endIdentifer} unique", "msglists{createAt} expiring", "wsservers"] {
        assert!(error.text.contains(what), "{what}: {error}");
    }
    store.prepare(true, 600).await.unwrap();
    store.prepare(false, 600).await.unwrap();
    // While a life is made shorter the servers go first.
    store.prepare(false, 500).await.unwrap();
    let error = store.prepare(false, 700).await.unwrap_err();
    assert!(error.retry && error.text.contains("msglists{createAt}"), "{error}");
    assert!(!error.text.contains("wsendmaps"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_double_rows_the_newest_stays() {
    let database = shared_database().await;
    let (store, bare) = both(&database).await;
    let (old, new) = (server(), server());
    let row = |uid: &str, server: wardlink_wire::ServerId| {
        doc! { "endIdentifer": end(uid).as_str(), "serverIdentifer": server.to_string() }
    };
    let stamped = |uid, server, time| {
        let mut row = row(uid, server);
        let epoch = mongodb::bson::Timestamp { time, increment: 0 };
        row.insert("stamp", doc! { "epoch": epoch, "count": 1_i64 });
        row
    };
    let rows = vec![
        row("a", old),
        stamped("a", new, 5),
        row("a", old),
        stamped("a", old, 4),
        row("b", new),
        stamped("c", new, 0x8000_0000),
        stamped("c", old, 0x7fff_ffff),
    ];
    bare.collection::<Fields>("wsendmaps").insert_many(rows).await.unwrap();
    store.prepare(true, 600).await.unwrap();
    let ends = vec![end("a"), end("b"), end("c")];
    let left = store.read_rows(ends, OpTime(0)).await.unwrap().value;
    assert!(left.iter().all(|row| row.as_ref().unwrap().server == new), "{left:?}");
    assert_eq!(bare.collection::<Fields>("wsendmaps").count_documents(doc! {}).await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_prepare_at_once() {
    let database = shared_database().await;
    let (store, bare) = both(&database).await;
    let store = Arc::new(store);
    let all = (0..6).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.prepare(true, 600).await })
    });
    for prepared in join_all(all).await {
        prepared.unwrap().unwrap();
    }
    assert_eq!(indexes(&bare, "msglists").await.len(), 3);
}

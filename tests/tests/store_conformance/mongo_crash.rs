//! The database's process killed, frozen and away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use wardlink_ms::store::mongodb::MongoStore;
use wardlink_ms::store::{Applied, OpTime, Store, StoreError};
use wardlink_tests::database::Database;
use wardlink_view::View;

use crate::fixtures::{
    TTL_S, append_of, change, document, end, eventually, first, fresh_name, ids, ms, open_mongo,
    page, row, server, stamp, view,
};

/// Lanes that are appended to at once.
const LANES: u64 = 4;

async fn start() -> (Database, Arc<MongoStore>) {
    let database = Database::start().await.unwrap();
    let store = open_mongo(&database.uri(&fresh_name())).await;
    store.prepare(true, TTL_S).await.unwrap();
    (database, Arc::new(store))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_database_loses_nothing_acknowledged() {
    let (mut database, store) = start().await;
    let mut acked = [0_u64; LANES as usize];
    let mut current = view(1, &[ms()]);
    assert_eq!(store.change_view(first(&current)).await.unwrap().value, Applied::Yes);
    for round in 0..3 {
        let lanes = (0..LANES).map(|lane| {
            let (store, from) = (store.clone(), acked[lane as usize]);
            tokio::spawn(async move { append_until_it_fails(&store, lane, from).await })
        });
        let lanes = join_all(lanes);
        let (changer, seed) = (store.clone(), current.clone());
        let changes = tokio::spawn(async move { change_until_it_fails(&changer, seed).await });
        let watch = store.clone();
        let killer = async {
            // In the midst of the writes.
            let enough = acked[0] + 60 + 25 * round;
            eventually("enough is appended", || {
                let watch = watch.clone();
                async move {
                    let count = watch.count(vec![end(0)], OpTime(0)).await;
                    count.is_ok_and(|count| count.value[0] as u64 >= enough)
                }
            })
            .await;
            database.kill();
        };
        let (lanes, changes, ()) = tokio::join!(lanes, changes, killer);
        database.restart().await.unwrap();
        eventually("the store is back", || async { store.read_view(OpTime(0)).await.is_ok() })
            .await;
        for (lane, appended) in lanes.into_iter().enumerate() {
            let appended = appended.unwrap();
            let found = page(&*store, &end(lane), 100_000).await;
            let expected: Vec<String> = (0..found.documents.len()).map(|i| i.to_string()).collect();
            assert_eq!(ids(&found), expected, "lane {lane}");
            let count = found.documents.len() as u64;
            assert!(count >= appended, "lane {lane}: {count} of {appended}");
            acked[lane] = count;
        }
        let (changed, open) = changes.unwrap();
        let found = store.read_view(OpTime(0)).await.unwrap().value.unwrap();
        assert!(found == changed || Some(&found) == open.as_ref(), "{found:?}, not {changed:?}");
        current = found;
    }
}

/// Appends one after the other; returns how many were acknowledged, with those before.
async fn append_until_it_fails(store: &MongoStore, lane: u64, from: u64) -> u64 {
    for next in from.. {
        let append = append_of(&end(lane), vec![document(&next.to_string(), stamp(1, next))]);
        match store.append(vec![append]).await {
            Ok(reply) if reply.value[0].error.is_none() => {}
            _ => return next,
        }
    }
    unreachable!("the database is killed")
}

/// Changes the view; returns the last one acknowledged, and the one nobody knows about.
async fn change_until_it_fails(store: &MongoStore, mut view_now: View) -> (View, Option<View>) {
    loop {
        let next = view(view_now.number.0 + 10, &view_now.members);
        match store.change_view(change(&view_now, &next)).await {
            Ok(reply) => assert_eq!(reply.value, Applied::Yes),
            Err(StoreError::NotDone) => return (view_now, None),
            Err(StoreError::Unknown) => return (view_now, Some(next)),
        }
        view_now = next;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_sent_to_nobody_is_a_definite_no() {
    let (mut database, store) = start().await;
    database.kill();
    // The first call may still find a connection that seemed good.
    let _ = store.read_view(OpTime(0)).await;
    let begun = Instant::now();
    let append = append_of(&end("u"), vec![document("m", stamp(1, 1))]);
    assert_eq!(store.append(vec![append]).await, Err(StoreError::NotDone));
    let row = row(&end("u"), server(), stamp(1, 1));
    assert_eq!(store.write_rows(vec![row]).await, Err(StoreError::NotDone));
    assert_eq!(store.read_view(OpTime(0)).await, Err(StoreError::NotDone));
    assert!(begun.elapsed() < Duration::from_secs(10));
    database.restart().await.unwrap();
    eventually("the store is back", || async { store.read_view(OpTime(0)).await.is_ok() }).await;
    assert!(page(&*store, &end("u"), 9).await.documents.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_database_leaves_a_write_unknown_within_a_bound() {
    let (database, store) = start().await;
    let append = || append_of(&end("u"), vec![document("m", stamp(1, 1))]);
    store.append(vec![append()]).await.unwrap();
    database.pause().unwrap();
    let begun = Instant::now();
    assert_eq!(store.append(vec![append()]).await, Err(StoreError::Unknown));
    assert!(begun.elapsed() < Duration::from_secs(11), "{:?}", begun.elapsed());
    database.resume().unwrap();
    eventually("the store is back", || async { store.append(vec![append()]).await.is_ok() }).await;
    assert_eq!(ids(&page(&*store, &end("u"), 9).await), ["m"]);
}

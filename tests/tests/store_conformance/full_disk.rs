//! What the embedded store does when its disk is full, and when its files cannot be used.

use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use wardlink_ms::store::embedded::EmbeddedStore;
use wardlink_ms::store::{Applied, DocKey, Document, OpTime, Renewal, Store, StoreError, ViewKey};
use wardlink_tests::small_disk::{SmallDisk, alone};

use crate::fixtures::{
    TTL_S, append_of, change, document, end, eventually, first, ids, ms, page, row, server, stamp,
    store_all, view,
};

/// As large as a message may be.
const BODY: usize = 60 * 1024;

fn large(i: u64) -> Document {
    let body = Bytes::from(format!("\"{}\"", "x".repeat(BODY)));
    Document { body, ..document(&i.to_string(), stamp(1, i)) }
}

/// Appends one after the other until it fails; how many were called durable, and why no more.
async fn append_until_refused(store: &EmbeddedStore, from: u64) -> (u64, StoreError) {
    for i in from..10_000 {
        match store.append(vec![append_of(&end("u"), vec![large(i)])]).await {
            Ok(reply) => assert_eq!((reply.value[0].applied, reply.value[0].error), (1, None)),
            Err(error) => return (i, error),
        }
    }
    panic!("the disk is small")
}

async fn holds(store: &EmbeddedStore, count: u64) -> bool {
    let expected: Vec<String> = (0..count).map(|i| i.to_string()).collect();
    let reads = vec![crate::fixtures::read_of(&end("u"), usize::MAX)];
    let Ok(pages) = store.read_mailboxes(reads, OpTime(0)).await else { return false };
    assert_eq!(ids(&pages.value[0]), expected, "neither less nor more");
    true
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    alone("full_disk::child_fills_the_disk").unwrap();
}

#[ignore = "a child of a_full_disk_refuses_and_loses_nothing"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_fills_the_disk() {
    let disk = SmallDisk::mount(24).unwrap();
    let dir = disk.path().join("data");
    let store = EmbeddedStore::open(&dir, TTL_S).unwrap();
    let me = ms();
    let made = view(5, &[me]);
    store.change_view(first(&made)).await.unwrap();
    let who = row(&end("u"), server(), stamp(2, 2));
    store.write_rows(vec![who.clone()]).await.unwrap();
    for i in 0..20 {
        store_all(&store, &end("u"), vec![large(i)]).await;
    }
    assert!(!store.degraded());

    // A definite no, again and again, whatever is written; what is there can be read.
    disk.fill(200_000).unwrap();
    let (count, error) = append_until_refused(&store, 20).await;
    println!("{count} documents, then {error}");
    assert_eq!(error, StoreError::NotDone);
    assert!(store.degraded() && store.write_failures() > 0);
    assert!(holds(&store, count).await);
    for _ in 0..50 {
        let append = append_of(&end("u"), vec![large(count)]);
        assert_eq!(store.append(vec![append]).await.unwrap_err(), StoreError::NotDone);
        assert!(holds(&store, count).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let renewal = Renewal { expect: ViewKey::of(&made), me, links: 1 };
    assert!(store.renew(renewal).await.unwrap().value.is_some());
    let second = EmbeddedStore::open(&dir, TTL_S).unwrap_err();
    assert!(second.text.contains("another process"), "{second}");
    // What only removes is tried first, and needs no new space.
    let key = |i: u64| {
        (end("u"), DocKey { from: Some(end("sender")), id: i.to_string().parse().unwrap() })
    };
    let store = &store;
    eventually("a document is removed", || async {
        store.delete_documents(vec![key(count - 1)]).await.is_ok()
    })
    .await;
    assert!(holds(store, count - 1).await);

    disk.free().unwrap();
    eventually("it takes documents again", || async {
        store.append(vec![append_of(&end("u"), vec![large(count - 1)])]).await.is_ok()
    })
    .await;
    let moved = view(made.number.0 + 10, &[me]);
    assert_eq!(store.change_view(change(&made, &moved)).await.unwrap().value, Applied::Yes);
    eventually("it says that it is over", || async { !store.degraded() }).await;
    assert!(holds(store, count).await);
}

#[test]
fn a_full_disk_at_start_is_waited_for() {
    alone("full_disk::child_starts_on_a_full_disk").unwrap();
}

#[ignore = "a child of a_full_disk_at_start_is_waited_for"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_starts_on_a_full_disk() {
    let disk = SmallDisk::mount(16).unwrap();
    let dir = disk.path().join("data");
    disk.fill(0).unwrap();
    for spare in [0, 8_192] {
        disk.fill(spare).unwrap();
        let error = EmbeddedStore::open(&dir, TTL_S).unwrap_err();
        println!("{spare} bytes are free: {error}");
        assert!(error.retry && error.text.contains(&dir.display().to_string()), "{error}");
    }
    disk.free().unwrap();
    let store = EmbeddedStore::open(&dir, TTL_S).unwrap();
    store_all(&store, &end("u"), vec![large(0)]).await;
    drop(store);
    // What is there already needs no space to be read.
    disk.fill(0).unwrap();
    let store = EmbeddedStore::open(&dir, TTL_S).unwrap();
    assert!(holds(&store, 1).await);
}

#[test]
fn a_folder_nobody_may_write_to_is_named() {
    alone("full_disk::child_may_not_write").unwrap();
}

#[ignore = "a child of a_folder_nobody_may_write_to_is_named"]
#[tokio::test]
async fn child_may_not_write() {
    let disk = SmallDisk::mount(16).unwrap();
    let dir = disk.path().join("data");
    drop(EmbeddedStore::open(&dir, TTL_S).unwrap());
    disk.make_read_only().unwrap();
    let error = EmbeddedStore::open(&dir, TTL_S).unwrap_err();
    println!("{error}");
    assert!(!error.retry && error.text.contains(&dir.display().to_string()), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_is_named_or_its_damage_is() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("wardlink.redb");
    let store = EmbeddedStore::open(dir.path(), TTL_S).unwrap();
    for i in 0..20 {
        store_all(&store, &end("u"), vec![large(i)]).await;
    }
    drop(store);
    let whole = std::fs::read(&file).unwrap();
    let mut refused = 0;
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let mut damaged = whole.clone();
        let to = (at + 20_000).min(whole.len());
        damaged[at..to].fill(0xa5);
        std::fs::write(&file, damaged).unwrap();
        match EmbeddedStore::open(dir.path(), TTL_S) {
            Err(error) => {
                assert!(!error.retry && error.text.contains("damaged"), "{error}");
                refused += 1;
            }
            // Damage where nothing is, or in what is read only later: an error, no crash.
            Ok(store) => {
                let _ = store.append(vec![append_of(&end("u"), vec![large(99)])]).await;
                let reads = vec![crate::fixtures::read_of(&end("u"), usize::MAX)];
                let _ = store.read_mailboxes(reads, OpTime(0)).await;
            }
        }
    }
    assert!(refused > 0);
    std::fs::write(&file, whole).unwrap();
    let store = EmbeddedStore::open(dir.path(), TTL_S).unwrap();
    assert_eq!(page(&store, &end("u"), 99).await.documents.len(), 20);
}

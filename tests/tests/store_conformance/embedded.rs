//! What only the embedded store can show: its lock, a kill of its process, its own expiry.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;
use wardlink_ms::store::embedded::EmbeddedStore;
use wardlink_ms::store::{Applied, OpTime, Renewal, Store, ViewKey};

use crate::fixtures::{
    TTL_S, document, end, eventually, first, ids, ms, now_ms, page, row, server, stamp, store_all,
    view,
};

/// Tells a child of this test program which directory to write into.
const DIR: &str = "WARDLINK_TEST_CHILD_DIR";
/// How many lanes the child appends to at once.
const LANES: u64 = 6;

fn open(dir: &Path) -> EmbeddedStore {
    EmbeddedStore::open(dir, TTL_S).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_opener_is_refused_and_told_where() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    assert!(store.exclusive());
    let error = EmbeddedStore::open(dir.path(), TTL_S).unwrap_err();
    assert!(!error.retry);
    let shown = dir.path().display().to_string();
    assert!(error.text.contains(&shown) && error.text.contains("another process"), "{error}");
    // The first one goes on, and leaves the lock when it goes.
    store_all(&store, &end("u"), vec![document("m", stamp(1, 1))]).await;
    drop(store);
    let again = open(dir.path());
    assert_eq!(ids(&page(&again, &end("u"), 9).await), ["m"]);
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "no directory").unwrap();
    let error = EmbeddedStore::open(&file, TTL_S).unwrap_err();
    assert!(error.text.contains(&file.display().to_string()), "{error}");
    std::fs::write(dir.path().join("wardlink.redb"), "no database at all").unwrap();
    let error = EmbeddedStore::open(dir.path(), TTL_S).unwrap_err();
    assert!(error.text.contains(&dir.path().display().to_string()), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_finds_all_and_its_time_goes_on() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let me = ms();
    let made = view(5, &[me]);
    store.change_view(first(&made)).await.unwrap();
    let who = row(&end("u"), server(), stamp(2, 2));
    store.write_rows(vec![who.clone()]).await.unwrap();
    store.touch_servers(vec![who.server]).await.unwrap();
    let time = store_all(&store, &end("u"), vec![document("m", stamp(1, 1))]).await;
    drop(store);

    let store = open(dir.path());
    assert_eq!(store.read_view(OpTime(0)).await.unwrap().value, Some(made.clone()));
    let rows = store.read_rows(vec![end("u")], OpTime(0)).await.unwrap();
    assert_eq!(rows.value, [Some(who)]);
    assert!(rows.time >= time);
    assert!(store.quiet_servers(60_000, 9, OpTime(0)).await.unwrap().value.is_empty());
    let renewal = Renewal { expect: ViewKey::of(&made), me, links: 1 };
    assert!(store.renew(renewal).await.unwrap().value.is_some());
    assert!(store_all(&store, &end("u"), vec![document("n", stamp(1, 2))]).await > time);
    assert_eq!(ids(&page(&store, &end("u"), 9).await), ["m", "n"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_outlived_its_time_is_removed() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let mut old: Vec<_> = (0..2_500).map(|i| document(&i.to_string(), stamp(1, i))).collect();
    for document in &mut old {
        document.create_at_ms = now_ms() - u64::from(TTL_S) * 1_000 - 1;
    }
    store_all(&store, &end("u"), old.clone()).await;
    store_all(&store, &end("u"), vec![document("new", stamp(2, 1))]).await;
    let store = &store;
    let counts = |expected| async move {
        store.count(vec![end("u"), end("v")], OpTime(0)).await.unwrap().value == expected
    };
    eventually("old documents go", || counts([1, 0])).await;
    // By a changed time to live, too.
    store_all(store, &end("v"), old[..3].to_vec()).await;
    store.prepare(true, 0).await.unwrap();
    eventually("all documents go", || counts([0, 0])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_loses_nothing_acknowledged() {
    let dir = TempDir::new().unwrap();
    let mut acked = vec![0_u64; LANES as usize];
    let mut time = OpTime(0);
    for round in 0..4_usize {
        run_until_killed(dir.path(), 150 + 37 * round, &mut acked, &mut time);
        let store = open(dir.path());
        for (lane, acked) in acked.iter_mut().enumerate() {
            let found = page(&store, &end(lane), usize::MAX).await;
            let expected: Vec<String> = (0..found.documents.len()).map(|i| i.to_string()).collect();
            assert_eq!(ids(&found), expected, "lane {lane}: a prefix, in order");
            assert!(found.documents.len() as u64 >= *acked, "lane {lane}, {acked} acknowledged");
            *acked = found.documents.len() as u64;
        }
        let next = store_all(&store, &end("after"), vec![document("m", stamp(1, 1))]).await;
        assert!(next > time);
        time = next;
    }
}

/// Runs a child that appends, and kills it after so many acknowledgements. Notes each of them.
fn run_until_killed(dir: &Path, after: usize, acked: &mut [u64], time: &mut OpTime) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "embedded::child_appends_until_it_is_killed", "--ignored", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some(ack) = line.split("ack ").nth(1) else { continue };
        let numbers: Vec<u64> = ack.split(' ').map_while(|word| word.parse().ok()).collect();
        // The last line may be cut.
        let [lane, count, at, 0] = numbers[..] else { continue };
        acked[lane as usize] = acked[lane as usize].max(count);
        *time = (*time).max(OpTime(at));
        lines += 1;
        if lines == after {
            // What it wrote before it died is read on.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(lines >= after, "the child ended by itself after {lines} acknowledgements");
}

#[ignore = "a child of a_killed_process_loses_nothing_acknowledged"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_appends_until_it_is_killed() {
    let dir = std::env::var_os(DIR).expect("run by its parent");
    let store = Arc::new(open(Path::new(&dir)));
    let made = view(5, &[ms()]);
    if store.change_view(first(&made)).await.unwrap().value == Applied::Yes {
        store.write_rows(vec![row(&end("u"), server(), stamp(1, 1))]).await.unwrap();
    }
    let lanes = (0..LANES).map(|lane| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut next = store.count(vec![end(lane)], OpTime(0)).await.unwrap().value[0] as u64;
            loop {
                let time = store_all(
                    &*store,
                    &end(lane),
                    vec![document(&next.to_string(), stamp(1, next))],
                )
                .await;
                next += 1;
                let mut out = std::io::stdout().lock();
                writeln!(out, "ack {lane} {next} {} 0", time.0).unwrap();
                out.flush().unwrap();
            }
        })
    });
    futures_util::future::join_all(lanes).await;
}

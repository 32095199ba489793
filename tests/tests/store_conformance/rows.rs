//! The registry.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join_all;
use uuid::Uuid;
use wardlink_ms::store::{Applied, OpTime, Row, Store};
use wardlink_wire::{EndId, SessionId};

use crate::fixtures::{end, row, server, stamp};

type AnyStore = Arc<dyn Store>;

async fn write(store: &AnyStore, row: &Row) -> Applied {
    store.write_rows(vec![row.clone()]).await.unwrap().value.remove(0).unwrap()
}

async fn read(store: &AnyStore, end: &EndId) -> Option<Row> {
    store.read_rows(vec![end.clone()], OpTime(0)).await.unwrap().value.remove(0)
}

pub(crate) async fn a_row_is_read_as_it_was_written(store: AnyStore) {
    let mut full = row(&end("full"), server(), stamp(u64::MAX, 7));
    full.client = Some("program-1".parse().unwrap());
    full.n = 12;
    let bare = row(&end("bare"), server(), stamp(1, 2));
    let written = store.write_rows(vec![full.clone(), bare.clone()]).await.unwrap();
    let ends = vec![end("bare"), end("nobody"), end("full"), end("bare")];
    let rows = store.read_rows(ends, written.time).await.unwrap().value;
    assert_eq!(rows, [Some(bare.clone()), None, Some(full.clone()), Some(bare)]);
    // A program that says nothing of itself takes over the row of one that did.
    let mut after = full;
    after.client = None;
    after.n = 0;
    assert_eq!(write(&store, &after).await, Applied::Yes);
    assert_eq!(read(&store, &after.end).await, Some(after));
}

pub(crate) async fn a_row_is_written_where_none_is_newer(store: AnyStore) {
    let who = end("u");
    let first = row(&who, server(), stamp(5, 5));
    assert_eq!(write(&store, &first).await, Applied::Yes);
    assert_eq!(write(&store, &row(&who, server(), stamp(5, 4))).await, Applied::No);
    assert_eq!(read(&store, &who).await, Some(first.clone()));
    // The repeat of a write whose answer was lost.
    assert_eq!(write(&store, &first).await, Applied::Yes);
    let newer = row(&who, server(), stamp(5, 6));
    assert_eq!(write(&store, &newer).await, Applied::Yes);
    assert_eq!(read(&store, &who).await, Some(newer));
}

pub(crate) async fn stamps_of_rows_compare_whole_and_unsigned(store: AnyStore) {
    let who = end("u");
    let half = 1_u64 << 63;
    // Each is newer than the one before it, and read signed or by halves it would not be.
    let newer = [
        stamp(1, 900),
        stamp(2, 1),
        stamp(0x7fff_ffff_ffff_ffff, 9),
        stamp(half, 3),
        stamp(half + 1, 2),
        stamp(half + 0xffff_ffff, 1),
        stamp(half + 0x1_0000_0000, 0),
        stamp(u64::MAX, 1),
        stamp(u64::MAX, 2),
    ];
    for (i, high) in newer.iter().enumerate() {
        assert_eq!(write(&store, &row(&who, server(), *high)).await, Applied::Yes, "{high}");
        for low in &newer[..i] {
            let late = row(&who, server(), *low);
            assert_eq!(write(&store, &late).await, Applied::No, "{low} after {high}");
        }
        assert_eq!(read(&store, &who).await.unwrap().stamp, *high);
    }
}

pub(crate) async fn many_rows_have_one_result_each(store: AnyStore) {
    let at = server();
    let rows = |epoch| -> Vec<Row> {
        (0..1_500).map(|i| row(&end(i), at, stamp(epoch + i % 3, i))).collect()
    };
    let results = store.write_rows(rows(10)).await.unwrap().value;
    assert_eq!(results, vec![Ok(Applied::Yes); 1_500]);
    // Now a third each is lower, equal and higher by epoch.
    let mut again = rows(10);
    for (i, row) in again.iter_mut().enumerate() {
        row.stamp = stamp(11, i as u64);
    }
    let reply = store.write_rows(again.clone()).await.unwrap();
    for (i, result) in reply.value.iter().enumerate() {
        let expected = if i % 3 == 2 { Applied::No } else { Applied::Yes };
        assert_eq!(*result, Ok(expected), "row {i}");
    }
    let ends: Vec<EndId> = (0..1_500).map(end).collect();
    let found = store.read_rows(ends, reply.time).await.unwrap().value;
    assert_eq!(found.iter().flatten().count(), 1_500);
    assert_eq!(found[0].as_ref().unwrap().session, again[0].session);
    assert_ne!(found[2].as_ref().unwrap().session, again[2].session);
}

pub(crate) async fn of_concurrent_rows_the_newest_stays(store: AnyStore) {
    for round in 0..20 {
        let who = end(round);
        let writes = (1..=8_u64).map(|count| {
            let (store, row) = (store.clone(), row(&who, server(), stamp(1, count)));
            tokio::spawn(async move { (row.stamp, write(&store, &row).await) })
        });
        let written = join_all(writes).await.into_iter().map(Result::unwrap);
        let won: Vec<_> = written.filter(|(_, applied)| *applied == Applied::Yes).collect();
        // A first insert may cost another writer its turn, but never the other way round.
        let highest = won.iter().map(|(stamp, _)| *stamp).max().expect("somebody wrote");
        assert_eq!(read(&store, &who).await.unwrap().stamp, highest);
    }
}

pub(crate) async fn a_delete_names_server_and_session(store: AnyStore) {
    let there = row(&end("u"), server(), stamp(1, 1));
    write(&store, &there).await;
    let other = SessionId(Uuid::new_v4());
    for (server, session) in [(there.server, other), (server(), there.session)] {
        store.delete_rows(vec![(there.end.clone(), server, session)]).await.unwrap();
        assert_eq!(read(&store, &there.end).await, Some(there.clone()));
    }
    let exact = vec![
        (end("nobody"), there.server, there.session),
        (there.end.clone(), there.server, there.session),
    ];
    for _ in 0..2 {
        store.delete_rows(exact.clone()).await.unwrap();
        assert_eq!(read(&store, &there.end).await, None);
    }
}

pub(crate) async fn rows_of_servers_come_in_pages(store: AnyStore) {
    let (a, b, other) = (server(), server(), server());
    let ends: Vec<EndId> = (100..150).map(end).collect();
    let of = |i: usize| [a, b, other][i % 3];
    let rows = ends.iter().enumerate().map(|(i, end)| row(end, of(i), stamp(1, 1))).collect();
    let time = store.write_rows(rows).await.unwrap().time;
    let mut seen = Vec::new();
    loop {
        let above = seen.last().cloned();
        let page = store.rows_of(vec![a, b], above, 7, time).await.unwrap().value;
        seen.extend(page.iter().map(|row| row.end.clone()));
        if page.len() < 7 {
            break;
        }
    }
    let expected: Vec<EndId> =
        ends.into_iter().enumerate().filter(|(i, _)| of(*i) != other).map(|(_, e)| e).collect();
    assert_eq!(seen, expected);
    assert!(store.rows_of(vec![], None, 7, time).await.unwrap().value.is_empty());
}

pub(crate) async fn all_rows_of_a_server_go_at_once(store: AnyStore) {
    let (gone, stays) = (server(), server());
    let rows = (0..30).map(|i| row(&end(i), if i % 2 == 0 { gone } else { stays }, stamp(1, 1)));
    store.write_rows(rows.collect()).await.unwrap();
    // A row that moved away does not go with its old server.
    let moved = row(&end(0), stays, stamp(1, 2));
    write(&store, &moved).await;
    let time = store.delete_rows_of(gone).await.unwrap().time;
    let left = store.read_rows((0..30).map(end).collect(), time).await.unwrap().value;
    let left: HashSet<EndId> = left.into_iter().flatten().map(|row| row.end).collect();
    let expected: HashSet<EndId> = (0..30).filter(|i| i % 2 == 1 || *i == 0).map(end).collect();
    assert_eq!(left, expected);
    assert!(store.rows_of(vec![gone], None, 10, time).await.unwrap().value.is_empty());
}

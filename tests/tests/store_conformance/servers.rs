//! Servers that nobody touches, operation time, readiness.

use std::collections::HashSet;
use std::sync::Arc;

use wardlink_ms::store::{OpTime, Store};
use wardlink_wire::ServerId;

use crate::fixtures::{document, end, eventually, first, ms, row, server, stamp, store_all, view};

type AnyStore = Arc<dyn Store>;

async fn quiet(store: &AnyStore, quiet_ms: u64, limit: usize) -> HashSet<ServerId> {
    let found = store.quiet_servers(quiet_ms, limit, OpTime(0)).await.unwrap().value;
    let set: HashSet<ServerId> = found.iter().copied().collect();
    assert_eq!(set.len(), found.len(), "each once");
    set
}

pub(crate) async fn servers_nobody_touches_are_quiet(store: AnyStore) {
    let (touched, never, idle) = (server(), server(), server());
    assert!(quiet(&store, 60_000, 10).await.is_empty());
    let rows = (0..40).map(|i| row(&end(i), if i % 2 == 0 { touched } else { never }, stamp(1, 1)));
    store.write_rows(rows.collect()).await.unwrap();
    store.touch_servers(vec![touched, idle]).await.unwrap();
    assert_eq!(quiet(&store, 60_000, 10).await, HashSet::from([never]));
    // A server without rows is nobody's concern.
    store.touch_servers(vec![never]).await.unwrap();
    assert!(quiet(&store, 60_000, 10).await.is_empty());
    let many: Vec<_> = (100..120).map(|i| row(&end(i), server(), stamp(1, 1))).collect();
    store.write_rows(many).await.unwrap();
    assert_eq!(quiet(&store, 60_000, 7).await.len(), 7);
}

pub(crate) async fn a_touched_server_becomes_quiet_again(store: AnyStore) {
    let at = server();
    store.write_rows(vec![row(&end("u"), at, stamp(1, 1))]).await.unwrap();
    store.touch_servers(vec![at]).await.unwrap();
    assert!(quiet(&store, 60_000, 10).await.is_empty());
    let store = &store;
    eventually(
        "the server becomes quiet",
        || async move { quiet(store, 100, 10).await.contains(&at) },
    )
    .await;
    store.touch_servers(vec![at]).await.unwrap();
    assert!(quiet(store, 60_000, 10).await.is_empty());
}

pub(crate) async fn the_operation_time_grows(store: AnyStore) {
    let made = view(5, &[ms()]);
    let mut times = vec![store.change_view(first(&made)).await.unwrap().time];
    for i in 0..20 {
        times.push(store.write_rows(vec![row(&end(i), server(), stamp(1, 1))]).await.unwrap().time);
        times.push(store_all(&*store, &end(i), vec![document("m", stamp(1, 1))]).await);
    }
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    let last = times.last().copied().unwrap();
    // Seconds in the upper half.
    let seconds = last.0 >> 32;
    assert!(seconds.abs_diff(crate::fixtures::now_ms() / 1_000) < 60, "{last:?}");
    let read = store.read_rows(vec![end(1)], last).await.unwrap();
    assert!(read.time >= last);
    assert!(store.read_view(last).await.unwrap().time >= last);
}

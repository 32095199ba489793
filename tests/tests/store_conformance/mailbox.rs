//! Reads of mailboxes, counts and deletes.

use std::sync::Arc;

use wardlink_ms::store::{DocKey, MailboxRead, OpTime, Store};
use wardlink_wire::EndId;

use crate::fixtures::{append_of, document, end, id, ids, now_ms, page, read_of, stamp, store_all};

type AnyStore = Arc<dyn Store>;

pub(crate) async fn a_page_is_the_oldest_and_says_whether_it_is_the_end(store: AnyStore) {
    let who = end("u");
    let empty = page(&*store, &who, 3).await;
    assert!(empty.documents.is_empty() && empty.end);
    let documents = [4, 1, 3, 2].map(|count| document(&count.to_string(), stamp(1, count)));
    store_all(&*store, &who, documents.to_vec()).await;
    store_all(&*store, &end("v"), vec![document("other", stamp(1, 0))]).await;
    let cut = page(&*store, &who, 3).await;
    assert_eq!(ids(&cut), ["1", "2", "3"]);
    assert!(!cut.end);
    let whole = page(&*store, &who, 5).await;
    assert_eq!(ids(&whole), ["1", "2", "3", "4"]);
    assert!(whole.end);
    // Exactly full: there may be more, and a further read says.
    assert_eq!(ids(&page(&*store, &who, 4).await), ["1", "2", "3", "4"]);
}

pub(crate) async fn stamps_of_documents_compare_whole_and_unsigned(store: AnyStore) {
    let who = end("u");
    let half = 1_u64 << 63;
    let rising = [
        stamp(0, 9),
        stamp(1, 900),
        stamp(2, 1),
        stamp(half - 1, 9),
        stamp(half, 3),
        stamp(half + 0x1_0000_0000, 0),
        stamp(u64::MAX, 1),
    ];
    let documents: Vec<_> =
        rising.iter().enumerate().map(|(i, stamp)| document(&i.to_string(), *stamp)).collect();
    store_all(&*store, &who, documents.iter().rev().cloned().collect()).await;
    assert_eq!(page(&*store, &who, 10).await.documents, documents);
    // The lower one is kept by the same order.
    for (kept, offered) in
        [(stamp(half + 7, 1), stamp(half + 7, 1)), (stamp(half + 7, 1), stamp(half + 8, 0))]
    {
        store_all(&*store, &who, vec![document("6", offered)]).await;
        let read = page(&*store, &who, 10).await;
        assert_eq!(read.documents.iter().find(|d| d.key.id == id("6")).unwrap().stamp, kept);
    }
}

pub(crate) async fn expired_documents_are_not_in_a_page(store: AnyStore) {
    let who = end("u");
    let at = now_ms() - 100_000;
    let documents: Vec<_> = (0..20)
        .map(|i| {
            let mut document = document(&i.to_string(), stamp(1, i));
            document.create_at_ms = at + i;
            document
        })
        .collect();
    store_all(&*store, &who, documents).await;
    let read = |created_after_ms, limit| {
        let store = store.clone();
        let read = MailboxRead { end: who.clone(), limit, bytes: usize::MAX, created_after_ms };
        async move { store.read_mailboxes(vec![read], OpTime(0)).await.unwrap().value.remove(0) }
    };
    // A page full of what expired must not look like the end.
    let cut = read(at + 14, 3).await;
    assert_eq!(ids(&cut), ["15", "16", "17"]);
    assert!(!cut.end);
    assert_eq!(ids(&read(at + 16, 10).await), ["17", "18", "19"]);
    let none = read(at + 19, 10).await;
    assert!(none.documents.is_empty() && none.end);
}

pub(crate) async fn many_mailboxes_are_read_at_once(store: AnyStore) {
    // Every seventh has mail, one far more than its page, and the ends are not in order.
    let ends: Vec<EndId> = (0..450).map(|i| end((i * 37) % 450)).collect();
    let mut appends = Vec::new();
    for (i, who) in ends.iter().enumerate().filter(|(i, _)| i % 7 == 0) {
        let count = if i == 77 { 2_500 } else { 1 + i as u64 % 5 };
        let documents = (0..count).map(|k| document(&format!("{i}.{k}"), stamp(1, k)));
        appends.push(append_of(who, documents.collect()));
    }
    for some in appends.chunks(20) {
        store.append(some.to_vec()).await.unwrap();
    }
    let reads: Vec<MailboxRead> = ends.iter().map(|end| read_of(end, 4)).collect();
    let pages = store.read_mailboxes(reads, OpTime(0)).await.unwrap().value;
    assert_eq!(pages.len(), ends.len());
    for (i, page) in pages.iter().enumerate() {
        let count = match i {
            77 => 2_500,
            _ if i % 7 == 0 => 1 + i % 5,
            _ => 0,
        };
        let expected: Vec<String> = (0..count.min(4)).map(|k| format!("{i}.{k}")).collect();
        assert_eq!(ids(page), expected, "{i}");
        assert!(!(page.end && count > 4), "{i}");
        assert!(page.end || count >= 4, "{i}");
    }
}

pub(crate) async fn many_mailboxes_with_mail_are_read_whole(store: AnyStore) {
    // More documents than any store reads at once.
    let lanes: Vec<EndId> = (0..190).map(end).collect();
    let documents = || (0..15).map(|i| document(&i.to_string(), stamp(1, i))).collect();
    let appends = lanes.iter().map(|end| append_of(end, documents())).collect();
    store.append(appends).await.unwrap();
    let reads = lanes.iter().map(|end| read_of(end, 20)).collect();
    let pages = store.read_mailboxes(reads, OpTime(0)).await.unwrap().value;
    for (page, end) in pages.iter().zip(&lanes) {
        assert!(page.documents.len() == 15 && page.end, "{end}: {}", page.documents.len());
    }
}

pub(crate) async fn mailboxes_are_counted(store: AnyStore) {
    let documents = |count| (0..count).map(|i| document(&i.to_string(), stamp(1, i))).collect();
    store_all(&*store, &end("a"), documents(3)).await;
    let time = store_all(&*store, &end("b"), documents(700)).await;
    let ends = vec![end("b"), end("none"), end("a"), end("b")];
    assert_eq!(store.count(ends, time).await.unwrap().value, [700, 0, 3, 700]);
    assert!(store.count(vec![], time).await.unwrap().value.is_empty());
}

pub(crate) async fn a_delete_may_come_twice(store: AnyStore) {
    let (a, b) = (end("a"), end("b"));
    let documents: Vec<_> = (0..1_200).map(|i| document(&i.to_string(), stamp(1, i))).collect();
    store_all(&*store, &a, documents.clone()).await;
    let mut plain = document("0", stamp(1, 0));
    plain.key.from = None;
    store_all(&*store, &b, vec![plain.clone(), document("0", stamp(1, 1))]).await;
    let mut keys: Vec<(EndId, DocKey)> =
        documents[..1_100].iter().map(|document| (a.clone(), document.key.clone())).collect();
    keys.push((b.clone(), plain.key));
    keys.push((b.clone(), DocKey { from: Some(end("sender")), id: id("absent") }));
    for _ in 0..2 {
        store.delete_documents(keys.clone()).await.unwrap();
        let left = page(&*store, &a, 200).await;
        assert_eq!(left.documents, documents[1_100..]);
        assert!(page(&*store, &b, 9).await.documents[0].key.from.is_some());
        let counts = store.count(vec![a.clone(), b.clone()], OpTime(0)).await.unwrap().value;
        assert_eq!(counts, [100, 1]);
    }
    store.delete_documents(vec![]).await.unwrap();
}

pub(crate) async fn a_read_shows_what_was_acknowledged(store: AnyStore) {
    let who = end("u");
    for i in 0..100_u64 {
        let time = store_all(&*store, &who, vec![document(&i.to_string(), stamp(1, i))]).await;
        let store = store.clone();
        let read = read_of(&who, 200);
        let read = tokio::spawn(async move { store.read_mailboxes(vec![read], time).await });
        let reply = read.await.unwrap().unwrap();
        assert_eq!(reply.value[0].documents.len() as u64, i + 1);
        assert!(reply.time >= time);
    }
}

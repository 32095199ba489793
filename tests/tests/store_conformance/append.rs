//! Appends to mailboxes.

use std::sync::Arc;

use bytes::Bytes;
use wardlink_ms::store::{Append, Appended, DocKey, Put, PutError, Store};

use crate::fixtures::{append_of, document, end, id, ids, page, stamp, store_all};

type AnyStore = Arc<dyn Store>;

const ALL: fn(usize) -> Appended = |applied| Appended { applied, error: None };

pub(crate) async fn a_document_is_read_as_it_was_appended(store: AnyStore) {
    let who = end("u");
    let mut full = document("full", stamp(u64::MAX, 1));
    full.redelivered = true;
    full.ttl_s = Some(20);
    full.body = Bytes::from_static("{\"name\": \"Zoë\", \"n\": [1, null]}".as_bytes());
    let mut bare = document("bare", stamp(3, 4));
    bare.key.from = None;
    bare.body = Bytes::from_static(b"7");
    store_all(&*store, &who, vec![full.clone(), bare.clone()]).await;
    let page = page(&*store, &who, 10).await;
    assert_eq!(page.documents, [bare, full]);
    assert!(page.end);
}

pub(crate) async fn the_lower_stamp_is_kept(store: AnyStore) {
    let who = end("u");
    store_all(&*store, &who, vec![document("m", stamp(5, 5)), document("n", stamp(4, 9))]).await;
    let mut later = document("m", stamp(6, 1));
    later.body = Bytes::from_static(b"\"another\"");
    store_all(&*store, &who, vec![later]).await;
    let read = page(&*store, &who, 10).await;
    assert_eq!(ids(&read), ["n", "m"]);
    assert_eq!(read.documents[1].stamp, stamp(5, 5));
    assert_eq!(read.documents[1].body, document("m", stamp(0, 0)).body, "the first body stays");
    store_all(&*store, &who, vec![document("m", stamp(3, 900))]).await;
    let read = page(&*store, &who, 10).await;
    assert_eq!(ids(&read), ["m", "n"]);
    assert_eq!(read.documents[0].stamp, stamp(3, 900));
}

pub(crate) async fn a_mark_is_kept(store: AnyStore) {
    let who = end("u");
    let redelivered = |mark: bool| {
        let mut document = document("m", stamp(1, 1));
        document.redelivered = mark;
        document
    };
    let marked = async |store: &AnyStore| page(&**store, &who, 1).await.documents[0].redelivered;
    store_all(&*store, &who, vec![redelivered(false)]).await;
    assert!(!marked(&store).await);
    store_all(&*store, &who, vec![redelivered(true)]).await;
    assert!(marked(&store).await);
    store_all(&*store, &who, vec![redelivered(false)]).await;
    assert!(marked(&store).await, "a mark is never taken back");

    let plain = DocKey { from: None, id: id("p") };
    let mut document = document("p", stamp(1, 0));
    document.key = plain.clone();
    store_all(&*store, &who, vec![document]).await;
    assert!(!marked(&store).await);
    let absent = DocKey { from: Some(end("sender")), id: id("absent") };
    let puts = vec![Put::Mark(absent), Put::Mark(plain)];
    let reply = store.append(vec![Append { end: who.clone(), puts }]).await.unwrap();
    assert_eq!(reply.value, [ALL(2)], "a document that is not there is no failure");
    assert!(marked(&store).await);
    assert_eq!(page(&*store, &who, 10).await.documents.len(), 2);
}

pub(crate) async fn a_refused_statement_stops_its_lane_alone(store: AnyStore) {
    let lanes = [end("a"), end("b"), end("c")];
    let puts =
        || vec![document("1", stamp(1, 1)), document("2", stamp(1, 2)), document("3", stamp(1, 3))];
    let mut broken = puts();
    broken[1].body = Bytes::from(format!("\"{}\"", "x".repeat(17 << 20)));
    let appends = vec![
        append_of(&lanes[0], puts()),
        append_of(&lanes[1], broken),
        append_of(&lanes[2], puts()),
    ];
    let reply = store.append(appends).await.unwrap();
    let refused = Appended { applied: 1, error: Some(PutError::Refused) };
    assert_eq!(reply.value, [ALL(3), refused, ALL(3)]);
    for (lane, expected) in lanes.iter().zip([vec!["1", "2", "3"], vec!["1"], vec!["1", "2", "3"]])
    {
        assert_eq!(ids(&page(&*store, lane, 10).await), expected);
    }
}

pub(crate) async fn many_lanes_are_appended_in_order(store: AnyStore) {
    // More statements than one command takes, and more bytes.
    let body = Bytes::from(format!("\"{}\"", "x".repeat(20_000)));
    let documents = |lane: u64| {
        (0..60).map(move |i| document(&format!("{lane}.{i}"), stamp(1, lane * 100 + i)))
    };
    let appends: Vec<Append> = (0..12)
        .map(|lane| {
            let documents = documents(lane).map(|mut document| {
                document.body = body.clone();
                document
            });
            append_of(&end(lane), documents.collect())
        })
        .collect();
    let reply = store.append(appends.clone()).await.unwrap();
    assert_eq!(reply.value, vec![ALL(60); 12]);
    for append in &appends {
        let read = page(&*store, &append.end, 100).await;
        let expected = append.puts.iter().map(|put| match put {
            Put::Document(document) => document.clone(),
            Put::Mark(_) => unreachable!("only documents"),
        });
        assert_eq!(read.documents, expected.collect::<Vec<_>>());
    }
}

pub(crate) async fn new_and_known_documents_may_be_mixed(store: AnyStore) {
    // Each lane is appended twice, the second time with what is new between what is there.
    let lanes: Vec<_> = (0..6).map(end).collect();
    let some = |lane: usize, step: usize| {
        let all = (0..20).step_by(step).map(move |i| {
            let mut document = document(&i.to_string(), stamp(1, i as u64));
            document.redelivered = (i + lane).is_multiple_of(5);
            document
        });
        all.collect::<Vec<_>>()
    };
    let all = |step| lanes.iter().enumerate().map(move |(i, end)| (end, some(i, step)));
    for step in [4, 1, 1] {
        let appends: Vec<Append> = all(step)
            .map(|(end, documents)| {
                let mut append = append_of(end, documents);
                let first = DocKey { from: Some(crate::fixtures::end("sender")), id: id("0") };
                append.puts.insert(append.puts.len() / 2, Put::Mark(first));
                append
            })
            .collect();
        let reply = store.append(appends.clone()).await.unwrap();
        let expected: Vec<_> = appends.iter().map(|append| ALL(append.puts.len())).collect();
        assert_eq!(reply.value, expected);
    }
    for (end, mut documents) in all(1) {
        documents[0].redelivered = true;
        let read = page(&*store, end, 30).await.documents;
        assert_eq!(read.len(), 20);
        for (read, expected) in read.iter().zip(&documents) {
            assert_eq!((&read.key, read.stamp), (&expected.key, expected.stamp));
            assert_eq!(read.redelivered, expected.redelivered, "{:?}", read.key);
        }
    }
}

pub(crate) async fn an_append_of_nothing_is_done(store: AnyStore) {
    assert_eq!(store.append(vec![]).await.unwrap().value, []);
    let empty = Append { end: end("u"), puts: vec![] };
    assert_eq!(store.append(vec![empty]).await.unwrap().value, [ALL(0)]);
}

//! What only MongoDB can show: data of older deployments, refusals inside a command, large pages.

use std::sync::Arc;

use bytes::Bytes;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, Document as Fields, doc};
use uuid::Uuid;
use wardlink_ms::store::mongodb::MongoStore;
use wardlink_ms::store::{
    Append, Appended, Applied, DocKey, OpTime, Put, PutError, Store, StoreError,
};
use wardlink_tests::database::Database;
use wardlink_wire::SessionId;

use crate::fixtures::{
    TTL_S, append_of, document, end, first, fresh_name, id, ids, ms, now_ms, open_mongo, page, row,
    server, shared_database, stamp, store_all, view,
};

/// A prepared store, the same database by the bare driver, and what keeps it running.
async fn both() -> (MongoStore, mongodb::Database, Arc<Database>) {
    let database = shared_database().await;
    let uri = database.uri(&fresh_name());
    let store = open_mongo(&uri).await;
    store.prepare(true, TTL_S).await.unwrap();
    let client = mongodb::Client::with_uri_str(&uri).await.unwrap();
    let bare = client.default_database().unwrap();
    (store, bare, database)
}

async fn insert(bare: &mongodb::Database, collection: &str, fields: Vec<Fields>) {
    bare.collection::<Fields>(collection).insert_many(fields).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_documents_come_first_and_can_be_removed() {
    let (store, bare, _held) = both().await;
    let who = end("u");
    let object = ObjectId::new();
    let at = |ms: u64| DateTime::from_millis((now_ms() - 10_000 + ms) as i64);
    let old = |id: Bson, content: Bson, ms: u64| {
        doc! { "_id": id, "endIdentifer": who.as_str(), "messageContent": content, "createAt": at(ms) }
    };
    let long = "x".repeat(100);
    insert(
        &bare,
        "msglists",
        vec![
            old("text".into(), "not JSON \"at all".into(), 3),
            old(object.into(), "{\"a\": 1}".into(), 1),
            old(Bson::String(long), doc! { "a": [1, null, "z"] }.into(), 4),
            old(Bson::Int32(7), "5".into(), 2),
        ],
    )
    .await;
    let new = document("new", stamp(1, 1));
    store_all(&store, &who, vec![new.clone()]).await;
    let read = page(&store, &who, 10).await;
    let bodies: Vec<&[u8]> = read.documents.iter().map(|document| &document.body[..]).collect();
    let expected: [&[u8]; 5] =
        [b"{\"a\": 1}", b"5", b"\"not JSON \\\"at all\"", b"{\"a\":[1,null,\"z\"]}", &new.body];
    assert_eq!(bodies, expected);
    assert!(read.documents.is_sorted_by(|a, b| a.stamp < b.stamp));
    assert!(read.documents[..4].iter().all(|d| d.stamp.epoch.0 == 0 && d.key.from.is_none()));
    assert_eq!(read.documents[0].key.id, id(&object.to_hex()));
    assert_eq!(read.documents[2].key.id, id("text"));
    // The same document has the same stamp each time.
    assert_eq!(page(&store, &who, 10).await, read);

    let marks = read.documents[..3].iter().map(|document| Put::Mark(document.key.clone()));
    let reply = store.append(vec![Append { end: who.clone(), puts: marks.collect() }]).await;
    assert_eq!(reply.unwrap().value, [Appended { applied: 3, error: None }]);
    let marked = page(&store, &who, 10).await;
    assert!(marked.documents[0].redelivered && marked.documents[2].redelivered);

    // Not of another end, though its id is the same.
    store.delete_documents(vec![(end("v"), read.documents[0].key.clone())]).await.unwrap();
    for left in (0..5).rev() {
        let next = page(&store, &who, 10).await;
        assert_eq!(next.documents.len(), left + 1);
        store.delete_documents(vec![(who.clone(), next.documents[0].key.clone())]).await.unwrap();
    }
    assert!(page(&store, &who, 10).await.documents.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_rows_are_older_than_all() {
    let (store, bare, _held) = both().await;
    let at = server();
    let old = |uid: &str| doc! { "endIdentifer": end(uid).as_str(), "serverIdentifer": at.to_string(), "__v": 0 };
    let strange = doc! { "endIdentifer": end("s").as_str(), "serverIdentifer": "no UUID" };
    insert(&bare, "wsendmaps", vec![old("a"), old("b"), strange]).await;
    let ends = vec![end("a"), end("b"), end("s")];
    let rows = store.read_rows(ends.clone(), OpTime(0)).await.unwrap().value;
    let a = rows[0].clone().unwrap();
    assert_eq!((a.server, a.session, a.stamp), (at, SessionId(Uuid::nil()), stamp(0, 0)));
    assert_eq!(rows[2], None, "a row that nobody here could have written counts as none");
    let written = store
        .write_rows(vec![
            row(&end("a"), server(), stamp(0, 0)),
            row(&end("s"), server(), stamp(1, 1)),
        ])
        .await
        .unwrap();
    assert_eq!(written.value, [Ok(Applied::Yes), Ok(Applied::Yes)]);
    store.delete_rows(vec![(end("b"), at, SessionId(Uuid::nil()))]).await.unwrap();
    let rows = store.read_rows(ends, OpTime(0)).await.unwrap().value;
    assert!(rows[0].is_some() && rows[1].is_none() && rows[2].is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_a_refused_statement_is_written_by_another_command() {
    let (store, bare, _held) = both().await;
    // Refuses the second document with the same `ttl`.
    let index = doc! { "createIndexes": "msglists",
    "indexes": [{ "key": { "ttl": 1 }, "name": "once", "unique": true, "sparse": true }] };
    bare.run_command(index).await.unwrap();
    let with_ttl = |text: &str, count, ttl| {
        let mut document = document(text, stamp(1, count));
        document.ttl_s = ttl;
        document
    };
    let lane = |ttls: [Option<u32>; 4]| {
        let all = ttls.iter().enumerate();
        all.map(|(i, ttl)| with_ttl(&i.to_string(), i as u64, *ttl)).collect::<Vec<_>>()
    };
    let appends = vec![
        append_of(&end("a"), lane([None, Some(5), None, None])),
        append_of(&end("b"), lane([None, None, Some(5), None])),
        append_of(&end("c"), lane([Some(5), None, None, None])),
        append_of(&end("d"), lane([None, None, None, Some(6)])),
    ];
    let reply = store.append(appends).await.unwrap();
    let failed = |applied| Appended { applied, error: Some(PutError::NotDone) };
    let done = Appended { applied: 4, error: None };
    assert_eq!(reply.value, [done, failed(2), failed(0), done]);
    for (uid, count) in [("a", 4), ("b", 2), ("c", 0), ("d", 4)] {
        assert_eq!(page(&store, &end(uid), 9).await.documents.len(), count, "{uid}");
    }
    // A document that a validator refuses will be refused again.
    let validator = doc! { "collMod": "msglists", "validator": { "ttl": { "$ne": 9 } } };
    bare.run_command(validator).await.unwrap();
    let refused = vec![append_of(&end("e"), lane([None, Some(9), None, None]))];
    let reply = store.append(refused).await.unwrap();
    assert_eq!(reply.value, [Appended { applied: 1, error: Some(PutError::Refused) }]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_larger_than_a_reply_is_not_taken_for_the_end() {
    let (store, _bare, _held) = both().await;
    let body = Bytes::from(format!("\"{}\"", "x".repeat(64 << 10)));
    let all: Vec<_> = (0..320)
        .map(|i| {
            let mut document = document(&i.to_string(), stamp(1, i));
            document.body = body.clone();
            document
        })
        .collect();
    store_all(&store, &end("u"), all.clone()).await;
    let mut left = all.as_slice();
    while !left.is_empty() {
        let read = page(&store, &end("u"), 400).await;
        let got = read.documents.len();
        assert_eq!(read.documents, left[..got]);
        assert!(got > 0 && read.end == (got == left.len()), "{got} of {}", left.len());
        let keys = read.documents.into_iter().map(|document| (end("u"), document.key));
        store.delete_documents(keys.collect()).await.unwrap();
        left = &left[got..];
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_that_cannot_be_understood_is_an_error_and_is_not_overwritten() {
    let (store, bare, _held) = both().await;
    insert(&bare, "wsviews", vec![doc! { "_id": "view", "number": "five" }]).await;
    assert_eq!(store.read_view(OpTime(0)).await, Err(StoreError::NotDone));
    let made = first(&view(5, &[ms()]));
    assert_eq!(store.change_view(made).await.unwrap().value, Applied::No);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_are_those_that_others_read() {
    let (store, bare, _held) = both().await;
    let who = row(&end("u"), server(), stamp(1, 2));
    store.write_rows(vec![who.clone()]).await.unwrap();
    let found = bare.collection::<Fields>("wsendmaps").find_one(doc! {}).await.unwrap().unwrap();
    assert_eq!(found.get_str("endIdentifer").unwrap(), "H1-A2-u");
    assert_eq!(found.get_str("serverIdentifer").unwrap(), who.server.to_string());
    assert!(found.get_datetime("registeredAt").is_ok());
    assert_eq!(found.get_document("stamp").unwrap().keys().collect::<Vec<_>>(), ["epoch", "count"]);

    let mut plain = document("p", stamp(1, 3));
    plain.key = DocKey { from: None, id: id("p") };
    store_all(&store, &end("u"), vec![document("m", stamp(1, 2)), plain]).await;
    let found = bare.collection::<Fields>("msglists");
    let found = found.find_one(doc! { "_id": "H1-A2-u/H1-A2-sender/m" }).await.unwrap().unwrap();
    assert_eq!(found.get_str("messageContent").unwrap(), "{\"text\": \"m\"}");
    assert!(found.get_datetime("createAt").is_ok());
    assert!(!found.contains_key("redelivered") && !found.contains_key("ttl"));
    let plain = doc! { "_id": "H1-A2-u//p" };
    assert!(bare.collection::<Fields>("msglists").find_one(plain).await.unwrap().is_some());
    assert_eq!(ids(&page(&store, &end("u"), 9).await), ["m", "p"]);
}

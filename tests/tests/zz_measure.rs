#![allow(missing_docs)]
#[path = "store_conformance/fixtures.rs"]
#[allow(dead_code)]
mod fixtures;
use ::mongodb::bson::{Document as Fields, doc};
use fixtures::*;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wardlink_ms::store::*;

fn report(what: &str, mut t: Vec<Duration>) {
    t.sort();
    let n = t.len();
    println!(
        "{what}: p50 {:?} p99 {:?} mean {:?}",
        t[n / 2],
        t[n * 99 / 100],
        t.iter().sum::<Duration>() / n as u32
    );
}
async fn time<F: Future>(what: &str, n: usize, mut f: impl FnMut(usize) -> F) {
    let mut t = vec![];
    for i in 0..n {
        let b = Instant::now();
        f(i).await;
        t.push(b.elapsed());
    }
    report(what, t);
}
fn doc400(i: u64, s: Stamp) -> Document {
    let mut d = document(&i.to_string(), s);
    d.body = bytes::Bytes::from(format!("\"{}\"", "x".repeat(256)));
    d
}
use wardlink_wire::Stamp;

async fn all(store: Arc<dyn Store>) {
    let s = &*store;
    let me = ms();
    let v = view(5, &[me, ms()]);
    s.change_view(first(&v)).await.unwrap();
    let r = Renewal { expect: ViewKey::of(&v), me, links: 2 };
    time("renew", 500, |_| s.renew(r)).await;
    time("read_view", 300, |_| s.read_view(OpTime(0))).await;
    time("append 1", 500, |i| {
        s.append(vec![append_of(&end("one"), vec![doc400(i as u64, stamp(1, i as u64))])])
    })
    .await;
    let b = Instant::now();
    for k in 0..200u64 {
        let ap = (0..50)
            .map(|l| {
                append_of(
                    &end(l),
                    (0..10).map(|i| doc400(k * 10 + i, stamp(1, k * 10 + i))).collect(),
                )
            })
            .collect();
        s.append(ap).await.unwrap();
    }
    println!("append 100k in 500s: {:.0}/s", 100_000.0 / b.elapsed().as_secs_f64());
    let b = Instant::now();
    let mut js = vec![];
    for c in 0..64u64 {
        let store = store.clone();
        js.push(tokio::spawn(async move {
            for i in 0..50u64 {
                store
                    .append(vec![append_of(&end(format!("c{c}")), vec![doc400(i, stamp(1, i))])])
                    .await
                    .unwrap();
            }
        }));
    }
    for j in js {
        j.await.unwrap();
    }
    println!("append 1 x 64 callers: {:.0}/s", 3200.0 / b.elapsed().as_secs_f64());
    let at = server();
    let b = Instant::now();
    for k in 0..40u64 {
        let rows =
            (0..500).map(|i| row(&end(format!("r{}", k * 500 + i)), at, stamp(5, i))).collect();
        s.write_rows(rows).await.unwrap();
    }
    println!("insert 20k rows in 500s: {:.0}/s", 20_000.0 / b.elapsed().as_secs_f64());
    time("write_rows 1 (20k there)", 300, |i| {
        s.write_rows(vec![row(&end(format!("r{}", i * 7)), at, stamp(6, 1))])
    })
    .await;
    time("write_rows 1 refused", 300, |i| {
        s.write_rows(vec![row(&end(format!("r{}", i * 7)), at, stamp(4, 1))])
    })
    .await;
    time("write_rows 500 update", 20, |k| {
        s.write_rows(
            (0..500).map(|i| row(&end(format!("r{}", k * 500 + i)), at, stamp(7, 1))).collect(),
        )
    })
    .await;
    time("read_rows 1", 300, |i| s.read_rows(vec![end(format!("r{}", i * 7))], OpTime(0))).await;
    time("read_rows 500", 20, |k| {
        s.read_rows((0..500).map(|i| end(format!("r{}", k * 500 + i))).collect(), OpTime(0))
    })
    .await;
    time("read_mailboxes 1 empty", 200, |i| {
        s.read_mailboxes(vec![read_of(&end(format!("e{i}")), 64)], OpTime(0))
    })
    .await;
    time("read_mailboxes 1 full(64 of 2000)", 50, |i| {
        s.read_mailboxes(vec![read_of(&end(i), 64)], OpTime(0))
    })
    .await;
    time("read_mailboxes 200 empty", 20, |k| {
        s.read_mailboxes(
            (0..200).map(|i| read_of(&end(format!("e{}", k * 200 + i)), 64)).collect(),
            OpTime(0),
        )
    })
    .await;
    time("read_mailboxes 50 full", 5, |_| {
        s.read_mailboxes((0..50).map(|i| read_of(&end(i), 64)).collect(), OpTime(0))
    })
    .await;
    time("count 1 empty", 100, |i| s.count(vec![end(format!("e{i}"))], OpTime(0))).await;
    time("count 200 empty", 20, |k| {
        s.count((0..200).map(|i| end(format!("e{}", k * 200 + i))).collect(), OpTime(0))
    })
    .await;
    time("count 1 of 2000", 20, |i| s.count(vec![end(i)], OpTime(0))).await;
    time("quiet_servers", 5, |_| s.quiet_servers(60_000, 10, OpTime(0))).await;
    time("rows_of 500", 5, |_| s.rows_of(vec![at], None, 500, OpTime(0))).await;
    time("touch 4", 50, |_| s.touch_servers(vec![at, server(), server(), server()])).await;
    let b = Instant::now();
    for k in 0..20u64 {
        let keys = (0..500)
            .map(|i| {
                (
                    end(i % 50),
                    DocKey { from: Some(end("sender")), id: id(&(k * 10 + i / 50).to_string()) },
                )
            })
            .collect();
        s.delete_documents(keys).await.unwrap();
    }
    println!("delete 10k docs in 500s: {:.0}/s", 10_000.0 / b.elapsed().as_secs_f64());
    time("delete 1", 100, |i| {
        s.delete_documents(vec![(
            end("one"),
            DocKey { from: Some(end("sender")), id: id(&i.to_string()) },
        )])
    })
    .await;
    let b = Instant::now();
    // drain
    let mut n = 0;
    loop {
        let p = page(s, &end(3), 500).await;
        n += p.documents.len();
        let keys: Vec<_> = p.documents.into_iter().map(|d| (end(3), d.key)).collect();
        if keys.is_empty() {
            break;
        }
        s.delete_documents(keys).await.unwrap();
    }
    println!("drain {n}: {:.0}/s", n as f64 / b.elapsed().as_secs_f64());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_numbers() {
    let f = embedded();
    all(f.store.clone()).await;
}
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mongo_numbers() {
    let f = mongo().await;
    all(f.store.clone()).await;
    let db = shared_database().await;
    let c = ::mongodb::Client::with_uri_str(db.uri("raw")).await.unwrap();
    let coll = c.default_database().unwrap().collection::<Fields>("msglists");
    coll.create_index(::mongodb::IndexModel::builder().keys(doc! {"createAt":1}).build())
        .await
        .unwrap();
    coll.create_index(
        ::mongodb::IndexModel::builder().keys(doc! {"endIdentifer":1,"stamp":1}).build(),
    )
    .await
    .unwrap();
    let b = Instant::now();
    for k in 0..100u64 {
        let ds: Vec<Fields> = (0..500u64).map(|i| doc!{"_id": format!("H1-A2-{}/H1-A2-sender/{}", i/10, k*10+i%10), "endIdentifer": format!("H1-A2-{}", i/10), "messageContent": format!("\"{}\"","x".repeat(256)), "from":"H1-A2-sender", "id": (k*10+i).to_string(), "stamp": {"epoch": ::mongodb::bson::Timestamp{time:0,increment:1}, "count": (k*10+i) as i64}, "createAt": ::mongodb::bson::DateTime::now()}).collect();
        coll.insert_many(ds)
            .write_concern(::mongodb::options::WriteConcern::majority())
            .await
            .unwrap();
    }
    println!("insertMany 50k in 500s: {:.0}/s", 50_000.0 / b.elapsed().as_secs_f64());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_numbers() {
    let uri = std::env::var("URI").unwrap();
    let store = open_mongo(&format!("{uri}/{}", fresh_name())).await;
    store.prepare(true, 600).await.unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    all(store).await;
}

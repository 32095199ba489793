#![allow(missing_docs)]
use mongodb::bson::{DateTime, Document, Timestamp, doc};
use std::time::Instant;
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probe() {
    let c = mongodb::Client::with_uri_str("mongodb://127.0.0.1:28001/probe").await.unwrap();
    let db = c.default_database().unwrap();
    db.drop().await.unwrap();
    db.run_command(doc!{"createIndexes":"m","indexes":[{"key":{"createAt":1},"name":"t","expireAfterSeconds":600},{"key":{"endIdentifer":1,"stamp":1},"name":"em"}]}).await.unwrap();
    let coll = db.collection::<Document>("m");
    for e in 0..50 {
        for k in 0..4 {
            let ds: Vec<Document> = (0..500i64).map(|i| doc!{"_id": format!("{e}/{}", k*500+i), "endIdentifer": format!("e{e}"), "messageContent": "x".repeat(256), "stamp": {"epoch": Timestamp{time:5,increment:1}, "count": k*500+i}, "createAt": DateTime::now()}).collect();
            coll.insert_many(ds).await.unwrap();
        }
    }
    let t0 = DateTime::from_millis(DateTime::now().timestamp_millis() - 600_000);
    let ends: Vec<String> = (0..50).map(|e| format!("e{e}")).collect();
    let rc = doc! {"level":"majority"};
    for (name, cmd) in [
        (
            "base",
            doc! {"find":"m","filter":{"endIdentifer":"e7","createAt":{"$gt":t0}},"sort":{"stamp":1},"limit":64,"batchSize":64,"readConcern":rc.clone()},
        ),
        (
            "hint",
            doc! {"find":"m","filter":{"endIdentifer":"e7","createAt":{"$gt":t0}},"sort":{"stamp":1},"limit":64,"batchSize":64,"hint":"em","readConcern":rc.clone()},
        ),
        (
            "sort2",
            doc! {"find":"m","filter":{"endIdentifer":"e7","createAt":{"$gt":t0}},"sort":{"endIdentifer":1,"stamp":1},"limit":64,"batchSize":64,"readConcern":rc.clone()},
        ),
        (
            "sort2 hint",
            doc! {"find":"m","filter":{"endIdentifer":"e7","createAt":{"$gt":t0}},"sort":{"endIdentifer":1,"stamp":1},"limit":64,"batchSize":64,"hint":"em","readConcern":rc.clone()},
        ),
        (
            "no createAt",
            doc! {"find":"m","filter":{"endIdentifer":"e7"},"sort":{"stamp":1},"limit":64,"batchSize":64,"readConcern":rc.clone()},
        ),
        (
            "no createAt sort2",
            doc! {"find":"m","filter":{"endIdentifer":"e7"},"sort":{"endIdentifer":1,"stamp":1},"limit":64,"batchSize":64,"readConcern":rc.clone()},
        ),
        (
            "no createAt sort2 hint",
            doc! {"find":"m","filter":{"endIdentifer":"e7"},"sort":{"endIdentifer":1,"stamp":1},"limit":64,"batchSize":64,"hint":"em","readConcern":rc.clone()},
        ),
        (
            "no createAt no sort",
            doc! {"find":"m","filter":{"endIdentifer":"e7"},"limit":64,"batchSize":64,"readConcern":rc.clone()},
        ),
        (
            "no createAt no sort hint",
            doc! {"find":"m","filter":{"endIdentifer":"e7"},"limit":64,"batchSize":64,"hint":"em","readConcern":rc.clone()},
        ),
        (
            "createAt no sort hint",
            doc! {"find":"m","filter":{"endIdentifer":"e7","createAt":{"$gt":t0}},"limit":64,"batchSize":64,"hint":"em","readConcern":rc.clone()},
        ),
        (
            "stamp range no sort",
            doc! {"find":"m","filter":{"endIdentifer":"e7","stamp":{"$gte":{"epoch":Timestamp{time:0,increment:0},"count":0i64}}},"sort":{"endIdentifer":1,"stamp":1},"limit":64,"batchSize":64,"readConcern":rc.clone()},
        ),
        (
            "many",
            doc! {"find":"m","filter":{"endIdentifer":{"$in":ends.clone()},"createAt":{"$gt":t0}},"sort":{"endIdentifer":1,"stamp":1},"limit":2000,"batchSize":2000,"readConcern":rc.clone()},
        ),
        (
            "many hint",
            doc! {"find":"m","filter":{"endIdentifer":{"$in":ends.clone()},"createAt":{"$gt":t0}},"sort":{"endIdentifer":1,"stamp":1},"limit":2000,"batchSize":2000,"hint":"em","readConcern":rc.clone()},
        ),
        (
            "many no createAt",
            doc! {"find":"m","filter":{"endIdentifer":{"$in":ends.clone()}},"sort":{"endIdentifer":1,"stamp":1},"limit":2000,"batchSize":2000,"readConcern":rc.clone()},
        ),
        (
            "many range",
            doc! {"find":"m","filter":{"endIdentifer":{"$gte":"e0"}},"sort":{"endIdentifer":1,"stamp":1},"limit":2000,"batchSize":2000,"readConcern":rc.clone()},
        ),
    ] {
        let mut t = vec![];
        let mut first = String::new();
        for _ in 0..9 {
            let b = Instant::now();
            let r = db.run_command(cmd.clone()).await;
            t.push(b.elapsed());
            first = match r {
                Ok(r) => {
                    let a = r.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
                    format!(
                        "{} docs, first {} sorted {}",
                        a.len(),
                        a[0].as_document().unwrap().get_str("_id").unwrap(),
                        a.windows(2).all(|w| {
                            let g = |x: &mongodb::bson::Bson| {
                                (
                                    x.as_document()
                                        .unwrap()
                                        .get_str("endIdentifer")
                                        .unwrap()
                                        .to_owned(),
                                    x.as_document()
                                        .unwrap()
                                        .get_document("stamp")
                                        .unwrap()
                                        .get_i64("count")
                                        .unwrap(),
                                )
                            };
                            g(&w[0]) <= g(&w[1])
                        })
                    )
                }
                Err(e) => e.to_string(),
            };
        }
        t.sort();
        println!("{name}: {:?}  {first}", t[4]);
    }
    for cmd in [
        doc! {"explain":{"find":"m","filter":{"endIdentifer":"e7","createAt":{"$gt":t0}},"sort":{"stamp":1},"limit":64}},
        doc! {"explain":{"find":"m","filter":{"endIdentifer":"e7"},"sort":{"endIdentifer":1,"stamp":1},"limit":64}},
    ] {
        println!("{:?}", db.run_command(cmd).await.map(|d| d.get("queryPlanner").cloned()));
    }
    // insert speed
    for (name, ordered) in [("ordered", true), ("unordered", false)] {
        let b = Instant::now();
        for k in 0..20i64 {
            let ds: Vec<Document> = (0..500i64).map(|i| doc!{"_id": format!("{name}/{}", k*500+i), "endIdentifer": format!("x{}", i%50), "messageContent": "x".repeat(256), "stamp": {"epoch": Timestamp{time:5,increment:1}, "count": k*500+i}, "createAt": DateTime::now()}).collect();
            db.run_command(doc!{"insert":"m","documents":ds,"ordered":ordered,"writeConcern":{"w":"majority"}}).await.unwrap();
        }
        println!("insert {name} {:.0}/s", 10_000.0 / b.elapsed().as_secs_f64());
    }
}

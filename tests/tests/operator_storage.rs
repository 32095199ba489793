//! The operator's care for the indexes, on a real database: made, dropped and changed by hand, in
//! conflict, away, locked; and that Message Servers wait for exactly what it makes.

use std::time::{Duration, Instant};

use mongodb::bson::{Bson, Document as Fields, doc};
use prometheus::Registry;
use uuid::Uuid;
use wardlink_ms::store::Store as _;
use wardlink_ms::store::mongodb::{MongoStore, Names};
use wardlink_operator::model::StorageState::{self, *};
use wardlink_operator::storage::{Access, ClusterKey, Looked, Mode, Storage, StorageRequest, Told};
use wardlink_operator_api::Collections;
use wardlink_tests::cluster::{Cluster, Plan, Store};
use wardlink_tests::database::Database;
use wardlink_tests::pki::Pki;

/// Short, so that a change by hand is found soon.
const RESYNC: Duration = Duration::from_millis(100);
/// How long anything that must happen may take. A look that hangs takes 30 s at most.
const PATIENCE: Duration = Duration::from_secs(45);

/// An operator's storage part and one cluster's database.
struct Bench {
    storage: Storage,
    registry: Registry,
    request: StorageRequest,
    bare: mongodb::Database,
}

impl Bench {
    async fn new(database: &Database) -> Self {
        let name = format!("t{}", Uuid::new_v4().simple());
        let uri = database.uri(&name);
        let client = mongodb::Client::with_uri_str(&uri).await.unwrap();
        let registry = Registry::new();
        Self {
            storage: Storage::new(RESYNC, &registry),
            registry,
            request: StorageRequest {
                cluster: ClusterKey { namespace: "clinic".into(), name: name.clone() },
                access: Ok(Access { uri: uri.into_bytes(), ca: None }),
                database: name.clone(),
                collections: Collections::default(),
                mode: Mode::Manage,
                message_ttl_seconds: 600,
                told: None,
                settled: true,
            },
            bare: client.database(&name),
        }
    }

    /// Reconciles until the database is found like this.
    async fn until(&self, what: &str, good: impl AsyncFn(&Looked) -> bool) -> Looked {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let looked = self.storage.reconcile(self.request.clone()).await;
            if good(&looked).await {
                return looked;
            }
            assert!(Instant::now() < deadline, "{what}: {looked:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn until_state(&self, state: StorageState) -> Looked {
        self.until(&format!("{state:?}"), async |looked| looked.report.state == state).await
    }

    async fn run(&self, command: Fields) -> Fields {
        self.bare.run_command(command).await.unwrap()
    }

    async fn indexes(&self, collection: &str) -> Vec<Fields> {
        let Ok(reply) = self.bare.run_command(doc! { "listIndexes": collection }).await else {
            return Vec::new();
        };
        let batch = reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
        batch.iter().map(|index| index.as_document().unwrap().clone()).collect()
    }

    /// What the TTL index of the mailbox has.
    async fn ttl(&self) -> Option<i64> {
        let indexes = self.indexes("msglists").await;
        let ttl = indexes
            .iter()
            .find(|index| index.get_document("key").unwrap().contains_key("createAt"))?;
        match ttl.get("expireAfterSeconds")? {
            Bson::Int32(int) => Some(i64::from(*int)),
            Bson::Int64(int) => Some(*int),
            Bson::Double(double) => Some(*double as i64),
            other => panic!("{other}"),
        }
    }

    /// Whether a Message Server that waits for indexes is content.
    async fn suffices(&self, ttl_s: u32) -> bool {
        let Ok(access) = &self.request.access else { return false };
        let names = Names { database: Some(self.request.database.clone()), ..Names::default() };
        let uri = std::str::from_utf8(&access.uri).unwrap();
        let store = MongoStore::open(uri, names, None).await.unwrap();
        store.prepare(false, ttl_s).await.is_ok()
    }

    fn clients(&self) -> f64 {
        let families = self.registry.gather();
        let clients = families.iter().find(|f| f.name() == "wardlink_operator_storage_clients");
        clients.unwrap().get_metric()[0].get_gauge().get_value()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_server_that_waits_for_indexes_is_ready_by_what_the_operator_makes() {
    let database = Database::start().await.unwrap();
    let bench = Bench::new(&database).await;
    assert!(!bench.suffices(600).await);
    let looked = bench.until_state(Ready).await;
    assert_eq!(looked.report.index_ttl_seconds, Some(600));
    assert_eq!(looked.report.server_message_ttl_seconds, 600);
    assert!(bench.suffices(600).await);
    let ms_flags = ["--indexes", "require", "--store-database", &bench.request.database];
    let ms_flags = ms_flags.map(ToOwned::to_owned).to_vec();
    let plan = Plan { ms_flags, ..Plan::default() };
    let cluster = Cluster::build(Store::Mongo(&database), plan).await.unwrap();
    cluster.terminal("H1-A2-nurse").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_is_dropped_or_changed_by_hand_comes_back() {
    let database = Database::start().await.unwrap();
    let bench = Bench::new(&database).await;
    bench.until_state(Ready).await;
    for collection in ["wsendmaps", "msglists", "wsservers"] {
        bench.run(doc! { "dropIndexes": collection, "index": "*" }).await;
    }
    bench.until("made again", async |_| bench.suffices(600).await).await;
    let name = |indexes: Vec<Fields>| indexes[1].get_str("name").unwrap().to_owned();
    let before = name(bench.indexes("msglists").await);
    for by_hand in [60, 90_000] {
        let index = doc! { "keyPattern": { "createAt": 1 }, "expireAfterSeconds": by_hand };
        bench.run(doc! { "collMod": "msglists", "index": index }).await;
        bench.until("changed back", async |_| bench.ttl().await == Some(600)).await;
    }
    assert_eq!(name(bench.indexes("msglists").await), before, "never dropped");
    assert_eq!(bench.clients(), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_grows_at_the_index_first_and_shrinks_at_the_servers_first() {
    let database = Database::start().await.unwrap();
    let mut bench = Bench::new(&database).await;
    bench.until_state(Ready).await;
    let told = |last, most| Some(Told { last, most });

    bench.request.message_ttl_seconds = 900;
    bench.request.told = told(600, 600);
    let looked = bench.until("grown", async |_| bench.ttl().await == Some(900)).await;
    assert!([600, 900].contains(&looked.report.server_message_ttl_seconds), "{looked:?}");
    bench.until("told", async |l| l.report.server_message_ttl_seconds == 900).await;

    bench.request.message_ttl_seconds = 300;
    for (now, settled) in [(told(900, 900), true), (told(300, 900), true), (told(300, 300), false)]
    {
        (bench.request.told, bench.request.settled) = (now, settled);
        // Long enough for several looks.
        let end = Instant::now() + RESYNC * 5;
        let looked = bench.until("time to pass", async |_| Instant::now() > end).await;
        assert_eq!(looked.report.server_message_ttl_seconds, 300);
        assert_eq!((bench.ttl().await, looked.report.index_ttl_seconds), (Some(900), Some(900)));
        assert!(bench.suffices(300).await, "or the rollout would never end");
    }
    bench.request.settled = true;
    bench.until("shrunk", async |l| l.report.index_ttl_seconds == Some(300)).await;
    assert_eq!(bench.ttl().await, Some(300));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_with_other_options_is_reported_and_left_alone() {
    let database = Database::start().await.unwrap();
    let bench = Bench::new(&database).await;
    let unique = doc! { "key": { "createAt": 1 }, "name": "theirs", "unique": true,
    "expireAfterSeconds": 600 };
    bench.run(doc! { "createIndexes": "msglists", "indexes": [unique] }).await;
    let plain = doc! { "key": { "endIdentifer": 1 }, "name": "endIdentifer_1" };
    bench.run(doc! { "createIndexes": "wsendmaps", "indexes": [plain] }).await;
    let looked = bench.until_state(IndexConflict).await;
    for words in [
        "msglists{createAt}: the index theirs on it is unique",
        "endIdentifer_1 on it is not unique",
    ] {
        assert!(looked.report.message.contains(words), "{looked:?}");
    }
    // What nobody is in the way of is made all the same.
    let names = bench.indexes("msglists").await;
    let names: Vec<_> = names.iter().map(|index| index.get_str("name").unwrap()).collect();
    assert_eq!(names, ["_id_", "theirs", "wardlink_mailbox"]);
    bench.run(doc! { "dropIndexes": "msglists", "index": "theirs" }).await;
    bench.run(doc! { "dropIndexes": "wsendmaps", "index": "endIdentifer_1" }).await;
    bench.until_state(Ready).await;
    assert!(bench.suffices(600).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_without_a_time_to_live_is_given_one() {
    let database = Database::start().await.unwrap();
    let bench = Bench::new(&database).await;
    let plain = doc! { "key": { "createAt": 1 }, "name": "createAt_1" };
    bench.run(doc! { "createIndexes": "msglists", "indexes": [plain] }).await;
    bench.until_state(Ready).await;
    assert_eq!(bench.ttl().await, Some(600));
    let indexes = bench.indexes("msglists").await;
    assert!(
        indexes.iter().any(|index| index.get_str("name").is_ok_and(|name| name == "createAt_1")),
        "{indexes:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn double_rows_are_removed_before_the_unique_index_is_made() {
    let database = Database::start().await.unwrap();
    let bench = Bench::new(&database).await;
    let row = |end: &str, count: i64| doc! { "endIdentifer": end, "stamp": { "count": count } };
    let rows = [row("a", 1), row("a", 3), row("a", 2), row("b", 1)];
    bench.bare.collection::<Fields>("wsendmaps").insert_many(rows).await.unwrap();
    bench.until_state(Ready).await;
    let rows = bench.bare.collection::<Fields>("wsendmaps");
    assert_eq!(rows.count_documents(doc! {}).await.unwrap(), 2);
    let kept = rows.find_one(doc! { "endIdentifer": "a" }).await.unwrap().unwrap();
    assert_eq!(kept.get_document("stamp").unwrap().get_i64("count").unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_killed_or_frozen_and_comes_back_is_ready_again() {
    let mut database = Database::start().await.unwrap();
    let bench = Bench::new(&database).await;
    bench.until_state(Ready).await;
    database.kill();
    let looked = bench.until_state(Unreachable).await;
    assert_eq!(looked.report.index_ttl_seconds, None);
    assert!(looked.report.message.starts_with("the database does not answer"), "{looked:?}");
    database.restart().await.unwrap();
    bench.until_state(Ready).await;

    database.pause().unwrap();
    let begun = Instant::now();
    bench.until_state(Unreachable).await;
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    database.resume().unwrap();
    bench.until_state(Ready).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standalone_is_told_apart() {
    let database = Database::start_with(&["--standalone"]).await.unwrap();
    let bench = Bench::new(&database).await;
    let looked = bench.until_state(NotReplicaSet).await;
    assert!(looked.report.message.contains("replica set"), "{looked:?}");
    assert_eq!(bench.indexes("msglists").await, Vec::<Fields>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told_and_the_right_one_taken_at_once() {
    let mut database = Database::start().await.unwrap();
    database.lock("operator", "r1ghtw0rd").await.unwrap();
    let mut bench = Bench::new(&database).await;
    let right = bench.request.access.clone();
    let uri = database.uri("x").replace("r1ghtw0rd", "wr0ngw0rd");
    bench.request.access = Ok(Access { uri: uri.into_bytes(), ca: None });
    let looked = bench.until_state(NotAuthorized).await;
    assert!(!format!("{looked:?} {:?}", bench.request).contains("wr0ngw0rd"), "{looked:?}");
    bench.request.access = right;
    bench.until_state(Ready).await;
    assert_eq!(bench.clients(), 1.0, "the old connections are closed");
    bench.storage.forget(&bench.request.cluster);
    let deadline = Instant::now() + PATIENCE;
    while bench.clients() > 0.0 {
        assert!(Instant::now() < deadline, "connections of a cluster that is gone");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_an_authority_of_its_own_is_reached_by_that_alone() {
    let (pki, other) = (Pki::new().unwrap(), Pki::new().unwrap());
    let own = pki.issue("database", &["127.0.0.1"]).unwrap();
    let database = Database::start_tls(&own, pki.ca()).await.unwrap();
    let mut bench = Bench::new(&database).await;
    let uri = database.uri("x").into_bytes();
    let with = |ca: std::path::PathBuf| {
        Ok(Access { uri: uri.clone(), ca: Some(std::fs::read(ca).unwrap()) })
    };
    bench.request.access = with(other.ca());
    bench.until_state(Unreachable).await;
    bench.request.access = with(pki.ca());
    bench.until_state(Ready).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_cluster_is_looked_at_and_nothing_is_written() {
    let database = Database::start().await.unwrap();
    let mut bench = Bench::new(&database).await;
    bench.request.mode = Mode::Watch;
    let looked = bench.until_state(IndexFailed).await;
    assert!(looked.report.message.contains("msglists{createAt}"), "{looked:?}");
    assert_eq!(bench.indexes("msglists").await, Vec::<Fields>::new());
    bench.request.mode = Mode::Manage;
    bench.until_state(Ready).await;
    bench.request.mode = Mode::Watch;
    bench.until_state(Ready).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ttl_index_is_dropped_alone_and_only_if_it_is_the_operators() {
    let database = Database::start().await.unwrap();
    let bench = Bench::new(&database).await;
    bench.storage.drop_index(&bench.request).await.unwrap();
    bench.until_state(Ready).await;
    bench.storage.drop_index(&bench.request).await.unwrap();
    assert_eq!(bench.ttl().await, None);
    assert_eq!(bench.indexes("msglists").await.len(), 2);
    let unique = doc! { "key": { "createAt": 1 }, "name": "theirs", "unique": true };
    bench.run(doc! { "createIndexes": "msglists", "indexes": [unique] }).await;
    bench.storage.drop_index(&bench.request).await.unwrap();
    assert_eq!(bench.indexes("msglists").await.len(), 3);
}

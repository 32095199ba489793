//! Pace and bounds, on databases that are not there. Those on a real one are in `tests/`.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use prometheus::{Encoder, Registry, TextEncoder};
use serde_json::json;

use super::{ClusterKey, Looked, Mode, Storage, StorageRequest};
use crate::desired::fixtures::cluster;
use crate::model::{StorageState, TierObserved};

const RESYNC: Duration = Duration::from_secs(300);

fn request(name: &str, uri: Option<&str>) -> StorageRequest {
    let cluster = cluster(json!({}));
    let uri = uri.map(|uri| uri.as_bytes().to_vec());
    let request = StorageRequest::of(&cluster, &TierObserved::default(), |secret, key| {
        assert_eq!((secret, key), ("ward-mongodb", "uri"));
        uri.clone()
    });
    let cluster = ClusterKey { namespace: "clinic".into(), name: name.into() };
    StorageRequest { cluster, ..request }
}

/// Asks until the look that was begun has ended.
async fn settled(storage: &Storage, request: &StorageRequest) -> Looked {
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        let looked = storage.reconcile(request.clone()).await;
        if looked.report.state != StorageState::Unknown {
            return looked;
        }
        assert!(Instant::now() < deadline, "no end of the look: {looked:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn metric(registry: &Registry, line: &str) -> Option<String> {
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let found = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
    found.map(ToOwned::to_owned)
}

#[tokio::test]
async fn a_missing_secret_and_indexes_by_hand_ask_nobody() {
    let registry = Registry::new();
    let storage = Storage::new(RESYNC, &registry);
    let looked = storage.reconcile(request("a", None)).await;
    assert_eq!(looked.report.state, StorageState::SecretNotFound);
    assert_eq!(looked.report.message, "Secret ward-mongodb with key uri is not there");
    assert_eq!(looked.report.server_message_ttl_seconds, 600);
    let manual = StorageRequest { mode: Mode::Leave, ..request("a", None) };
    let looked = storage.reconcile(manual).await;
    assert_eq!((looked.report.state, looked.next), (StorageState::Manual, RESYNC));
    let checks = "wardlink_operator_storage_operations_total{operation=\"check\",result=\"ok\"}";
    assert_eq!(metric(&registry, checks).as_deref(), Some("0"));
}

#[tokio::test]
async fn a_database_that_is_away_is_asked_again_with_growing_pauses() {
    let registry = Registry::new();
    let storage = Storage::new(RESYNC, &registry);
    let request = request("a", Some("mongodb://u:s3cr3t@127.0.0.1:1/"));
    let looked = settled(&storage, &request).await;
    assert_eq!(looked.report.state, StorageState::Unreachable);
    assert!(looked.report.message.contains("Connection refused"), "{looked:?}");
    assert!(!format!("{looked:?} {storage:?} {request:?}").contains("s3cr3t"));
    assert!(looked.next < Duration::from_secs(6), "{looked:?}");
    let checks =
        "wardlink_operator_storage_operations_total{operation=\"check\",result=\"failed\"}";
    assert_eq!(metric(&registry, checks).as_deref(), Some("1"));
    // Nothing is due, so nobody is asked.
    let again = storage.reconcile(request.clone()).await;
    assert_eq!(again.report, looked.report);
    assert_eq!(metric(&registry, checks).as_deref(), Some("1"));
    // Another URI is another database.
    let mut other = request.clone();
    other.access.as_mut().unwrap().uri = b"nonsense".to_vec();
    assert_eq!(settled(&storage, &other).await.report.state, StorageState::InvalidUri);
    storage.forget(&request.cluster);
    assert_eq!(metric(&registry, "wardlink_operator_storage_clients").as_deref(), Some("0"));
}

#[tokio::test]
async fn a_database_that_hangs_holds_up_nobody_for_long() {
    // Connections are made, by the kernel, and nothing is ever said.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("mongodb://127.0.0.1:{}/", silent.local_addr().unwrap().port());
    let registry = Registry::new();
    let storage = Storage::new(RESYNC, &registry);
    let begun = Instant::now();
    let hanging = request("hangs", Some(&uri));
    let looked = storage.reconcile(hanging.clone()).await;
    assert_eq!(looked.report.state, StorageState::Unknown);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    // While the look goes on, its own cluster and others are answered at once.
    let begun = Instant::now();
    let looked = storage.reconcile(hanging.clone()).await;
    assert_eq!((looked.report.state, looked.next), (StorageState::Unknown, super::SOON));
    storage.reconcile(request("other", None)).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(settled(&storage, &hanging).await.report.state, StorageState::Unreachable);
    let begun = Instant::now();
    assert!(storage.drop_index(&hanging).await.is_err());
    assert!(begun.elapsed() < super::DROP + Duration::from_secs(2), "{:?}", begun.elapsed());
}

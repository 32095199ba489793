//! The database of each cluster: its indexes are made, watched, repaired and changed here.
//!
//! `plan` and `order` decide, without I/O; `session` talks to the database; this module paces and
//! bounds the work, and keeps the connections. It touches indexes, and double rows of the registry
//! where they keep its unique index from being made; no message, and never an index that somebody
//! else made with other options.

mod order;

pub use order::{Told, TtlStep, ttl_order};

use std::time::Duration;

use prometheus::Registry;
use wardlink_operator_api::{
    Collections, IndexManagement, ManagementState, MessagingCluster, SecretKeyRef,
};

use crate::model::{StorageReport, StorageState, TierObserved};
use crate::secrets;

/// Names one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What may be done at the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Indexes are made, repaired and changed.
    Manage,
    /// Indexes are looked at (the cluster is paused).
    Watch,
    /// Nothing: somebody else manages the indexes.
    Leave,
}

/// How the database is reached. Holds secrets; its `Debug` does not show them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Access {
    /// The connection string, as the Secret holds it.
    pub uri: Vec<u8>,
    /// Certificates of authorities in PEM, where the resource names a Secret for them.
    pub ca: Option<Vec<u8>>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

/// One cluster's wishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageRequest {
    /// Whose database.
    pub cluster: ClusterKey,
    /// How it is reached; else which Secret or key is missing, for people.
    pub access: Result<Access, String>,
    /// Its name.
    pub database: String,
    /// Its collections.
    pub collections: Collections,
    /// What may be done.
    pub mode: Mode,
    /// Life of a stored message in seconds, as the resource says.
    pub message_ttl_seconds: i32,
    /// What Message Servers go by.
    pub told: Option<Told>,
    /// Whether the rollout of the Message Servers is complete.
    pub settled: bool,
}

impl StorageRequest {
    /// What the resource says, and what its Message Servers go by. `key_of` gives the content of a
    /// key of a Secret (name, key), or `None` where one of both is missing.
    pub fn of(
        cluster: &MessagingCluster,
        message_servers: &TierObserved,
        key_of: impl Fn(&str, &str) -> Option<Vec<u8>>,
    ) -> Self {
        let storage = &cluster.spec.storage;
        let read = |secret: SecretKeyRef| {
            let key = secret.key.unwrap_or_default();
            key_of(&secret.name, &key)
                .ok_or_else(|| format!("Secret {} with key {key} is not there", secret.name))
        };
        let mongodb = &storage.mongodb;
        let access = read(secrets::mongodb_uri(cluster)).and_then(|uri| {
            Ok(Access { uri, ca: secrets::mongodb_ca(cluster).map(read).transpose()? })
        });
        let recorded = cluster.status.as_ref().and_then(|s| s.storage.server_message_ttl_seconds);
        Self {
            cluster: ClusterKey {
                namespace: cluster.metadata.namespace.clone().unwrap_or_default(),
                name: cluster.metadata.name.clone().unwrap_or_default(),
            },
            access,
            database: mongodb.database.clone(),
            collections: mongodb.collections.clone(),
            mode: Mode::of(cluster),
            message_ttl_seconds: storage.message_ttl_seconds,
            told: Told::of(recorded, message_servers),
            settled: order::settled(message_servers),
        }
    }
}

impl Mode {
    fn of(cluster: &MessagingCluster) -> Self {
        match (cluster.spec.storage.index_management, cluster.spec.management_state) {
            (IndexManagement::Manual, _) => Self::Leave,
            (IndexManagement::Operator, ManagementState::Paused) => Self::Watch,
            (IndexManagement::Operator, _) => Self::Manage,
        }
    }
}

/// What is known of a cluster's database, and when to ask again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// What is known.
    pub report: StorageReport,
    /// The next [`Storage::reconcile`] is due after this time: soon while work is under way, with
    /// growing pauses while the database is in trouble, else at the next resync.
    pub next: Duration,
}

/// The databases of all clusters. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Storage {
    resync: Duration,
}

impl Storage {
    /// Knows no database yet. A database that is well is looked at again after `resync` (a tenth
    /// less or more). Metrics go into `registry`.
    pub fn new(resync: Duration, registry: &Registry) -> Self {
        let _ = registry;
        Self { resync }
    }

    /// Brings the database of one cluster nearer to what is wanted, or finds that nothing is due,
    /// and says what is known. May be called as often as one likes: the database is asked only
    /// where the request is new, or its time has come.
    ///
    /// Takes 2 s at most: work that lasts longer goes on by itself (for a bounded time), and a
    /// later call has its result. A call for one cluster never waits for the database of another.
    ///
    /// Cancel safe: work that has begun goes on.
    pub async fn reconcile(&self, request: StorageRequest) -> Looked {
        let told = request.told.map_or(request.message_ttl_seconds, |told| told.last);
        let report = StorageReport {
            state: StorageState::Unknown,
            message: "not looked at yet".to_owned(),
            index_ttl_seconds: None,
            server_message_ttl_seconds: told,
        };
        Looked { report, next: self.resync }
    }

    /// Drops the TTL index of the mailbox, for a cluster that is deleted with `DropIndex`. An
    /// index or collection that is not there is as good. Ends within 10 s.
    ///
    /// # Errors
    /// Why it was not dropped, for people; it may help to try again.
    pub async fn drop_index(&self, request: &StorageRequest) -> Result<(), String> {
        let _ = request;
        Err("not looked at yet".to_owned())
    }

    /// Forgets a cluster that is gone, and closes its connections.
    pub fn forget(&self, cluster: &ClusterKey) {
        let _ = cluster;
    }
}

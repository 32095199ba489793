//! The database of each cluster: its indexes are made, watched, repaired and changed here.
//!
//! `plan` and `order` decide, without I/O; `session` talks to the database; this module paces and
//! bounds the work, and keeps the connections. It touches indexes, and double rows of the registry
//! where they keep its unique index from being made; no message, and never an index that somebody
//! else made with other options.

mod client;
mod metrics;
mod order;
mod pace;
mod plan;
mod session;
mod trouble;

#[cfg(test)]
mod tests;

pub(crate) use order::settled;
pub use order::{Told, TtlStep, ttl_order};

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::Registry;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use wardlink_operator_api::{
    Collections, IndexManagement, ManagementState, MessagingCluster, SecretKeyRef,
};

use self::metrics::{Metrics, Operation, Outcome};
use self::pace::Entry;
use self::session::Session;
use crate::model::{StorageReport, StorageState, TierObserved};
use crate::secrets;

/// How long a call waits for the check that it began. A database that is well answers within
/// milliseconds; one that is not must not hold up what else a reconcile does.
const WAIT: Duration = Duration::from_secs(2);
/// When to ask for what a check has found that goes on.
const SOON: Duration = Duration::from_secs(1);
/// What one check may take: that of a server, five indexes, of which some may be built.
const CHECK: Duration = Duration::from_secs(30);
/// What dropping an index may take.
const DROP: Duration = Duration::from_secs(10);
/// Checks that run at once. A database that hangs has one for a few seconds in each minute (see
/// `pace`), so a few hundred such clusters would be needed to hold up the others.
const CHECKS_MAX: usize = 32;
/// Clients that are kept open between checks; beyond, they are closed after each. A client has a
/// connection for each server's heartbeat and one for commands: about 256 sockets for replica
/// sets of three.
const CLIENTS_MAX: i64 = 64;

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
pub struct Storage(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    resync: Duration,
    metrics: Arc<Metrics>,
    checks: Arc<Semaphore>,
    /// One for each cluster that was asked for and not forgotten.
    entries: Mutex<HashMap<ClusterKey, Arc<Entry>>>,
}

impl Storage {
    /// Knows no database yet. A database that is well is looked at again after `resync` (a tenth
    /// less or more). Metrics go into `registry`.
    pub fn new(resync: Duration, registry: &Registry) -> Self {
        Self(Arc::new(Shared {
            resync,
            metrics: Arc::new(Metrics::new(registry)),
            checks: Arc::new(Semaphore::new(CHECKS_MAX)),
            entries: Mutex::default(),
        }))
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
        let simple = |state, message: &str, tell| Looked {
            report: StorageReport {
                state,
                message: message.to_owned(),
                index_ttl_seconds: None,
                server_message_ttl_seconds: tell,
            },
            next: self.0.resync,
        };
        if request.mode == Mode::Leave {
            self.forget(&request.cluster);
            let text = "indexes are managed by hand (indexManagement: Manual)";
            return simple(StorageState::Manual, text, request.message_ttl_seconds);
        }
        if let Err(missing) = &request.access {
            self.forget(&request.cluster);
            return simple(StorageState::SecretNotFound, missing, request.tell(None));
        }
        let entry = self.entry(&request.cluster);
        if let Some(mut done) = self.begin(&entry, &request) {
            // Closed when the check ends, however it does.
            let _ = timeout(WAIT, done.changed()).await;
        }
        entry.looked(&request, self.0.resync)
    }

    /// What there is to say without asking the database: of a resource that is invalid, which may
    /// name another one than is meant. What was known stays.
    pub fn unasked(&self, request: &StorageRequest) -> Looked {
        let report = StorageReport {
            state: StorageState::Unknown,
            message: "the database is not asked".to_owned(),
            index_ttl_seconds: None,
            server_message_ttl_seconds: request.tell(None),
        };
        Looked { report, next: self.0.resync }
    }

    /// Drops the TTL index of the mailbox, for a cluster that is deleted with `DropIndex`. An
    /// index or collection that is not there is as good, and one that somebody made with other
    /// options is left alone. Ends within 10 s.
    ///
    /// # Errors
    /// Why it was not dropped, for people; it may help to try again.
    pub async fn drop_index(&self, request: &StorageRequest) -> Result<(), String> {
        if request.mode == Mode::Leave {
            return Ok(());
        }
        let access = request.access.as_ref().map_err(Clone::clone)?;
        // A check that runs would make the index again.
        self.forget(&request.cluster);
        let work = async {
            let opened = client::Opened::open(access).await?;
            let database = opened.database(&request.database);
            Session { database, request, metrics: &self.0.metrics }.drop_index().await
        };
        match timeout(DROP, work).await {
            Ok(done) => done.map_err(|trouble| trouble.text),
            Err(_) => {
                self.0.metrics.count(Operation::DropIndex, Outcome::Late);
                Err("the database does not answer in time".to_owned())
            }
        }
    }

    /// Forgets a cluster that is gone: ends its check and closes its connections.
    pub fn forget(&self, cluster: &ClusterKey) {
        if let Some(entry) = self.entries().remove(cluster) {
            entry.end();
        }
    }

    /// Forgets all clusters. For an operator that may not write any more.
    pub fn forget_all(&self) {
        let entries = std::mem::take(&mut *self.entries());
        entries.values().for_each(|entry| entry.end());
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<ClusterKey, Arc<Entry>>> {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, cluster: &ClusterKey) -> Arc<Entry> {
        self.entries().entry(cluster.clone()).or_default().clone()
    }

    /// Begins a check where one is due and none runs.
    fn begin(
        &self,
        entry: &Arc<Entry>,
        request: &StorageRequest,
    ) -> Option<tokio::sync::watch::Receiver<()>> {
        let (checks, metrics) = (self.0.checks.clone(), self.0.metrics.clone());
        let resync = self.0.resync;
        entry.begin(request, |running| {
            let (entry, request) = (entry.clone(), request.clone());
            tokio::spawn(async move {
                let _running = running;
                let waits = metrics.waits();
                let permit = checks.acquire_owned().await;
                drop(waits);
                let finding = entry.check(&request, &metrics, CHECK).await;
                drop(permit);
                entry.note(&request, finding, resync);
            })
        })
    }
}

impl StorageRequest {
    /// What Message Servers are to be told where the index is known to have so much.
    fn tell(&self, index_ttl_s: Option<i32>) -> i32 {
        ttl_order(self.message_ttl_seconds, index_ttl_s, self.told, self.settled).tell
    }
}

//! One cluster's database: when it is looked at, by which client, and what is known of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as TurnMutex, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use wardlink_operator_api::Collections;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::client::Opened;
use super::metrics::{Metrics, Operation, Outcome};
use super::session::{Finding, Session};
use super::trouble::Trouble;
use super::{Access, CLIENTS_MAX, Looked, Mode, SOON, StorageRequest, ttl_order};
use crate::model::{StorageReport, StorageState};

/// Pause after the first failed check; each further one doubles it.
const RETRY_MIN: Duration = Duration::from_secs(5);
/// Longest pause after failed checks.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// What makes a database another one. Of what is secret only a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Subject {
    access: u128,
    database: String,
    collections: Collections,
    mode: Mode,
}

impl Subject {
    fn of(request: &StorageRequest) -> Self {
        Self {
            access: request.access.as_ref().map_or(0, hash),
            database: request.database.clone(),
            collections: request.collections.clone(),
            mode: request.mode,
        }
    }
}

fn hash(access: &Access) -> u128 {
    let mut bytes = access.uri.clone();
    // No byte of UTF-8, so it ends the URI.
    bytes.push(0xff);
    bytes.extend(access.ca.as_deref().unwrap_or_default());
    xxh3_128(&bytes)
}

/// What is known, and since when.
#[derive(Debug)]
struct Known {
    subject: Subject,
    finding: Finding,
    due: Instant,
}

#[derive(Debug, Default)]
struct State {
    known: Option<Known>,
    running: Option<JoinHandle<()>>,
    /// Checks that failed since the last one that did not.
    failures: u32,
    checks: u64,
}

/// One cluster's database.
#[derive(Debug, Default)]
pub(super) struct Entry {
    state: Mutex<State>,
    /// The client and the hash of what it was made of. Locked while a check runs.
    client: TurnMutex<Option<(u128, Client)>>,
}

/// An open client that is counted.
#[derive(Debug)]
struct Client {
    opened: Opened,
    metrics: Arc<Metrics>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.metrics.clients.dec();
    }
}

impl Entry {
    /// Begins a check by `spawn` where one is due and none runs; `spawn` gets what is dropped when
    /// the check ends, and the caller what then says so.
    pub(super) fn begin(
        &self,
        request: &StorageRequest,
        spawn: impl FnOnce(watch::Sender<()>) -> JoinHandle<()>,
    ) -> Option<watch::Receiver<()>> {
        let mut state = self.state();
        if state.is_running() || !state.is_due(request) {
            return None;
        }
        let (running, done) = watch::channel(());
        state.running = Some(spawn(running));
        Some(done)
    }

    /// Opens a client if need be and looks.
    pub(super) async fn check(
        &self,
        request: &StorageRequest,
        metrics: &Arc<Metrics>,
        limit: Duration,
    ) -> Finding {
        let mut client = self.client.lock().await;
        let looked = timeout(limit, look(&mut client, request, metrics)).await;
        // A call that was given up may have kept the one connection.
        let silent = match &looked {
            Ok(finding) => finding.state == StorageState::Unreachable,
            Err(_) => true,
        };
        if silent || metrics.clients.get() > CLIENTS_MAX {
            *client = None;
        }
        looked.unwrap_or_else(|_| {
            metrics.count(Operation::Check, Outcome::Late);
            let text = "the database does not answer in time";
            Trouble::new(StorageState::Unreachable, text).into()
        })
    }

    /// Keeps what a check has found.
    pub(super) fn note(&self, request: &StorageRequest, finding: Finding, resync: Duration) {
        let mut state = self.state();
        state.checks += 1;
        state.failures = match finding.state {
            StorageState::Ready => 0,
            _ => state.failures.saturating_add(1),
        };
        let pause = match state.failures {
            0 => resync,
            failures => RETRY_MAX.min(RETRY_MIN * 2_u32.pow(failures.min(8) - 1)).min(resync),
        };
        let due = Instant::now() + pause.mul_f64(jitter(request, state.checks));
        let was = state.known.as_ref().map(|known| known.finding.state);
        if was != Some(finding.state) {
            log(request, &finding);
        }
        state.known = Some(Known { subject: Subject::of(request), finding, due });
        state.running = None;
    }

    /// What is known, for this request.
    pub(super) fn looked(&self, request: &StorageRequest, resync: Duration) -> Looked {
        let state = self.state();
        let running = state.is_running();
        let subject = Subject::of(request);
        let known = state.known.as_ref().filter(|known| known.subject == subject);
        let finding = known.map_or_else(
            || Trouble::new(StorageState::Unknown, "the database is being looked at").into(),
            |known| known.finding.clone(),
        );
        // A check that runs may be about to change the index.
        let index = finding.index_ttl_s.filter(|_| !running);
        let rest = known.map(|known| known.due.saturating_duration_since(Instant::now()));
        Looked {
            report: StorageReport {
                state: finding.state,
                message: finding.message,
                index_ttl_seconds: finding.index_ttl_s,
                server_message_ttl_seconds: request.tell(index),
            },
            next: if running { SOON } else { rest.unwrap_or(resync).max(SOON) },
        }
    }

    /// Ends a check that runs. The connections close when the last user is gone.
    pub(super) fn end(&self) {
        let mut state = self.state();
        if let Some(running) = state.running.take() {
            running.abort();
        }
        state.known = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_running(&self) -> bool {
        self.running.as_ref().is_some_and(|running| !running.is_finished())
    }

    fn is_due(&self, request: &StorageRequest) -> bool {
        let Some(known) = &self.known else { return true };
        if known.subject != Subject::of(request) || known.due <= Instant::now() {
            return true;
        }
        // The next step of a changed life of messages does not wait for the resync.
        let (ttl, told) = (request.message_ttl_seconds, request.told);
        known.finding.state == StorageState::Ready
            && known.finding.index_ttl_s.is_some_and(|index| {
                ttl_order(ttl, Some(index), told, request.settled).index != index
            })
    }
}

async fn look(
    client: &mut Option<(u128, Client)>,
    request: &StorageRequest,
    metrics: &Arc<Metrics>,
) -> Finding {
    let Ok(access) = &request.access else {
        return Trouble::new(StorageState::SecretNotFound, "the Secret is not there").into();
    };
    let hash = hash(access);
    if client.as_ref().is_none_or(|(of, _)| *of != hash) {
        *client = None;
        match Opened::open(access).await {
            Ok(opened) => {
                metrics.clients.inc();
                *client = Some((hash, Client { opened, metrics: metrics.clone() }));
            }
            Err(trouble) => {
                metrics.count(Operation::Check, Outcome::Failed);
                return trouble.into();
            }
        }
    }
    let Some((_, client)) = client else {
        return Trouble::new(StorageState::Unreachable, "no client").into();
    };
    let database = client.opened.database(&request.database);
    Session { database, request, metrics }.check().await
}

/// A tenth less or more, so that many clusters do not come together.
fn jitter(request: &StorageRequest, checks: u64) -> f64 {
    let seed = format!("{}/{}/{checks}", request.cluster.namespace, request.cluster.name);
    let thousandth = u32::try_from(xxh3_64(seed.as_bytes()) % 201).unwrap_or(100);
    0.9 + f64::from(thousandth) / 1_000.0
}

fn log(request: &StorageRequest, finding: &Finding) {
    let (namespace, cluster) = (&request.cluster.namespace, &request.cluster.name);
    match finding.state {
        StorageState::Ready => tracing::info!(namespace, cluster, "database is ready"),
        state => tracing::warn!(
            namespace,
            cluster,
            ?state,
            cause = finding.message,
            "database is not ready"
        ),
    }
}

//! One reconcile of one cluster: observe → storage → desired → apply → status.
//!
//! Puts the parts in order and decides when to look again. Begun from any half-done state it goes
//! on from there; dropped half-way it leaves nothing that the next one does not find.

mod again;
mod deletion;
mod read;
mod report;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::Client;
use kube::api::ObjectMeta;
use kube::core::DynamicObject;
use kube::runtime::events::Recorder;
use tokio::time::{Instant, timeout};
use wardlink_operator_api::{ManagementState, MessagingCluster, MessagingClusterStatus};

use self::again::Again;
use self::read::Parsed;
use crate::apply::{self, Writer};
use crate::contents::Contents;
use crate::desired::{self, desired};
use crate::drift::{self, Owner};
use crate::metrics::{Metrics, Reconciled};
use crate::model::{ClusterKey, DesiredInputs, Images, Problem, TierObserved, Tiers};
use crate::names::Tier;
use crate::observe::World;
use crate::secrets;
use crate::storage::{Looked, Storage, StorageRequest, settled};

/// What does not change while the operator runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Images where a resource names none and its status none either.
    pub images: Images,
    /// Name of the ClusterRole that lets Message Servers review tokens.
    pub token_review_role: String,
    /// How often everything is looked at although nothing changed.
    pub resync: Duration,
    /// How long one reconcile may take.
    pub deadline: Duration,
    /// How long a deleted cluster is waited for before what could not be removed is left.
    pub cleanup: Duration,
}

/// What all reconciles share.
pub struct Context {
    /// The way to the API server.
    pub client: Client,
    /// What is there.
    pub world: Arc<World>,
    /// The databases.
    pub storage: Storage,
    /// Tells events.
    pub recorder: Recorder,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// The operator's settings.
    pub settings: Settings,
    memories: Mutex<HashMap<ClusterKey, Arc<tokio::sync::Mutex<Memory>>>>,
}

/// What is remembered of one cluster between reconciles. Lost without harm.
#[derive(Debug, Default)]
struct Memory {
    /// Uid of the resource that all this is about.
    uid: String,
    children: apply::Memory,
    contents: Contents,
    /// What came of the last write to the resource.
    latest: Option<Latest>,
    /// The generation whose rules were checked, and what breaks one.
    checked: Option<(i64, Option<String>)>,
    again: Again,
    /// What the last reconcile met.
    problems: Vec<Problem>,
    /// Since when it is being deleted.
    deleting: Option<Instant>,
}

/// The resource as it was after a write of ours, as far as the operator writes it.
#[derive(Debug)]
struct Latest {
    meta: ObjectMeta,
    status: Option<MessagingClusterStatus>,
}

impl Context {
    /// A context without any memory.
    pub fn new(
        client: Client,
        world: Arc<World>,
        storage: Storage,
        recorder: Recorder,
        metrics: Arc<Metrics>,
        settings: Settings,
    ) -> Self {
        let memories = Mutex::default();
        Self { client, world, storage, recorder, metrics, settings, memories }
    }

    /// Forgets a cluster that is not there any more.
    pub fn forget(&self, key: &ClusterKey) {
        let known = self.memories.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        // What names a cluster of another operator comes here, too.
        if known.is_none() {
            return;
        }
        self.storage.forget(key);
        self.metrics.cluster(key, None);
        tracing::info!(namespace = key.namespace, cluster = key.name, "cluster is gone");
    }

    /// Reconciles one cluster and returns after which time it is to be looked at again.
    /// Only one at a time for each cluster. Cancel safe.
    pub async fn reconcile(&self, object: &DynamicObject) -> Duration {
        let (Some(namespace), Some(name)) = (&object.metadata.namespace, &object.metadata.name)
        else {
            return self.settings.resync;
        };
        let key = ClusterKey { namespace: namespace.clone(), name: name.clone() };
        let memory = {
            let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
            memories.entry(key.clone()).or_default().clone()
        };
        let mut memory = memory.lock().await;
        let uid = object.metadata.uid.clone().unwrap_or_default();
        if memory.uid != uid {
            *memory = Memory { uid, ..Memory::default() };
        }
        let begun = Instant::now();
        self.metrics.begun();
        let run = Run { context: self, key: &key, object, memory: &mut memory };
        let ended = match timeout(self.settings.deadline, run.run()).await {
            Ok(ended) => ended,
            Err(_) => Ended { problems: Vec::new(), how: Reconciled::Deadline, next: None },
        };
        self.metrics.ended(ended.how, begun.elapsed());
        let delay = memory.again.after(&ended.problems, ended.how, self.settings.resync);
        let delay = ended.next.map_or(delay, |next| next.min(delay));
        let news = memory.problems != ended.problems;
        memory.problems.clone_from(&ended.problems);
        self.log(&key, &ended, news, begun.elapsed(), delay);
        delay
    }

    /// To be called where a reconcile panicked.
    pub fn panicked(&self, object: &DynamicObject) -> Duration {
        self.metrics.ended(Reconciled::Panicked, Duration::ZERO);
        let name = object.metadata.name.as_deref().unwrap_or_default();
        tracing::error!(cluster = name, "reconcile panicked");
        self.settings.resync
    }

    fn log(&self, key: &ClusterKey, ended: &Ended, news: bool, took: Duration, again: Duration) {
        let (namespace, cluster) = (&key.namespace, &key.name);
        let took = format!("{took:.1?}");
        let again = format!("{again:.1?}");
        for problem in &ended.problems {
            self.metrics.problem(problem);
        }
        match ended.how {
            Reconciled::Unchanged => {
                tracing::debug!(namespace, cluster, took, again, "reconciled, nothing to write");
            }
            Reconciled::Changed => tracing::info!(namespace, cluster, took, again, "reconciled"),
            // Told once: it is the same at each further attempt.
            Reconciled::Failed | Reconciled::Stalled if !news => {
                tracing::debug!(namespace, cluster, took, again, "still not reconciled");
            }
            _ => {
                let problem = ended.problems.first().map(|problem| format!("{problem:?}"));
                let how = ended.how.as_str();
                tracing::warn!(
                    namespace,
                    cluster,
                    took,
                    again,
                    how,
                    problem,
                    "cluster could not be reconciled"
                );
            }
        }
    }
}

/// How a reconcile ended.
struct Ended {
    problems: Vec<Problem>,
    how: Reconciled,
    /// When the database is to be looked at again.
    next: Option<Duration>,
}

impl Ended {
    fn of(problems: Vec<Problem>, wrote: bool) -> Self {
        let how = if problems.iter().any(|problem| !problem.is_terminal()) {
            Reconciled::Failed
        } else if !problems.is_empty() {
            Reconciled::Stalled
        } else if wrote {
            Reconciled::Changed
        } else {
            Reconciled::Unchanged
        };
        Self { problems, how, next: None }
    }
}

struct Run<'a> {
    context: &'a Context,
    key: &'a ClusterKey,
    object: &'a DynamicObject,
    memory: &'a mut Memory,
}

impl Run<'_> {
    async fn run(mut self) -> Ended {
        let Parsed { mut cluster, invalid } = self.parse();
        self.recall(&mut cluster);
        if cluster.metadata.deletion_timestamp.is_some() {
            return self.delete(&mut cluster).await;
        }
        if let Some(kind) = self.context.world.unlisted() {
            let message = format!("objects of kind {kind} can not be listed");
            return Ended::of(vec![Problem::Unavailable { message }], false);
        }
        let tiers = self.tiers();
        let mut problems: Vec<_> = invalid.into_iter().collect();
        let valid = problems.is_empty();
        let refreshed = self.refresh_contents().await;
        problems.extend(refreshed.err());
        if valid {
            problems.extend(self.memory.contents.missing(&cluster));
        }
        let Looked { report: storage, next } = self.look_at_storage(&cluster, &tiers, valid).await;
        let images = desired::images(&cluster, &self.context.settings.images);
        let (mut wrote, mut recorded) = (false, false);
        if valid && cluster.spec.management_state != ManagementState::Paused {
            recorded = self.record_images(&mut cluster, &images, &tiers, &storage).await;
            let seconds = storage.server_message_ttl_seconds;
            let keeps =
                !problems.is_empty() || !Tier::ALL.iter().all(|tier| settled(tiers.get(*tier)));
            match self.write(&mut cluster, &images, &tiers, seconds, keeps).await {
                Ok(written) => {
                    wrote |= written.wrote;
                    problems.extend(written.problems);
                }
                Err(problem) => problems.push(problem),
            }
        }
        // Of an invalid resource the database is not asked; that it is invalid is told all the same.
        if valid && report::waits_for_storage(&cluster, &storage) {
            return Ended { next: Some(next), ..Ended::of(problems, wrote || recorded) };
        }
        let tiers = self.tiers();
        let status = self.status(&cluster, &images, &tiers, &storage, &problems, wrote);
        match self.write_status(&mut cluster, status).await {
            Ok(written) => wrote |= written,
            Err(problem) => problems.push(problem),
        }
        Ended { next: Some(next), ..Ended::of(problems, wrote || recorded) }
    }

    /// What is known of the database. Of a resource that is invalid nothing is asked: it may name
    /// another one than is meant.
    async fn look_at_storage(
        &self,
        cluster: &MessagingCluster,
        tiers: &Tiers<TierObserved>,
        valid: bool,
    ) -> Looked {
        let request = self.storage_request(cluster, &tiers.message_server);
        if !valid {
            return self.context.storage.unasked(&request);
        }
        self.context.storage.reconcile(request).await
    }

    fn storage_request(
        &self,
        cluster: &MessagingCluster,
        message_servers: &TierObserved,
    ) -> StorageRequest {
        let contents = &self.memory.contents;
        StorageRequest::of(cluster, message_servers, |secret, key| contents.value(secret, key))
    }

    /// Where the watch has not yet brought what this operator wrote, that counts all the same.
    fn recall(&self, cluster: &mut MessagingCluster) {
        let Some(latest) = &self.memory.latest else { return };
        let (ours, seen) = (drift::version(&latest.meta), drift::version(&cluster.metadata));
        if matches!((ours, seen), (Some(ours), Some(seen)) if ours > seen) {
            cluster.status = latest.status.clone();
            self.renew(cluster, &latest.meta);
        }
    }

    /// Takes over what a write of ours changed.
    fn renew(&self, cluster: &mut MessagingCluster, answer: &ObjectMeta) {
        cluster.metadata.finalizers = answer.finalizers.clone();
        cluster.metadata.resource_version = answer.resource_version.clone();
    }

    /// Remembers what came of a write of ours.
    fn remember(&mut self, cluster: &mut MessagingCluster, answer: ObjectMeta) {
        self.renew(cluster, &answer);
        self.memory.latest = Some(Latest { meta: answer, status: cluster.status.clone() });
    }

    async fn refresh_contents(&mut self) -> Result<(), Problem> {
        let Context { client, world, .. } = self.context;
        self.memory.contents.refresh(client, world, self.key, &self.object.data).await
    }

    fn tiers(&self) -> Tiers<TierObserved> {
        report::tiers(&self.context.world, self.key)
    }

    async fn write(
        &mut self,
        cluster: &mut MessagingCluster,
        images: &Images,
        tiers: &Tiers<TierObserved>,
        server_message_ttl_seconds: i32,
        keeps: bool,
    ) -> Result<apply::Written, Problem> {
        let settings = &self.context.settings;
        let named = std::iter::once(secrets::mongodb_uri(cluster));
        let running = tiers.message_server.deployment.as_ref();
        let mut content =
            running.map(|running| desired::known_content(cluster, running)).unwrap_or_default();
        content.extend(self.memory.contents.hashes(named.chain(secrets::mongodb_ca(cluster))));
        let inputs = DesiredInputs {
            cluster,
            images,
            content: &content,
            server_message_ttl_seconds,
            replicas_now: report::replicas_now(tiers),
            token_review_role: &settings.token_review_role,
        };
        let desired = desired(inputs);
        self.keep_finalizer(cluster, &desired).await?;
        let owner = Owner { name: self.key.name.clone(), uid: self.memory.uid.clone() };
        let mut writer = Writer {
            client: &self.context.client,
            world: &self.context.world,
            metrics: &self.context.metrics,
            key: self.key,
            owner: &owner,
            memory: &mut self.memory.children,
            resync: self.context.settings.resync,
        };
        Ok(writer.write(&desired, keeps).await)
    }
}

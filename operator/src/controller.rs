//! While this operator leads: watches, and reconciles what changed.
//!
//! Owns the queue of clusters that are to be looked at: each is reconciled by one task at a time,
//! at most [`AT_ONCE`] of them together, and looked at again when its reconcile says so. One that
//! panics stops no other.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt, stream};
use kube::Client;
use kube::core::DynamicObject;
use kube::runtime::controller::{Action, Error, ReconcileReason, ReconcileRequest};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{applier, controller};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;
use wardlink_service::stop::Stop;

use crate::metrics::Metrics;
use crate::model::ClusterKey;
use crate::names::FIELD_MANAGER;
use crate::observe::{CHANGES, World, cluster_ref};
use crate::reconcile::{Context, Settings};
use crate::storage::Storage;

/// Clusters that are reconciled at once. Most wait for the API server, some milliseconds each; a
/// database that does not answer keeps its place for 2 s, with growing pauses.
const AT_ONCE: u16 = 16;

/// How long a change waits for others of the same cluster: those of one rollout step come within
/// some milliseconds.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// How long reconciles that have begun may go on once the stop signal is up.
const FINISH: Duration = Duration::from_secs(5);

/// Between two looks whether the clusters could be listed.
const BETWEEN_LISTS: Duration = Duration::from_secs(1);

/// What a controller is told once.
#[derive(Debug, Clone)]
pub struct Config {
    /// Namespaces whose clusters are kept; empty means all.
    pub namespaces: Vec<String>,
    /// Name of this process in events.
    pub instance: String,
    /// What reconciles are told.
    pub reconcile: Settings,
}

/// Keeps all clusters until `stop` is up or `lost` ends; then begun reconciles may end (5 s), of
/// `lost` at once.
pub async fn run(
    client: Client,
    config: Config,
    storage: Storage,
    metrics: Arc<Metrics>,
    stop: Stop,
    lost: impl Future<Output = ()>,
) {
    let (changes, mut changed) = mpsc::channel(CHANGES);
    let mut watches = JoinSet::new();
    let world =
        World::watch(&client, &config.namespaces, changes, metrics.clone(), &mut watches, &stop);
    let work = async {
        if !first_lists(&world, &mut changed, &stop).await {
            return;
        }
        let reporter =
            Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(config.instance) };
        let recorder = Recorder::new(client.clone(), reporter);
        let context = Context::new(client, world, storage, recorder, metrics, config.reconcile);
        reconcile_all(Arc::new(context), changed, &stop).await;
    };
    tokio::select! {
        () = work => {}
        () = lost => {}
        () = ended_unasked(&mut watches, &stop) => {
            tracing::error!("a watch has ended, which is a defect; all are begun anew");
            sleep(BETWEEN_LISTS).await;
        }
    }
    watches.abort_all();
    while watches.join_next().await.is_some() {}
}

/// Waits for a watch that ends before `stop` is up: what it last saw would count for ever.
async fn ended_unasked(watches: &mut JoinSet<()>, stop: &Stop) {
    let ended = watches.join_next().await;
    if ended.is_none() || stop.is_stopped() {
        std::future::pending::<()>().await;
    }
}

/// Waits until what is there is known; false: stopped before. What changes meanwhile is among it.
async fn first_lists(world: &World, changed: &mut mpsc::Receiver<ClusterKey>, stop: &Stop) -> bool {
    let known = async {
        while !world.wait().await {
            tracing::warn!("clusters can not be listed yet, waiting");
            sleep(BETWEEN_LISTS).await;
        }
    };
    tokio::select! {
        () = known => true,
        () = stop.stopped() => false,
        // The watches must not wait for a queue that nobody reads.
        () = async { while changed.recv().await.is_some() {} } => false,
    }
}

async fn reconcile_all(context: Arc<Context>, changed: mpsc::Receiver<ClusterKey>, stop: &Stop) {
    let store = context.world.clusters.clone();
    let stopped = stop.clone();
    let queue = requests(&context.world, changed)
        .take_until(async move { stopped.stopped().await })
        .map(Ok::<_, std::convert::Infallible>);
    let limits = controller::Config::default().concurrency(AT_ONCE).debounce(DEBOUNCE);
    let run = |object: Arc<DynamicObject>, context: Arc<Context>| {
        async move { Ok::<_, std::convert::Infallible>(Action::requeue(one(object, context).await)) }
            .boxed()
    };
    let policy =
        |_: Arc<DynamicObject>, error: &std::convert::Infallible, _: Arc<Context>| match *error {};
    let mut ended = Box::pin(applier(run, policy, context.clone(), store, queue, limits));
    let all = async {
        while let Some(result) = ended.next().await {
            match result {
                Ok(_) => {}
                Err(Error::ObjectNotFound(gone)) => forget(&context, &gone),
                Err(error) => tracing::error!(%error, "a cluster could not be scheduled"),
            }
        }
    };
    let finished = async {
        stop.stopped().await;
        sleep(FINISH).await;
    };
    tokio::select! {
        () = all => {}
        () = finished => tracing::warn!("reconciles were given up at the stop"),
    }
}

/// All clusters once, then those that changed.
fn requests(
    world: &World,
    mut changed: mpsc::Receiver<ClusterKey>,
) -> impl Stream<Item = ReconcileRequest<DynamicObject>> + Send + 'static {
    let request = |obj_ref| ReconcileRequest { obj_ref, reason: ReconcileReason::Unknown };
    let all: Vec<_> = world
        .clusters
        .state()
        .iter()
        .map(|object| ObjectRef::from_obj_with(object.as_ref(), crate::observe::cluster_resource()))
        .collect();
    let later = stream::poll_fn(move |context| changed.poll_recv(context));
    stream::iter(all).chain(later.map(|key| cluster_ref(&key))).map(request)
}

/// One reconcile in a task of its own, so that a panic stays there. Dropped it is aborted.
async fn one(object: Arc<DynamicObject>, context: Arc<Context>) -> Duration {
    let mut task = JoinSet::new();
    let (of, with) = (object.clone(), context.clone());
    task.spawn(async move { with.reconcile(&of).await });
    match task.join_next().await {
        Some(Ok(again)) => again,
        _ => context.panicked(&object),
    }
}

fn forget(context: &Context, gone: &ObjectRef<DynamicObject>) {
    let namespace = gone.namespace.clone().unwrap_or_default();
    context.forget(&ClusterKey { namespace, name: gone.name.clone() });
}

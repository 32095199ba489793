//! The operator around its controller: the admin port, the lead, and the order of stopping.
//!
//! [`run`] is the whole program after its settings are read.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;
use wardlink_service::admin::{self, Routes};
use wardlink_service::metrics::{self as service_metrics, Publish};
use wardlink_service::readiness::Readiness;
use wardlink_service::stop::{self, Stop};

use crate::client::{self, Lead};
use crate::controller;
use crate::leader::{self, Candidate};
use crate::metrics::Metrics;
use crate::storage::Storage;

/// The one condition of readiness: this operator has reached the API server. One that waits for
/// the lead is ready, too.
const KUBERNETES: &str = "kubernetes";

/// What an operator is told once.
#[derive(Clone)]
pub struct Config {
    /// How the API server is reached.
    pub kubernetes: kube::Config,
    /// Address of the admin port; `None`: no admin port.
    pub admin_listen: Option<SocketAddr>,
    /// Takes part in an election; `None`: it leads without asking.
    pub candidate: Option<Candidate>,
    /// What the controller is told.
    pub controller: controller::Config,
}

/// Runs an operator until it is stopped: reconciles that have begun end, the Lease is given back.
///
/// # Errors
/// Where the admin port cannot be bound or the configuration of the client is of no use.
pub async fn run(config: Config, stop: Stop) -> anyhow::Result<()> {
    let registry = service_metrics::registry("wardlink-operator", env!("CARGO_PKG_VERSION"));
    let metrics = Arc::new(Metrics::new(&registry));
    let storage = Storage::new(config.controller.reconcile.resync, &registry);
    let readiness = Readiness::new(stop.clone(), &[KUBERNETES]);
    // The admin port answers until the very end.
    let (ended, admin_stop) = stop::channel();
    let admin = match config.admin_listen {
        None => None,
        Some(address) => {
            let listener = TcpListener::bind(address).await;
            let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
            let publish = Publish::default();
            let routes = service_metrics::mount(Routes::new(), registry, publish.clone());
            let dropped = metrics.admin_dropped.clone();
            tokio::spawn(publish_nothing(publish, admin_stop.clone()));
            let serve = admin::serve(listener, routes, readiness.clone(), dropped, admin_stop);
            Some(tokio::spawn(serve))
        }
    };
    let result = lead(config, storage, &readiness, metrics, stop).await;
    ended.stop();
    if let Some(admin) = admin {
        admin.await.context("admin port")?;
    }
    if result.is_ok() {
        tracing::info!("operator stopped");
    }
    result
}

/// All numbers are up to date at any time: a scrape waits for nothing.
async fn publish_nothing(publish: Publish, stop: Stop) {
    loop {
        tokio::select! {
            () = stop.stopped() => return,
            () = publish.asked() => publish.done(),
        }
    }
}

async fn lead(
    config: Config,
    storage: Storage,
    readiness: &Readiness,
    metrics: Arc<Metrics>,
    stop: Stop,
) -> anyhow::Result<()> {
    let Config { kubernetes, candidate, controller, .. } = config;
    let Some(candidate) = candidate else {
        let client = client::guarded(kubernetes, Lead::alone(), metrics.clone())?;
        metrics.leads(true);
        readiness.set(KUBERNETES, true);
        controller::run(client, controller, storage, metrics, stop, std::future::pending()).await;
        return Ok(());
    };
    let lead = Lead::none();
    let guarded = client::guarded(kubernetes.clone(), lead.clone(), metrics.clone())?;
    let (leads, mut leading) = watch::channel(false);
    let (seen, mut reached) = watch::channel(false);
    // The Lease is given back when the controller has ended, not before.
    let (ended, election_stop) = stop::channel();
    let election = leader::run(
        client::free(kubernetes)?,
        candidate,
        lead,
        leads,
        seen,
        metrics.clone(),
        election_stop,
    );
    let election = tokio::spawn(election);
    let ready = readiness.clone();
    let reached = tokio::spawn(async move {
        if reached.wait_for(|reached| *reached).await.is_ok() {
            ready.set(KUBERNETES, true);
        }
    });
    loop {
        tokio::select! {
            () = stop.stopped() => break,
            elected = leading.wait_for(|leads| *leads) => {
                elected.context("election ended unasked")?;
            }
        }
        let mut leading = leading.clone();
        let lost = async move {
            let _ = leading.wait_for(|leads| !*leads).await;
        };
        let (client, config, term) = (guarded.clone(), controller.clone(), storage.clone());
        controller::run(client, config, term, metrics.clone(), stop.clone(), lost).await;
        // Who leads no more writes nothing, at databases either.
        storage.forget_all();
        if stop.is_stopped() {
            break;
        }
    }
    ended.stop();
    election.await.context("election")?;
    reached.abort();
    Ok(())
}

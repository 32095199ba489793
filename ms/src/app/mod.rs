//! The shell around the core: sockets, the database, time.
//!
//! [`run`] is the whole program after its settings are read; tests and `wardlink dev` call it
//! too. `engine` owns the core and is the only task that touches it, `link` reads and writes one
//! link, `database` carries out operations in batches.

mod database;
mod engine;
mod handshake;
mod identity;
mod input;
mod link;
mod metrics;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use wardlink_service::accept;
use wardlink_service::admin::{self, Answer, Routes, StatusCode};
use wardlink_service::backoff::Backoff;
use wardlink_service::limits;
use wardlink_service::metrics as service_metrics;
use wardlink_service::readiness::Readiness;
use wardlink_service::stop::{self, Stop};
use wardlink_tls::{Acceptor, POLL, watch};

use self::engine::Engine;
use self::handshake::Entrance;
pub use self::identity::{Account, LinkIdentity, PodRules, parse_audience};
use self::input::Input;
use self::metrics::Metrics;
use crate::store::embedded::EmbeddedStore;
use crate::store::mongodb::{MongoStore, Names};
use crate::store::{PrepareError, Store, StoreUri};

/// Connections that wait to be accepted: what comes in half a second at the default rate, far less
/// than the 5 s that a BS gives an attempt, so that a BS gets in whoever else knocks.
const WAITING: u32 = 256;
/// Links at a time, unless a setting says otherwise: BSs number in the tens, and each may leave a
/// half-open link behind.
pub const LINKS_MAX: usize = 4_096;
/// Open files that links leave to the database, the admin port and the program itself.
const FILES_RESERVE: usize = 256;
/// Inputs that wait for the engine: each is a frame's items. With the full count the readers of
/// the links wait, and with them the BSs.
const INPUTS: usize = 1_024;
/// How long the last frames of links may take at the end.
const FLUSH: Duration = Duration::from_secs(1);

/// Whether the indexes are made at start, or waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Indexes {
    /// Make and repair them.
    Ensure,
    /// Wait until somebody else has made them.
    Require,
}

/// What an MS is told once.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address for links.
    pub listen: SocketAddr,
    /// TLS for links, or none.
    pub acceptor: Acceptor,
    /// How BSs show that they belong here.
    pub identity: LinkIdentity,
    /// Links at a time; beyond them connections wait.
    pub max_links: usize,
    /// How fast connections are accepted.
    pub accept: accept::Rate,
    /// Address of the admin port; `None`: no admin port.
    pub admin_listen: Option<SocketAddr>,
    /// Where the store is.
    pub store: StoreUri,
    /// Names in it, where it is MongoDB.
    pub names: Names,
    /// Authorities of MongoDB's certificate, in place of what the URI says.
    pub store_tls_ca: Option<PathBuf>,
    /// Who makes the indexes.
    pub indexes: Indexes,
    /// Life of a message, in seconds.
    pub message_ttl_s: u32,
    /// Messages that a mailbox may hold.
    pub mailbox_max: usize,
    /// Between two sweeps.
    pub sweep: Duration,
    /// At the stop signal: how long it may take at most.
    pub drain: Duration,
}

/// Sockets that are bound already, so that who starts an MS knows its ports.
#[derive(Debug)]
pub struct Listeners {
    /// For links.
    pub link: TcpListener,
    /// For the admin port.
    pub admin: Option<TcpListener>,
}

impl Listeners {
    /// Binds what `config` names.
    ///
    /// # Errors
    /// The address that cannot be bound.
    pub async fn bind(config: &Config) -> anyhow::Result<Self> {
        let bind = |address: SocketAddr| {
            accept::listen(address, WAITING).with_context(|| format!("cannot listen on {address}"))
        };
        let admin = config.admin_listen.map(bind).transpose()?;
        Ok(Self { link: bind(config.listen)?, admin })
    }
}

/// What must hold before this server takes work; for [`run`], and for who waits for it.
pub fn readiness(stop: Stop) -> Readiness {
    Readiness::new(stop, &["store", "view"])
}

/// Runs an MS until it is stopped: it leaves the view, lets its BSs follow, and returns.
///
/// # Errors
/// Where the store cannot be used at all, or a task of the MS failed.
pub async fn run(
    config: Config,
    listeners: Listeners,
    readiness: Readiness,
    stop: Stop,
) -> anyhow::Result<()> {
    let (inputs, events) = mpsc::channel(INPUTS);
    let registry = service_metrics::registry("wardlink-ms", env!("CARGO_PKG_VERSION"));
    let metrics = Metrics::new(&registry);
    // The admin port answers until the very end.
    let (ended, admin_stop) = stop::channel();
    let admin = listeners.admin.map(|listener| {
        let inputs = inputs.clone();
        let routes = Routes::new().get_async("/view", move |_| view(inputs.clone()));
        let routes = service_metrics::mount(routes, registry, metrics.publish.clone());
        let dropped = metrics.admin_dropped.clone();
        tokio::spawn(admin::serve(listener, routes, readiness.clone(), dropped, admin_stop))
    });
    let result = serve(config, listeners.link, &readiness, metrics, inputs, events, stop).await;
    ended.stop();
    if let Some(admin) = admin {
        admin.await.context("admin port")?;
    }
    if result.is_ok() {
        tracing::info!("message server stopped");
    }
    result
}

async fn serve(
    config: Config,
    listener: TcpListener,
    readiness: &Readiness,
    metrics: Arc<Metrics>,
    inputs: mpsc::Sender<Input>,
    events: mpsc::Receiver<Input>,
    stop: Stop,
) -> anyhow::Result<()> {
    let identity = config.identity.clone().open(metrics.clone()).await?;
    let Some(store) = open(&config, &stop).await? else { return Ok(()) };
    readiness.set("store", true);
    let address = listener.local_addr().context("address of the link port")?;
    let tls = config.acceptor.is_tls();
    tracing::info!(%address, tls, store = %config.store, "message server serves links");
    warn_of_strangers(address, &config);
    let engine =
        Engine::new(&config, store, readiness.clone(), metrics.clone(), inputs.clone(), events);
    let mut engine = tokio::spawn(engine.run(stop.clone()));
    // Links are taken until the core has left the view: BSs must hear of it.
    let (accepting, accept_stop) = stop::channel();
    let links = limits::open_files().saturating_sub(FILES_RESERVE).max(1).min(config.max_links);
    let limits = accept::Limits { connections: links, rate: config.accept };
    let accept_metrics = metrics.accept.clone();
    let secrets = tokio::spawn(identity.clone().follow(accept_stop.clone()));
    let certificates = config.acceptor.clone();
    let certificates_stop = accept_stop.clone();
    let certificates = tokio::spawn(async move {
        watch("certificates", certificates, POLL, certificates_stop.stopped()).await;
    });
    let entrance = Arc::new(Entrance::new(config.acceptor.clone(), identity, metrics));
    let accept = accept::run(listener, limits, accept_metrics, accept_stop, move |stream| {
        link::serve(stream, entrance.clone(), inputs.clone())
    });
    let accept = tokio::spawn(accept);
    let drained = async {
        stop.stopped().await;
        tokio::time::sleep(config.drain).await;
    };
    let result = tokio::select! {
        result = &mut engine => result.context("engine")?,
        () = drained => {
            tracing::warn!("drain time is over, stopping all the same");
            engine.abort();
            Ok(())
        }
    };
    accepting.stop();
    let mut links = accept.await.context("accept loop")?;
    secrets.await.context("task that reads link secrets again")?;
    certificates.await.context("task that reads certificates again")?;
    // The engine has closed its links; their writers send the last frames.
    let flushed = timeout(FLUSH, async { while links.join_next().await.is_some() {} }).await;
    if flushed.is_err() {
        links.abort_all();
    }
    result
}

/// What is allowed, and what nobody should overlook.
fn warn_of_strangers(address: SocketAddr, config: &Config) {
    if matches!(config.identity, LinkIdentity::Open) {
        tracing::warn!("links are not authenticated: whoever can connect is taken for a BS");
    } else if !config.acceptor.is_tls() && !address.ip().is_loopback() {
        tracing::warn!(
            "links are in clear text: who can read the network learns the link secret and all \
             messages; see --tls-cert"
        );
    }
}

/// Opens the store and prepares it, as often as it takes. `None`: stopped before it was there.
async fn open(config: &Config, stop: &Stop) -> anyhow::Result<Option<Arc<dyn Store>>> {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    loop {
        let attempt = async {
            let store: Arc<dyn Store> = match &config.store {
                StoreUri::Embedded(dir) => {
                    Arc::new(EmbeddedStore::open(dir, config.message_ttl_s)?)
                }
                StoreUri::Mongo(uri) => {
                    let (names, tls_ca) = (config.names.clone(), config.store_tls_ca.clone());
                    Arc::new(MongoStore::open(uri, names, tls_ca).await?)
                }
            };
            store.prepare(config.indexes == Indexes::Ensure, config.message_ttl_s).await?;
            Ok::<_, PrepareError>(store)
        };
        let error = tokio::select! {
            () = stop.stopped() => return Ok(None),
            result = attempt => match result {
                Ok(store) => return Ok(Some(store)),
                Err(error) => error,
            }
        };
        if !error.retry {
            return Err(anyhow::Error::new(error).context("store cannot be used"));
        }
        tracing::warn!(%error, "store is not ready, trying again");
        tokio::select! {
            () = stop.stopped() => return Ok(None),
            () = tokio::time::sleep(backoff.next_delay()) => {}
        }
    }
}

/// `/view` of the admin port: what this MS knows of the view, as JSON.
async fn view(inputs: mpsc::Sender<Input>) -> Answer {
    let (reply, answer) = oneshot::channel();
    let asked = inputs.try_send(Input::Snapshot(reply)).is_ok();
    match timeout(Duration::from_secs(1), answer).await {
        Ok(Ok(snapshot)) if asked => Answer::ok("application/json", engine::view_json(&snapshot)),
        _ => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "not serving yet\n"),
    }
}

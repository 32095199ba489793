//! The shell around the core: terminals, links, time.
//!
//! [`run`] is the whole program after its settings are read; tests and `wardlink dev` call it
//! too. `engine` owns the core and is the only task that touches it, `dial` keeps links to all
//! MSs, `link` reads and writes one; `front` is the port for terminals, with `api` and
//! `playground` behind it, `auth` finds out who somebody is, and `terminal` serves one session.

mod api;
mod auth;
mod dial;
mod engine;
mod front;
mod input;
mod knock;
mod link;
mod meter;
mod metered;
mod metrics;
mod outbox;
mod playground;
mod problem;
mod rate;
mod readers;
mod terminal;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use uuid::Uuid;
use wardlink_identity::Rules;
use wardlink_service::accept;
use wardlink_service::admin::{self, Routes};
use wardlink_service::limits;
use wardlink_service::metrics as service_metrics;
use wardlink_service::readiness::Readiness;
use wardlink_service::stop::{self, Stop};
use wardlink_service::tasks::Tasks;
use wardlink_tls::{Acceptor, POLL, watch};
use wardlink_wire::{ServerId, StartId};

use self::api::Api;
use self::auth::{Auth, KeyRing};
pub use self::auth::{BadUrl, KeyUrl, Source, read_file};
pub use self::dial::MsAddress;
use self::engine::Engine;
use self::front::Front;
pub use self::front::{AuthConfig, BadOrigin, FrontConfig, Origin, Origins};
use self::input::Input;
pub use self::knock::{Knock, LinkProof};
pub use self::meter::SessionRates;
use self::metrics::Metrics;
pub use self::playground::Playground;
use crate::core::Config as CoreConfig;

/// Open files that terminals leave to links, the admin port and the program itself.
const FILES_RESERVE: usize = 256;
/// Connections that wait to be accepted: what comes in 2 s at the default rate. Terminals are more
/// patient than that, and come all at once when another server has gone.
const WAITING: u32 = 1_024;
/// Inputs that wait for the engine. With the full count the readers of terminals and links wait.
const INPUTS: usize = 4_096;
/// Messages that one caller may post a second; twice as many at once. What one process that calls
/// again after each answer reaches with 5 ms for each.
const POSTS_A_SECOND: NonZeroU32 = NonZeroU32::new(200).unwrap();
/// How long the last frames of terminals may take at the end.
const FLUSH: Duration = Duration::from_secs(1);

/// What a BS is told once.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address for terminals.
    pub listen: SocketAddr,
    /// TLS for terminals, or none.
    pub acceptor: Acceptor,
    /// How fast connections are accepted.
    pub accept: accept::Rate,
    /// How links are opened.
    pub knock: Knock,
    /// Address of the admin port; `None`: no admin port.
    pub admin_listen: Option<SocketAddr>,
    /// How terminals are served.
    pub front: FrontConfig,
    /// Where the MSs are.
    pub ms: Vec<MsAddress>,
    /// Identity of this BS; `None`: random.
    pub server: Option<ServerId>,
    /// The page for newcomers, in development mode.
    pub playground: Option<Playground>,
    /// At the stop signal: terminals are sent elsewhere within so long.
    pub drain: Duration,
}

/// Sockets that are bound already, so that who starts a BS knows its ports.
#[derive(Debug)]
pub struct Listeners {
    /// For terminals.
    pub terminals: TcpListener,
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
        Ok(Self { terminals: bind(config.listen)?, admin })
    }
}

/// What must hold before this server takes work; for [`run`], and for who waits for it.
pub fn readiness(stop: Stop) -> Readiness {
    Readiness::new(stop, &["links"])
}

/// Runs a BS until it is stopped: it takes no more terminals, sends those that it has elsewhere,
/// and returns when none is left, 5 s after the drain window at the latest.
///
/// # Errors
/// Where a task of the BS failed.
pub async fn run(
    config: Config,
    listeners: Listeners,
    readiness: Readiness,
    stop: Stop,
) -> anyhow::Result<()> {
    let (inputs, events) = mpsc::channel(INPUTS);
    let registry = service_metrics::registry("wardlink-bs", env!("CARGO_PKG_VERSION"));
    let metrics = Metrics::new(&registry);
    let (ended, admin_stop) = stop::channel();
    let admin = listeners.admin.map(|listener| {
        let routes = service_metrics::mount(Routes::new(), registry, metrics.publish.clone());
        let dropped = metrics.admin_dropped.clone();
        tokio::spawn(admin::serve(listener, routes, readiness.clone(), dropped, admin_stop))
    });
    let result = serve(config, listeners.terminals, readiness, metrics, inputs, events, stop).await;
    ended.stop();
    if let Some(admin) = admin {
        admin.await.context("admin port")?;
    }
    if result.is_ok() {
        tracing::info!("business server stopped");
    }
    result
}

async fn serve(
    config: Config,
    listener: TcpListener,
    readiness: Readiness,
    metrics: Arc<Metrics>,
    inputs: mpsc::Sender<Input>,
    events: mpsc::Receiver<Input>,
    stop: Stop,
) -> anyhow::Result<()> {
    let server = config.server.unwrap_or_else(|| ServerId(Uuid::new_v4()));
    let address = listener.local_addr().context("address of the terminals' port")?;
    tracing::info!(%address, %server, "business server serves terminals");
    warn_of_clear_text(&config);
    let mut core = CoreConfig::new(server, StartId(Uuid::new_v4()));
    core.drain_ms = u64::try_from(config.drain.as_millis()).unwrap_or(u64::MAX / 4);
    core.body_max_bytes = config.front.max_body_bytes;
    let engine = Engine::new(core, readiness.clone(), metrics.clone(), events);
    let mut engine = tokio::spawn(engine.run(stop.clone()));
    let (dialling, dial_stop) = stop::channel();
    let mut dials = Tasks::new(dialling.clone());
    follow_certificates(&config, &mut dials, &dial_stop);
    let knock = Arc::new(config.knock);
    // Before there are links, so that it is not ready in between, without keys.
    let auth = auth(&config.front, readiness, &metrics, &mut dials, &dial_stop);
    for ms in config.ms {
        let (knock, metrics) = (knock.clone(), metrics.clone());
        dials.spawn("links", dial::keep(ms, knock, metrics, inputs.clone(), dial_stop.clone()));
    }
    let (accepting, accept_stop) = stop::channel();
    let acceptor = config.acceptor;
    let exposed = !address.ip().is_loopback() && !acceptor.is_tls();
    if exposed && matches!(config.front.auth, AuthConfig::Jwt { .. }) {
        tracing::warn!("tokens come in clear text, unless TLS ends before this server");
    }
    let accept_metrics = metrics.accept.clone();
    let files = limits::open_files().saturating_sub(FILES_RESERVE).max(1);
    let terminals = config.front.max_terminals.min(files);
    let front = Arc::new(Front {
        api: Api::new(inputs.clone(), metrics.clone(), POSTS_A_SECOND, config.front.rates.bytes),
        playground: config.playground,
        inputs,
        metrics,
        acceptor,
        auth,
        config: config.front,
        stop: accept_stop.clone(),
    });
    let limits = accept::Limits { connections: terminals, rate: config.accept };
    let accept = accept::run(listener, limits, accept_metrics, accept_stop, move |stream| {
        front::serve(stream, Arc::clone(&front))
    });
    let accept = tokio::spawn(accept);
    // No more terminals are taken from the stop on; those that are here are served.
    let stop_accepting = async {
        stop.stopped().await;
        accepting.stop();
        std::future::pending().await
    };
    let result = tokio::select! {
        never = stop_accepting => never,
        result = &mut engine => result.context("engine").flatten(),
        () = dial_stop.stopped() => {
            engine.abort();
            Err(anyhow::anyhow!("a task that keeps links has ended"))
        }
    };
    accepting.stop();
    let mut terminals = accept.await.context("accept loop")?;
    let flushed = timeout(FLUSH, async { while terminals.join_next().await.is_some() {} }).await;
    if flushed.is_err() {
        terminals.abort_all();
    }
    dialling.stop();
    // Where such a task ended unasked, this says which and how.
    dials.join(FLUSH).await?;
    result
}

/// How it is found out who somebody is; with tokens, a task keeps their keys.
fn auth(
    config: &FrontConfig,
    readiness: Readiness,
    metrics: &Arc<Metrics>,
    tasks: &mut Tasks,
    stop: &Stop,
) -> Auth {
    match &config.auth {
        AuthConfig::Development => {
            tracing::warn!(
                "development identity: every terminal is believed to be who it says it is"
            );
            Auth::Development
        }
        AuthConfig::Jwt { rules, source } => {
            readiness.set("keys", false);
            let keys = Arc::new(KeyRing::new(Rules::clone(rules), source.gap()));
            tasks.spawn(
                "keys",
                auth::keep(keys.clone(), source.clone(), readiness, metrics.clone(), stop.clone()),
            );
            Auth::Jwt(keys)
        }
    }
}

/// Reads certificates again until the stop signal.
fn follow_certificates(config: &Config, tasks: &mut Tasks, stop: &Stop) {
    let (acceptor, until) = (config.acceptor.clone(), stop.clone());
    tasks.spawn("terminals' certificates", async move {
        watch("terminals' certificates", acceptor, POLL, until.stopped()).await;
        Ok(())
    });
    if let Some(connector) = config.knock.connector.clone() {
        let until = stop.clone();
        tasks.spawn("links' certificates", async move {
            watch("links' certificates", connector, POLL, until.stopped()).await;
            Ok(())
        });
    }
}

/// What nobody should overlook.
fn warn_of_clear_text(config: &Config) {
    let shown = !matches!(config.knock.proof, LinkProof::None);
    let exposed = |ms: &&MsAddress| !ms.is_tls() && !ms.is_loopback();
    if let Some(ms) = config.ms.iter().find(exposed).filter(|_| shown) {
        tracing::warn!(
            ms = ms.url(),
            "links are in clear text: who can read the network learns the link secret and all \
             messages; see wss:// in --ms"
        );
    }
}

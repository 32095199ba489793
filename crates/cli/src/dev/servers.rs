//! The servers of `wardlink dev`: one message server with an embedded store and two business
//! servers, wired together in this process.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use wardlink_bs::app::Playground;
use wardlink_ms::store::StoreUri;
use wardlink_ms::store::mongodb::Names;
use wardlink_service::readiness::Readiness;
use wardlink_service::settings::AcceptSettings;
use wardlink_service::stop::Trigger;
use wardlink_service::tasks::Tasks;
use wardlink_tls::Acceptor;

/// The servers end within this time after the stop signal, or are cut off.
const JOIN: Duration = Duration::from_secs(10);
/// Life of a message, in seconds: the default of `wardlink-ms`.
const MESSAGE_TTL_S: u32 = 600;

/// Names of the tasks.
const BUSINESS_SERVERS: [&str; 2] = ["business server 1", "business server 2"];

/// The running servers.
pub(super) struct Servers {
    /// Where terminals connect.
    pub(super) terminals: [SocketAddr; 2],
    /// The message server's admin port.
    pub(super) admin: SocketAddr,
    ready: Vec<Readiness>,
    tasks: Tasks,
}

impl Servers {
    /// Binds all ports and starts the servers. When one ends unasked, `trigger` is raised.
    ///
    /// # Errors
    /// When a port is taken or the store cannot be opened.
    pub(super) async fn start(
        listen: [SocketAddr; 2],
        admin: SocketAddr,
        data: &Path,
        trigger: Trigger,
    ) -> anyhow::Result<Self> {
        let stop = trigger.subscribe();
        let mut tasks = Tasks::new(trigger);
        let ms = wardlink_ms::app::Config {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            acceptor: Acceptor::plain(),
            // Only this process knows the port, and only this machine can reach it.
            identity: wardlink_ms::app::LinkIdentity::Open,
            max_links: wardlink_ms::app::LINKS_MAX,
            accept: AcceptSettings::default().rate(),
            admin_listen: Some(admin),
            store: StoreUri::Embedded(data.to_owned()),
            names: Names::default(),
            store_tls_ca: None,
            indexes: wardlink_ms::app::Indexes::Ensure,
            message_ttl_s: MESSAGE_TTL_S,
            mailbox_max: 10_000,
            sweep: Duration::from_secs(60),
            drain: JOIN,
        };
        let listeners = wardlink_ms::app::Listeners::bind(&ms).await?;
        let link = listeners.link.local_addr().context("address of the link port")?;
        let admin = match &listeners.admin {
            Some(listener) => listener.local_addr().context("address of the admin port")?,
            None => admin,
        };
        let mut ready = vec![wardlink_ms::app::readiness(stop.clone())];
        tasks.spawn(
            "message server",
            wardlink_ms::app::run(ms, listeners, ready[0].clone(), stop.clone()),
        );
        // All addresses first: the page that each server shows names both.
        let mut terminals = listen;
        let mut servers = Vec::new();
        for address in &mut terminals {
            let bs = wardlink_bs::app::Config {
                listen: *address,
                acceptor: Acceptor::plain(),
                accept: AcceptSettings::default().rate(),
                knock: wardlink_bs::app::Knock::default(),
                admin_listen: None,
                front: wardlink_bs::app::FrontConfig::development(),
                ms: vec![format!("ws://{link}/link").parse().map_err(anyhow::Error::msg)?],
                server: None,
                playground: None,
                // Ctrl-C means now.
                drain: Duration::ZERO,
            };
            let listeners = wardlink_bs::app::Listeners::bind(&bs).await?;
            *address =
                listeners.terminals.local_addr().context("address of the terminals' port")?;
            servers.push((bs, listeners));
        }
        let page = Playground { servers: terminals.map(|at| format!("ws://{at}/ws")).to_vec() };
        for ((mut bs, listeners), name) in servers.into_iter().zip(BUSINESS_SERVERS) {
            bs.playground = Some(page.clone());
            let readiness = wardlink_bs::app::readiness(stop.clone());
            ready.push(readiness.clone());
            tasks.spawn(name, wardlink_bs::app::run(bs, listeners, readiness, stop.clone()));
        }
        Ok(Self { terminals, admin, ready, tasks })
    }

    /// The address of the page to try it all.
    pub(super) fn page(&self) -> String {
        format!("http://{}/", self.terminals[0])
    }

    /// Waits until terminals can be served.
    ///
    /// # Errors
    /// When the servers stop instead.
    pub(super) async fn ready(&self) -> anyhow::Result<()> {
        for ready in &self.ready {
            anyhow::ensure!(ready.wait().await, "the servers stopped before they were ready");
        }
        Ok(())
    }

    /// Waits for the end of the servers after the stop signal.
    ///
    /// # Errors
    /// When one of them failed.
    pub(super) async fn join(self) -> anyhow::Result<()> {
        Ok(self.tasks.join(JOIN).await?)
    }
}

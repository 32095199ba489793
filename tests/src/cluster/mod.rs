//! A cluster of real processes for one test: MSs and BSs as children on free loopback ports,
//! killed, frozen and started again as a story says.
//!
//! ```no_run
//! # async fn story() -> anyhow::Result<()> {
//! use wardlink_tests::cluster::{Cluster, Store};
//! use wardlink_tests::database::Database;
//!
//! let database = Database::start().await?;
//! let mut cluster = Cluster::start(Store::Mongo(&database), 2, 2).await?;
//! let sender = cluster.terminal("H1-A2-nurse").await?;
//! let mut target = cluster.terminal_at(1, "H1-A2-pump").await?;
//! cluster.ms_mut(0).kill();
//! let result = sender.send(target.end(), "stop").await?.await;
//! println!("{}: {}", result.outcome, target.next().await?.body_text());
//! cluster.ms_mut(0).start().await?;
//! cluster.end().await
//! # }
//! ```
//!
//! The programs are those of the target folder, built beforehand without this package. A cluster
//! that is dropped before [`Cluster::end`] has returned belongs to a test that failed: the tail
//! of each child's log is printed.

mod beside;
mod clock;
mod flow;
mod http;
mod latency;
mod link_peer;
mod peek;
mod ports;
mod post;
mod process;
mod proxy;
mod terminal;
mod wait;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use tempfile::TempDir;
use uuid::Uuid;
use wardlink_client::ClientConfig;
use wardlink_tls::Connector;
use wardlink_wire::EndId;

pub use self::beside::Beside;
pub use self::clock::Clock;
pub use self::flow::{Flow, Tally};
pub use self::latency::Latencies;
pub use self::link_peer::{LinkPeer, Registration};
pub use self::peek::{Peek, Row, Waiting};
pub use self::ports::free as free_port;
pub use self::post::{Answered, Call, answer};
pub use self::process::{Process, Program};
pub use self::proxy::Proxy;
pub use self::terminal::{Terminal, welcomed};
pub use self::wait::{PATIENCE, eventually, within};
use crate::database::Database;

/// The `--drain` of a BS where a plan says nothing: a test does not wait longer than it must.
const DRAIN: &str = "1s";

/// Where a cluster keeps its data.
#[derive(Debug, Clone, Copy)]
pub enum Store<'a> {
    /// The embedded store, in a folder of the cluster's own. One MS only.
    Embedded,
    /// The embedded store, in this folder.
    EmbeddedIn(&'a Path),
    /// A database of its own, under a random name, in this server.
    Mongo(&'a Database),
}

/// How the links of a cluster are guarded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Links {
    /// Not at all, in clear text.
    #[default]
    Open,
    /// As the flags say that the story gives; in clear text.
    Flags,
    /// As the flags say that the story gives, by TLS.
    Tls,
}

/// What a cluster is made of. All fields have a default; see [`Cluster::build`].
#[derive(Debug, Clone)]
pub struct Plan {
    /// Message Servers that are started.
    pub ms: usize,
    /// Message Servers that every BS knows the address of, and that are not started; they come
    /// after the started ones, and [`Process::start`] starts them.
    pub spare_ms: usize,
    /// Business Servers that are started.
    pub bs: usize,
    /// How links are guarded.
    pub links: Links,
    /// How terminals verify the BSs, where they have certificates.
    pub terminals: Option<Connector>,
    /// Further flags of every MS.
    pub ms_flags: Vec<String>,
    /// Further flags of every BS.
    pub bs_flags: Vec<String>,
    /// Variables of every MS's environment that are no settings of its own.
    pub ms_environment: Vec<(String, String)>,
    /// What is logged by all.
    pub log_filter: String,
    /// Links from a BS to an MS, by their indices, that go through a [`Proxy`] each.
    pub proxied: Vec<(usize, usize)>,
    /// Clocks of the MSs, in their order; those beyond the list's end have the true one.
    pub clocks: Vec<Clock>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            ms: 1,
            spare_ms: 0,
            bs: 1,
            links: Links::Open,
            terminals: None,
            ms_flags: Vec::new(),
            bs_flags: Vec::new(),
            ms_environment: Vec::new(),
            log_filter: "info".to_owned(),
            proxied: Vec::new(),
            clocks: Vec::new(),
        }
    }
}

/// Running processes and their data. Dropping it kills all that still run, each by its id.
#[derive(Debug)]
pub struct Cluster {
    // Before the folder, so that nothing writes into it while it is removed.
    ms: Vec<Process>,
    bs: Vec<Process>,
    proxies: Vec<Proxy>,
    dir: TempDir,
    embedded_dir: PathBuf,
    database: Option<String>,
    terminals: Option<Connector>,
    ended: bool,
}

impl Cluster {
    /// Starts `ms` Message Servers and `bs` Business Servers and waits until all are ready.
    ///
    /// # Errors
    /// What did not start.
    pub async fn start(store: Store<'_>, ms: usize, bs: usize) -> anyhow::Result<Self> {
        Self::build(store, Plan { ms, bs, ..Plan::default() }).await
    }

    /// Starts what `plan` says and waits until all are ready.
    ///
    /// # Errors
    /// What did not start.
    pub async fn build(store: Store<'_>, plan: Plan) -> anyhow::Result<Self> {
        let dir = TempDir::with_prefix("wardlink-cluster-")?;
        let embedded_dir = match store {
            Store::EmbeddedIn(dir) => dir.to_owned(),
            _ => dir.path().join("data"),
        };
        let (uri, database) = match store {
            Store::Embedded | Store::EmbeddedIn(_) if plan.ms + plan.spare_ms > 1 => {
                bail!("the embedded store serves one MS")
            }
            Store::Embedded | Store::EmbeddedIn(_) => {
                (format!("embedded:{}", embedded_dir.display()), None)
            }
            Store::Mongo(server) => {
                let uri = server.uri(&format!("wardlink_{}", Uuid::new_v4().simple()));
                (uri.clone(), Some(uri))
            }
        };
        let (ms, bs, proxies) = (Vec::new(), Vec::new(), Vec::new());
        let terminals = plan.terminals.clone();
        let mut cluster =
            Self { ms, bs, proxies, dir, embedded_dir, database, terminals, ended: false };
        for i in 0..plan.ms + plan.spare_ms {
            let mut flags = vec!["--store".to_owned(), uri.clone()];
            if plan.links == Links::Open {
                flags.extend(["--link-auth".to_owned(), "none".to_owned()]);
            }
            flags.extend(plan.ms_flags.iter().cloned());
            let clock = plan.clocks.get(i).copied().unwrap_or_default();
            let ms = cluster.process(Program::Ms, i, flags, &plan)?.with_clock(clock)?;
            let ms = ms.with_environment(&plan.ms_environment);
            cluster.ms.push(ms.with_tls(plan.links == Links::Tls));
        }
        for _ in 0..plan.bs {
            cluster.add_bs(&plan, &plan.bs_flags).await?;
        }
        // Their playground pages know of each other, where there are any that browsers can reach.
        let development = !plan.bs_flags.iter().any(|flag| flag == "--auth");
        if development && plan.terminals.is_none() {
            let terminals = cluster.urls().join(",");
            for process in &mut cluster.bs {
                process.add_flags(&["--playground-servers", &terminals]);
            }
        }
        // All at once: an MS is ready when BSs are linked to it.
        let started = cluster.ms[..plan.ms].iter_mut().chain(&mut cluster.bs);
        for process in started {
            process.launch()?;
        }
        for process in cluster.ms[..plan.ms].iter_mut().chain(&mut cluster.bs) {
            process.until_ready().await?;
        }
        Ok(cluster)
    }

    /// One more Business Server, with these flags in place of the plan's. It is not started.
    ///
    /// # Errors
    /// The program is not built.
    pub async fn add_bs(&mut self, plan: &Plan, further: &[String]) -> anyhow::Result<usize> {
        let i = self.bs.len();
        let mut links: Vec<String> = self.ms.iter().map(Process::link_url).collect();
        for (_, ms) in plan.proxied.iter().filter(|(bs, _)| *bs == i) {
            let proxy = Proxy::start(self.ms[*ms].port()).await?;
            links[*ms] = format!("ws://127.0.0.1:{}/link", proxy.port());
            self.proxies.push(proxy);
        }
        let mut flags = Vec::new();
        if !further.iter().any(|flag| flag == "--auth") {
            flags.extend(["--auth".to_owned(), "development".to_owned()]);
        }
        flags.extend(["--ms".to_owned(), links.join(",")]);
        if !further.iter().any(|flag| flag == "--drain") {
            flags.extend(["--drain".to_owned(), DRAIN.to_owned()]);
        }
        flags.extend(further.iter().cloned());
        let bs = self.process(Program::Bs, i, flags, plan)?;
        self.bs.push(bs.with_tls(plan.terminals.is_some()));
        Ok(i)
    }

    fn process(
        &self,
        program: Program,
        index: usize,
        flags: Vec<String>,
        plan: &Plan,
    ) -> anyhow::Result<Process> {
        let mut flags = flags;
        flags.extend(["--log-filter".to_owned(), plan.log_filter.clone()]);
        Process::new(program, index, flags, self.dir.path())
    }

    /// The proxy of the `i`th link of [`Plan::proxied`], where those are in the order of the BSs.
    ///
    /// # Panics
    /// There are not so many.
    pub fn proxy(&self, i: usize) -> &Proxy {
        &self.proxies[i]
    }

    /// Message Server `i`, from 0.
    ///
    /// # Panics
    /// There are not so many.
    pub fn ms(&self, i: usize) -> &Process {
        &self.ms[i]
    }

    /// Message Server `i`, to do something to it.
    ///
    /// # Panics
    /// There are not so many.
    pub fn ms_mut(&mut self, i: usize) -> &mut Process {
        &mut self.ms[i]
    }

    /// All Message Servers to do something to, and all Business Servers beside them.
    pub fn parts_mut(&mut self) -> (&mut [Process], &[Process]) {
        (&mut self.ms, &self.bs)
    }

    /// All Message Servers, the spare ones last.
    pub fn mss(&self) -> &[Process] {
        &self.ms
    }

    /// Business Server `i`, from 0.
    ///
    /// # Panics
    /// There are not so many.
    pub fn bs(&self, i: usize) -> &Process {
        &self.bs[i]
    }

    /// Business Server `i`, to do something to it.
    ///
    /// # Panics
    /// There are not so many.
    pub fn bs_mut(&mut self, i: usize) -> &mut Process {
        &mut self.bs[i]
    }

    /// The index of the BS with this URL for terminals.
    pub fn bs_at(&self, url: &str) -> Option<usize> {
        self.bs.iter().position(|bs| bs.terminal_url() == url)
    }

    /// All Business Servers' URLs for terminals.
    pub fn urls(&self) -> Vec<String> {
        self.bs.iter().map(Process::terminal_url).collect()
    }

    /// A client's settings for an end that tries all Business Servers in turn, from the first.
    ///
    /// # Errors
    /// It is no end id.
    pub fn config(&self, end: &str) -> anyhow::Result<ClientConfig> {
        let end: EndId = end.parse().with_context(|| format!("end {end}"))?;
        let mut config = ClientConfig::new(String::new(), end);
        config.urls = self.urls();
        config.tls.clone_from(&self.terminals);
        // A test does not wait for a server's recovery longer than it must.
        config.backoff_max = Duration::from_millis(500);
        Ok(config)
    }

    /// A terminal that tries all Business Servers in turn, once its session is registered.
    ///
    /// # Errors
    /// It is no end id, or does not get a session in time.
    pub async fn terminal(&self, end: &str) -> anyhow::Result<Terminal> {
        Terminal::connect(self.config(end)?).await
    }

    /// A terminal at Business Server `bs` alone, once its session is registered.
    ///
    /// # Errors
    /// As [`Cluster::terminal`].
    pub async fn terminal_at(&self, bs: usize, end: &str) -> anyhow::Result<Terminal> {
        let mut config = self.config(end)?;
        config.urls = vec![self.bs[bs].terminal_url()];
        Terminal::connect(config).await
    }

    /// A look into the database.
    ///
    /// # Errors
    /// The store is embedded.
    pub async fn peek(&self) -> anyhow::Result<Peek> {
        Peek::open(self.database.as_deref().context("the store is no database")?).await
    }

    /// URI of the database, where there is one.
    pub fn database_uri(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// Folder of the embedded store.
    pub fn embedded_dir(&self) -> &Path {
        &self.embedded_dir
    }

    /// The index of the running MS that owns an end's partition, by the newest view that any
    /// running MS knows. `None`: nobody who runs.
    pub async fn owner_of(&self, end: &EndId) -> Option<usize> {
        let mut newest: Option<(u64, String)> = None;
        let mut names = Vec::new();
        for (i, ms) in self.ms.iter().enumerate() {
            let Some(view) = ms.view().await else { continue };
            let Some(number) = view["number"].as_str().and_then(|text| text.parse().ok()) else {
                continue;
            };
            names.push((i, view["me"].as_str()?.to_owned()));
            let owner = &view["partitions"][usize::from(end.partition().0)]["owner"];
            if newest.as_ref().is_none_or(|(known, _)| *known < number) {
                newest = Some((number, owner.as_str().unwrap_or_default().to_owned()));
            }
        }
        let (_, owner) = newest?;
        names.into_iter().find(|(_, name)| *name == owner).map(|(i, _)| i)
    }

    /// Waits until every MS that runs owns some partitions and all agree on the view. The judge
    /// evens out 10 s after the last change.
    ///
    /// # Errors
    /// Not in time.
    pub async fn until_spread(&self) -> anyhow::Result<()> {
        let what = "every running MS owns some partitions";
        eventually(PATIENCE, what, || self.spread()).await
    }

    async fn spread(&self) -> bool {
        let mut number = None;
        for ms in self.ms.iter().filter(|ms| ms.started()) {
            let Some(view) = ms.view().await else { return false };
            let mut partitions = view["partitions"].as_array().into_iter().flatten();
            let owns = partitions.any(|partition| partition["owner"] == view["me"]);
            if !owns || *number.get_or_insert_with(|| view["number"].clone()) != view["number"] {
                return false;
            }
        }
        true
    }

    /// The test has passed: stops all that still run with SIGTERM, first the BSs, then the MSs.
    ///
    /// # Errors
    /// A process that had ended before, or did not end well.
    pub async fn end(mut self) -> anyhow::Result<()> {
        for process in self.bs.iter_mut().chain(&mut self.ms).filter(|process| process.started()) {
            process.check_running()?;
        }
        for group in [&mut self.bs, &mut self.ms] {
            for process in group.iter_mut().filter(|process| process.started()) {
                process.terminate()?;
            }
            for process in group.iter_mut().filter(|process| process.started()) {
                process.until_stopped().await?;
            }
        }
        self.ended = true;
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in self.ms.iter_mut().chain(&mut self.bs) {
            process.kill();
            if !self.ended {
                eprintln!("{}", process.log_tail());
            }
        }
    }
}

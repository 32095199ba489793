//! A real database for one test: started on a free port, killed, frozen, started again.
//!
//! It is a server that speaks MongoDB's wire protocol, installed by `scripts/install-database`.
//! A missing server is an error, never a reason to skip.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mongodb::bson::doc;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use wardlink_ms::store::mongodb::{MongoStore, Names};
use wardlink_ms::store::{OpTime, Store};
use wardlink_tls::CertificateFiles;

/// The program in its folder of the cache.
const PROGRAM: &str = "secantusd-rs";
/// Where it listens unless told otherwise.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// How long a start may take, the repair after a kill included.
const START: Duration = Duration::from_secs(30);
/// Starts on other ports, where somebody else took the free one first.
const TRIES: usize = 5;

/// A running (or killed) database process with a folder of its own. Dropping it kills the
/// process and removes the folder.
#[derive(Debug)]
pub struct Database {
    program: PathBuf,
    dir: TempDir,
    host: IpAddr,
    port: u16,
    options: Vec<String>,
    tls_ca: Option<PathBuf>,
    /// User and password, once it asks for them.
    user: Option<String>,
    child: Option<Child>,
}

impl Database {
    /// Starts a database and waits until it answers.
    ///
    /// # Errors
    /// The program is not installed, or it does not come up.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(&[]).await
    }

    /// As [`start`](Self::start), with further options for the program.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_with(options: &[&str]) -> anyhow::Result<Self> {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Self::run(LOOPBACK, options, None).await
    }

    /// As [`start`](Self::start), on another address of this machine, for those who reach it by
    /// that.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_at(host: IpAddr) -> anyhow::Result<Self> {
        Self::run(host, Vec::new(), None).await
    }

    /// As [`start`](Self::start), reached by TLS alone, with this certificate for 127.0.0.1 of the
    /// authority in the file `ca`.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_tls(own: &CertificateFiles, ca: PathBuf) -> anyhow::Result<Self> {
        let files = [("--tls-cert-file", &own.cert), ("--tls-key-file", &own.key)];
        let options = files.map(|(flag, file)| [flag.to_owned(), file.display().to_string()]);
        Self::run(LOOPBACK, options.concat(), Some(ca)).await
    }

    async fn run(
        host: IpAddr,
        options: Vec<String>,
        tls_ca: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        let mut database = Self {
            program: program()?,
            dir: TempDir::with_prefix("wardlink-database-")?,
            host,
            port: 0,
            options,
            tls_ca,
            user: None,
            child: None,
        };
        for _ in 1..TRIES {
            database.port = free_port(host)?;
            if database.restart().await.is_ok() {
                return Ok(database);
            }
            database.kill();
        }
        database.port = free_port(host)?;
        database.restart().await?;
        Ok(database)
    }

    /// The URI of the database `name` in it.
    pub fn uri(&self, name: &str) -> String {
        let (host, port) = (&self.host, self.port);
        match &self.user {
            None => format!("mongodb://{host}:{port}/{name}"),
            Some(user) => format!("mongodb://{user}@{host}:{port}/{name}?authSource=admin"),
        }
    }

    /// From now on it lets nobody in without this name and password, which [`uri`](Self::uri) has.
    ///
    /// # Errors
    /// The user cannot be made, or it does not come up again.
    pub async fn lock(&mut self, user: &str, password: &str) -> anyhow::Result<()> {
        let client = mongodb::Client::with_uri_str(&self.uri("admin")).await?;
        let roles = [doc! { "role": "root", "db": "admin" }];
        let create = doc! { "createUser": user, "pwd": password, "roles": roles.to_vec() };
        client.database("admin").run_command(create).await?;
        self.user = Some(format!("{user}:{password}"));
        self.options.push("--auth".to_owned());
        self.restart().await
    }

    /// The port it listens on; the same after each restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills the process (SIGKILL) and waits for its end. What it had acknowledged stays.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Freezes the process (SIGSTOP): connections stay open and nothing is answered.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a frozen process go on (SIGCONT).
    ///
    /// # Errors
    /// It does not run.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let child = self.child.as_ref().context("the database does not run")?;
        Ok(kill_process(Pid::from_child(child), signal)?)
    }

    /// Starts it again on the same data and port, killing it before if it runs, and waits until
    /// it answers.
    ///
    /// # Errors
    /// It does not come up; the text ends with its log.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.kill();
        let log = File::options().create(true).append(true).open(self.log())?;
        let child = Command::new(&self.program)
            .args(["--host", &self.host.to_string(), "--port", &self.port.to_string()])
            .arg("--storage-path")
            .arg(self.dir.path().join("data"))
            // Without this flag a kill loses acknowledged writes.
            .args(["--sync-on-commit", "--log-file-max", "16MB", "--cache-size", "256M"])
            .args(["--log-level", "WARNING"])
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", self.program.display()))?;
        self.child = Some(child);
        self.until_it_answers().await
    }

    async fn until_it_answers(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        let (names, tls_ca) = (Names::default(), self.tls_ca.clone());
        let store = MongoStore::open(&self.uri("admin"), names, tls_ca).await?;
        while store.read_view(OpTime(0)).await.is_err() {
            let child = self.child.as_mut().context("the database was not started")?;
            if let Some(status) = child.try_wait()? {
                bail!("the database ended with {status}: {}", self.log_text());
            }
            if Instant::now() > deadline {
                bail!("the database does not answer: {}", self.log_text());
            }
        }
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn log_text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Finds the program: in `WARDLINK_MONGOD`, in `WARDLINK_TEST_DATABASE`, or in the cache that
/// `scripts/install-database` fills.
fn program() -> anyhow::Result<PathBuf> {
    for name in ["WARDLINK_MONGOD", "WARDLINK_TEST_DATABASE"] {
        if let Some(path) = std::env::var_os(name) {
            let path = PathBuf::from(path);
            if path.is_file() {
                return Ok(path);
            }
            bail!("{name} is {}, which is no file", path.display());
        }
    }
    let set = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = set("WARDLINK_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("wardlink")))
        .or_else(|| set("HOME").map(|dir| dir.join(".cache/wardlink")));
    cache.as_deref().and_then(in_cache).with_context(|| {
        "the database for tests is not installed: run `make tools` (scripts/install-database), \
         or set WARDLINK_MONGOD to the program"
    })
}

/// The newest version in the cache.
fn in_cache(cache: &Path) -> Option<PathBuf> {
    let versions = std::fs::read_dir(cache).ok()?.flatten();
    let programs = versions.map(|entry| entry.path().join("bin").join(PROGRAM));
    programs.filter(|path| path.is_file()).max()
}

fn free_port(host: IpAddr) -> anyhow::Result<u16> {
    let listener = TcpListener::bind((host, 0))?;
    Ok(listener.local_addr()?.port())
}

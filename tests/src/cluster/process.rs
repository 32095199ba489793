//! One child: an MS or a BS with ports of its own, its log, and the signals it gets.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::clock::Clock;
use super::wait::eventually;
use super::{http, ports};

/// How long a start may take: an MS waits up to 30 s for links.
const START: Duration = Duration::from_secs(40);
/// How long a stop may take: `--drain` is 30 s.
const STOP: Duration = Duration::from_secs(40);
/// Lines of the log that a failed test prints.
const TAIL_LINES: usize = 40;
/// Between two looks at a child.
const LOOK: Duration = Duration::from_millis(10);

/// One of the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `wardlink-ms`.
    Ms,
    /// `wardlink-bs`.
    Bs,
    /// `wardlink`, which people run: no server, and no child of a cluster.
    Cli,
    /// `wardlink-operator`: no child of a cluster on this machine.
    Operator,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::Ms => "wardlink-ms",
            Self::Bs => "wardlink-bs",
            Self::Cli => "wardlink",
            Self::Operator => "wardlink-operator",
        }
    }

    /// Where it is: beside this test program in the target folder.
    ///
    /// # Errors
    /// It is not built.
    pub fn path(self) -> anyhow::Result<PathBuf> {
        let this = std::env::current_exe()?;
        let mut dir = this.parent().context("this program is in no folder")?;
        if dir.file_name() == Some(OsStr::new("deps")) {
            dir = dir.parent().context("deps is in no folder")?;
        }
        let path = dir.join(self.name());
        ensure!(
            path.is_file(),
            "{} is not built: run `cargo build -p wardlink-ms -p wardlink-bs -p wardlink` first",
            path.display()
        );
        Ok(path)
    }
}

/// An MS or a BS of a cluster, running or not. It keeps its ports, flags and data over restarts.
#[derive(Debug)]
pub struct Process {
    program: Program,
    name: String,
    path: PathBuf,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    tls: bool,
    port: u16,
    admin_port: u16,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// A process that does not run yet; its log will be in `dir`.
    pub(super) fn new(
        program: Program,
        index: usize,
        flags: Vec<String>,
        dir: &Path,
    ) -> anyhow::Result<Self> {
        let name = match program {
            Program::Ms => format!("ms{index}"),
            Program::Bs => format!("bs{index}"),
            Program::Cli | Program::Operator => bail!("{} is no server", program.name()),
        };
        Ok(Self {
            program,
            path: program.path()?,
            flags,
            environment: Vec::new(),
            tls: false,
            port: ports::free()?,
            admin_port: ports::free()?,
            log: dir.join(format!("{name}.log")),
            name,
            child: None,
        })
    }

    pub(super) fn with_clock(mut self, clock: Clock) -> anyhow::Result<Self> {
        self.environment = clock.environment()?;
        Ok(self)
    }

    pub(super) fn with_environment(mut self, variables: &[(String, String)]) -> Self {
        self.environment.extend_from_slice(variables);
        self
    }

    pub(super) fn add_flags(&mut self, flags: &[&str]) {
        self.flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
    }

    pub(super) fn with_tls(mut self, tls: bool) -> Self {
        self.tls = tls;
        self
    }

    /// Starts it, on the ports that it had, and waits until it is ready. What still runs is
    /// killed first.
    ///
    /// # Errors
    /// It ends, or is not ready in time.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        self.launch()?;
        self.until_ready().await
    }

    /// SIGKILL, then [`Process::start`].
    ///
    /// # Errors
    /// As [`Process::start`].
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.start().await
    }

    /// [`Process::start`] without waiting.
    ///
    /// # Errors
    /// The program cannot be run.
    pub fn launch(&mut self) -> anyhow::Result<()> {
        self.kill();
        let log = File::options().create(true).append(true).open(&self.log)?;
        // Settings of whoever runs the tests must not reach the children.
        let settings = std::env::vars_os().map(|(name, _)| name);
        let settings = settings.filter(|name| name.to_string_lossy().starts_with("WARDLINK_"));
        let mut command = Command::new(&self.path);
        for name in settings {
            command.env_remove(name);
        }
        let child = command
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .args(["--admin-listen", &format!("127.0.0.1:{}", self.admin_port)])
            .args(&self.flags)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", self.path.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until `/readyz` says yes.
    ///
    /// # Errors
    /// It ends, or is not ready in time.
    pub async fn until_ready(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + START;
        while !self.ready().await {
            self.check_running()?;
            ensure!(Instant::now() < end, "{} is not ready within {START:?}", self.name);
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Whether `/readyz` says yes now.
    pub async fn ready(&self) -> bool {
        matches!(self.get("/readyz").await, Ok((200, _)))
    }

    /// GET from its admin port: status and body.
    ///
    /// # Errors
    /// No answer within 3 s.
    pub async fn get(&self, path: &str) -> anyhow::Result<(u16, String)> {
        http::get(self.admin_port, path).await
    }

    /// What an MS knows of the view (`/view` of its admin port); `None` where it says nothing.
    pub async fn view(&self) -> Option<serde_json::Value> {
        self.child.as_ref()?;
        let (status, body) = self.get("/view").await.ok()?;
        if status == 200 { serde_json::from_str(&body).ok() } else { None }
    }

    /// SIGKILL. Returns when the process is gone; one that does not run is left alone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Errors
    /// It does not run, does not end in time, or says that it failed.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.terminate()?;
        self.until_stopped().await
    }

    /// SIGTERM, without waiting.
    ///
    /// # Errors
    /// It does not run.
    pub fn terminate(&self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Waits for the end after [`Process::terminate`].
    ///
    /// # Errors
    /// It does not end in time, or says that it failed.
    pub async fn until_stopped(&mut self) -> anyhow::Result<()> {
        let what = format!("{} ends after the stop signal", self.name);
        eventually(STOP, &what, || std::future::ready(!matches!(self.exited(), Ok(None)))).await?;
        let status = self.exited()?;
        self.child = None;
        let status = status.with_context(|| format!("{} does not run", self.name))?;
        ensure!(status.success(), "{} ended with {status}", self.name);
        Ok(())
    }

    /// Freezes it (SIGSTOP): connections stay open and nothing is answered.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// It does not run.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let child = self.child.as_ref().with_context(|| format!("{} does not run", self.name))?;
        Ok(kill_process(Pid::from_child(child), signal)?)
    }

    /// Whether it was started and not stopped or killed since by the test.
    pub fn started(&self) -> bool {
        self.child.is_some()
    }

    /// Its exit status, where it ended by itself.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn exited(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?),
            None => Ok(None),
        }
    }

    /// # Errors
    /// It was not started, or has ended by itself.
    pub fn check_running(&mut self) -> anyhow::Result<()> {
        ensure!(self.started(), "{} does not run", self.name);
        if let Some(status) = self.exited()? {
            bail!("{} has ended with {status}", self.name);
        }
        Ok(())
    }

    /// Its name in this cluster, such as `ms0`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of its process, where it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The port for links, or for terminals.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The admin port.
    pub fn admin_port(&self) -> u16 {
        self.admin_port
    }

    /// Where an MS takes links.
    pub fn link_url(&self) -> String {
        debug_assert_eq!(self.program, Program::Ms);
        let scheme = if self.tls { "wss" } else { "ws" };
        format!("{scheme}://127.0.0.1:{}/link", self.port)
    }

    /// The playground page of a BS.
    pub fn playground_url(&self) -> String {
        debug_assert_eq!(self.program, Program::Bs);
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Where a BS takes terminals.
    pub fn terminal_url(&self) -> String {
        debug_assert_eq!(self.program, Program::Bs);
        let scheme = if self.tls { "wss" } else { "ws" };
        format!("{scheme}://127.0.0.1:{}/ws", self.port)
    }

    /// The value of a metric; 0 where it is not there (yet).
    ///
    /// # Errors
    /// No answer within 3 s.
    pub async fn metric(&self, series: &str) -> anyhow::Result<f64> {
        let (_, text) = self.get("/metrics").await?;
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(value.map_or(Ok(0.0), str::parse)?)
    }

    /// All that it has written so far.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of its log, with a heading.
    pub fn log_tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        format!("--- {} ({} lines of log)\n{}", self.name, lines.len(), tail.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

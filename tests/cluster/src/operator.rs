//! The operator as a process of this machine, with exactly the rights that the chart gives it.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, ensure};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client as Http;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::access::Access;
use crate::cluster::Cluster;
use crate::namespace::Namespace;
use crate::proxy::Proxy;
use crate::wait::{PATIENCE, eventually};

/// Release under which the chart is rendered.
const RELEASE: &str = "operator";
/// Service account that the chart gives the operator, by which the audit log knows it.
pub const OPERATOR_ACCOUNT: &str = "operator-wardlink";
/// Images that a cluster gets where it names none.
pub const SERVER_IMAGES: [&str; 2] = ["wardlink-ms:test", "wardlink-bs:test"];
/// Lines of its log that a failed test shows.
const LOG_LINES: usize = 60;

/// A running operator that watches one namespace. Killed when dropped.
pub struct Operator {
    child: Child,
    access: Access,
    admin: u16,
    log: Arc<Mutex<Vec<String>>>,
}

impl Operator {
    /// Installs the CRD and the chart's rights, and starts the operator with these settings beside
    /// those that it needs. Returns once it is ready.
    ///
    /// # Errors
    /// The chart cannot be rendered, or the program does not get ready.
    pub async fn start(namespace: &Namespace, settings: &[&str]) -> anyhow::Result<Self> {
        let access = Self::install(namespace).await?;
        Self::launch(namespace, access, settings).await
    }

    /// The same, with a proxy between it and the API server.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub async fn start_through(
        namespace: &Namespace,
        proxy: &Proxy,
        settings: &[&str],
    ) -> anyhow::Result<Self> {
        let access = Self::install(namespace).await?.through(proxy).await?;
        Self::launch(namespace, access, settings).await
    }

    /// Installs the CRD and the chart's rights for this namespace alone, and returns the way to
    /// the API server that they give.
    ///
    /// # Errors
    /// The chart cannot be rendered or applied.
    pub async fn install(namespace: &Namespace) -> anyhow::Result<Access> {
        let cluster = namespace.cluster();
        install_crd(cluster).await?;
        cluster.apply(&rights(namespace).await?).await.context("the chart's rights")?;
        namespace.service_account(OPERATOR_ACCOUNT).await
    }

    /// Starts the program and waits until it is ready.
    ///
    /// # Errors
    /// It cannot be started, ends, or is not ready in time; the text holds the end of its log.
    pub async fn launch(
        namespace: &Namespace,
        access: Access,
        settings: &[&str],
    ) -> anyhow::Result<Self> {
        let admin = free_port()?;
        let role = format!("{}-{RELEASE}-wardlink-token-review", namespace.name());
        let [message_server, business_server] = SERVER_IMAGES;
        let mut child = Command::new(program("wardlink-operator")?)
            .args(["--admin-listen", &format!("127.0.0.1:{admin}")])
            .args(["--log-format", "json", "--namespace", namespace.name()])
            .args(["--lease-name", OPERATOR_ACCOUNT])
            .args(["--watch-namespaces", namespace.name(), "--token-review-role", &role])
            .args(["--message-server-image", message_server])
            .args(["--business-server-image", business_server])
            .args(settings)
            .env("KUBECONFIG", access.kubeconfig())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting wardlink-operator")?;
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = child.stderr.take().context("no standard error")?;
        tokio::spawn(keep(BufReader::new(lines).lines(), log.clone()));
        let mut operator = Self { child, access, admin, log };
        operator.until_ready().await.with_context(|| operator.log())?;
        Ok(operator)
    }

    async fn until_ready(&mut self) -> anyhow::Result<()> {
        eventually(PATIENCE, "the operator is ready", async || {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(Err(anyhow::anyhow!("the operator has ended: {status}"))));
            }
            self.get("/readyz").await.map(|_| Some(Ok(())))
        })
        .await?
    }

    /// Its user, as the audit log and RBAC write it.
    pub fn user(&self) -> &str {
        self.access.user()
    }

    /// What it answers on its admin port.
    ///
    /// # Errors
    /// It does not answer, or not with 200.
    pub async fn get(&self, path: &str) -> anyhow::Result<String> {
        let http = Http::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
        let answer = http.get(format!("http://127.0.0.1:{}{path}", self.admin).parse()?).await?;
        ensure!(answer.status().is_success(), "{path}: {}", answer.status());
        let body = answer.into_body().collect().await?.to_bytes();
        Ok(String::from_utf8(body.to_vec())?)
    }

    /// Value of one series of its metrics, such as `a_total{b="c"}`; `None` where there is none.
    ///
    /// # Errors
    /// It does not answer, or the value is no number.
    pub async fn metric(&self, series: &str) -> anyhow::Result<Option<f64>> {
        let text = self.get("/metrics").await?;
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(value.map(str::parse).transpose()?)
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        format!("the operator's log:\n{}", log[log.len().saturating_sub(LOG_LINES)..].join("\n"))
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// It has ended before.
    pub async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        let pid = self.child.id().context("the operator has ended")?;
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid)?).context("no pid")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        tokio::time::timeout(PATIENCE, self.child.wait()).await?.context("waiting for its end")
    }

    /// Kills it (SIGKILL).
    ///
    /// # Errors
    /// It has ended before.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("killing the operator")
    }
}

/// Applies the CRD and waits until the API server serves it.
///
/// # Errors
/// It is refused, or not served in time.
pub async fn install_crd(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.apply(include_str!("../../../crds/wardlink.dev_messagingclusters.yaml")).await?;
    // Of a CRD that is just made kubectl says that it has no conditions, and ends.
    let wait = ["wait", "--for=condition=Established", "--timeout=5s"];
    let wait = [&wait[..], &["crd/messagingclusters.wardlink.dev"]].concat();
    eventually(PATIENCE, "the API server serves the CRD", async || {
        cluster.kubectl(&wait).await?.ok().map(Some)
    })
    .await
    .map(drop)
}

/// Service account and rights as the chart makes them for an operator of one namespace.
///
/// # Errors
/// The chart cannot be rendered.
pub async fn rights(namespace: &Namespace) -> anyhow::Result<String> {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/wardlink");
    let args =
        ["template", RELEASE, chart, "--set", "watch.mode=Own", "--set", "crds.install=false"];
    let files = ["--show-only=templates/rbac.yaml", "--show-only=templates/serviceaccount.yaml"];
    let text = namespace.run("helm", &[&args[..], &files[..]].concat(), "").await?.ok()?;
    // `helm template` leaves the namespace to whoever applies.
    let documents = serde_saphyr::from_multiple::<serde_json::Value>(&text)?;
    let documents = documents.into_iter().map(|mut document| {
        let clustered = document["kind"].as_str().is_some_and(|kind| kind.starts_with("Cluster"));
        if !clustered && document["metadata"]["namespace"].is_null() {
            document["metadata"]["namespace"] = namespace.name().into();
        }
        document.to_string()
    });
    Ok(documents.collect::<Vec<_>>().join("\n---\n"))
}

async fn keep(
    mut lines: tokio::io::Lines<BufReader<tokio::process::ChildStderr>>,
    log: Arc<Mutex<Vec<String>>>,
) {
    while let Ok(Some(line)) = lines.next_line().await {
        log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

/// A program of the workspace, built beside this test.
///
/// # Errors
/// It is not there.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.parent().and_then(std::path::Path::parent).context("no target folder")?;
    let program = folder.join(name);
    ensure!(program.is_file(), "{} is not built: cargo build -p {name}", program.display());
    Ok(program)
}

/// A port of loopback that nobody has now.
fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

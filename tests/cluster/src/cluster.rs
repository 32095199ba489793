//! One cluster, as an administrator sees it.

use std::ffi::OsStr;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, ensure};
use futures_util::FutureExt;
use k8s_openapi::api::core::v1::Namespace as KubeNamespace;
use kube::api::{DeleteParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::audit::Audit;
use crate::namespace::{Namespace, Security};

/// The cluster that `KUBECONFIG` names. Clones are the same cluster.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    kubeconfig: PathBuf,
    audit_log: Option<PathBuf>,
    nodes: bool,
}

/// What a program said.
#[derive(Debug, Clone)]
pub struct Output {
    /// Whether it ended with 0.
    pub success: bool,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// Its standard output, where it succeeded.
    ///
    /// # Errors
    /// It did not; the text is its standard error.
    pub fn ok(self) -> anyhow::Result<String> {
        ensure!(self.success, "{}{}", self.stdout, self.stderr.trim_end());
        Ok(self.stdout)
    }
}

impl Cluster {
    /// The cluster of `KUBECONFIG`. Beside it are read `WARDLINK_LAB_AUDIT_LOG`, where the API
    /// server writes one, and `WARDLINK_LAB_NODES`, which is 0 where no node runs pods.
    ///
    /// # Errors
    /// `KUBECONFIG` is not set or cannot be read, or the API server does not answer.
    pub async fn from_environment() -> anyhow::Result<Self> {
        let kubeconfig = std::env::var_os("KUBECONFIG").context(
            "KUBECONFIG is not set: run this by `make test-operator` or `make test-cluster`",
        )?;
        let kubeconfig = PathBuf::from(kubeconfig);
        let client = client_of(&kubeconfig).await?;
        client.apiserver_version().await.context("asking the API server for its version")?;
        let nodes = std::env::var("WARDLINK_LAB_NODES").map_or(true, |nodes| nodes != "0");
        let audit_log = std::env::var_os("WARDLINK_LAB_AUDIT_LOG").map(PathBuf::from);
        Ok(Self { inner: Arc::new(Inner { client, kubeconfig, audit_log, nodes }) })
    }

    /// A client of its administrator.
    pub fn client(&self) -> Client {
        self.inner.client.clone()
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.inner.kubeconfig
    }

    /// Whether pods run here; else only the control plane is there.
    pub fn runs_pods(&self) -> bool {
        self.inner.nodes
    }

    /// What the API server was asked.
    ///
    /// # Errors
    /// This cluster's API server writes no audit log that this machine can read.
    pub fn audit(&self) -> anyhow::Result<Audit> {
        let path = self.inner.audit_log.clone();
        let path = path.context("WARDLINK_LAB_AUDIT_LOG is not set: is this a lab?")?;
        Ok(Audit::new(self.client(), path))
    }

    /// Runs `kubectl` as the administrator.
    ///
    /// # Errors
    /// It cannot be run. What it says is in the output.
    pub async fn kubectl<S: AsRef<OsStr>>(&self, args: &[S]) -> anyhow::Result<Output> {
        self.run("kubectl", args, "").await
    }

    /// Runs a program that reads `KUBECONFIG`, such as `kubectl` or `helm`, with this input.
    ///
    /// # Errors
    /// It cannot be run. What it says is in the output.
    pub async fn run<S: AsRef<OsStr>>(
        &self,
        program: &str,
        args: &[S],
        input: &str,
    ) -> anyhow::Result<Output> {
        let mut child = Command::new(program)
            .args(args)
            .env("KUBECONFIG", &self.inner.kubeconfig)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        let mut stdin = child.stdin.take().context("no standard input")?;
        let write = async move {
            // A program that does not read its input may be gone already.
            let _ = stdin.write_all(input.as_bytes()).await;
        };
        let ((), output) = tokio::join!(write, child.wait_with_output());
        let output = output?;
        Ok(Output {
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Applies objects that are in no namespace, or name theirs: YAML or JSON, server-side.
    ///
    /// # Errors
    /// The API server refuses one.
    pub async fn apply(&self, objects: &str) -> anyhow::Result<String> {
        let args = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        self.run("kubectl", &args, objects).await?.ok()
    }

    /// Gives `test` a fresh namespace and deletes it afterwards, without waiting for its end. Where
    /// the test fails or panics, what is in the namespace is printed first.
    ///
    /// # Errors
    /// The namespace cannot be made, or the test fails.
    ///
    /// # Panics
    /// The test panics.
    pub async fn with_namespace(
        &self,
        security: Security,
        test: impl AsyncFnOnce(Namespace) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let all: Api<KubeNamespace> = Api::all(self.client());
        let made = all.create(&PostParams::default(), &security.namespace()).await?;
        let name = made.metadata.name.context("the API server gave no name")?;
        let namespace = Namespace::new(self.clone(), name.clone());
        let run = async {
            namespace.until_usable().await?;
            test(namespace.clone()).await
        };
        let result = AssertUnwindSafe(run).catch_unwind().await;
        if !matches!(result, Ok(Ok(()))) {
            eprintln!("{}", namespace.report().await);
        }
        all.delete(&name, &DeleteParams::background()).await?;
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

/// A client for what a kubeconfig file names.
pub(crate) async fn client_of(kubeconfig: &Path) -> anyhow::Result<Client> {
    let reading = || format!("reading {}", kubeconfig.display());
    let file = Kubeconfig::read_from(kubeconfig).with_context(reading)?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
    Ok(Client::try_from(config.with_context(reading)?)?)
}

//! The namespace of one test.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, bail};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace as KubeNamespace, Pod, ServiceAccount};
use kube::api::{ListParams, ObjectMeta};
use kube::{Api, Client, Resource};
use tokio::time::Instant;

use crate::access::Access;
use crate::cluster::{Cluster, Output};
use crate::kubelet::Kubelet;
use crate::wait::{PATIENCE, eventually};

/// Lines of each container's log that a report has.
const LOG_LINES: &str = "--tail=40";
/// Pods whose logs a report has.
const LOG_PODS: usize = 10;

/// Which pods a namespace takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Any.
    Any,
    /// Those that Pod Security calls restricted.
    Restricted,
}

impl Security {
    pub(crate) fn namespace(self) -> KubeNamespace {
        let mut labels = BTreeMap::from([("wardlink.dev/test".to_owned(), "true".to_owned())]);
        if self == Self::Restricted {
            labels.insert("pod-security.kubernetes.io/enforce".to_owned(), "restricted".to_owned());
        }
        let metadata = ObjectMeta {
            generate_name: Some("wardlink-test-".to_owned()),
            labels: Some(labels),
            ..ObjectMeta::default()
        };
        KubeNamespace { metadata, ..KubeNamespace::default() }
    }
}

/// A namespace that one test has for itself. Clones are the same namespace.
#[derive(Clone)]
pub struct Namespace {
    cluster: Cluster,
    name: String,
}

impl Namespace {
    pub(crate) fn new(cluster: Cluster, name: String) -> Self {
        Self { cluster, name }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cluster that it is in.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// A client of the cluster's administrator.
    pub fn client(&self) -> Client {
        self.cluster.client()
    }

    /// Objects of one kind in this namespace, as the administrator.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client(), &self.name)
    }

    /// Waits until pods can be made: the controllers have given it a service account.
    pub(crate) async fn until_usable(&self) -> anyhow::Result<()> {
        let accounts: Api<ServiceAccount> = self.api();
        let what = "the namespace has its default service account";
        eventually(PATIENCE, what, async || Ok(accounts.get_opt("default").await?)).await?;
        Ok(())
    }

    /// Applies these objects, YAML or JSON, server-side. Returns what kubectl said.
    ///
    /// # Errors
    /// The API server refuses one; the text says why.
    pub async fn apply(&self, objects: &str) -> anyhow::Result<String> {
        self.try_apply(objects).await?.ok()
    }

    /// The same, for objects that may be refused.
    ///
    /// # Errors
    /// kubectl cannot be run.
    pub async fn try_apply(&self, objects: &str) -> anyhow::Result<Output> {
        let args = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        self.run("kubectl", &args, objects).await
    }

    /// Runs `kubectl` in this namespace as the administrator.
    ///
    /// # Errors
    /// It cannot be run. What it says is in the output.
    pub async fn kubectl<S: AsRef<OsStr>>(&self, args: &[S]) -> anyhow::Result<Output> {
        self.run("kubectl", args, "").await
    }

    /// Runs `kubectl` or `helm` in this namespace as the administrator, with this input.
    ///
    /// # Errors
    /// It cannot be run. What it says is in the output.
    pub async fn run<S: AsRef<OsStr>>(
        &self,
        program: &str,
        args: &[S],
        input: &str,
    ) -> anyhow::Result<Output> {
        let mut all: Vec<OsString> = vec!["--namespace".into(), self.name.clone().into()];
        all.extend(args.iter().map(|arg| arg.as_ref().to_owned()));
        self.cluster.run(program, &all, input).await
    }

    /// Waits for what `kubectl wait --for` knows, such as `condition=Ready`, `delete` or
    /// `jsonpath={.status.x}=y`, of an object such as `deployment/a`, which need not be there yet.
    ///
    /// # Errors
    /// Not within `deadline`.
    pub async fn await_condition(
        &self,
        object: &str,
        condition: &str,
        deadline: Duration,
    ) -> anyhow::Result<()> {
        let end = Instant::now() + deadline;
        let condition = format!("--for={condition}");
        loop {
            let left = end.saturating_duration_since(Instant::now()).as_millis().max(1);
            let timeout = format!("--timeout={left}ms");
            let output = self.kubectl(&["wait", object, &condition, &timeout]).await?;
            if output.success {
                return Ok(());
            }
            // kubectl ends at once where the object is not there yet.
            if Instant::now() > end {
                bail!("not within {deadline:?}: {object} {condition}: {}", output.stderr.trim());
            }
        }
    }

    /// A service account's way to the API server, with exactly its rights.
    ///
    /// # Errors
    /// It is not there.
    pub async fn service_account(&self, name: &str) -> anyhow::Result<Access> {
        Access::new(&self.cluster, &self.name, name).await
    }

    /// Plays the kubelet for the pods of this namespace, where no nodes run them.
    ///
    /// # Errors
    /// The cluster has nodes: they know better.
    pub async fn play_kubelet(&self) -> anyhow::Result<Kubelet> {
        if self.cluster.runs_pods() {
            bail!("nodes run the pods of this cluster");
        }
        Kubelet::start(self.api())
    }

    /// What is here, in words, for somebody who must find out why a test failed.
    pub async fn report(&self) -> String {
        let mut text = format!("--- namespace {}\n", self.name);
        let kinds = "deployments,replicasets,pods,services,hpa,pdb";
        let looks: [&[&str]; 4] = [
            &["get", "messagingclusters.wardlink.dev", "--output=yaml"],
            &["get", kinds, "--output=wide"],
            &["describe", "pods"],
            &["get", "events", "--sort-by=.metadata.creationTimestamp"],
        ];
        for args in looks {
            let Ok(output) = self.kubectl(args).await else { continue };
            let _ =
                write!(text, "--- kubectl {}\n{}{}", args.join(" "), output.stdout, output.stderr);
        }
        let pods: Api<Pod> = self.api();
        let pods = pods.list(&ListParams::default()).await.context("listing pods");
        for pod in pods.into_iter().flatten().take(LOG_PODS) {
            let name = pod.metadata.name.unwrap_or_default();
            for previous in ["--previous=false", "--previous=true"] {
                let args = ["logs", &name, "--all-containers", "--prefix", LOG_LINES, previous];
                let Ok(output) = self.kubectl(&args).await else { continue };
                if !output.stdout.is_empty() {
                    let _ = write!(text, "--- logs of {name} ({previous})\n{}", output.stdout);
                }
            }
        }
        text
    }
}

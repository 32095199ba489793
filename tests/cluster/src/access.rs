//! A service account's way to the API server.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::Kubeconfig;
use kube::{Api, Client};
use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempPath};

use crate::cluster::{Cluster, client_of};
use crate::proxy::Proxy;

/// How long a token is good: longer than any test.
const TOKEN_SECONDS: i64 = 3_600;

/// A bound token of a service account, and what a program needs to use it. The kubeconfig file
/// goes when this is dropped.
pub struct Access {
    user: String,
    token: String,
    client: Client,
    kubeconfig: TempPath,
}

impl Access {
    pub(crate) async fn new(
        cluster: &Cluster,
        namespace: &str,
        name: &str,
    ) -> anyhow::Result<Self> {
        let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client(), namespace);
        let request = token_request(&[], TOKEN_SECONDS);
        let params = PostParams::default();
        let made = accounts.create_token_request(name, &params, &request).await;
        let made = made.with_context(|| format!("a token of service account {name}"))?;
        let token = made.status.context("a token request without an answer")?.token;
        let server = server_of(cluster.kubeconfig())?;
        let user = format!("system:serviceaccount:{namespace}:{name}");
        Self::with(user, token, server).await
    }

    async fn with(user: String, token: String, server: Value) -> anyhow::Result<Self> {
        let mut file = NamedTempFile::with_prefix("wardlink-kubeconfig-")?;
        file.write_all(kubeconfig(server, &token).to_string().as_bytes())?;
        let kubeconfig = file.into_temp_path();
        let client = client_of(&kubeconfig).await?;
        Ok(Self { user, token, client, kubeconfig })
    }

    /// The same service account through a proxy.
    ///
    /// # Errors
    /// The kubeconfig cannot be written.
    pub async fn through(&self, proxy: &Proxy) -> anyhow::Result<Self> {
        let server = json!({"server": proxy.url()});
        Self::with(self.user.clone(), self.token.clone(), server).await
    }

    /// Its name as the audit log and RBAC write it.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// A client with its rights.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A kubeconfig for a program with its rights.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }
}

/// A request for a token; without audiences it is for the API server.
pub(crate) fn token_request(audiences: &[&str], seconds: i64) -> TokenRequest {
    let audiences = audiences.iter().map(|audience| (*audience).to_owned()).collect();
    let spec = TokenRequestSpec {
        audiences,
        expiration_seconds: Some(seconds),
        ..TokenRequestSpec::default()
    };
    TokenRequest { spec, ..TokenRequest::default() }
}

/// The API server of a kubeconfig: its address and authority, without the user.
fn server_of(path: &Path) -> anyhow::Result<Value> {
    let file = Kubeconfig::read_from(path)?;
    let current = file.current_context.as_deref().context("no current context")?;
    let context = file.contexts.iter().find(|context| context.name == current);
    let context = context.and_then(|context| context.context.as_ref());
    let name = &context.context("no such context")?.cluster;
    let cluster = file.clusters.iter().find(|cluster| cluster.name == *name);
    let cluster = cluster.and_then(|cluster| cluster.cluster.as_ref());
    Ok(serde_json::to_value(cluster.context("no such cluster")?)?)
}

/// JSON is YAML.
fn kubeconfig(server: Value, token: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": server}],
        "users": [{"name": "account", "user": {"token": token}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "account"}}],
        "current-context": "lab",
    })
}

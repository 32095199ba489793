//! Service accounts, pods and their tokens, and servers that live by them.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wardlink_cluster_tests::{Access, Namespace};
use wardlink_tests::cluster::{Cluster, Links, Plan, Process, Store};

/// How long an answer to a handshake may take.
const ANSWER: Duration = Duration::from_secs(10);
/// What the API server issues at least, in seconds.
const LIVES: i64 = 600;

/// By how much an API server's clock may differ from that of who made a token, in seconds: for so
/// long it accepts an expired one.
const LEEWAY: i64 = 60;

/// Who may review tokens: the role is one of every API server's own.
const ACCOUNTS: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: ms}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: bs}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: other}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: NAMESPACE-reviews}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:auth-delegator"}
subjects: [{kind: ServiceAccount, name: ms, namespace: NAMESPACE}]
"#;

/// Unix seconds.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64)
}

/// A namespace with the service accounts of a cluster.
pub(crate) struct Ward<'a> {
    ns: &'a Namespace,
    access: Access,
    audience: String,
    /// What the API server signs tokens with.
    key: Vec<u8>,
    public: Vec<u8>,
}

/// A pod that exists and does not run.
pub(crate) struct Being {
    name: String,
    pub(crate) uid: String,
}

impl<'a> Ward<'a> {
    pub(crate) async fn open(ns: &'a Namespace) -> anyhow::Result<Self> {
        ns.apply(&ACCOUNTS.replace("NAMESPACE", ns.name())).await?;
        let access = ns.service_account("ms").await?;
        let run = std::env::var("WARDLINK_LAB_RUN").context("this is no lab")?;
        let read =
            |name| std::fs::read(Path::new(&run).join("pki").join(name)).context("lab's keys");
        let (key, public) = (read("sa.key")?, read("sa.pub")?);
        let audience = format!("wardlink.dev/links/{}", ns.name());
        Ok(Self { ns, access, audience, key, public })
    }

    /// What is in no namespace goes.
    pub(crate) async fn close(&self) -> anyhow::Result<()> {
        let name = format!("{}-reviews", self.ns.name());
        self.ns.kubectl(&["delete", "clusterrolebinding", &name]).await?.ok().map(drop)
    }

    pub(crate) fn audience(&self) -> &str {
        &self.audience
    }

    /// The MS's way to the API server.
    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        self.access.kubeconfig()
    }

    pub(crate) async fn pod(&self, name: &str, account: &str) -> anyhow::Result<Being> {
        let pods: Api<Pod> = self.ns.api();
        let pod = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {
                "serviceAccountName": account,
                "containers": [{"name": "a", "image": "lab.local/none:1"}],
            },
        }))?;
        let made = pods.create(&PostParams::default(), &pod).await?;
        let uid = made.metadata.uid.context("a pod without a UID")?;
        Ok(Being { name: name.to_owned(), uid })
    }

    pub(crate) async fn delete(&self, pod: &Being) -> anyhow::Result<()> {
        let pods: Api<Pod> = self.ns.api();
        pods.delete(&pod.name, &DeleteParams::default().grace_period(0)).await?;
        Ok(())
    }

    /// A token of the API server's own making; without audiences it is for the API server.
    pub(crate) async fn token(
        &self,
        account: &str,
        audiences: &[&str],
        pod: Option<&Being>,
    ) -> anyhow::Result<String> {
        let accounts: Api<ServiceAccount> = self.ns.api();
        let bound = pod.map(|pod| BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(pod.name.clone()),
            uid: Some(pod.uid.clone()),
        });
        let spec = TokenRequestSpec {
            audiences: audiences.iter().map(|audience| (*audience).to_owned()).collect(),
            bound_object_ref: bound,
            expiration_seconds: Some(LIVES),
        };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let params = PostParams::default();
        let made = accounts.create_token_request(account, &params, &request).await?;
        Ok(made.status.context("a token request without an answer")?.token)
    }

    /// A token with other claims, signed by the API server's key: what it would make itself.
    pub(crate) fn signed(
        &self,
        token: &str,
        change: impl FnOnce(&mut Value),
    ) -> anyhow::Result<String> {
        let mut claims = claims(token)?;
        change(&mut claims);
        let key = EncodingKey::from_rsa_pem(&self.key)?;
        Ok(encode(&Header::new(Algorithm::RS256), &claims, &key)?)
    }

    /// The same with a life that the API server does not give: from then on it refuses it, after
    /// the ten seconds for which it remembers what it has accepted.
    pub(crate) fn shortened(&self, token: &str, lives: Duration) -> anyhow::Result<String> {
        let exp = now() + lives.as_secs() as i64 - LEEWAY;
        self.signed(token, |claims| claims["exp"] = json!(exp))
    }

    /// The public key taken for a secret.
    pub(crate) fn confused(&self, token: &str) -> anyhow::Result<String> {
        let key = EncodingKey::from_secret(&self.public);
        Ok(encode(&Header::new(Algorithm::HS256), &claims(token)?, &key)?)
    }

    /// An MS that asks with the rights of this kubeconfig, and a BS that shows this token.
    pub(crate) async fn servers(
        &self,
        token: &str,
        kubeconfig: &Path,
        further: &[&str],
    ) -> anyhow::Result<Servers> {
        let dir = TempDir::with_prefix("wardlink-tokens-")?;
        let file = dir.path().join("token");
        std::fs::write(&file, token)?;
        let account = format!("{}/bs", self.ns.name());
        let flags = ["--link-auth", "kubernetes", "--link-audience", &self.audience];
        let flags = [&flags[..], &["--link-account", &account], further].concat();
        let plan = Plan {
            links: Links::Flags,
            ms_flags: flags.iter().map(ToString::to_string).collect(),
            bs_flags: vec!["--link-token-file".to_owned(), file.display().to_string()],
            ms_environment: vec![("KUBECONFIG".to_owned(), kubeconfig.display().to_string())],
            // No level may show a token.
            log_filter: "info,wardlink_ms=trace,wardlink_bs=trace,kube=trace,hyper=debug"
                .to_owned(),
            ..Plan::default()
        };
        let cluster = Cluster::build(Store::Embedded, plan.clone()).await?;
        Ok(Servers { cluster, plan, dir, files: 0 })
    }
}

/// Running servers, and the tokens of the BSs.
pub(crate) struct Servers {
    pub(crate) cluster: Cluster,
    plan: Plan,
    dir: TempDir,
    files: usize,
}

impl Servers {
    /// Exchanges the first BS's token, as the kubelet does.
    pub(crate) fn show(&self, token: &str) -> anyhow::Result<()> {
        let fresh = self.dir.path().join("token.tmp");
        std::fs::write(&fresh, token)?;
        Ok(std::fs::rename(&fresh, self.dir.path().join("token"))?)
    }

    /// One more BS, with a token of its own.
    pub(crate) async fn add_bs(&mut self, token: &str) -> anyhow::Result<usize> {
        let bs = self.add_stopped_bs(token).await?;
        self.cluster.bs_mut(bs).start().await?;
        Ok(bs)
    }

    pub(crate) async fn add_stopped_bs(&mut self, token: &str) -> anyhow::Result<usize> {
        self.files += 1;
        let file = self.dir.path().join(format!("token-{}", self.files));
        std::fs::write(&file, token)?;
        let flags = ["--link-token-file".to_owned(), file.display().to_string()];
        self.cluster.add_bs(&self.plan, &flags).await
    }

    /// Another process with the first BS's token, not started: its container, started anew.
    pub(crate) async fn again(&mut self, token: &str) -> anyhow::Result<usize> {
        self.add_stopped_bs(token).await
    }

    /// Ends all. No log has a token in it.
    pub(crate) async fn end(self, tokens: &[&str]) -> anyhow::Result<()> {
        for (i, process) in self.cluster.mss().iter().chain([self.cluster.bs(0)]).enumerate() {
            let log = process.log_text();
            for token in tokens {
                let signature = token.rsplit('.').next().unwrap_or(token);
                ensure!(!log.contains(signature), "process {i} logs a token");
            }
        }
        self.cluster.end().await
    }
}

fn claims(token: &str) -> anyhow::Result<Value> {
    let payload = token.split('.').nth(1).context("a token without claims")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload)?)?)
}

/// The claims with the signature of another token.
pub(crate) fn forged(token: &str) -> anyhow::Result<String> {
    let (signed, signature) = token.rsplit_once('.').context("a token without a signature")?;
    let mut bytes = URL_SAFE_NO_PAD.decode(signature)?;
    bytes.reverse();
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// The claims, and an algorithm that is none.
pub(crate) fn unsigned(token: &str) -> anyhow::Result<String> {
    let payload = token.split('.').nth(1).context("a token without claims")?;
    Ok(format!("{}.{payload}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#)))
}

/// What an MS answers to a request for a link with this token: the status, and the text of a
/// refusal.
pub(crate) async fn knock(ms: &Process, token: Option<&str>) -> anyhow::Result<(u16, String)> {
    let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!(
        "GET /link HTTP/1.1\r\nHost: ms\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: wardlink.link.v1\r\n{}\r\n",
        bearer.unwrap_or_default()
    );
    let answer = async {
        let mut stream = TcpStream::connect(("127.0.0.1", ms.port())).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        let mut part = [0; 1_024];
        loop {
            let n = stream.read(&mut part).await?;
            answer.extend_from_slice(&part[..n]);
            // A link stays open after its answer.
            let switched = answer.starts_with(b"HTTP/1.1 101") && answer.ends_with(b"\r\n\r\n");
            if n == 0 || switched {
                return anyhow::Ok(String::from_utf8_lossy(&answer).into_owned());
            }
        }
    };
    let answer = timeout(ANSWER, answer).await.context("no answer to a handshake")??;
    let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}

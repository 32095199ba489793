//! Who may open a link, where an MS has tokens of pods reviewed by a real API server.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::TryStreamExt;
use http_body_util::Empty;
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client as Http;
use hyper_util::rt::TokioExecutor;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, PostParams};
use mongodb::bson::{Document, doc};
use wardlink_cluster_tests::{Cluster, Namespace, PATIENCE, Security, eventually, image};

use crate::database::Mongo;
use crate::pods;

const AUDIENCE: &str = "wardlink-identity-test";
/// The least that an API server grants.
const SECONDS: i64 = 600;

/// An MS that asks for TokenReviews, a BS that shows the token of its pod, and accounts that are
/// nobody's.
fn servers(ns: &Namespace, store: &str) -> String {
    let (name, ms, bs) = (ns.name(), image("ms"), image("bs"));
    let pod = "runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}";
    let container = "allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}";
    let probe = "{httpGet: {path: /readyz, port: 9090}, periodSeconds: 1}";
    format!(
        r#"
{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: ms}}}}
---
{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: bs}}}}
---
{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: other}}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: "{name}"}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:auth-delegator"}}
subjects: [{{kind: ServiceAccount, name: ms, namespace: "{name}"}}]
---
apiVersion: v1
kind: Service
metadata: {{name: ms}}
spec: {{selector: {{app: ms}}, publishNotReadyAddresses: true, ports: [{{port: 7070}}]}}
---
{{apiVersion: v1, kind: Secret, metadata: {{name: jwt}}, stringData: {{key: 0123456789abcdef0123456789abcdef}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: ms}}
spec:
  selector: {{matchLabels: {{app: ms}}}}
  template:
    metadata: {{labels: {{app: ms}}}}
    spec:
      serviceAccountName: ms
      enableServiceLinks: false
      securityContext: {{{pod}}}
      containers:
      - name: ms
        image: "{ms}"
        args: [--store, "{store}", --link-auth, kubernetes, --link-audience, {AUDIENCE}, --link-account, "{name}/bs"]
        readinessProbe: {probe}
        securityContext: {{{container}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: bs}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: bs}}}}
  template:
    metadata: {{labels: {{app: bs}}}}
    spec:
      serviceAccountName: bs
      automountServiceAccountToken: false
      enableServiceLinks: false
      securityContext: {{{pod}}}
      containers:
      - name: bs
        image: "{bs}"
        args: [--ms, "ws://ms:7070/link", --link-token-file, /link/token, --jwt-keys, /jwt/key]
        readinessProbe: {probe}
        securityContext: {{{container}}}
        volumeMounts: [{{name: link, mountPath: /link}}, {{name: jwt, mountPath: /jwt}}]
      volumes:
      - {{name: jwt, secret: {{secretName: jwt}}}}
      - name: link
        projected: {{sources: [{{serviceAccountToken: {{path: token, audience: {AUDIENCE}, expirationSeconds: {SECONDS}}}}}]}}
"#
    )
}

/// A token of a service account, bound to a pod where one is named.
async fn token(
    ns: &Namespace,
    account: &str,
    audience: &str,
    pod: Option<&Pod>,
) -> anyhow::Result<String> {
    let bound = pod.map(|pod| BoundObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: Some(pod.name_any()),
        uid: pod.uid(),
    });
    let spec = TokenRequestSpec {
        audiences: vec![audience.to_owned()],
        bound_object_ref: bound,
        expiration_seconds: Some(SECONDS),
    };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let accounts = ns.api::<ServiceAccount>();
    let made = accounts.create_token_request(account, &PostParams::default(), &request).await?;
    Ok(made.status.context("a token request without an answer")?.token)
}

/// A pod of this account that need not run: a token can be bound to it all the same.
async fn pod_of(ns: &Namespace, account: &str, name: &str) -> anyhow::Result<Pod> {
    let image = image("bs");
    ns.apply(&format!(
        r#"
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  serviceAccountName: {account}
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
  - name: bs
    image: "{image}"
    args: [--help]
    securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
"#
    ))
    .await?;
    Ok(ns.api::<Pod>().get(name).await?)
}

/// What an MS answers to who comes with this token: 101 opens the link.
async fn knock(address: &str, token: Option<&str>) -> anyhow::Result<StatusCode> {
    let http = Http::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let mut request = Request::get(format!("http://{address}/link"))
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "MDEyMzQ1Njc4OWFiY2RlZg==")
        .header("Sec-WebSocket-Protocol", "wardlink.link.v1");
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    Ok(http.request(request.body(Empty::new())?).await?.status())
}

/// The same token with an end in the past, signed with the lab's own key. An API server lets pass
/// what has ended within the last minute, because clocks differ.
fn expired(token: &str) -> anyhow::Result<Option<String>> {
    let Some(run) = std::env::var_os("WARDLINK_LAB_RUN") else { return Ok(None) };
    let (signed, _) = token.rsplit_once('.').context("no signature")?;
    let (head, claims) = signed.split_once('.').context("no claims")?;
    let mut claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
    for (claim, before) in [("exp", 120), ("nbf", 3_600), ("iat", 3_600)] {
        let now = claims["iat"].as_i64().context("no time")?;
        claims[claim] = (now - before).into();
    }
    let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-sign"])
        .arg(std::path::Path::new(&run).join("pki/sa.key"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    openssl.stdin.take().context("no standard input")?.write_all(signed.as_bytes())?;
    let signature = openssl.wait_with_output()?.stdout;
    Ok(Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
}

/// Server ids that MSs have seen, as the database has them.
async fn servers_seen(database: &Mongo) -> anyhow::Result<Vec<String>> {
    let client = mongodb::Client::with_uri_str(database.uri("identity")).await?;
    let servers = client.database("identity").collection::<Document>("wsservers");
    let found: Vec<Document> = servers.find(doc! {}).await?.try_collect().await?;
    let mut ids = Vec::new();
    for document in found {
        ids.push(document.get_str("_id")?.to_owned());
    }
    ids.sort();
    Ok(ids)
}

#[tokio::test]
async fn only_pods_of_this_clusters_bs_open_a_link_and_they_are_known_by_their_uid()
-> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    let database = Mongo::start().await?;
    cluster
        .with_namespace(Security::Restricted, async |ns| {
            let result = identity(&ns, &database).await;
            let binding = ["delete", "clusterrolebinding", ns.name()];
            cluster.kubectl(&binding).await?;
            result
        })
        .await
}

async fn identity(ns: &Namespace, database: &Mongo) -> anyhow::Result<()> {
    ns.apply(&servers(ns, &database.uri("identity"))).await?;
    ns.await_condition("deployment/bs", "jsonpath={.status.readyReplicas}=2", PATIENCE).await?;
    let all = ns.api::<Pod>().list(&ListParams::default().labels("app=bs")).await?.items;
    let mut uids: Vec<String> = all.iter().filter_map(ResourceExt::uid).collect();
    uids.sort();
    eventually(PATIENCE, "the BSs are known by the UIDs of their pods", async || {
        Ok((servers_seen(database).await? == uids).then_some(()))
    })
    .await?;

    let address = pods::service(ns, "ms").await?;
    let ours = pod_of(ns, "bs", "ours").await?;
    let good = token(ns, "bs", AUDIENCE, Some(&ours)).await?;
    let answer = knock(&address, Some(&good)).await?;
    ensure!(answer == StatusCode::SWITCHING_PROTOCOLS, "a BS pod was answered {answer}");

    let mut strangers: Vec<(&str, Option<String>)> = vec![
        ("nobody", None),
        ("one who has made a token up", Some("a.b.c".to_owned())),
        ("the BSs' account without a pod", Some(token(ns, "bs", AUDIENCE, None).await?)),
        ("a token for another audience", Some(token(ns, "bs", "other", Some(&ours)).await?)),
    ];
    let theirs = pod_of(ns, "other", "theirs").await?;
    let foreign = token(ns, "other", AUDIENCE, Some(&theirs)).await?;
    strangers.push(("a pod of another account", Some(foreign)));
    if let Some(expired) = expired(&good)? {
        strangers.push(("an expired token", Some(expired)));
    }
    let doomed = pod_of(ns, "bs", "doomed").await?;
    let late = token(ns, "bs", AUDIENCE, Some(&doomed)).await?;
    let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    ns.api::<Pod>().delete("doomed", &now).await?;
    ns.await_condition("pod/doomed", "delete", PATIENCE).await?;
    strangers.push(("a pod that was deleted", Some(late)));

    for (who, token) in &strangers {
        let answer = knock(&address, token.as_deref()).await?;
        ensure!(answer == StatusCode::UNAUTHORIZED, "{who} was answered {answer}");
    }
    elsewhere(ns, &address).await?;
    // Nobody of those has disturbed the BSs.
    ensure!(servers_seen(database).await? == uids, "other servers were seen");
    Ok(())
}

/// A pod of an account of the same name in another namespace.
async fn elsewhere(ns: &Namespace, address: &str) -> anyhow::Result<()> {
    ns.cluster()
        .with_namespace(Security::Restricted, async |other| {
            other.apply("{apiVersion: v1, kind: ServiceAccount, metadata: {name: bs}}").await?;
            let pod = pod_of(&other, "bs", "namesake").await?;
            let token = token(&other, "bs", AUDIENCE, Some(&pod)).await?;
            let answer = knock(address, Some(&token)).await?;
            ensure!(answer == StatusCode::UNAUTHORIZED, "another namespace was answered {answer}");
            Ok(())
        })
        .await
}

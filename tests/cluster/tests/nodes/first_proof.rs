//! What everything here is for: one resource is applied, and terminals exchange messages through
//! what comes of it, whatever is killed.

use std::convert::Infallible;
use std::future::ready;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Secret;
use tokio::time::Instant;
use wardlink_client::{BearerToken, TokenSource};
use wardlink_cluster_tests::{Cluster, Namespace, PATIENCE, Security, eventually};
use wardlink_identity::{ClaimNames, Grant, Signer};
use wardlink_tests::load::{Load, LoadPlan, Tokens};
use wardlink_wire::EndId;

use crate::database::Mongo;
use crate::pods;

/// From the apply to condition Ready.
const READY: Duration = Duration::from_secs(60);
/// Pairs of terminals whose target stays, and those whose target goes and comes: 20 terminals.
const PAIRS: (usize, usize) = (7, 3);
/// How long messages flow before, between and after the kills.
const FLOW: Duration = Duration::from_secs(5);
/// A stream that stands still longer than this after a kill fails the test.
const STILL: Duration = Duration::from_secs(60);
/// How long a token of a terminal is good: longer than the test.
const TOKEN: Duration = Duration::from_secs(3_600);

/// What the release and the resource are named.
const RELEASE: &str = "wardlink";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_lines_become_a_system_that_keeps_its_promises_when_pods_are_killed()
-> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    let database = Mongo::start().await?;
    cluster
        .with_namespace(Security::Restricted, async |home| {
            install(&home).await?;
            let ran = cluster
                .with_namespace(Security::Restricted, async |ns| {
                    let began = apply(&ns, &database).await?;
                    ready_in_time(&ns, began).await?;
                    messages_flow(&ns).await?;
                    deleting_leaves_nothing(&ns).await
                })
                .await;
            if ran.is_err() {
                // The operator's log is part of the story.
                eprintln!("{}", home.report().await);
            }
            let removed = home.run("helm", &["uninstall", RELEASE, "--wait"], "").await?.ok();
            ran.and(removed.map(drop))
        })
        .await
}

fn in_checkout(path: &str) -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../").to_owned() + path
}

async fn install(home: &Namespace) -> anyhow::Result<()> {
    let chart = in_checkout("charts/wardlink");
    let mut args = vec!["install", RELEASE, &chart, "--wait", "--timeout=90s"];
    let images = ["image", "serverImages.messageServer", "serverImages.businessServer"];
    let prefix = std::env::var("WARDLINK_TEST_IMAGES").unwrap_or_default();
    let names = ["operator", "ms", "bs"];
    let values = images.iter().zip(names);
    let values: Vec<String> = values
        .map(|(key, name)| format!("--set={key}.repository={prefix}wardlink-{name}"))
        .collect();
    args.extend(values.iter().map(String::as_str));
    home.run("helm", &args, "").await?.ok().context("helm install").map(drop)
}

/// The Secret with the database's URI, and the example as it is published.
async fn apply(ns: &Namespace, database: &Mongo) -> anyhow::Result<Instant> {
    let uri = format!("--from-literal=uri={}", database.uri("wardlink"));
    ns.kubectl(&["create", "secret", "generic", "ward-mongodb", &uri]).await?.ok()?;
    let example = std::fs::read_to_string(Path::new(&in_checkout("examples/minimal.yaml")))?;
    let began = Instant::now();
    ns.apply(&example).await?;
    Ok(began)
}

async fn ready_in_time(ns: &Namespace, began: Instant) -> anyhow::Result<()> {
    ns.await_condition("messagingcluster/ward", "condition=Ready", READY).await?;
    println!("from the apply to Ready: {:.1} s", began.elapsed().as_secs_f64());
    println!("{}", ns.kubectl(&["get", "messagingclusters"]).await?.ok()?);
    Ok(())
}

/// Tokens made with the key that the operator made and named in status.
async fn tokens(ns: &Namespace) -> anyhow::Result<Tokens> {
    let field = |name: &str| format!("jsonpath={{.status.generatedSecrets.identity.{name}}}");
    let get = async |name: &str| {
        let args = ["get", "messagingcluster/ward", "--output", &field(name)];
        ns.kubectl(&args).await?.ok()
    };
    let (name, key) = (get("name").await?, get("key").await?);
    let secret = ns.api::<Secret>().get(&name).await.context("the Secret that status names")?;
    let key = secret.data.unwrap_or_default().remove(&key).context("its key")?;
    let signer = Arc::new(Signer::from_file(&key.0, None)?);
    Ok(Tokens::new(move |end: &EndId| {
        let (signer, end) = (signer.clone(), end.clone());
        TokenSource::asked(move || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let grant = Grant::new(end.clone(), TOKEN);
            let token = signer.sign(&grant, &ClaimNames::default(), now).expect("a signature");
            ready(Ok::<_, Infallible>(BearerToken::new(&token).expect("a token")))
        })
    }))
}

/// 20 terminals through the Service, while one BS pod and one MS pod are killed. The load judges:
/// nothing lost, nothing twice in a session, nothing out of order.
async fn messages_flow(ns: &Namespace) -> anyhow::Result<()> {
    let url = format!("ws://{}/ws", pods::service(ns, "ward-business-server").await?);
    let plan = LoadPlan {
        pairs: PAIRS.0,
        wandering: PAIRS.1,
        tokens: Some(tokens(ns).await?),
        ..LoadPlan::new(vec![url])
    };
    let load = Load::start(plan).await?;
    flow(&load).await?;
    for tier in ["business-server", "message-server"] {
        let killed = load.now();
        let pod = pods::kill_one(ns, &format!("app.kubernetes.io/component={tier}")).await?;
        load.until_flowing(load.now(), STILL).await?;
        println!("{pod} killed; pauses of the streams: {}", load.pauses(killed, load.now()));
        flow(&load).await?;
        ns.await_condition("messagingcluster/ward", "condition=Ready", READY).await?;
    }
    let report = load.finish().await?;
    println!("{report}");
    let results = report.results;
    ensure!(results.delivered > 0 && results.stored > 0, "not both ways were taken: {report}");
    Ok(())
}

/// Lets messages flow for a while.
async fn flow(load: &Load) -> anyhow::Result<()> {
    let until = load.now() + FLOW;
    load.until_flowing(until, FLOW + STILL).await
}

/// What a namespace has of itself.
const OWN: [&str; 3] =
    ["configmap/kube-root-ca.crt", "serviceaccount/default", "secret/ward-mongodb"];

async fn deleting_leaves_nothing(ns: &Namespace) -> anyhow::Result<()> {
    let began = Instant::now();
    let args = ["delete", "messagingcluster/ward", "--wait", "--timeout=60s"];
    ns.kubectl(&args).await?.ok()?;
    let kinds = "deployments,replicasets,pods,services,endpointslices,serviceaccounts,secrets,\
        configmaps,poddisruptionbudgets,networkpolicies,horizontalpodautoscalers,ingresses,leases";
    let left = async || {
        let text = ns.kubectl(&["get", kinds, "--output=name"]).await?.ok()?;
        let left: Vec<String> =
            text.lines().filter(|name| !OWN.contains(name)).map(str::to_owned).collect();
        let bindings = ["get", "clusterrolebindings", "--output=name"];
        let bindings = ns.kubectl(&bindings).await?.ok()?;
        let bindings = bindings.lines().filter(|name| name.contains(ns.name()));
        anyhow::Ok([left, bindings.map(str::to_owned).collect()].concat())
    };
    let gone = eventually(PATIENCE, "nothing of the cluster is left", async || {
        Ok(left().await?.is_empty().then_some(()))
    });
    if gone.await.is_err() {
        anyhow::bail!("left after the resource was deleted: {:?}", left().await?);
    }
    println!("from the delete to nothing left: {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

//! What the API server takes as a `MessagingCluster` and what it refuses, in which words: the
//! schema and the rules of the CRD, enforced by the real thing.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use wardlink_cluster_tests::{Cluster, Namespace, PATIENCE, Security, install_crd};

/// What becomes of an object.
enum Expect {
    Taken,
    /// Refused, and the text holds this.
    Refused(&'static str),
}
use Expect::{Refused, Taken};

/// The least that can be said: all else has a default.
fn minimal() -> Value {
    json!({"storage": {"mongodb": {"uriSecretRef": {"name": "ward-mongodb"}}}})
}

/// `change` laid over `base`, as a merge patch is: null takes away.
fn merged(base: &Value, change: &Value) -> Value {
    let (Value::Object(base), Value::Object(change)) = (base, change) else {
        return change.clone();
    };
    let mut all = base.clone();
    for (key, value) in change {
        match value {
            Value::Null => drop(all.remove(key)),
            _ => {
                let below = all.get(key).cloned().unwrap_or_else(|| json!({}));
                all.insert(key.clone(), merged(&below, value));
            }
        }
    }
    Value::Object(all)
}

fn object(name: &str, spec: &Value) -> String {
    let object = json!({
        "apiVersion": "wardlink.dev/v1alpha1", "kind": "MessagingCluster",
        "metadata": {"name": name}, "spec": spec,
    });
    object.to_string()
}

/// Both tiers have the same settings, so their rows are made for both.
fn tier_rows() -> Vec<(Value, Expect)> {
    let env = |name: &str| json!({"env": [{"name": name, "value": "x"}]});
    vec![
        (json!({"replicas": 0}), Taken),
        (json!({"replicas": 1000}), Taken),
        (json!({"replicas": -1}), Refused("greater than or equal to 0")),
        (json!({"replicas": 1001}), Refused("less than or equal to 1000")),
        (json!({"replicas": "2"}), Refused("expected numeric")),
        (json!({"image": ""}), Refused("image")),
        (json!({"image": "ward.example/wardlink:1@sha256:00"}), Taken),
        (json!({"imagePullPolicy": "Sometimes"}), Refused("supported values")),
        (json!({"imagePullPolicy": "Never"}), Taken),
        (json!({"resources": {"requests": {"cpu": 2, "memory": "1Gi"}}}), Taken),
        (json!({"resources": {"limits": {"memory": "lots"}}}), Refused("should match")),
        (json!({"drain": {"delaySeconds": 25}}), Taken),
        (
            json!({"drain": {"delaySeconds": 26}}),
            Refused(
                "terminationGracePeriodSeconds must be at least drain.delaySeconds + drain.seconds + 5",
            ),
        ),
        (
            json!({"terminationGracePeriodSeconds": 39}),
            Refused("terminationGracePeriodSeconds must be at least"),
        ),
        (json!({"terminationGracePeriodSeconds": 40}), Taken),
        (json!({"drain": {"seconds": -1}}), Refused("greater than or equal to 0")),
        (
            json!({"rollout": {"maxSurge": 0}}),
            Refused("maxSurge and maxUnavailable must not both be 0"),
        ),
        (
            json!({"rollout": {"maxSurge": "0%", "maxUnavailable": "0%"}}),
            Refused("maxSurge and maxUnavailable must not both be 0"),
        ),
        (json!({"rollout": {"maxSurge": 0, "maxUnavailable": "25%"}}), Taken),
        (json!({"rollout": {"maxSurge": "many"}}), Refused("should match")),
        (json!({"rollout": {"maxUnavailable": -1}}), Refused("greater than or equal to 0")),
        (
            json!({"autoscaling": {"minReplicas": 3, "maxReplicas": 2, "targetCpuUtilizationPercentage": 70}}),
            Refused("minReplicas must not be above maxReplicas"),
        ),
        (json!({"autoscaling": {"maxReplicas": 5}}), Refused("a target is needed")),
        (json!({"autoscaling": {"targetCpuUtilizationPercentage": 70}}), Refused("maxReplicas")),
        (json!({"autoscaling": {"maxReplicas": 5, "targetCpuUtilizationPercentage": 70}}), Taken),
        (
            json!({"resources": {"requests": {"memory": "1Gi"}},
                   "autoscaling": {"maxReplicas": 5, "targetCpuUtilizationPercentage": 70}}),
            Refused("autoscaling by CPU needs"),
        ),
        (
            json!({"disruptionBudget": {"minAvailable": 1, "maxUnavailable": 1}}),
            Refused("exactly one of minAvailable and maxUnavailable"),
        ),
        (json!({"disruptionBudget": {}}), Refused("exactly one of minAvailable")),
        (json!({"disruptionBudget": {"minAvailable": "50%"}}), Taken),
        (
            json!({"service": {"loadBalancerClass": "ward.example/lb"}}),
            Refused("loadBalancerClass needs type LoadBalancer"),
        ),
        (
            json!({"service": {"externalTrafficPolicy": "Local"}}),
            Refused("externalTrafficPolicy needs type NodePort or LoadBalancer"),
        ),
        (
            json!({"service": {"type": "LoadBalancer", "loadBalancerClass": "ward.example/lb",
                               "externalTrafficPolicy": "Local"}}),
            Taken,
        ),
        (json!({"service": {"type": "ExternalName"}}), Refused("supported values")),
        (
            json!({"podLabels": {"app.kubernetes.io/name": "other"}}),
            Refused("podLabels must not have keys of app.kubernetes.io/ or wardlink.dev/"),
        ),
        (json!({"podLabels": {"ward.example/team": "a"}}), Taken),
        (
            json!({"podAnnotations": {"wardlink.dev/mongodb": "x"}}),
            Refused("podAnnotations must not have keys of wardlink.dev/"),
        ),
        (json!({"podAnnotations": {"ward.example/note": "x"}}), Taken),
        (env("WARDLINK_LISTEN"), Refused("env must not have names that begin with WARDLINK_")),
        (env("TZ"), Taken),
        (json!({"logFilter": ""}), Refused("logFilter")),
        (json!({"tolerations": [{"key": "ward", "operator": "Exists"}]}), Taken),
        (json!({"topologySpreadConstraints": []}), Taken),
    ]
}

fn rows() -> Vec<(Value, Expect)> {
    let mut rows = vec![
        (json!({}), Taken),
        (json!({"storage": null}), Refused("spec.storage: Required value")),
        (
            json!({"storage": {"mongodb": {"uriSecretRef": null}}}),
            Refused("uriSecretRef: Required value"),
        ),
        (
            json!({"storage": {"mongodb": {"uriSecretRef": {"name": ""}}}}),
            Refused("at least 1 chars long"),
        ),
        (
            json!({"storage": {"mongodb": {"uriSecretRef": {"key": "a key"}}}}),
            Refused("should match"),
        ),
        (json!({"managementState": "Paused"}), Taken),
        (json!({"managementState": "Stopped"}), Taken),
        (json!({"managementState": "Unmanaged"}), Refused("supported values")),
        (json!({"storage": {"messageTtlSeconds": 0}}), Refused("greater than or equal to 1")),
        (json!({"storage": {"messageTtlSeconds": 2_592_001}}), Refused("less than or equal to")),
        (json!({"storage": {"messageTtlSeconds": 86_400}}), Taken),
        (
            json!({"storage": {"indexManagement": "Manual", "deletionPolicy": "DropIndex"}}),
            Refused("deletionPolicy DropIndex needs indexManagement Operator"),
        ),
        (json!({"storage": {"deletionPolicy": "DropIndex"}}), Taken),
        (
            json!({"storage": {"mongodb": {"database": "admin"}}}),
            Refused("admin, local and config belong to MongoDB"),
        ),
        (json!({"storage": {"mongodb": {"database": "a b"}}}), Refused("should match")),
        (
            json!({"storage": {"mongodb": {"collections": {"registry": "msglists"}}}}),
            Refused("the four collections must have different names"),
        ),
        (
            json!({"storage": {"mongodb": {"collections": {"views": "system.views"}}}}),
            Refused("collections whose names begin with system. belong to MongoDB"),
        ),
        (
            json!({"storage": {"mongodb": {"collections": {"mailbox": "$cmd"}}}}),
            Refused("should match"),
        ),
        (
            json!({"linkAuthentication": {"mode": "SharedSecret", "audience": "a"}}),
            Refused("audience needs mode PodIdentity"),
        ),
        (
            json!({"linkAuthentication": {"secretRef": {"name": "s"}}}),
            Refused("secretRef needs mode SharedSecret"),
        ),
        (
            json!({"linkAuthentication": {"mode": "SharedSecret", "secretRef": {"name": "s"}}}),
            Taken,
        ),
        (
            json!({"linkAuthentication": {"expirationSeconds": 599}}),
            Refused("greater than or equal to 600"),
        ),
        (
            json!({"linkAuthentication": {"audience": "ward.example", "expirationSeconds": 600}}),
            Taken,
        ),
        (json!({"linkAuthentication": {"mode": "None"}}), Refused("supported values")),
        (
            json!({"networkPolicy": {"mode": "Disabled", "terminalsFrom": [{"podSelector": {}}]}}),
            Refused("terminalsFrom and metricsFrom need mode Enabled"),
        ),
        (json!({"networkPolicy": {"terminalsFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}}), Taken),
        // To Kubernetes an empty list of peers is everybody; whoever writes one means nobody.
        (json!({"networkPolicy": {"terminalsFrom": []}}), Refused("should have at least 1 items")),
        (json!({"tls": {"terminals": {}}}), Refused("secretName: Required value")),
        (json!({"tls": {"terminals": {"secretName": "t"}, "links": {"secretName": "l"}}}), Taken),
        (
            json!({"messageServer": {"autoscaling": {"maxReplicas": 5, "targetSessionsPerPod": 9}}}),
            Refused("targetSessionsPerPod is for Business Servers"),
        ),
        (
            json!({"businessServer": {"autoscaling": {"maxReplicas": 5, "targetSessionsPerPod": 9}}}),
            Taken,
        ),
        (
            json!({"messageServer": {"limits": {"maxLinks": 0}}}),
            Refused("greater than or equal to 1"),
        ),
        (
            json!({"businessServer": {"limits": {"maxBodyBytes": 65_537}}}),
            Refused("less than or equal to 65536"),
        ),
        (
            json!({"businessServer": {"limits": {"sessionBytesRate": 1000}}}),
            Refused("greater than or equal to 67584"),
        ),
        (
            json!({"businessServer": {"identity": {"keysSecretRef": {"name": "k"}, "jwksUrl": "https://ward.example/k"}}}),
            Refused("keysSecretRef and jwksUrl must not both be set"),
        ),
        (
            json!({"businessServer": {"identity": {"jwksUrl": "http://ward.example/k"}}}),
            Refused("should match"),
        ),
        (
            json!({"businessServer": {"identity": {"jwksUrl": "https://ward.example/k", "issuer": "i", "audiences": ["a"]}}}),
            Taken,
        ),
        (json!({"businessServer": {"identity": {"audiences": ["a,b"]}}}), Refused("should match")),
        (
            json!({"businessServer": {"identity": {"claims": {"area": "uid"}}}}),
            Refused("the three claims must have different names"),
        ),
        (json!({"businessServer": {"ingress": {}}}), Refused("host: Required value")),
        (
            json!({"businessServer": {"ingress": {"host": "ward.example", "tlsSecretName": "t"}}}),
            Taken,
        ),
        (
            json!({"businessServer": {"httpRoute": {"parentRefs": []}}}),
            Refused("should have at least 1 items"),
        ),
        (json!({"businessServer": {"httpRoute": {"parentRefs": [{"name": "gate"}]}}}), Taken),
        (json!({"businessServer": {"sevice": {}}}), Refused("field not declared in schema")),
    ];
    for tier in ["messageServer", "businessServer"] {
        rows.extend(
            tier_rows().into_iter().map(|(change, expect)| (json!({tier: change}), expect)),
        );
    }
    rows
}

/// Applies and compares. `what` is shown where it is not as expected.
async fn check(ns: &Namespace, what: &str, object: &str, expect: &Expect) -> anyhow::Result<()> {
    let output = ns.try_apply(object).await?;
    let said = &output.stderr;
    match expect {
        Taken => ensure!(output.success, "{what} is refused: {said}"),
        Refused(text) => {
            ensure!(!output.success, "{what} is taken, but it should be refused: {text}");
            ensure!(said.contains(text), "{what} is refused, but not by {text:?}: {said}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_rule_of_the_resource_is_enforced_with_a_message_that_says_what_is_wrong()
-> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    install_crd(&cluster).await?;
    cluster
        .with_namespace(Security::Any, async |ns| {
            let rows = rows();
            let mut wrong = Vec::new();
            for (number, (change, expect)) in rows.iter().enumerate() {
                let spec = merged(&minimal(), change);
                let name = format!("row-{number}");
                let checked = check(&ns, &change.to_string(), &object(&name, &spec), expect).await;
                wrong.extend(checked.err().map(|error| error.to_string()));
            }
            ensure!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
            println!("{} objects", rows.len());
            Ok(())
        })
        .await
}

#[tokio::test]
async fn names_that_no_child_could_have_are_refused() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    install_crd(&cluster).await?;
    cluster
        .with_namespace(Security::Any, async |ns| {
            let (longest, longer) = ("a".repeat(40), "a".repeat(41));
            for (name, expect) in [
                (longest.as_str(), Taken),
                ("ward-7", Taken),
                (&longer, Refused("metadata.name must have at most 40 characters")),
                ("7-ward", Refused("metadata.name must begin with a letter")),
                ("ward.7", Refused("metadata.name must begin with a letter")),
            ] {
                check(&ns, name, &object(name, &minimal()), &expect).await?;
            }
            Ok(())
        })
        .await
}

#[tokio::test]
async fn what_messages_are_kept_by_can_not_be_changed_and_all_else_can() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    install_crd(&cluster).await?;
    cluster
        .with_namespace(Security::Any, async |ns| {
            ns.apply(&object("ward", &minimal())).await?;
            for (change, expect) in [
                (
                    json!({"storage": {"mongodb": {"database": "other"}}}),
                    Refused("database is immutable"),
                ),
                (
                    json!({"storage": {"mongodb": {"collections": {"mailbox": "other"}}}}),
                    Refused("collections are immutable"),
                ),
                (json!({"storage": {"mongodb": {"uriSecretRef": {"name": "moved"}}}}), Taken),
                (json!({"storage": {"messageTtlSeconds": 60}}), Taken),
                (json!({"linkAuthentication": {"mode": "SharedSecret"}}), Taken),
                (json!({"businessServer": {"replicas": 7}}), Taken),
                (json!({}), Taken),
            ] {
                let spec = merged(&minimal(), &change);
                check(&ns, &change.to_string(), &object("ward", &spec), &expect).await?;
            }
            Ok(())
        })
        .await
}

#[tokio::test]
async fn kubectl_shows_scales_explains_and_tries_out_a_cluster() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    install_crd(&cluster).await?;
    cluster
        .with_namespace(Security::Any, async |ns| {
            let object = object("ward", &minimal());
            let dry = ["apply", "--server-side", "--dry-run=server", "-f", "-"];
            ns.run("kubectl", &dry, &object).await?.ok()?;
            let none = ns.kubectl(&["get", "messaging", "-o", "name"]).await?.ok()?;
            ensure!(none.is_empty(), "a dry run made {none}");

            ns.apply(&object).await?;
            let table = ns.kubectl(&["get", "msgc"]).await?.ok()?;
            let head: Vec<_> = table.lines().next().context("a head")?.split_whitespace().collect();
            ensure!(head == ["NAME", "READY", "MS", "BS", "REASON", "AGE"], "{table}");

            ns.kubectl(&["scale", "msgc/ward", "--replicas=5"]).await?.ok()?;
            let path = "jsonpath={.spec.businessServer.replicas}=5";
            ns.await_condition("msgc/ward", path, PATIENCE).await?;

            let text =
                ns.kubectl(&["explain", "msgc.spec.storage.messageTtlSeconds"]).await?.ok()?;
            ensure!(text.contains("Life of a stored message in seconds"), "{text}");
            Ok(())
        })
        .await
}

//! The chart gives the operator exactly the rights that it uses. Run after the tests of target
//! `operator`, on the same control plane: what they made it do stands in the audit log.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use serde_json::Value;
use wardlink_cluster_tests::{Cluster, Entry, OPERATOR_ACCOUNT, Security, rights};

/// Rights that the API server asks for without a request of that name, so that no line of the log
/// shows them.
const IMPLIED: [(&str, &str); 2] = [
    // Who sets an owner reference that blocks deletion must be able to change the owner's
    // finalizers, where OwnerReferencesPermissionEnforcement is on (it is in OpenShift).
    ("update", "messagingclusters.wardlink.dev/finalizers"),
    // Who binds a role must have all that it grants, or this.
    ("bind", "clusterroles.rbac.authorization.k8s.io"),
];

/// Rights that a test takes away, to see what the operator does without.
const TAKEN_AWAY: [(&str, &str); 1] = [("create", "clusterrolebindings.rbac.authorization.k8s.io")];

type Right = (String, String);

/// Verb and resource of every rule.
fn granted(text: &str) -> anyhow::Result<BTreeSet<Right>> {
    let mut all = BTreeSet::new();
    for document in text.split("\n---\n") {
        let document: Value = serde_json::from_str(document)?;
        // The role of Message Servers is bound to them, not to the operator.
        let name = document["metadata"]["name"].as_str().unwrap_or_default();
        if name.ends_with("-token-review") {
            continue;
        }
        for rule in document["rules"].as_array().into_iter().flatten() {
            let texts = |key: &str| -> Vec<String> {
                let list = rule[key].as_array().into_iter().flatten();
                list.filter_map(Value::as_str).map(str::to_owned).collect()
            };
            for group in texts("apiGroups") {
                for resource in texts("resources") {
                    let (resource, sub) = match resource.split_once('/') {
                        Some((resource, sub)) => (resource, format!("/{sub}")),
                        None => (resource.as_str(), String::new()),
                    };
                    let dot = if group.is_empty() { "" } else { "." };
                    let what = format!("{resource}{dot}{group}{sub}");
                    all.extend(texts("verbs").into_iter().map(|verb| (verb, what.clone())));
                }
            }
        }
    }
    Ok(all)
}

/// Rights that this request needed. An apply that made its object needed the one to create, too.
fn needed(entry: &Entry) -> impl Iterator<Item = Right> {
    let made = (entry.verb == "patch" && entry.code == 201).then_some("create");
    let verbs = [Some(entry.verb.as_str()), made].into_iter().flatten();
    verbs.map(|verb| (verb.to_owned(), entry.what())).collect::<Vec<_>>().into_iter()
}

#[tokio::test]
async fn the_operator_has_exactly_the_rights_that_it_uses() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    let account = format!(":{OPERATOR_ACCOUNT}");
    let entries = cluster.audit()?.all()?;
    let entries = entries.iter().filter(|entry| entry.user.ends_with(&account));
    let (mut used, mut missing) = (BTreeSet::new(), BTreeSet::new());
    for entry in entries.filter(|entry| !entry.resource.is_empty()) {
        match entry.code {
            403 => missing.insert((entry.verb.clone(), entry.what(), entry.uri.clone())),
            _ => {
                used.extend(needed(entry));
                true
            }
        };
    }
    ensure!(!used.is_empty(), "no operator has run on this control plane");

    cluster
        .with_namespace(Security::Any, async |ns| {
            let mut granted = granted(&rights(&ns).await?).context("rights of the chart")?;
            let lacked = |(verb, what, _): &&(String, String, String)| {
                !TAKEN_AWAY.contains(&(verb.as_str(), what.as_str()))
            };
            let missing: Vec<_> = missing.iter().filter(lacked).collect();
            ensure!(missing.is_empty(), "rights that the operator lacked: {missing:#?}");
            for (verb, what) in IMPLIED {
                let right = (verb.to_owned(), what.to_owned());
                ensure!(granted.remove(&right), "the chart does not give {right:?}");
            }
            let unused: Vec<_> = granted.difference(&used).collect();
            ensure!(unused.is_empty(), "rights that no test made the operator use: {unused:#?}");
            // What the API server gives to everybody is not in the chart.
            let over: Vec<_> = used.difference(&granted).collect();
            println!("{} rights used; given by others: {over:?}", used.len());
            Ok(())
        })
        .await
}

//! What the operator makes of a cluster, as its golden files hold it, taken by a real API server;
//! and the examples.

use anyhow::{Context, ensure};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, TypeMeta};
use serde_json::{Value, json};
use wardlink_cluster_tests::{Cluster, Namespace, Security, install_crd};
use wardlink_operator_api::MessagingCluster;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../operator/tests/golden");
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");

/// Every YAML file of a folder: its name, and the objects in it.
fn files(folder: &'static str) -> anyhow::Result<Vec<(String, Vec<Value>)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).context(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path)?;
            let objects = serde_saphyr::from_multiple(&text)?;
            files.push((path.display().to_string(), objects));
        }
    }
    ensure!(!files.is_empty(), "nothing in {folder}");
    files.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(files)
}

/// Applies `object` as the operator does, and returns what came of it.
async fn apply(ns: &Namespace, object: &Value, dry_run: bool) -> anyhow::Result<Value> {
    let types: TypeMeta = serde_json::from_value(object.clone())?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
    let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(ns.client(), namespace, &resource),
        None => Api::all_with(ns.client(), &resource),
    };
    let params = PatchParams { dry_run, ..PatchParams::apply("wardlink-operator") };
    let name = object["metadata"]["name"].as_str().context("no name")?;
    let applied = api.patch(name, &params, &Patch::Apply(object)).await;
    let applied = applied.with_context(|| format!("{} {name}", resource.kind))?;
    Ok(serde_json::to_value(applied)?)
}

/// What the operator, and nobody else, decides of an object.
fn decided(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let entries = metadata["managedFields"].as_array().into_iter().flatten();
    let ours: Vec<&Value> = entries.filter(|entry| entry["operation"] == "Apply").collect();
    json!({
        "spec": object["spec"], "generation": metadata["generation"], "managed": ours,
        "labels": metadata["labels"], "uid": metadata["uid"],
    })
}

#[tokio::test]
async fn every_child_is_taken_as_it_is_and_applied_again_changes_nothing() -> anyhow::Result<()> {
    for (file, objects) in files(GOLDEN)? {
        let take = async |ns: Namespace| {
            for mut object in objects {
                // A kind that Kubernetes itself does not have.
                if object["kind"] == "HTTPRoute" {
                    continue;
                }
                let clustered = object["metadata"].get("namespace").is_none();
                if !clustered {
                    object["metadata"]["namespace"] = ns.name().into();
                }
                apply(&ns, &object, true).await?;
                if clustered {
                    continue;
                }
                // Nobody is there to own it, and what has lost its owner is taken away.
                object["metadata"].as_object_mut().context("metadata")?.remove("ownerReferences");
                let first = decided(&apply(&ns, &object, false).await?);
                let second = decided(&apply(&ns, &object, false).await?);
                ensure!(first == second, "{first}\nbecame\n{second}");
                if object["kind"] == "Deployment" {
                    apply(&ns, &pod(&object), true).await?;
                }
            }
            Ok(())
        };
        let cluster = Cluster::from_environment().await?;
        cluster.with_namespace(Security::Restricted, take).await.context(file)?;
    }
    Ok(())
}

/// A pod of this Deployment: the API server enforces Pod Security on pods alone.
fn pod(deployment: &Value) -> Value {
    let template = &deployment["spec"]["template"];
    let mut spec = template["spec"].clone();
    if let Some(spec) = spec.as_object_mut() {
        // The class would have to be there.
        spec.remove("priorityClassName");
    }
    json!({
        "apiVersion": "v1", "kind": "Pod", "spec": spec,
        "metadata": {
            "name": deployment["metadata"]["name"],
            "namespace": deployment["metadata"]["namespace"],
            "labels": template["metadata"]["labels"],
        },
    })
}

#[tokio::test]
async fn the_examples_are_taken_and_get_the_defaults_that_the_operator_knows() -> anyhow::Result<()>
{
    let cluster = Cluster::from_environment().await?;
    install_crd(&cluster).await?;
    let mut seen = 0;
    for (file, objects) in files(EXAMPLES)? {
        let clusters = objects.into_iter().filter(|object| object["kind"] == "MessagingCluster");
        for object in clusters {
            seen += 1;
            let take = async |ns: Namespace| {
                let mut here = object.clone();
                here["metadata"]["namespace"] = ns.name().into();
                let taken = apply(&ns, &here, false).await?;
                let known: MessagingCluster = serde_json::from_value(object)?;
                let known = serde_json::to_value(known)?;
                ensure!(taken["spec"] == known["spec"], "{}\n{}", taken["spec"], known["spec"]);
                Ok(())
            };
            cluster
                .with_namespace(Security::Restricted, take)
                .await
                .with_context(|| file.clone())?;
        }
    }
    ensure!(seen >= 5, "only {seen} examples");
    Ok(())
}

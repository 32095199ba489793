//! Each field of the resource has an effect on the children: nothing that can be written is
//! forgotten.

use serde_json::{Value, json};
use wardlink_operator_api::crd;

use crate::render::{defaults, render, resource};

/// Fields that are none of the children's.
const ELSEWHERE: [(&str, &str); 3] = [
    ("storage.messageTtlSeconds", "the caller decides when servers are told, an input of its own"),
    ("storage.indexManagement", "the operator's own work in the database"),
    ("storage.deletionPolicy", "what the operator does at the end"),
];

/// What must be otherwise in the cluster that has everything, for a field to have an effect.
fn precondition(path: &str) -> Value {
    match path {
        "businessServer.identity.jwksUrl" => json!({
            "businessServer": {"identity": {"keysSecretRef": null, "jwksUrl": "https://a.example"}},
        }),
        "linkAuthentication.secretRef.name" | "linkAuthentication.secretRef.key" => json!({
            "linkAuthentication": {
                "mode": "SharedSecret", "audience": null, "secretRef": {"name": "a", "key": "b"},
            },
        }),
        "messageServer.replicas" => json!({"messageServer": {"autoscaling": null}}),
        "businessServer.replicas" => json!({"businessServer": {"autoscaling": null}}),
        "messageServer.autoscaling.targetSessionsPerPod" => json!({
            "messageServer": {"autoscaling": {"targetSessionsPerPod": 1000}},
        }),
        "messageServer.disruptionBudget.maxUnavailable" => json!({
            "messageServer": {"disruptionBudget": {"minAvailable": null, "maxUnavailable": 1}},
        }),
        "businessServer.disruptionBudget.maxUnavailable" => json!({
            "businessServer": {"disruptionBudget": {"minAvailable": null, "maxUnavailable": 1}},
        }),
        _ => json!({}),
    }
}

/// Paths of all fields that hold a value: a list or a type of Kubernetes counts as one.
fn leaves(schema: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    let foreign = path.ends_with(".affinity");
    match schema["properties"].as_object().filter(|_| !foreign) {
        Some(properties) => {
            for (name, property) in properties {
                let dot = if path.is_empty() { "" } else { "." };
                leaves(property, &format!("{path}{dot}{name}"), found);
            }
        }
        None => found.push((path.to_owned(), schema.clone())),
    }
}

fn fields() -> Vec<(String, Value)> {
    let crd = serde_json::to_value(crd()).unwrap();
    let version = &crd["spec"]["versions"][0];
    let spec = &version["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut found = Vec::new();
    leaves(spec, "", &mut found);
    found
}

/// Another value than this one that the schema allows.
fn another(value: &Value, schema: &Value) -> Value {
    if let Some(choice) = schema["enum"].as_array() {
        return choice.iter().rev().find(|other| *other != value).unwrap().clone();
    }
    match value {
        Value::String(text) => format!("{text}x").into(),
        Value::Number(number) => (number.as_i64().unwrap() + 1).into(),
        Value::Array(_) => json!([]),
        Value::Object(_) => json!({}),
        Value::Bool(_) | Value::Null => panic!("no other value than {value}"),
    }
}

/// A merge patch (RFC 7386).
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    let map = into.as_object_mut().unwrap();
    for (key, value) in patch {
        match value {
            Value::Null => drop(map.remove(key)),
            _ => merge(map.entry(key.clone()).or_insert(Value::Null), value),
        }
    }
}

#[test]
fn every_field_of_the_resource_has_an_effect() {
    let fields = fields();
    assert!(fields.len() > 100, "the schema was not read: {}", fields.len());
    let mut wrong = Vec::new();
    for (path, schema) in fields {
        let mut base = resource("tests/clusters/everything.yaml");
        merge(&mut base["spec"], &precondition(&path));
        let pointer = format!("/spec/{}", path.replace('.', "/"));
        let Some(value) = base.pointer(&pointer).cloned() else {
            wrong.push(format!("{path}: everything.yaml does not set it"));
            continue;
        };
        let mut changed = base.clone();
        *changed.pointer_mut(&pointer).unwrap() = another(&value, &schema);
        let desired = |resource: Value| {
            let cluster =
                serde_json::from_value(resource).unwrap_or_else(|e| panic!("{path}: {e}"));
            // The caller's part.
            let mut cluster: wardlink_operator_api::MessagingCluster = cluster;
            cluster.spec.storage.message_ttl_seconds = 600;
            render(&cluster, &defaults("1.0.0"))
        };
        let has_effect = desired(base) != desired(changed);
        let expected = ELSEWHERE.iter().all(|(elsewhere, _)| *elsewhere != path);
        if has_effect != expected {
            wrong.push(format!("{path}: it has {}", if has_effect { "an effect" } else { "none" }));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

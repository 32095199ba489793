//! Whatever a cluster and its namespace are called, the API server can take what is made of it.

use proptest::prelude::*;
use serde_json::Value;
use wardlink_operator::model::ChildKind;

use crate::render::{cluster, defaults, render};

/// A label of DNS: what a Service may be called, and what a pod's host name is made of.
fn is_dns_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=63).contains(&text.len())
        && text.chars().all(inner)
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.ends_with(outer)
}

fn is_label_value(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let outer = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 63
        && text.chars().all(inner)
        && (text.is_empty() || text.starts_with(outer) && text.ends_with(outer))
}

/// All values of maps of labels: `labels`, `matchLabels` and a Service's `selector`.
fn labels<'a>(value: &'a Value, found: &mut Vec<(&'a str, &'a str)>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let is_map = matches!(key.as_str(), "labels" | "matchLabels" | "selector");
                let texts = value.as_object().filter(|_| is_map).into_iter().flatten();
                found.extend(texts.filter_map(|(key, text)| Some((key.as_str(), text.as_str()?))));
                labels(value, found);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| labels(value, found)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn every_cluster_that_can_be_made_has_children_that_can_be_made(
        name in "[a-z]([-a-z0-9]{0,38}[a-z0-9])?",
        namespace in "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?",
        source in prop::sample::select(vec![
            "../examples/shared-secret.yaml",
            "tests/clusters/everything.yaml",
        ]),
    ) {
        let mut cluster = cluster(source);
        cluster.metadata.name = Some(name.clone());
        cluster.metadata.namespace = Some(namespace.clone());
        let desired = render(&cluster, &defaults("1.0.0"));
        let mut seen = std::collections::BTreeSet::new();
        for child in &desired.children {
            prop_assert!(seen.insert((child.kind, &child.name)), "{} twice", child.name);
            let metadata = &child.object["metadata"];
            prop_assert_eq!(metadata["name"].as_str(), Some(child.name.as_str()));
            if child.kind == ChildKind::ClusterRoleBinding {
                prop_assert!(child.name.len() <= 253 && !child.name.contains(['/', '%']));
                prop_assert!(metadata.get("namespace").is_none());
                prop_assert!(metadata.get("ownerReferences").is_none());
            } else {
                prop_assert!(is_dns_label(&child.name), "{}", child.name);
                prop_assert_eq!(metadata["namespace"].as_str(), Some(namespace.as_str()));
                let owner = &metadata["ownerReferences"][0];
                prop_assert_eq!(owner["name"].as_str(), Some(name.as_str()));
                prop_assert_eq!(owner["controller"].as_bool(), Some(true));
                prop_assert_eq!(owner["blockOwnerDeletion"].as_bool(), Some(true));
            }
            let managed_by = metadata["labels"]["app.kubernetes.io/managed-by"].as_str();
            prop_assert_eq!(managed_by, Some("wardlink-operator"));
            prop_assert!(child.object.get("status").is_none());
            let mut found = Vec::new();
            labels(&child.object, &mut found);
            for (key, value) in found {
                prop_assert!(is_label_value(value), "{}: {key}: {value}", child.name);
            }
            for said_by_nobody in ["null", "creationTimestamp", "[]"] {
                let text = child.object.to_string();
                prop_assert!(!text.contains(said_by_nobody), "{}: {text}", child.name);
            }
        }
        for made in &desired.generated {
            prop_assert!(is_dns_label(&made.name), "{}", made.name);
        }
    }
}

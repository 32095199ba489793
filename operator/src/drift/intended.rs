//! Whether an object is as intended, without having seen it applied: our entry names exactly the
//! fields of the intent, and each has the intended value.
//!
//! So an operator that was started anew writes nothing where nothing differs. What it cannot be
//! sure of, such as a quantity that the API server writes in another way, counts as not intended:
//! then it is applied once, and remembered.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value};

use super::{entries, is_created, is_ours};

/// Whether `live`, whose metadata is `meta`, is as `intent` says.
pub fn is_intended(intent: &Value, live: &Value, meta: &ObjectMeta) -> bool {
    let mut ours = entries(meta).filter(|entry| is_ours(entry));
    let (Some(entry), None) = (ours.next(), ours.next()) else { return false };
    let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
    let (Some(fields), false) = (fields, is_created(entry)) else { return false };
    let mut intent = intent.clone();
    // What an object is called is no field that somebody owns.
    if let Some(object) = intent.as_object_mut() {
        object.remove("apiVersion");
        object.remove("kind");
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("name");
            metadata.remove("namespace");
        }
    }
    agree(&intent, live, fields)
}

/// Whether `fields` names exactly what is in `intent`, and `live` has the same there.
fn agree(intent: &Value, live: &Value, fields: &Value) -> bool {
    let Some(fields) = fields.as_object() else { return false };
    if fields.keys().all(|key| key == ".") {
        return within(intent, live);
    }
    match (intent, live) {
        (Value::Object(intent), Value::Object(live)) => agree_map(intent, live, fields),
        (Value::Array(intent), Value::Array(live)) => agree_list(intent, live, fields),
        _ => false,
    }
}

fn agree_map(
    intent: &Map<String, Value>,
    live: &Map<String, Value>,
    fields: &Map<String, Value>,
) -> bool {
    let named = fields.keys().filter(|key| *key != ".").count();
    named == intent.len()
        && intent.iter().all(|(name, wanted)| {
            let field = fields.get(&format!("f:{name}"));
            let there = live.get(name);
            matches!((field, there), (Some(field), Some(there)) if agree(wanted, there, field))
        })
}

fn agree_list(intent: &[Value], live: &[Value], fields: &Map<String, Value>) -> bool {
    let mut items = fields.iter().filter(|(key, _)| *key != ".");
    items.clone().count() == intent.len()
        && items.all(|(key, field)| match key.split_at_checked(2) {
            Some(("k:", keys)) => agree_item(intent, live, keys, field),
            Some(("v:", value)) => {
                let value: Option<Value> = serde_json::from_str(value).ok();
                value.is_some_and(|value| intent.contains(&value) && live.contains(&value))
            }
            _ => false,
        })
}

/// An item of a list whose items are told apart by some of their fields.
fn agree_item(intent: &[Value], live: &[Value], keys: &str, field: &Value) -> bool {
    let Ok(keys) = serde_json::from_str::<Map<String, Value>>(keys) else { return false };
    let there = live.iter().find(|item| keys.iter().all(|(key, value)| item[key] == *value));
    // A key that the intent leaves out has its default.
    let mut wanted = intent.iter().filter(|item| {
        keys.iter().all(|(key, value)| item.get(key).is_none_or(|given| given == value))
    });
    match (wanted.next(), wanted.next(), there) {
        (Some(wanted), None, Some(there)) => agree(wanted, there, field),
        _ => false,
    }
}

/// Whether all of `intent` is in `live`: of what has one owner as a whole the API server may have
/// filled in the rest.
fn within(intent: &Value, live: &Value) -> bool {
    match (intent, live) {
        (Value::Object(intent), Value::Object(live)) => intent
            .iter()
            .all(|(name, value)| live.get(name).is_some_and(|there| within(value, there))),
        (Value::Array(intent), Value::Array(live)) => {
            intent.len() == live.len()
                && intent.iter().zip(live).all(|(value, there)| within(value, there))
        }
        _ => intent == live,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::names::FIELD_MANAGER;

    fn intent() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "a", "namespace": "h", "labels": {"x": "1"},
                "ownerReferences": [{"uid": "u", "name": "c", "controller": true}]},
            "spec": {
                "selector": {"matchLabels": {"x": "1"}},
                "template": {"spec": {
                    "containers": [{"name": "a", "image": "i:1",
                        "ports": [{"containerPort": 80, "name": "web"}],
                        "args": ["--a", "--b"]}],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                }},
            },
        })
    }

    fn live() -> Value {
        let mut live = intent();
        live["spec"]["replicas"] = json!(2);
        live["spec"]["template"]["spec"]["dnsPolicy"] = json!("ClusterFirst");
        let container = &mut live["spec"]["template"]["spec"]["containers"][0];
        container["imagePullPolicy"] = json!("IfNotPresent");
        container["ports"][0]["protocol"] = json!("TCP");
        live
    }

    fn fields() -> Value {
        json!({
            "f:metadata": {"f:labels": {"f:x": {}}, "f:ownerReferences": {"k:{\"uid\":\"u\"}": {}}},
            "f:spec": {
                "f:selector": {},
                "f:template": {"f:spec": {
                    "f:containers": {"k:{\"name\":\"a\"}": {
                        ".": {}, "f:name": {}, "f:image": {}, "f:args": {},
                        "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {
                            ".": {}, "f:containerPort": {}, "f:name": {}}},
                    }},
                    "f:volumes": {"k:{\"name\":\"tmp\"}": {
                        ".": {}, "f:name": {}, "f:emptyDir": {}}},
                }},
            },
        })
    }

    fn meta(fields: &Value) -> ObjectMeta {
        serde_json::from_value(json!({"managedFields": [{"manager": FIELD_MANAGER,
            "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
            "fieldsV1": fields}]}))
        .expect("metadata")
    }

    #[test]
    fn what_the_api_server_filled_in_does_not_count() {
        assert!(is_intended(&intent(), &live(), &meta(&fields())));
    }

    #[test]
    fn any_other_value_counts() {
        for pointer in [
            "/metadata/labels/x",
            "/spec/selector/matchLabels/x",
            "/spec/template/spec/containers/0/image",
            "/spec/template/spec/containers/0/args/1",
            "/spec/template/spec/containers/0/ports/0/name",
            "/metadata/ownerReferences/0/controller",
        ] {
            let mut live = live();
            *live.pointer_mut(pointer).expect(pointer) = json!("other");
            assert!(!is_intended(&intent(), &live, &meta(&fields())), "{pointer}");
        }
    }

    #[test]
    fn a_field_that_is_not_ours_any_more_counts_and_one_that_is_not_intended_any_more() {
        let mut fewer = fields();
        fewer["f:spec"].as_object_mut().expect("a map").remove("f:selector");
        assert!(!is_intended(&intent(), &live(), &meta(&fewer)));
        let mut less = intent();
        less["spec"]["template"]["spec"].as_object_mut().expect("a map").remove("volumes");
        assert!(!is_intended(&less, &live(), &meta(&fields())));
        let mut more = intent();
        more["spec"]["paused"] = json!(false);
        assert!(!is_intended(&more, &live(), &meta(&fields())));
        assert!(!is_intended(&intent(), &live(), &ObjectMeta::default()));
    }
}

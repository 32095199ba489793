//! The fields of the resource as tables in Markdown, made from the CRD.

use std::fmt::Write;

use serde_json::Value;
use wardlink_operator_api::crd;

/// The two tiers, whose common fields are told once.
const TIERS: [&str; 2] = ["messageServer", "businessServer"];

/// One field.
#[derive(PartialEq, Clone)]
struct Row {
    path: String,
    default: String,
    text: String,
}

/// Tables of all fields of `spec`, one for each part of it.
pub(crate) fn tables() -> String {
    let crd = serde_json::to_value(crd()).unwrap();
    let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let rows = |part: &str| rows_of(spec, part);
    let (ms, bs) = (rows(TIERS[0]), rows(TIERS[1]));
    let (common, ms): (Vec<Row>, Vec<Row>) = ms.into_iter().partition(|row| bs.contains(row));
    let bs: Vec<Row> = bs.into_iter().filter(|row| !common.contains(row)).collect();

    let mut text = String::new();
    let single = |part: &&String| spec["properties"][part.as_str()]["properties"].is_null();
    let parts = || spec["properties"].as_object().unwrap().keys();
    let singles: Vec<Row> =
        parts().filter(single).flat_map(|part| row(spec, part, part.clone())).collect();
    table(&mut text, "spec", "", &singles);
    table(&mut text, "messageServer and businessServer", "Both tiers have:", &common);
    table(&mut text, "messageServer", "Beside these:", &ms);
    table(&mut text, "businessServer", "Beside these:", &bs);
    for part in parts().filter(|part| !single(part) && !TIERS.contains(&part.as_str())) {
        let about = spec["properties"][part]["description"].as_str().unwrap_or_default();
        table(&mut text, part, about, &rows(part));
    }
    text
}

fn table(text: &mut String, title: &str, about: &str, rows: &[Row]) {
    let about = if about.is_empty() { String::new() } else { format!("{about}\n\n") };
    let _ = write!(text, "### {title}\n\n{about}| field | default | |\n|---|---|---|\n");
    for Row { path, default, text: description } in rows {
        let _ = writeln!(text, "| `{path}` | {default} | {description} |");
    }
    text.push('\n');
}

/// The fields below one field of `parent`.
fn rows_of(parent: &Value, name: &str) -> Vec<Row> {
    let schema = &parent["properties"][name];
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties.flat_map(|(name, _)| row(schema, name, name.clone())).collect()
}

/// One field, and those below it. What Kubernetes itself defines is not gone into.
fn row(parent: &Value, name: &str, path: String) -> Vec<Row> {
    let schema = &parent["properties"][name];
    let required = parent["required"].as_array().is_some_and(|names| names.contains(&name.into()));
    let foreign = name == "affinity";
    let below = schema["properties"].as_object().filter(|_| !foreign);
    // What stands in a default of the whole counts where the whole is not said.
    let inherited = &parent["default"][name];
    let default = match if inherited.is_null() { &schema["default"] } else { inherited } {
        _ if required => "required".to_owned(),
        // Those of its fields stand in their own rows.
        _ if below.is_some() => String::new(),
        Value::Null => String::new(),
        Value::Object(map) if map.is_empty() => String::new(),
        Value::String(text) => format!("`{text}`"),
        default => format!("`{}`", compact(default)),
    };
    let description = schema["description"].as_str().unwrap_or_default();
    let text =
        format!("{}{}", description.replace("\n\n", " ").replace('|', "\\|"), limits(schema));
    let mut rows = vec![Row { path: path.clone(), default, text }];
    for name in below.into_iter().flatten().map(|(name, _)| name) {
        rows.extend(row(schema, name, format!("{path}.{name}")));
    }
    let item = &schema["items"];
    // Lists of our own types: the types of Kubernetes have no bounds on their strings.
    let own = item["properties"].as_object().filter(|_| name == "parentRefs");
    for name in own.into_iter().flatten().map(|(name, _)| name) {
        rows.extend(row(item, name, format!("{path}[].{name}")));
    }
    rows
}

/// What a value may be, in words.
fn limits(schema: &Value) -> String {
    if let Some(choice) = schema["enum"].as_array() {
        let choice: Vec<String> =
            choice.iter().filter_map(|value| Some(format!("`{}`", value.as_str()?))).collect();
        return format!(" One of {}.", choice.join(", "));
    }
    let number = |key: &str| schema[key].as_f64().filter(|_| schema["type"] == "integer");
    match (number("minimum"), number("maximum")) {
        (Some(from), Some(to)) => format!(" {from} to {to}."),
        _ => String::new(),
    }
}

/// JSON as one would write it in YAML.
fn compact(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let items = map.iter().map(|(key, value)| format!("{key}: {}", compact(value)));
            items.collect::<Vec<_>>().join(", ")
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

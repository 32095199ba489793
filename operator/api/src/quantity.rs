//! Amounts of compute resources, written as Kubernetes writes them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Amounts by resource name, such as `cpu: 100m` or `memory: 128Mi`. A number or a string.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quantities(
    #[serde(deserialize_with = "numbers_or_strings")] pub BTreeMap<String, Quantity>,
);

/// The API server lets `cpu: 1` stand as a number, so it is read as one, too.
fn numbers_or_strings<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<BTreeMap<String, Quantity>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Number(serde_json::Number),
    }
    let read = BTreeMap::<String, Either>::deserialize(from)?;
    let quantity = |either| match either {
        Either::Text(text) => Quantity(text),
        Either::Number(number) => Quantity(number.to_string()),
    };
    Ok(read.into_iter().map(|(name, either)| (name, quantity(either))).collect())
}

impl JsonSchema for Quantities {
    fn schema_name() -> Cow<'static, str> {
        "Quantities".into()
    }

    fn inline_schema() -> bool {
        true
    }

    // The pattern is the one that Kubernetes gives the quantities of its own resources.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "maxProperties": 16,
            "additionalProperties": {
                "anyOf": [{"type": "integer"}, {"type": "string"}],
                "x-kubernetes-int-or-string": true,
                "maxLength": 32,
                "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
            }
        })
    }
}

/// What a container asks for and what it may use at most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Resources {
    /// What the scheduler keeps free for each pod.
    #[serde(default)]
    pub requests: Quantities,
    /// What a pod may use at most. A server that goes over its memory is killed.
    #[serde(default)]
    pub limits: Quantities,
}

impl Default for Resources {
    /// Enough for some thousand terminals of a pod; a terminal at rest takes about 8 KiB.
    fn default() -> Self {
        let requests = [("cpu", "100m"), ("memory", "128Mi")];
        let requests = requests.map(|(name, text)| (name.to_owned(), Quantity(text.to_owned())));
        Self { requests: Quantities(requests.into()), limits: Quantities::default() }
    }
}

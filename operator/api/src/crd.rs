//! The CRD as it is written to `crds/` and installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use crate::MessagingCluster;

/// The CRD of `MessagingCluster`.
///
/// Its descriptions come from doc comments, whose lines end where the source's do; here each
/// paragraph is one line again, for `kubectl explain` breaks lines itself.
pub fn crd() -> CustomResourceDefinition {
    let mut crd = MessagingCluster::crd();
    for version in &mut crd.spec.versions {
        let schema = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut());
        if let Some(schema) = schema {
            unwrap_lines(schema);
        }
    }
    crd
}

fn unwrap_lines(schema: &mut JSONSchemaProps) {
    if let Some(text) = &mut schema.description {
        let paragraphs = text.split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
        *text = paragraphs.collect::<Vec<_>>().join("\n\n");
    }
    for property in schema.properties.iter_mut().flat_map(|map| map.values_mut()) {
        unwrap_lines(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(item)) => unwrap_lines(item),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(unwrap_lines),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &mut schema.additional_properties {
        unwrap_lines(value);
    }
}

//! The CustomResourceDefinitions as they are installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use crate::{NodeOp, NodeOpUpgrade, OSArtifact};

/// Every CustomResourceDefinition of this operator, in the order NodeOp, NodeOpUpgrade, OSArtifact.
pub fn all() -> Vec<CustomResourceDefinition> {
    [NodeOp::crd(), NodeOpUpgrade::crd(), OSArtifact::crd()]
        .map(finish)
        .into()
}

/// Makes of a derived definition what the API server is to have.
fn finish(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let Some(schema) = version
            .schema
            .as_mut()
            .and_then(|validation| validation.open_api_v3_schema.as_mut())
        else {
            continue;
        };
        visit(schema, &mut tidy);
        // The status is written by controllers, which leave out what has its default.
        if let Some(status) = schema
            .properties
            .as_mut()
            .and_then(|properties| properties.get_mut("status"))
        {
            visit(status, &mut |schema| schema.default = None);
        }
    }
    crd
}

/// Takes back what the derive macros add and Kubernetes reads otherwise.
fn tidy(schema: &mut JSONSchemaProps) {
    // A null in a manifest (Go programs write `creationTimestamp: null`) then means the same as leaving the field
    // out: it is dropped or replaced by the default before any rule sees it.
    schema.nullable = None;
    if schema
        .default
        .as_ref()
        .is_some_and(|default| default.0.is_null())
    {
        schema.default = None;
    }
    // Kubernetes knows int32 and int64 only, and warns about others.
    if schema
        .format
        .as_ref()
        .is_some_and(|format| format.starts_with("uint"))
    {
        schema.format = None;
    }
    // The lines of our comments are no lines for whoever reads `kubectl explain`.
    if let Some(description) = &mut schema.description {
        let paragraphs = description
            .split("\n\n")
            .map(|paragraph| paragraph.replace('\n', " "));
        *description = paragraphs.collect::<Vec<_>>().join("\n\n");
    }
}

/// Applies a change to a schema and to every schema within it.
fn visit(schema: &mut JSONSchemaProps, change: &mut impl FnMut(&mut JSONSchemaProps)) {
    change(schema);
    for property in schema
        .properties
        .iter_mut()
        .flat_map(|properties| properties.values_mut())
    {
        visit(property, change);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(item)) => visit(item, change),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => {
            for item in items {
                visit(item, change);
            }
        }
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &mut schema.additional_properties {
        visit(value, change);
    }
}

#[cfg(test)]
mod tests;

//! Schemas of embedded Kubernetes types, made small enough for the API server.
//!
//! Kubernetes' own descriptions are left out: with them a CRD grows past what client-side `kubectl apply` can keep
//! in its annotation. Lists and strings that a CEL rule reads are bounded, because the API server estimates the cost
//! of a rule from the largest possible value and refuses the CRD otherwise.

use k8s_openapi::api::core::v1::LocalObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

pub(crate) mod edit;

/// The schema of an embedded Kubernetes type without its descriptions.
pub(crate) fn embedded<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = generator.subschema_for::<T>();
    for value in schema.ensure_object().values_mut() {
        strip_descriptions(value);
    }
    schema.remove("description");
    for value in schema.ensure_object().values_mut() {
        shorten_metadata(value);
    }
    schema
}

/// The metadata that the author of an embedded template writes; what only the API server writes is left out. Listing
/// the fields keeps them: in a CRD, metadata below the top is pruned of everything that its schema does not name.
fn shorten_metadata(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(shorten_metadata),
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get_mut("properties")
                && properties.contains_key("managedFields")
            {
                const WRITTEN: [&str; 7] = [
                    "annotations",
                    "creationTimestamp",
                    "finalizers",
                    "generateName",
                    "labels",
                    "name",
                    "namespace",
                ];
                properties.retain(|name, _| WRITTEN.contains(&name.as_str()));
            }
            object.values_mut().for_each(shorten_metadata);
        }
        _ => {}
    }
}

/// A label selector with bounds that no valid label exceeds: 317 characters of key, 63 of value.
pub(crate) fn label_selector(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = embedded::<LabelSelector>(generator).to_value();
    set(&mut schema, "/properties/matchLabels", "maxProperties", 64);
    set(
        &mut schema,
        "/properties/matchLabels/additionalProperties",
        "maxLength",
        63,
    );
    let expressions = "/properties/matchExpressions";
    set(&mut schema, expressions, "maxItems", 64);
    set(
        &mut schema,
        &format!("{expressions}/items/properties/key"),
        "maxLength",
        317,
    );
    set(
        &mut schema,
        &format!("{expressions}/items/properties/values"),
        "maxItems",
        1024,
    );
    set(
        &mut schema,
        &format!("{expressions}/items/properties/values/items"),
        "maxLength",
        63,
    );
    let operators = ["In", "NotIn", "Exists", "DoesNotExist"];
    set(
        &mut schema,
        &format!("{expressions}/items/properties/operator"),
        "enum",
        operators.as_slice(),
    );
    let rules = json!([{
        "rule": "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)",
        "message": "the operators In and NotIn need values to compare with, and Exists and DoesNotExist take none; \
                    add values, or take them away",
    }]);
    set(
        &mut schema,
        &format!("{expressions}/items"),
        "x-kubernetes-validations",
        rules,
    );
    into_schema(schema)
}

/// References to pull secrets in the object's namespace.
pub(crate) fn image_pull_secrets(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = embedded::<Vec<LocalObjectReference>>(generator).to_value();
    set(&mut schema, "", "maxItems", 64);
    set(&mut schema, "/items/properties/name", "maxLength", 253);
    into_schema(schema)
}

/// The conditions of a status: a list with one entry per type.
pub(crate) fn conditions(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = embedded::<Vec<Condition>>(generator);
    schema.insert("x-kubernetes-list-type".into(), "map".into());
    schema.insert(
        "x-kubernetes-list-map-keys".into(),
        ["type"].as_slice().into(),
    );
    schema
}

/// A command: a list of words, none longer than Linux takes for one argument (128 KiB with its end mark).
pub(crate) fn command(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 1024,
        "items": { "type": "string", "maxLength": 131_071 },
        "x-kubernetes-validations": [{
            "rule": "self.size() > 0",
            "message": "command must name at least a program, for example [\"sh\", \"-c\", \"uname -a\"]",
        }],
    })
}

/// Sets a keyword of the schema at a JSON pointer, where there is a schema. Whether the bounds arrived is shown by
/// the test that reads the finished CRDs.
pub(crate) fn set(schema: &mut Value, pointer: &str, keyword: &str, value: impl Into<Value>) {
    if let Some(Value::Object(object)) = schema.pointer_mut(pointer) {
        object.insert(keyword.to_owned(), value.into());
    }
}

/// Removes the keyword `description` everywhere below, and leaves properties of that name alone.
fn strip_descriptions(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(strip_descriptions),
        Value::Object(object) => {
            if object.get("description").is_some_and(Value::is_string) {
                object.remove("description");
            }
            object.values_mut().for_each(strip_descriptions);
        }
        _ => {}
    }
}

/// Back from JSON; what is no object says nothing.
pub(crate) fn into_schema(value: Value) -> Schema {
    match value {
        Value::Object(object) => object.into(),
        _ => Schema::default(),
    }
}

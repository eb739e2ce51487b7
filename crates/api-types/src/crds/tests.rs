//! What must hold of the finished definitions, as far as no API server is needed to see it.

use serde_json::{Map, Value};

use super::all;

/// Client-side `kubectl apply` keeps the whole object in an annotation of at most 256 KiB.
const LARGEST_JSON: usize = 200 * 1024;

/// Fields whose inside is Kubernetes' own and carries no description.
const EMBEDDED: [&str; 7] = [
    "conditions",
    "exporters",
    "imagePullSecrets",
    "importers",
    "nodeSelector",
    "volume",
    "volumes",
];

fn schemas() -> Vec<(String, Value)> {
    all()
        .into_iter()
        .map(|crd| {
            let schema = &crd.spec.versions[0]
                .schema
                .as_ref()
                .unwrap()
                .open_api_v3_schema;
            (
                crd.spec.names.kind.clone(),
                serde_json::to_value(schema).unwrap(),
            )
        })
        .collect()
}

fn schema_of(kind: &str) -> Value {
    schemas()
        .into_iter()
        .find(|(name, _)| name == kind)
        .unwrap()
        .1
}

/// Calls `see` with path and schema of every property, at any depth.
fn each_property(path: &str, schema: &Value, see: &mut impl FnMut(&str, &Map<String, Value>)) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        see(&path, property.as_object().unwrap());
        each_property(&path, property, see);
    }
    for (keyword, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(inner) = schema.get(keyword).filter(|inner| inner.is_object()) {
            see(&format!("{path}{mark}"), inner.as_object().unwrap());
            each_property(&format!("{path}{mark}"), inner, see);
        }
    }
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or_default()
}

fn is_inside_embedded(path: &str) -> bool {
    let parents = path.split('.').rev().skip(1);
    let in_parents = parents
        .map(|part| part.trim_end_matches("[]"))
        .any(|part| EMBEDDED.contains(&part));
    in_parents
        || last(path).ends_with("[]") && EMBEDDED.contains(&last(path).trim_end_matches("[]"))
}

#[test]
fn each_definition_fits_client_side_apply() {
    for crd in all() {
        let size = serde_json::to_vec(&crd).unwrap().len();
        assert!(
            size < LARGEST_JSON,
            "{} has {size} bytes",
            crd.spec.names.kind
        );
    }
}

#[test]
fn every_field_of_ours_is_described() {
    for (kind, schema) in schemas() {
        assert!(
            schema["description"]
                .as_str()
                .is_some_and(|text| text.starts_with('A')),
            "{kind}"
        );
        let mut seen = 0;
        each_property(&kind, &schema, &mut |path, property| {
            let depth = path.matches('.').count();
            let of_every_object = depth == 1 && !["spec", "status"].contains(&last(path));
            let is_field = !path.ends_with("[]") && !path.ends_with("{}");
            if is_field && !is_inside_embedded(path) && !of_every_object {
                seen += 1;
                let description = property
                    .get("description")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                assert!(description.len() > 10, "{path} has no description");
                assert!(
                    !description.contains("Auto-generated"),
                    "{path}: {description}"
                );
            }
        });
        assert!(seen > 15, "{kind}: saw only {seen} fields");
    }
}

#[test]
fn embedded_kubernetes_types_carry_no_descriptions_of_their_own() {
    each_property(
        "",
        &schema_of("OSArtifact")["properties"]["spec"],
        &mut |path, property| {
            let described = property.contains_key("description");
            assert!(!(is_inside_embedded(path) && described), "{path}");
        },
    );
}

#[test]
fn nothing_is_left_that_kubernetes_reads_otherwise() {
    for (kind, schema) in schemas() {
        each_property(&kind, &schema, &mut |path, property| {
            assert!(!property.contains_key("nullable"), "{path} is nullable");
            assert!(
                property.get("default") != Some(&Value::Null),
                "{path} has a default of null"
            );
            assert!(
                !property
                    .get("enum")
                    .is_some_and(|words| words.as_array().unwrap().contains(&Value::Null)),
                "{path}"
            );
            for keyword in ["anyOf", "oneOf", "$ref"] {
                assert!(!property.contains_key(keyword), "{path} has {keyword}");
            }
            if let Some(format) = property.get("format").and_then(Value::as_str) {
                assert!(!format.starts_with("uint"), "{path} has format {format}");
            }
            if path.contains(".status") {
                assert!(!property.contains_key("default"), "{path} has a default");
            }
        });
    }
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let spec = schema_of("NodeOp")["properties"]["spec"]["properties"].clone();
    let defaults = [
        ("/hostMountPath", Value::from("/host")),
        ("/cordon", false.into()),
        ("/backoffLimit", 6.into()),
        ("/concurrency", 0.into()),
        ("/stopOnFailure", false.into()),
        ("/drainOptions/properties/ignoreDaemonSets", true.into()),
        ("/drainOptions/properties/timeoutSeconds", 3600.into()),
        ("/preflight/properties/activeDeadlineSeconds", 120.into()),
        ("/verify/properties/activeDeadlineSeconds", 300.into()),
        ("/rebootTimeoutSeconds", 1800.into()),
        ("/nodeReadyTimeoutSeconds", 3600.into()),
        ("/ttlSecondsAfterFinished", 86_400.into()),
    ];
    for (pointer, default) in defaults {
        assert_eq!(
            spec.pointer(pointer).unwrap()["default"],
            default,
            "{pointer}"
        );
    }
    // The default image is the controller's choice, not the schema's.
    assert!(spec["image"].get("default").is_none());

    let spec = schema_of("NodeOpUpgrade")["properties"]["spec"]["properties"].clone();
    assert_eq!(spec["upgradeActive"]["default"], true);
    assert_eq!(spec["upgradeRecovery"]["default"], false);
    for option in ["enabled", "force", "deleteEmptyDirData", "ignoreDaemonSets"] {
        assert_eq!(spec["drainOptions"]["default"][option], true, "{option}");
        assert_eq!(
            spec["drainOptions"]["properties"][option]["default"], true,
            "{option}"
        );
    }
}

#[test]
fn what_rules_read_is_bounded() {
    let spec = schema_of("NodeOp")["properties"]["spec"]["properties"].clone();
    let bounds = [
        "/command/maxItems",
        "/nodeSelector/properties/matchLabels/maxProperties",
        "/nodeSelector/properties/matchLabels/additionalProperties/maxLength",
        "/nodeSelector/properties/matchExpressions/maxItems",
        "/nodeSelector/properties/matchExpressions/items/properties/key/maxLength",
        "/nodeSelector/properties/matchExpressions/items/properties/values/maxItems",
        "/imagePullSecrets/maxItems",
        "/imagePullSecrets/items/properties/name/maxLength",
        "/image/maxLength",
        "/hostMountPath/maxLength",
    ];
    for pointer in bounds {
        assert!(
            spec.pointer(pointer).is_some_and(Value::is_number),
            "{pointer}"
        );
    }
    let spec = schema_of("OSArtifact")["properties"]["spec"]["properties"].clone();
    for pointer in [
        "/volumes/maxItems",
        "/volumes/items/properties/name/maxLength",
    ] {
        assert!(
            spec.pointer(pointer).is_some_and(Value::is_number),
            "{pointer}"
        );
    }
}

#[test]
fn exporter_templates_keep_labels_and_annotations() {
    let metadata = "/properties/spec/properties/exporters/items/properties/template/properties/metadata/properties";
    let schema = schema_of("OSArtifact");
    let properties = schema.pointer(metadata).unwrap().as_object().unwrap();
    assert_eq!(
        properties["labels"]["additionalProperties"]["type"],
        "string"
    );
    assert_eq!(
        properties["annotations"]["additionalProperties"]["type"],
        "string"
    );
    assert!(!properties.contains_key("managedFields"));
}

#[test]
fn every_word_of_kairos_operator_is_read() {
    let status = serde_json::json!({
        "phase": "Running",
        "lastUpdated": "2026-08-01T10:00:00Z",
        "nodeStatuses": {
            "node-a": {"phase": "Preflight", "rebootStatus": "not-requested", "lastUpdated": null},
            "node-b": {"phase": "Completed", "jobName": "hello-node-b", "message": "Job completed successfully",
                       "rebootStatus": "cancelled", "lastUpdated": "2026-08-01T10:00:00Z"},
        },
    });
    let status: crate::NodeOpStatus = serde_json::from_value(status).unwrap();
    assert_eq!(
        status.node_statuses["node-a"].phase,
        crate::nodeop::NodePhase::Preflight
    );
    assert_eq!(
        status.node_statuses["node-b"].reboot_status,
        Some(crate::nodeop::RebootStatus::Cancelled)
    );

    let status = serde_json::json!({"phase": "Initializing", "nodeOpName": "up", "message": "", "lastUpdated": null});
    let status: crate::NodeOpUpgradeStatus = serde_json::from_value(status).unwrap();
    assert_eq!(
        status.phase,
        Some(crate::nodeopupgrade::UpgradePhase::Initializing)
    );

    let status: crate::OSArtifactStatus =
        serde_json::from_value(serde_json::json!({"phase": "Exporting"})).unwrap();
    assert_eq!(
        status.phase,
        Some(crate::osartifact::ArtifactPhase::Exporting)
    );
}

#[test]
fn a_command_is_all_that_a_nodeop_needs() {
    let spec: crate::NodeOpSpec =
        serde_json::from_value(serde_json::json!({"command": ["true"]})).unwrap();
    assert_eq!(
        spec,
        crate::NodeOpSpec {
            command: vec!["true".to_owned()],
            ..Default::default()
        }
    );
}

//! The CRDs against a real API server: what is accepted is kept, and what is refused is told what to write.
//!
//! The cases are data, in `data/schema`; the manifests that users have are in `data/compat`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use api_types::{OSArtifact, crds};
use kube::api::{DynamicObject, Patch, PatchParams, ValidationDirective};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, ResourceExt};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::compare::{kept, merge, missing, round_trip};
use crate::server::{CRD_DEADLINE, cluster, create, install, resource};

mod compare;
mod server;

/// Every NodeOp case, and so on.
const TABLES: [(&str, &str); 3] = [
    ("NodeOp", include_str!("../data/schema/nodeop.yaml")),
    (
        "NodeOpUpgrade",
        include_str!("../data/schema/nodeopupgrade.yaml"),
    ),
    ("OSArtifact", include_str!("../data/schema/osartifact.yaml")),
];

/// One case of a table; its README says what the fields mean.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(rename = "case")]
    name: String,
    metadata: Option<Value>,
    spec: Value,
    status: Option<Value>,
    edit: Option<Value>,
    refused: Option<String>,
}

fn cases(table: &str) -> Vec<Case> {
    serde_saphyr::from_str(table).expect("the table is valid")
}

#[test]
fn every_message_of_a_rule_is_shown_by_a_case() {
    for (crd, (kind, table)) in crds::all().iter().zip(TABLES) {
        assert_eq!(crd.spec.names.kind, kind);
        let refusals: Vec<String> = cases(table)
            .into_iter()
            .filter_map(|case| case.refused)
            .collect();
        let mut messages = BTreeSet::new();
        collect_messages(&serde_json::to_value(crd).unwrap(), &mut messages);
        assert!(
            messages.len() > 3,
            "only {} rules found in {kind}",
            messages.len()
        );
        for message in messages {
            let shown = refusals
                .iter()
                .any(|refused| message.contains(refused.as_str()));
            assert!(shown, "no case of {kind} shows: {message}");
        }
    }
}

fn collect_messages(value: &Value, messages: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items
            .iter()
            .for_each(|item| collect_messages(item, messages)),
        Value::Object(object) => {
            for rule in object
                .get("x-kubernetes-validations")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                messages.insert(
                    rule["message"]
                        .as_str()
                        .expect("every rule has a message")
                        .to_owned(),
                );
            }
            object
                .values()
                .for_each(|inner| collect_messages(inner, messages));
        }
        _ => {}
    }
}

#[tokio::test]
async fn every_case_is_accepted_or_refused_as_it_says() {
    let cluster = cluster().await;
    let (client, namespace) = (
        cluster.client().unwrap(),
        cluster.temp_namespace("schema").await.unwrap(),
    );
    let namespace = namespace.name();
    let mut wrong = Vec::new();
    for (kind, table) in TABLES {
        for (number, case) in cases(table).into_iter().enumerate() {
            if let Err(problem) = run(&client, namespace, kind, number, &case).await {
                wrong.push(format!("{kind}, {}: {problem}", case.name));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cases went wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Runs one case to its last step and says what did not go as it says.
async fn run(
    client: &Client,
    namespace: &str,
    kind: &str,
    number: usize,
    case: &Case,
) -> Result<(), String> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource(kind));
    let mut manifest = json!({
        "apiVersion": resource(kind).api_version,
        "kind": kind,
        "metadata": {"name": format!("case-{number}")},
        "spec": case.spec,
    });
    if let Some(metadata) = &case.metadata {
        manifest["metadata"] = metadata.clone();
    }
    let name = manifest["metadata"]["name"]
        .as_str()
        .ok_or("the metadata has no name")?
        .to_owned();
    let strict = PatchParams {
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::default()
    };

    let mut wanted = manifest.clone();
    let mut answer = create(client, namespace, &manifest, false).await;
    if let (Ok(_), Some(status)) = (&answer, &case.status) {
        wanted["status"] = status.clone();
        answer = api
            .patch_status(&name, &strict, &Patch::Merge(json!({"status": status})))
            .await;
    }
    if let (Ok(_), Some(edit)) = (&answer, &case.edit) {
        merge(&mut wanted["spec"], edit);
        answer = api
            .patch(&name, &strict, &Patch::Merge(json!({"spec": edit})))
            .await;
    }
    match (answer, &case.refused) {
        (Ok(object), None) => kept(
            kind,
            &wanted,
            &serde_json::to_value(object).map_err(|error| error.to_string())?,
        ),
        (Ok(_), Some(_)) => Err("was accepted".to_owned()),
        (Err(kube::Error::Api(status)), Some(text)) if status.message.contains(text.as_str()) => {
            Ok(())
        }
        (Err(error), Some(text)) => Err(format!("was refused without {text:?}: {error}")),
        (Err(error), None) => Err(format!("was refused: {error}")),
    }
}

#[tokio::test]
async fn manifests_of_kairos_operators_users_are_accepted() {
    let client = cluster().await.client().unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/compat");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for manifest in serde_saphyr::from_multiple::<Value>(&text).unwrap() {
            seen += 1;
            let created = create(&client, "default", &manifest, true).await;
            let created = created.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let kind = manifest["kind"].as_str().unwrap();
            if kind != "Secret" {
                kept(kind, &manifest, &serde_json::to_value(created).unwrap())
                    .unwrap_or_else(|problem| panic!("{}: {problem}", path.display()));
            }
        }
    }
    assert!(seen >= 17, "only {seen} manifests seen");
}

#[tokio::test]
async fn kubectl_get_shows_what_matters() {
    let cluster = cluster().await;
    let (client, namespace) = (
        cluster.client().unwrap(),
        cluster.temp_namespace("schema").await.unwrap(),
    );
    let namespace = namespace.name();
    let status = json!({"phase": "Running", "message": "busy", "current": "node-b", "step": "iso",
                        "summary": {"total": 5, "completed": 3, "done": "3/5", "failed": 1}});
    let shown = [
        (
            "NodeOp",
            json!({"command": ["true"]}),
            "nop",
            "Running 3/5 1 AGE busy",
        ),
        (
            "NodeOpUpgrade",
            json!({"image": "kairos:v1"}),
            "nopup",
            "Running kairos:v1 3/5 1 node-b AGE busy",
        ),
        (
            "OSArtifact",
            json!({"imageName": "kairos:v1"}),
            "osa",
            "Building iso AGE busy",
        ),
    ];
    for (kind, spec, short_name, row) in shown {
        let resource = resource(kind);
        let manifest = json!({"apiVersion": resource.api_version, "kind": kind, "metadata": {"name": "shown"}, "spec": spec});
        create(&client, namespace, &manifest, false).await.unwrap();
        let mut status = status.clone();
        if kind == "OSArtifact" {
            status["phase"] = "Building".into();
        }
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        let patch = Patch::Merge(json!({"status": status}));
        api.patch_status("shown", &PatchParams::default(), &patch)
            .await
            .unwrap();

        let address = format!(
            "/apis/{}/namespaces/{namespace}/{}/shown",
            resource.api_version, resource.plural
        );
        let table = http::Request::get(address)
            .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
        let table: Value = client
            .request(table.body(Vec::new()).unwrap())
            .await
            .unwrap();
        let columns = table["columnDefinitions"].as_array().unwrap().iter();
        let cells = columns
            .zip(table["rows"][0]["cells"].as_array().unwrap())
            .skip(1);
        let cells = cells.map(|(column, cell)| match cell {
            _ if column["name"] == "Age" => "AGE".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        assert_eq!(cells.collect::<Vec<_>>().join(" "), row, "{kind}");

        let resources: Value = client
            .request(
                http::Request::get(format!("/apis/{}", resource.api_version))
                    .body(Vec::new())
                    .unwrap(),
            )
            .await
            .unwrap();
        let listed = resources["resources"]
            .as_array()
            .unwrap()
            .iter()
            .find(|found| found["kind"] == kind)
            .unwrap();
        assert_eq!(listed["shortNames"], json!([short_name]), "{kind}");
        assert_eq!(listed["categories"], json!(["kairos"]), "{kind}");
    }
}

#[tokio::test]
async fn a_stored_nested_osartifact_loses_nothing_and_no_new_one_comes() {
    let cluster = cluster().await;
    let (client, namespace) = (
        cluster.client().unwrap(),
        cluster.temp_namespace("schema").await.unwrap(),
    );
    let namespace = namespace.name();
    // A group of its own, so that the rules can be taken away without anybody else noticing.
    let mut real = crds::all().remove(2);
    "nested.kairos.io".clone_into(&mut real.spec.group);
    real.metadata.name = Some("osartifacts.nested.kairos.io".to_owned());
    real.spec.names.short_names = None;
    let mut lenient = serde_json::to_value(&real).unwrap();
    for pointer in ["", "/image", "/artifacts", "/volumes"] {
        let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
        let properties = if pointer.is_empty() {
            ""
        } else {
            "/properties"
        };
        let schema = lenient
            .pointer_mut(&format!("{spec}{properties}{pointer}"))
            .unwrap();
        schema
            .as_object_mut()
            .unwrap()
            .remove("x-kubernetes-validations")
            .expect("there is a rule");
    }
    install(&client, &serde_json::from_value(lenient).unwrap()).await;

    let gvk = GroupVersionKind::gvk("nested.kairos.io", "v1alpha2", "OSArtifact");
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), namespace, &ApiResource::from_gvk(&gvk));
    let apply = PatchParams::apply("kairos-operator");
    let stored = json!({
        "apiVersion": "nested.kairos.io/v1alpha2",
        "kind": "OSArtifact",
        "metadata": {"name": "stored", "finalizers": ["build.kairos.io/osbuilder-finalizer"]},
        "spec": {
            "image": {"buildOptions": {"version": "v3.6.0", "fips": false}, "buildEnv": [{"name": "A", "value": "b"}]},
            "artifacts": {"iso": true, "uki": {"iso": true, "keysVolume": "dockerfile"}},
            "volumes": [{"name": "dockerfile", "emptyDir": {}}],
        },
    });
    api.patch("stored", &apply, &Patch::Apply(&stored))
        .await
        .unwrap();
    install(&client, &real).await;
    let mut new = stored.clone();
    new["metadata"] = json!({"name": "new"});
    let refusal = until_refused(&api, &new).await;
    assert!(
        refusal.contains("write imageName for a Kairos image"),
        "{refusal}"
    );

    // What a controller and its users do to it is allowed, and takes nothing away.
    let merge = PatchParams::default();
    let status = json!({"status": {"phase": "Error", "message": "nested form"}});
    api.patch_status("stored", &merge, &Patch::Merge(status))
        .await
        .unwrap();
    let edit = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"artifacts": {"iso": false}}});
    let found = api
        .patch("stored", &merge, &Patch::Merge(edit))
        .await
        .unwrap();
    let mut wanted = stored.clone();
    wanted["spec"]["artifacts"]["iso"] = false.into();
    assert_eq!(
        missing(&wanted, &serde_json::to_value(&found).unwrap(), ""),
        None
    );
    let typed = round_trip::<OSArtifact>(&serde_json::to_value(&found).unwrap()).unwrap();
    assert_eq!(missing(&wanted["spec"], &typed["spec"], ""), None);
    let unpinned = json!({"metadata": {"finalizers": null}});
    let found = api
        .patch("stored", &merge, &Patch::Merge(unpinned))
        .await
        .unwrap();
    assert_eq!(found.finalizers().len(), 0);
}

/// Asks, without storing anything, until the API server goes by the new rules.
async fn until_refused(api: &Api<DynamicObject>, manifest: &Value) -> String {
    let asked = Instant::now();
    let dry_run = PatchParams {
        dry_run: true,
        ..PatchParams::apply("case")
    };
    loop {
        match api.patch("new", &dry_run, &Patch::Apply(manifest)).await {
            Err(kube::Error::Api(status)) if status.code == 422 => return status.message,
            answer => assert!(
                asked.elapsed() < CRD_DEADLINE,
                "still not refused: {answer:?}"
            ),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

//! The admission policy of `deploy/policies`, which SECURITY.md recommends: what it lets in, and what it refuses with which
//! words.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first surprise"
)]

use std::time::{Duration, Instant};

use e2e::cluster::Cluster;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};

const POLICY: &str = include_str!("../../deploy/policies/admission-policy.yaml");
const OPERATIONS: &str = "kairos-operations";
const CONTROLLER: &str = "system:serviceaccount:kairos-operator:nodeop-controller";
const JOB_CONTROLLER: &str = "system:serviceaccount:kube-system:job-controller";
const ADMIN: &str = "an-admin";

/// Creates, without keeping it, as somebody who may do everything that the policy does not forbid. The refusal's words are
/// the error.
async fn create(
    cluster: &Cluster,
    user: &str,
    namespace: &str,
    manifest: Value,
) -> Result<(), String> {
    let mut config = cluster.config();
    config.auth_info.impersonate = Some(user.to_owned());
    config.auth_info.impersonate_groups = Some(vec!["system:masters".to_owned()]);
    let client = Client::try_from(config).unwrap();
    let version = manifest["apiVersion"].as_str().unwrap();
    let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
    let kind = GroupVersionKind::gvk(group, version, manifest["kind"].as_str().unwrap());
    let api: Api<DynamicObject> =
        Api::namespaced_with(client, namespace, &ApiResource::from_gvk(&kind));
    let dry_run = PostParams {
        dry_run: true,
        field_manager: None,
    };
    let created = api
        .create(&dry_run, &serde_json::from_value(manifest).unwrap())
        .await;
    created.map(drop).map_err(|error| error.to_string())
}

fn node_op(spec: Value) -> Value {
    let mut spec = spec;
    spec["command"] = json!(["run"]);
    json!({
        "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOp", "metadata": {"name": "op"}, "spec": spec,
    })
}

fn pod_spec() -> Value {
    json!({"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox"}]})
}

fn pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": pod_spec()})
}

fn job() -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"},
        "spec": {"template": {"spec": pod_spec()}},
    })
}

async fn guarded() -> Cluster {
    let cluster = Cluster::builder().start().await.unwrap();
    cluster.install_crds().await.unwrap();
    let namespace = serde_json::from_value(json!({"metadata": {"name": OPERATIONS}})).unwrap();
    Api::<Namespace>::all(cluster.client().unwrap())
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    // No controller manager makes it here.
    let account = serde_json::from_value(json!({"metadata": {"name": "default"}})).unwrap();
    Api::<ServiceAccount>::namespaced(cluster.client().unwrap(), OPERATIONS)
        .create(&PostParams::default(), &account)
        .await
        .unwrap();
    cluster.apply_yaml(POLICY).await.unwrap();
    // A policy takes a moment to be in force.
    let begun = Instant::now();
    for manifest in [job(), node_op(json!({}))] {
        while !refused(create(&cluster, ADMIN, OPERATIONS, manifest.clone()).await) {
            assert!(begun.elapsed() < Duration::from_mins(1), "never in force");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    cluster
}

fn refused(result: Result<(), String>) -> bool {
    result.is_err_and(|words| words.contains("ValidatingAdmissionPolicy"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recommended_policy_bounds_operations_to_their_namespace_registry_and_controllers() {
    let cluster = guarded().await;
    let ours = "registry.example.com/tools:v1";
    let check = |image: &str| json!({"command": ["look"], "image": image});
    let upgrade = |image: &str| {
        json!({
            "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOpUpgrade", "metadata": {"name": "up"},
            "spec": {"image": image},
        })
    };
    let let_in = [
        (ADMIN, node_op(json!({"image": ours}))),
        (
            ADMIN,
            node_op(json!({"image": ours, "preflight": check(ours), "verify": check(ours)})),
        ),
        (ADMIN, upgrade(ours)),
        (CONTROLLER, pod()),
        (CONTROLLER, job()),
        (JOB_CONTROLLER, pod()),
    ];
    for (user, manifest) in let_in {
        let what = format!("{user}: {manifest}");
        let created = create(&cluster, user, OPERATIONS, manifest).await;
        assert_eq!(created, Ok(()), "{what}");
    }

    let place = "operations on nodes belong into the namespace kairos-operations";
    let registry = "use images of registry.example.com/";
    let by_hand = "only the nodeop-controller starts Pods and Jobs here; create a NodeOp";
    let kept_out = [
        (ADMIN, "default", node_op(json!({"image": ours})), place),
        (ADMIN, "default", upgrade(ours), place),
        (
            ADMIN,
            OPERATIONS,
            node_op(json!({})),
            "name the image in spec.image",
        ),
        (
            ADMIN,
            OPERATIONS,
            node_op(json!({"image": "busybox"})),
            registry,
        ),
        (
            ADMIN,
            OPERATIONS,
            node_op(json!({"image": ours, "preflight": check("busybox")})),
            registry,
        ),
        (
            ADMIN,
            OPERATIONS,
            node_op(json!({"image": ours, "verify": check("busybox")})),
            registry,
        ),
        (ADMIN, OPERATIONS, upgrade("quay.io/kairos:v1"), registry),
        (ADMIN, OPERATIONS, pod(), by_hand),
        (ADMIN, OPERATIONS, job(), by_hand),
        (JOB_CONTROLLER, OPERATIONS, job(), by_hand),
    ];
    for (user, namespace, manifest, words) in kept_out {
        let what = format!("{user}: {manifest}");
        let refusal = create(&cluster, user, namespace, manifest)
            .await
            .unwrap_err();
        assert!(refusal.contains(words), "{what}: {refusal}");
    }
    // Elsewhere everybody works as before.
    let elsewhere = create(&cluster, ADMIN, "default", job()).await;
    assert_eq!(elsewhere, Ok(()));
}

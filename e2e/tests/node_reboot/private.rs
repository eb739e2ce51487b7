//! An image of a registry that asks for a password.

use std::time::Duration;

use api_types::nodeop::{NodePhase, NodeStatus, Phase};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use crate::NODES;
use crate::site::Site;

const HOST: &str = "registry.example.com";
const IMAGE: &str = "registry.example.com/fleet/tool:v1";

/// What the kubelet says of an image that it does not get.
fn tells_of_the_pull(entry: &NodeStatus) -> bool {
    let message = entry.message.as_deref().unwrap_or_default();
    let reasons = ["ErrImagePull", "ImagePullBackOff"];
    reasons.iter().any(|reason| message.contains(reason)) && message.contains(IMAGE)
}

pub(crate) async fn a_private_image_tells_why_it_is_not_pulled_and_runs_with_its_secret(
    site: &Site<'_>,
) {
    let images = site.nodes.images();
    images.put(IMAGE, site.nodes.busybox().unwrap()).unwrap();
    images.require_password(HOST, "fleet", "sesame").unwrap();
    let name = NODES[0];
    let spec = |more: serde_json::Value| {
        let mut spec = json!({
            "command": ["true"], "image": IMAGE, "cordon": true, "uncordonOnFailure": true,
            "nodeSelector": {"matchLabels": {"kubernetes.io/hostname": name}},
        });
        let all = spec.as_object_mut().unwrap();
        all.extend(more.as_object().unwrap().clone());
        spec
    };

    let alone = spec(json!({"activeDeadlineSeconds": 12, "backoffLimit": 0}));
    site.create("without-secret", alone).await;
    let what = "says why its Pod does not start";
    let waits = |entry: &NodeStatus| entry.phase == NodePhase::Running && tells_of_the_pull(entry);
    site.entry("without-secret", name, what, waits).await;
    let status = site.ended("without-secret", Duration::from_mins(2)).await;
    assert_eq!(status.phase, Some(Phase::Failed));
    let entry = &status.node_statuses[name];
    let message = entry.message.as_deref().unwrap_or_default();
    assert!(message.contains("DeadlineExceeded"), "{message}");
    assert!(tells_of_the_pull(entry), "the cause is lost: {message}");
    assert!(!site.is_cordoned(name).await);

    let login = json!({"auths": {HOST: {"username": "fleet", "password": "sesame"}}});
    let secret = json!({
        "metadata": {"name": "fleet-login"}, "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": login.to_string()},
    });
    let secrets: Api<Secret> = Api::namespaced(site.client.clone(), &site.namespace);
    let secret = serde_json::from_value(secret).unwrap();
    secrets
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
    let guest = spec(json!({"imagePullSecrets": [{"name": "fleet-login"}]}));
    site.create("with-secret", guest).await;
    let status = site.ended("with-secret", Duration::from_mins(1)).await;
    assert_eq!(status.phase, Some(Phase::Completed), "{status:#?}");
}

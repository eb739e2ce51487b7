//! Removing the operator while a node is drained and an image is built.

use api_types::osartifact::{ArtifactPhase, OSArtifact};
use e2e::chart;
use e2e::guard::ProcessHandle;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::site::{REMOVED_WITHIN, Site, eventually};

/// Both controllers at work in one namespace. They end when the operator is removed, as their Pods would.
async fn at_work(site: &Site) -> ([ProcessHandle; 2], e2e::cluster::TempNamespace, String) {
    let controllers = [
        site.start("nodeop-controller", &["--shutdown-grace-seconds=1"])
            .await,
        site.start("artifact-controller", &["--worker-image=worker"])
            .await,
    ];
    let (namespace, work) = site.draining_node_op().await;
    let artifact = json!({
        "apiVersion": "build.kairos.io/v1alpha2", "kind": "OSArtifact", "metadata": {"name": "image"},
        "spec": {"imageName": "example.com/kairos:v1.0.0", "iso": true},
    });
    site.create(&work, artifact).await;
    let api: Api<OSArtifact> = Api::namespaced(site.client.clone(), &work);
    eventually("the image is being built", async || {
        let status = api.get("image").await.ok()?.status?;
        (status.phase == Some(ArtifactPhase::Building)).then_some(())
    })
    .await;
    (controllers, namespace, work)
}

#[tokio::test]
async fn helm_uninstall_waits_for_nobody_and_the_readme_ends_what_remains() {
    let site = Site::new().await;
    site.restricted_namespace().await;
    let newer = chart::folder();
    site.helm(&["install", "kairos-operator", newer.to_str().unwrap()])
        .await
        .well();
    let (controllers, namespace, work) = at_work(&site).await;

    let said = site.helm(&["uninstall", "kairos-operator"]).await.well();
    eprintln!("helm uninstall took {:.1} s", said.took.as_secs_f32());
    assert!(said.took < REMOVED_WITHIN);
    for controller in &controllers {
        controller.kill().unwrap();
    }
    // What README.md says: the NodeOp stays with its finalizer, the node with its cordon.
    let left = site.node_op(&work).await.unwrap();
    assert!(!left.finalizers().is_empty());
    assert!(site.is_cordoned().await);

    site.follow_readme().await;
    nothing_remains(&site, namespace, &work).await;
}

#[tokio::test]
async fn helm_install_takes_up_where_an_uninstalled_operator_stopped() {
    let site = Site::new().await;
    site.restricted_namespace().await;
    let newer = chart::folder();
    let newer = newer.to_str().unwrap();
    site.helm(&["install", "kairos-operator", newer])
        .await
        .well();
    let controller = site
        .start("nodeop-controller", &["--shutdown-grace-seconds=1"])
        .await;
    let (namespace, work) = site.draining_node_op().await;
    site.helm(&["uninstall", "kairos-operator"]).await.well();
    controller.kill().unwrap();

    site.helm(&["install", "kairos-operator", newer])
        .await
        .well();
    let controller = site
        .start("nodeop-controller", &["--shutdown-grace-seconds=1"])
        .await;
    site.kubectl(&[
        "delete",
        "nodeops",
        "--all",
        "--all-namespaces",
        "--timeout=60s",
    ])
    .await
    .well();
    assert!(!site.is_cordoned().await, "the node was not given back");
    controller.kill().unwrap();
    site.helm(&["uninstall", "kairos-operator"]).await.well();
    site.follow_readme().await;
    nothing_remains(&site, namespace, &work).await;
}

#[tokio::test]
async fn kubectl_delete_waits_for_a_drain_without_its_controller_and_the_readme_ends_it() {
    let site = Site::new().await;
    site.kubectl(&["apply", "-k", "deploy/default"])
        .await
        .well();
    let (controllers, namespace, work) = at_work(&site).await;
    // While they run they may be quick enough to give the node back; the worst is that they go first.
    for controller in &controllers {
        controller.kill().unwrap();
    }
    let words = [
        "delete",
        "-k",
        "deploy/default",
        "--ignore-not-found",
        "--timeout=20s",
    ];
    let said = site.kubectl(&words).await;
    eprintln!("kubectl delete -k took {:.1} s", said.took.as_secs_f32());
    assert!(said.took < REMOVED_WITHIN);
    assert!(
        !said.good && said.text.contains("timed out"),
        "{}",
        said.text
    );
    site.follow_readme().await;
    nothing_remains(&site, namespace, &work).await;
}

async fn nothing_remains(site: &Site, namespace: e2e::cluster::TempNamespace, work: &str) {
    assert!(!site.is_cordoned().await);
    let annotations = site.node().await.annotations().clone();
    assert!(
        !annotations
            .keys()
            .any(|name| name.starts_with("operator.kairos.io/c")),
        "{annotations:?}"
    );
    drop(namespace);
    site.delete_namespace(work).await;
    site.delete_namespace("kairos-operator").await;
    site.delete_namespace("kairos-operator-detect").await;
    let all = site.everything().await;
    let ours: Vec<&String> = all
        .iter()
        .filter(|line| line.contains("kairos") || line.contains("nodeop"))
        .collect();
    assert!(ours.is_empty(), "{ours:?}");
}

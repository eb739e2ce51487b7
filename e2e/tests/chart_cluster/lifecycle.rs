//! From an older version to this one and back, with an operation under way.

use kube::ResourceExt as _;
use serde_json::json;

use crate::site::{DEFINITIONS, Site, eventually, older_chart};
use e2e::chart;

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, told in its order")]
async fn an_operation_outlives_upgrade_and_rollback_and_only_definitions_outlive_the_chart() {
    let site = Site::new().await;
    site.restricted_namespace().await;
    // What every namespace gets.
    eventually("the namespace is complete", async || {
        let all = site.everything().await;
        (all.contains("ServiceAccount kairos-operator/default")
            && all.contains("ConfigMap kairos-operator/kube-root-ca.crt"))
        .then_some(())
    })
    .await;
    let before = site.everything().await;
    let (older, newer) = (older_chart(), chart::folder());
    let (older, newer) = (older.to_str().unwrap(), newer.to_str().unwrap());

    // --wait: the Deployments become available, in a namespace whose Pod Security level is restricted.
    site.helm(&[
        "install",
        "kairos-operator",
        older,
        "--wait",
        "--timeout=120s",
    ])
    .await
    .well();
    assert!(!site.knows_verify().await);
    let controller = site
        .start("nodeop-controller", &["--shutdown-grace-seconds=1"])
        .await;
    let (namespace, work) = site.draining_node_op().await;
    let started = site.node_op(&work).await.unwrap();

    site.helm(&[
        "upgrade",
        "kairos-operator",
        newer,
        "--wait",
        "--timeout=120s",
    ])
    .await
    .well();
    assert!(site.knows_verify().await, "the definition was not upgraded");
    let all = site.everything().await;
    assert!(!all.contains("ConfigMap kairos-operator/nodeop-controller-settings"));
    for name in [
        "nodeop-controller",
        "upgrade-controller",
        "artifact-controller",
        "node-labeller",
    ] {
        assert!(
            all.contains(&format!("Deployment kairos-operator/{name}")),
            "{name}"
        );
    }
    let kept = site.node_op(&work).await.unwrap();
    assert_eq!(kept.uid(), started.uid());
    assert!(site.is_cordoned().await);

    // The same process, with the rights of the newer chart, ends it.
    site.delete(&work, "poddisruptionbudget", "held").await;
    eventually("the operation is complete", async || {
        let status = site.node_op(&work).await?.status?;
        (serde_json::to_value(status.phase).unwrap() == json!("Completed")).then_some(())
    })
    .await;
    assert!(!site.is_cordoned().await);

    site.helm(&[
        "rollback",
        "kairos-operator",
        "1",
        "--wait",
        "--timeout=120s",
    ])
    .await
    .well();
    assert!(
        !site.knows_verify().await,
        "the definition was not taken back"
    );
    let kept = site.node_op(&work).await.unwrap();
    assert_eq!(kept.uid(), started.uid());

    site.helm(&["uninstall", "kairos-operator"]).await.well();
    controller.kill().unwrap();
    assert!(
        site.node_op(&work).await.is_some(),
        "an object went with the chart"
    );
    site.delete(&work, "nodeop", "op").await;
    drop(namespace);
    site.delete_namespace(&work).await;
    site.remains(&before, &DEFINITIONS).await;

    // Installed again over what was kept, under the same name.
    site.helm(&["install", "kairos-operator", newer])
        .await
        .well();
    // Under another name, it is refused, and says what to do.
    site.helm(&["uninstall", "kairos-operator"]).await.well();
    let refused = site.helm(&["install", "other", newer]).await;
    assert!(
        !refused.good && refused.text.contains("ownership"),
        "{}",
        refused.text
    );
    site.helm(&["install", "other", newer, "--take-ownership"])
        .await
        .well();
    site.helm(&["uninstall", "other"]).await.well();
    site.remains(&before, &DEFINITIONS).await;
    site.delete_definitions().await;
    site.delete_namespace("kairos-operator").await;
}

#[tokio::test]
async fn definitions_that_somebody_else_installed_are_taken_over_when_told() {
    let site = Site::new().await;
    site.restricted_namespace().await;
    let definition = older_chart().join("templates/crds.yaml");
    site.kubectl(&["apply", "-f", definition.to_str().unwrap()])
        .await
        .well();
    let newer = chart::folder();
    let install = ["install", "kairos-operator", newer.to_str().unwrap()];
    let refused = site.helm(&install).await;
    assert!(
        !refused.good && refused.text.contains("ownership"),
        "{}",
        refused.text
    );
    let told = ["--take-ownership", "--force-conflicts"];
    site.helm(&[&install[..], &told].concat()).await.well();
    assert!(site.knows_verify().await);
    site.helm(&["uninstall", "kairos-operator"]).await.well();
    site.delete_definitions().await;
    site.delete_namespace("kairos-operator").await;
    site.delete_namespace("kairos-operator-detect").await;
}

impl Site {
    /// Whether the definition of NodeOps has a field that the older one has not.
    async fn knows_verify(&self) -> bool {
        let path = "-o=jsonpath={.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.verify.type}";
        let said = self
            .kubectl(&["get", "crd", "nodeops.operator.kairos.io", path])
            .await
            .well();
        said.text.contains("object")
    }
}

//! A strict dry run: the API server knows every kind, field and rule, and refuses what it does not know.

use std::fs;

use e2e::chart;

use crate::site::Site;

#[tokio::test]
async fn the_api_server_accepts_all_that_the_chart_can_render() {
    let site = Site::new().await;
    let monitoring = include_str!("monitoring.yaml");
    site.cluster.apply_yaml(monitoring).await.unwrap();
    let namespaces = [
        "kairos-operator",
        "operations",
        "builds",
        "look-at-nodes",
        "kairos-operator-detect",
    ];
    for namespace in namespaces {
        let yaml = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n");
        site.cluster.apply_yaml(&yaml).await.unwrap();
    }
    let values = concat!(
        "--values=",
        env!("CARGO_MANIFEST_DIR"),
        "/tests/chart_render/all-options.yaml"
    );
    for (name, arguments) in [("default", vec![]), ("all-options", vec![values])] {
        let path = site.cluster.folder().join(format!("{name}.yaml"));
        fs::write(&path, chart::template(&arguments).unwrap()).unwrap();
        let path = path.display().to_string();
        let words = [
            "apply",
            "--server-side",
            "--dry-run=server",
            "--validate=strict",
            "-f",
            &path,
        ];
        site.kubectl(&words).await.well();
    }
    for namespace in namespaces {
        site.delete_namespace(namespace).await;
    }
    site.kubectl(&[
        "delete",
        "crd",
        "servicemonitors.monitoring.coreos.com",
        "prometheusrules.monitoring.coreos.com",
    ])
    .await
    .well();
}

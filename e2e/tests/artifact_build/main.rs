//! OSArtifacts on a real node: buildah really builds, stand-ins of AuroraBoot and kairos-init really write files, and
//! exporters, whose Pods have the same tools, read them back out of the volume.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first surprise"
)]

mod bad_templates;
mod images;
mod outputs;
mod site;

use api_types::osartifact::ArtifactPhase;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use e2e::cluster::{Cluster, ControlPlane};
use e2e::nodes::{self, NodeSpec, RealNodes};
use e2e::operator::{self, Controller};
use serde_json::json;

use site::Site;

/// The registry as Pods reach it; it asks the tools for a password, and has no TLS.
const REGISTRY: &str = "10.99.0.1:5000";
const USER: &str = "builder";
const PASSWORD: &str = "correct-horse";
const TOOLS: &str = "registry.example.com/tools:e2e";

/// One cluster for all that follows: its start is most of the time.
#[tokio::test(flavor = "multi_thread")]
async fn artifacts_are_built_on_a_real_node() {
    nodes::supported().unwrap();
    let cluster = Cluster::builder()
        .control_plane(ControlPlane::Full)
        .network_namespace()
        .start()
        .await
        .unwrap();
    let nodes = RealNodes::start(
        &cluster.nodes_control_plane().unwrap(),
        &[NodeSpec::new("builder")],
    )
    .await
    .unwrap();
    let store = nodes.images();
    let image = |name: &str| format!("{REGISTRY}/{name}");
    store
        .put(
            TOOLS,
            tokio::task::spawn_blocking(images::tools).await.unwrap(),
        )
        .unwrap();
    store
        .put(&image("kairos-init:e2e"), images::kairos_init())
        .unwrap();
    store
        .put(&image("kairos:v1"), images::kairos(&nodes))
        .unwrap();
    store
        .put(&image("vanilla:v1"), nodes.busybox().unwrap())
        .unwrap();
    store
        .put(&image("bundle-one:v1"), images::bundle("one"))
        .unwrap();
    store
        .put(&image("bundle-two:v1"), images::bundle("two"))
        .unwrap();
    store.require_password(REGISTRY, USER, PASSWORD).unwrap();

    operator::install_artifact_controller(&cluster)
        .await
        .unwrap();
    let mut controller = Controller::new(&cluster, "artifact-controller", None)
        .await
        .unwrap();
    for argument in [
        format!("--worker-image={TOOLS}"),
        format!("--auroraboot-image={TOOLS}"),
        format!("--buildah-image={TOOLS}"),
        format!("--kairos-init-image={}", image("kairos-init:e2e")),
        "--allow-insecure-registries".to_owned(),
    ] {
        controller = controller.argument(&argument);
    }
    let _running = controller.start(&cluster).unwrap();
    let namespace = cluster.temp_namespace("build").await.unwrap();
    let site = Site {
        client: cluster.client().unwrap(),
        namespace: namespace.name().to_owned(),
    };
    let credentials = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let registries = json!({"auths": {REGISTRY: {"auth": credentials}}}).to_string();
    site.secret(
        "registry",
        "kubernetes.io/dockerconfigjson",
        json!({".dockerconfigjson": registries}),
    )
    .await;
    site.secret(
        "cloud",
        "Opaque",
        json!({"userdata": "#cloud-config\nhostname: from-the-test\n"}),
    )
    .await;

    bad_templates::each_kind_is_told_with_its_place(&site).await;
    outputs::every_output_of_a_kairos_image_is_built(&site).await;
    outputs::a_dockerfile_is_rendered_built_and_converted(&site).await;
    outputs::a_vanilla_image_is_converted(&site).await;
    a_missing_secret_is_told(&site).await;
    // Everything else has run meanwhile.
    bad_templates::none_was_tried_again(&site, &cluster).await;
}
async fn a_missing_secret_is_told(site: &Site) {
    let spec = json!({"imageName": format!("{REGISTRY}/kairos:v1"), "iso": true, "cloudConfigRef": {"name": "nowhere"}});
    let status = site.build("missing", spec, "true").await;
    assert_eq!(status.phase, Some(ArtifactPhase::Error));
    let message = status.message.unwrap();
    assert!(
        message.contains("cloudConfigRef: the Secret \"nowhere\" does not exist"),
        "{message}"
    );
}

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
mod serving;
mod site;

use std::panic::{AssertUnwindSafe, resume_unwind};

use api_types::osartifact::ArtifactPhase;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use e2e::cluster::{Cluster, ControlPlane};
use e2e::nodes::{self, NodeSpec, RealNodes};
use e2e::operator::{self, Controller};
use futures::future::{FutureExt as _, LocalBoxFuture};
use futures::{StreamExt as _, stream};
use serde_json::json;

use site::Site;

/// The registry as Pods reach it; it asks the tools for a password, and has no TLS.
const REGISTRY: &str = "10.99.0.1:5000";
const USER: &str = "builder";
const PASSWORD: &str = "correct-horse";
const TOOLS: &str = "registry.example.com/tools:e2e";
/// Builds at once: they wait for containers more than they compute.
const AT_ONCE: usize = 4;

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
    put_images(&nodes).await;
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
        format!("--kairos-init-image={}", in_registry("kairos-init:e2e")),
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
    all_is_built(&cluster, &site, &nodes).await;
    // Everything else has run meanwhile.
    bad_templates::none_was_tried_again(&site, &cluster).await;
    serving::the_controller_s_rights_suffice_and_show_no_secret(&site, &cluster).await;
}

fn in_registry(name: &str) -> String {
    format!("{REGISTRY}/{name}")
}

async fn put_images(nodes: &RealNodes) {
    let store = nodes.images();
    store
        .put(
            TOOLS,
            tokio::task::spawn_blocking(images::tools).await.unwrap(),
        )
        .unwrap();
    store
        .put(&in_registry("kairos-init:e2e"), images::kairos_init())
        .unwrap();
    store
        .put(&in_registry("kairos:v1"), images::kairos(nodes))
        .unwrap();
    store
        .put(&in_registry("vanilla:v1"), nodes.busybox().unwrap())
        .unwrap();
    store
        .put(&in_registry("bundle-one:v1"), images::bundle("one"))
        .unwrap();
    store
        .put(&in_registry("bundle-two:v1"), images::bundle("two"))
        .unwrap();
    let served = store.clone();
    tokio::task::spawn_blocking(move || serving::put_images(&served))
        .await
        .unwrap();
    store.require_password(REGISTRY, USER, PASSWORD).unwrap();
}

async fn all_is_built(cluster: &Cluster, site: &Site, nodes: &RealNodes) {
    let builds: [LocalBoxFuture<'_, ()>; 8] = [
        outputs::every_output_of_a_kairos_image_is_built(site).boxed_local(),
        files_are_served(cluster, site, nodes).boxed_local(),
        outputs::a_base_image_is_converted_overlaid_and_assembled(site).boxed_local(),
        outputs::a_dockerfile_is_rendered_built_and_converted(site).boxed_local(),
        outputs::the_advanced_example_of_the_readme_is_built(site).boxed_local(),
        outputs::a_vanilla_image_is_converted(site).boxed_local(),
        outputs::an_image_is_its_own_output_when_nothing_else_is_asked_for(site).boxed_local(),
        a_missing_secret_is_told(site).boxed_local(),
    ];
    // Each goes to its end, also where another has failed: the next run then has all of them mended.
    let ends: Vec<_> = stream::iter(builds)
        .map(|build| AssertUnwindSafe(build).catch_unwind())
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    for end in ends {
        end.unwrap_or_else(|panic| resume_unwind(panic));
    }
}

/// The server of `deploy/nginx`, from its installation to what must not go wrong there.
async fn files_are_served(cluster: &Cluster, site: &Site, nodes: &RealNodes) {
    cluster.start_dns().await.unwrap();
    let server = serving::install(cluster, site, nodes.get("builder").unwrap()).await;
    serving::what_the_readme_s_exporter_uploads_is_downloaded_unchanged(&server).await;
    serving::an_interrupted_upload_leaves_no_half_file(&server).await;
    serving::the_role_for_copying_suffices_and_shows_no_secret(&server).await;
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

//! OSArtifacts on a real node: buildah really builds, stand-ins of AuroraBoot and kairos-init really write files, and
//! exporters, whose Pods have the same tools, read them back out of the volume.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first surprise"
)]

use std::fmt::Write as _;
use std::time::Duration;

use api_types::osartifact::{ArtifactPhase, OSArtifact, OSArtifactStatus};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use e2e::cluster::{Cluster, ControlPlane};
use e2e::images::{Image, ImageConfig, bootable};
use e2e::nodes::{self, NodeSpec, RealNodes};
use e2e::operator::{self, Controller};
use k8s_openapi::api::core::v1::{PersistentVolume, Pod, Secret};
use kube::api::{ListParams, LogParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

/// Images are pulled, containers started, files built.
const PATIENCE: Duration = Duration::from_mins(4);
/// The registry as Pods reach it; it asks the tools for a password, and has no TLS.
const REGISTRY: &str = "10.99.0.1:5000";
const USER: &str = "builder";
const PASSWORD: &str = "correct-horse";
const TOOLS: &str = "registry.example.com/tools:e2e";

struct Site {
    client: Client,
    namespace: String,
}

impl Site {
    fn artifacts(&self) -> Api<OSArtifact> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn secret(&self, name: &str, type_: &str, entries: Value) {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let secret = serde_json::from_value(
            json!({"metadata": {"name": name}, "type": type_, "stringData": entries}),
        )
        .unwrap();
        secrets
            .create(&PostParams::default(), &secret)
            .await
            .unwrap();
    }

    async fn volume(&self, name: &str) {
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        let volume = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "10Gi"}, "storageClassName": name,
                "hostPath": {"path": format!("/var/lib/{name}"), "type": "DirectoryOrCreate"},
            },
        }))
        .unwrap();
        volumes
            .create(&PostParams::default(), &volume)
            .await
            .unwrap();
    }

    /// Builds, and runs `script` as an exporter where the files are. What both end with.
    async fn build(&self, name: &str, spec: Value, script: &str) -> OSArtifactStatus {
        self.volume(name).await;
        let mut spec = spec;
        spec["volume"] = json!({"storageClassName": name});
        spec["imagePullSecrets"] = json!([{"name": "registry"}]);
        spec["exporters"] = json!([{"backoffLimit": 0, "template": {"spec": {"containers": [{
            "name": "check", "image": TOOLS, "command": ["bash", "-euxc", script],
            "volumeMounts": [{"name": "artifacts", "mountPath": "/artifacts"}],
        }]}}}]);
        let artifact = serde_json::from_value(json!({
            "apiVersion": "build.kairos.io/v1alpha2", "kind": "OSArtifact", "metadata": {"name": name}, "spec": spec,
        }))
        .unwrap();
        self.artifacts()
            .create(&PostParams::default(), &artifact)
            .await
            .unwrap();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let status = self
                .artifacts()
                .get(name)
                .await
                .unwrap()
                .status
                .unwrap_or_default();
            if matches!(
                status.phase,
                Some(ArtifactPhase::Ready | ArtifactPhase::Error)
            ) {
                return status;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{name} has not ended within {PATIENCE:?}: {status:#?}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn ready(&self, name: &str, spec: Value, script: &str) -> OSArtifactStatus {
        let status = self.build(name, spec, script).await;
        let ready = status.phase == Some(ArtifactPhase::Ready);
        let logs = if ready {
            String::new()
        } else {
            self.logs(name).await
        };
        assert!(ready, "{name}: {status:#?}\n{logs}");
        status
    }

    /// The ends of all logs of the artifact's Pods.
    async fn logs(&self, name: &str) -> String {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let selected = ListParams::default().labels(&format!("build.kairos.io/artifact={name}"));
        let mut text = String::new();
        for pod in pods.list(&selected).await.unwrap().items {
            let spec = pod.spec.as_ref().unwrap();
            for container in spec
                .init_containers
                .iter()
                .flatten()
                .chain(&spec.containers)
            {
                let params = LogParams {
                    container: Some(container.name.clone()),
                    tail_lines: Some(20),
                    ..LogParams::default()
                };
                let log = pods
                    .logs(&pod.name_any(), &params)
                    .await
                    .unwrap_or_else(|error| error.to_string());
                writeln!(text, "--- {} {}\n{log}", pod.name_any(), container.name).unwrap();
            }
        }
        text
    }
}

/// One image with everything: the worker, the stand-in, and Debian's tools.
fn tools() -> Image {
    let worker = operator::binary("artifact-worker").unwrap();
    operator::build_tools()
        .unwrap()
        .program("artifact-worker", &worker)
        .unwrap()
}

fn kairos_init() -> Image {
    let script = include_bytes!("data/stand-in-kairos-init.sh");
    Image::new(ImageConfig::default())
        .file("kairos-init", 0o755, script)
        .unwrap()
}

fn bundle(name: &str) -> Image {
    Image::new(ImageConfig::default())
        .folder("opt", 0o755)
        .unwrap()
        .file(&format!("opt/{name}"), 0o755, name.as_bytes())
        .unwrap()
        .file("opt/last", 0o644, name.as_bytes())
        .unwrap()
}

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
        .put(TOOLS, tokio::task::spawn_blocking(tools).await.unwrap())
        .unwrap();
    store.put(&image("kairos-init:e2e"), kairos_init()).unwrap();
    let kairos = bootable(nodes.busybox().unwrap()).unwrap();
    store.put(&image("kairos:v1"), kairos).unwrap();
    store
        .put(&image("vanilla:v1"), nodes.busybox().unwrap())
        .unwrap();
    store.put(&image("bundle-one:v1"), bundle("one")).unwrap();
    store.put(&image("bundle-two:v1"), bundle("two")).unwrap();
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

    every_output_of_a_kairos_image_is_built(&site).await;
    a_dockerfile_is_rendered_built_and_converted(&site).await;
    a_vanilla_image_is_converted(&site).await;
    a_bad_template_is_told_with_its_place(&site).await;
    a_missing_secret_is_told(&site).await;
}

/// Reads each file back: what it is, and what is in it.
async fn every_output_of_a_kairos_image_is_built(site: &Site) {
    let script = r#"
cd /artifacts
sha256sum --check all.iso.sha256
mkdir /tmp/iso
xorriso -osirrox on -indev all.iso -extract / /tmp/iso
grep hostname: /tmp/iso/config.yaml
grep 'set timeout=5' /tmp/iso/boot/grub2/grub.cfg
grep kernel /tmp/iso/boot/kernel
grep initrd /tmp/iso/boot/initrd
unsquashfs -quiet -no-xattrs -dest /tmp/root /tmp/iso/rootfs.squashfs
grep 'IMAGE_ID="opensuse-leap-15.6"' /tmp/root/usr/lib/os-release
test -L /tmp/root/etc/os-release
grep 'KAIROS_VERSION="v3.6.0"' /tmp/root/etc/kairos-release
grep KAIROS_NAME /tmp/root/etc/kairos-release
grep one /tmp/root/opt/one
grep two /tmp/root/opt/last
grep hello /tmp/root/etc/motd
cmp all.squashfs /tmp/iso/rootfs.squashfs
grep kernel all-kernel
grep initrd all-initrd
grep 'http://example.com/netboot/all-kernel' all.ipxe
test "$(stat -c %s all.raw)" = $((96 << 20))
debugfs -R 'cat /etc/motd' all.raw | grep hello
tail -c 512 all.vhd | head -c 8 | grep conectix
test "$(stat -c %s all.vhd)" = $(((96 << 20) + 512))
tar --list --file all.gce.tar.gz | grep '^disk.raw$'
if touch /artifacts/x; then echo the volume is writable; exit 1; fi
test -z "$(ls -A /artifacts | grep '^\.')"
"#;
    let spec = json!({
        "imageName": format!("{REGISTRY}/kairos:v1"),
        "iso": true, "netboot": true, "netbootURL": "http://example.com/netboot",
        "cloudImage": true, "azureImage": true, "gceImage": true, "diskSize": "96",
        "cloudConfigRef": {"name": "cloud", "key": "userdata"},
        "grubConfig": "set timeout=5\n",
        "osRelease": "opensuse-leap-15.6", "kairosRelease": "v3.6.0",
        "bundles": [format!("{REGISTRY}/bundle-one:v1"), format!("{REGISTRY}/bundle-two:v1")],
        "volumes": [{"name": "extra", "emptyDir": {}}],
        "importers": [{
            "name": "fetch", "image": "busybox",
            "command": ["sh", "-c", "mkdir /extra/etc && echo hello > /extra/etc/motd"],
            "volumeMounts": [{"name": "extra", "mountPath": "/extra"}],
        }],
        "volumeBindings": {"overlayRootfs": "extra"},
    });
    let status = site.ready("all", spec, script).await;
    let files: Vec<&str> = status.artifacts.iter().map(|file| &*file.file).collect();
    assert_eq!(
        files,
        [
            "all.iso",
            "all.squashfs",
            "all-kernel",
            "all-initrd",
            "all.ipxe",
            "all.raw",
            "all.vhd",
            "all.gce.tar.gz"
        ]
    );
    assert!(
        status
            .artifacts
            .iter()
            .all(|file| file.bytes > 0 && file.sha256.len() == 64)
    );
}

/// Values from a Secret and inline; a build context from an importer; the image and its ISO.
async fn a_dockerfile_is_rendered_built_and_converted(site: &Site) {
    let dockerfile = "FROM {{ .BaseImage }}\nCOPY greeting /etc/greeting\nRUN echo \"Version: {{ .Version }}\" > /etc/build-info\n";
    site.secret("my-dockerfile", "Opaque", json!({"Dockerfile": dockerfile}))
        .await;
    site.secret(
        "dockerfile-values",
        "Opaque",
        json!({"BaseImage": format!("{REGISTRY}/vanilla:v1"), "Version": "1.0.0"}),
    )
    .await;
    let script = r#"
cd /artifacts
mkdir /tmp/iso
xorriso -osirrox on -indev custom.iso -extract / /tmp/iso
unsquashfs -quiet -no-xattrs -dest /tmp/root /tmp/iso/rootfs.squashfs
grep 'Version: 2.0.0' /tmp/root/etc/build-info
grep hi /tmp/root/etc/greeting
grep 'KAIROS_VERSION="v3.6.0"' /tmp/root/etc/kairos-release
test ! -e /tmp/root/kairos-init
mkdir /tmp/image
skopeo copy --insecure-policy docker-archive:custom.tar dir:/tmp/image
tar --list --file custom.tar manifest.json
tar --extract --to-stdout --file custom.tar manifest.json | grep registry.example.com/out:v1
"#;
    let spec = json!({
        "imageName": "registry.example.com/out:v1",
        "baseImageDockerfile": {"name": "my-dockerfile"},
        "dockerfileTemplateValuesFrom": {"name": "dockerfile-values"},
        "dockerfileTemplateValues": {"Version": "2.0.0"},
        "iso": true,
        "volumes": [{"name": "context", "emptyDir": {}}],
        "importers": [{
            "name": "fetch", "image": "busybox", "command": ["sh", "-c", "echo hi > /context/greeting"],
            "volumeMounts": [{"name": "context", "mountPath": "/context"}],
        }],
        "volumeBindings": {"buildContext": "context"},
    });
    let status = site.ready("custom", spec, script).await;
    assert_eq!(status.artifacts.len(), 2, "{status:#?}");
}

async fn a_vanilla_image_is_converted(site: &Site) {
    let script = r#"
mkdir /tmp/iso
xorriso -osirrox on -indev /artifacts/vanilla.iso -extract / /tmp/iso
unsquashfs -quiet -no-xattrs -dest /tmp/root /tmp/iso/rootfs.squashfs
grep 'KAIROS_VERSION="v3.7.0"' /tmp/root/etc/kairos-release
"#;
    // imageName of an image that turns out to be none of Kairos.
    let spec = json!({"imageName": format!("{REGISTRY}/vanilla:v1"), "iso": true, "kairosRelease": "v3.7.0"});
    site.ready("vanilla", spec, script).await;
}

async fn a_bad_template_is_told_with_its_place(site: &Site) {
    site.secret(
        "bad",
        "Opaque",
        json!({"Dockerfile": "FROM a\nRUN {{ .A.B }}\n"}),
    )
    .await;
    let spec = json!({"baseImageDockerfile": {"name": "bad"}, "dockerfileTemplateValues": {"A": "x"}, "iso": true});
    let status = site.build("bad", spec, "true").await;
    assert_eq!(status.phase, Some(ArtifactPhase::Error));
    let message = status.message.unwrap();
    assert!(message.contains("template: ocispec:2:9: executing \"ocispec\" at <.A.B>: can't evaluate field B in type string"), "{message}");
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

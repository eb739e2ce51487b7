//! Builds that succeed, whose files are read back by an exporter.

use api_types::osartifact::{ArtifactPhase, OSArtifact};
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::REGISTRY;
use crate::site::{PATIENCE, Site, outdated, until};

/// Reads each file back: what it is, and what is in it.
pub(crate) async fn every_output_of_a_kairos_image_is_built(site: &Site) {
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
grep '^kernel http://example.com/netboot/all-kernel initrd=all-initrd ' all.ipxe
grep ' root=live:http://example.com/netboot/all.squashfs ' all.ipxe
grep '^initrd http://example.com/netboot/all-initrd$' all.ipxe
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
pub(crate) async fn a_dockerfile_is_rendered_built_and_converted(site: &Site) {
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

/// A vanilla image by its own field; two importers, one after the other, whose volumes go over ISO and root file system;
/// a bundle; and the image with all of that in it.
pub(crate) async fn a_base_image_is_converted_overlaid_and_assembled(site: &Site) {
    let script = r#"
cd /artifacts
test "$(ls)" = "$(printf 'base.iso\nbase.iso.sha256\nbase.tar')"
mkdir /tmp/iso
xorriso -osirrox on -indev base.iso -extract / /tmp/iso
grep welcome /tmp/iso/hello.txt
grep 'the default' /tmp/iso/boot/grub2/grub.cfg
unsquashfs -quiet -no-xattrs -dest /tmp/root /tmp/iso/rootfs.squashfs
grep 'KAIROS_VERSION="v3.7.0"' /tmp/root/etc/kairos-release
grep KAIROS_MODEL /tmp/root/etc/kairos-release
grep one /tmp/root/opt/one
test "$(cat /tmp/root/etc/order)" = "$(printf 'first\nsecond')"
tar --extract --to-stdout --file base.tar manifest.json | grep registry.example.com/base:v2
skopeo inspect --config docker-archive:base.tar | tr -d ' ' | grep '"architecture":"amd64"'
skopeo copy --insecure-policy docker-archive:base.tar dir:/tmp/image
for layer in $(ls /tmp/image | grep -E '^[0-9a-f]{64}$'); do tar --list --file "/tmp/image/$layer" >> /tmp/list || true; done
grep -E '^(\./)?etc/order$' /tmp/list
grep -E '^(\./)?opt/one$' /tmp/list
"#;
    let importer = |name: &str, command: &str| {
        json!({
            "name": name, "image": "busybox", "command": ["sh", "-ec", command],
            "volumeMounts": [
                {"name": "iso-files", "mountPath": "/iso-files"}, {"name": "root-files", "mountPath": "/root-files"},
            ],
        })
    };
    let spec = json!({
        "baseImageName": format!("{REGISTRY}/vanilla:v1"), "imageName": "registry.example.com/base:v2",
        "kairosRelease": "v3.7.0", "arch": "amd64", "iso": true,
        "bundles": [format!("{REGISTRY}/bundle-one:v1")],
        "volumes": [{"name": "iso-files", "emptyDir": {}}, {"name": "root-files", "emptyDir": {}}],
        "importers": [
            importer("first", "echo welcome > /iso-files/hello.txt; mkdir /root-files/etc; echo first > /root-files/etc/order"),
            importer("second", "echo second >> /root-files/etc/order"),
        ],
        "volumeBindings": {"overlayISO": "iso-files", "overlayRootfs": "root-files"},
    });
    let status = site.ready("base", spec, script).await;
    assert_eq!(status.artifacts.len(), 2, "{status:#?}");
}

pub(crate) async fn an_image_is_its_own_output_when_nothing_else_is_asked_for(site: &Site) {
    let script = r#"
test "$(ls /artifacts)" = only.tar
skopeo copy --insecure-policy docker-archive:/artifacts/only.tar dir:/tmp/image
"#;
    let spec = json!({"imageName": format!("{REGISTRY}/kairos:v1")});
    let status = site.ready("only", spec, script).await;
    assert_eq!(status.artifacts.len(), 1, "{status:#?}");
    an_edit_of_the_volume_is_told(site, "only").await;
}

/// The claim stays as it is, and so do the files.
async fn an_edit_of_the_volume_is_told(site: &Site, name: &str) {
    let artifacts = site.artifacts();
    let edit = json!({"spec": {"volume": {"resources": {"requests": {"storage": "60Gi"}}}}});
    artifacts
        .patch(name, &PatchParams::default(), &Patch::Merge(&edit))
        .await
        .unwrap();
    let told = until("the edit is told", PATIENCE, async || {
        outdated(&artifacts.get(name).await.unwrap().status?)
    })
    .await;
    assert!(
        told.contains("another resources.requests.storage;"),
        "{told}"
    );
    let status = artifacts.get(name).await.unwrap().status.unwrap();
    assert_eq!(status.phase, Some(ArtifactPhase::Ready));
}

/// The example of kairos-operator's README with every option. What is changed are the names of what is pulled.
pub(crate) async fn the_advanced_example_of_the_readme_is_built(site: &Site) {
    let text = include_str!("../data/compat/osartifact-advanced.yaml");
    let artifact: OSArtifact = serde_saphyr::from_str(text).unwrap();
    let mut spec = serde_json::to_value(&artifact.spec).unwrap();
    spec["imageName"] = format!("{REGISTRY}/kairos:v1").into();
    spec["bundles"] = json!([
        format!("{REGISTRY}/bundle-one:v1"),
        format!("{REGISTRY}/bundle-two:v1")
    ]);
    let cloud_config = json!({"cloud-config.yaml": "#cloud-config\nhostname: advanced\n"});
    site.secret("cloud-config-secret", "Opaque", cloud_config)
        .await;
    let script = r#"
cd /artifacts
mkdir /tmp/iso
xorriso -osirrox on -indev advanced-build.iso -extract / /tmp/iso
grep 'hostname: advanced' /tmp/iso/config.yaml
grep 'set default=0' /tmp/iso/boot/grub2/grub.cfg
debugfs -R 'cat /etc/kairos-release' advanced-build.raw | grep 'KAIROS_VERSION="v3.6.0"'
debugfs -R 'cat /opt/last' advanced-build.raw | grep two
tail -c 512 advanced-build.vhd | head -c 8 | grep conectix
"#;
    let status = site.ready("advanced-build", spec, script).await;
    let files: Vec<&str> = status.artifacts.iter().map(|file| &*file.file).collect();
    assert_eq!(
        files,
        [
            "advanced-build.iso",
            "advanced-build.raw",
            "advanced-build.vhd"
        ]
    );
}

pub(crate) async fn a_vanilla_image_is_converted(site: &Site) {
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

//! The images that a build uses, and the ones that it builds from.

use e2e::assets;
use e2e::images::{Image, ImageConfig, debian};
use e2e::nodes::RealNodes;
use e2e::operator;

/// Everything that the tools are made of.
const PACKAGES: [&str; 9] = [
    "buildah",
    "skopeo",
    "xorriso",
    "squashfs-tools",
    "e2fsprogs",
    "qemu-utils",
    "mtools",
    "ca-certificates",
    "crun",
];

/// One image with everything: the worker, the stand-in, and Debian's tools.
pub(crate) fn tools() -> Image {
    let cache = assets::cache_folder().unwrap();
    let worker = operator::binary("artifact-worker").unwrap();
    debian(&cache, &PACKAGES)
        .unwrap()
        .program("artifact-worker", &worker)
        .unwrap()
        .program(
            "usr/local/bin/auroraboot",
            env!("CARGO_BIN_EXE_stand-in-auroraboot").as_ref(),
        )
        .unwrap()
}

pub(crate) fn kairos_init() -> Image {
    let script = include_bytes!("../data/stand-in-kairos-init.sh");
    Image::new(ImageConfig::default())
        .file("kairos-init", 0o755, script)
        .unwrap()
}

/// A Kairos image: a kernel, an initrd and a release file on busybox.
pub(crate) fn kairos(nodes: &RealNodes) -> Image {
    let release = b"KAIROS_VERSION=\"v1.0.0\"\nKAIROS_NAME=\"test\"\n";
    nodes
        .busybox()
        .unwrap()
        .folder("boot", 0o755)
        .unwrap()
        .file("boot/vmlinuz", 0o644, b"kernel\n")
        .unwrap()
        .file("boot/initrd", 0o644, b"initrd\n")
        .unwrap()
        .file("etc/kairos-release", 0o644, release)
        .unwrap()
        .folder("usr", 0o755)
        .unwrap()
        .folder("usr/lib", 0o755)
        .unwrap()
        .file("usr/lib/os-release", 0o644, b"ID=test\nIMAGE_ID=none\n")
        .unwrap()
        .link("etc/os-release", "../usr/lib/os-release")
        .unwrap()
}

pub(crate) fn bundle(name: &str) -> Image {
    Image::new(ImageConfig::default())
        .folder("opt", 0o755)
        .unwrap()
        .file(&format!("opt/{name}"), 0o755, name.as_bytes())
        .unwrap()
        .file("opt/last", 0o644, name.as_bytes())
        .unwrap()
}

//! The images that a build uses, and the ones that it builds from.

use e2e::images::{Image, ImageConfig, bootable};
use e2e::nodes::RealNodes;
use e2e::operator;

/// One image with everything: the worker, the stand-in, and Debian's tools.
pub(crate) fn tools() -> Image {
    let worker = operator::binary("artifact-worker").unwrap();
    operator::build_tools()
        .unwrap()
        .program("artifact-worker", &worker)
        .unwrap()
}

pub(crate) fn kairos_init() -> Image {
    let script = include_bytes!("../data/stand-in-kairos-init.sh");
    Image::new(ImageConfig::default())
        .file("kairos-init", 0o755, script)
        .unwrap()
}

/// A Kairos image that boots, as far as the tools look.
pub(crate) fn kairos(nodes: &RealNodes) -> Image {
    bootable(nodes.busybox().unwrap()).unwrap()
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

/// nginx, and curl.
pub(crate) fn web() -> Image {
    operator::web_tools().unwrap()
}

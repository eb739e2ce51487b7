//! The images that nodes pull: those of the controllers, and stand-ins for what stories use.

use std::path::PathBuf;

use anyhow::Context as _;
use e2e::images::{self, Upgrade};
use e2e::nodes::RealNodes;
use e2e::operator;

use crate::cluster::release;

/// The controllers, as their images and Deployments are called.
pub(crate) const CONTROLLERS: [&str; 4] = [
    "nodeop-controller",
    "artifact-controller",
    "upgrade-controller",
    "node-labeller",
];
/// Variable with the folder of the controllers' images.
const FOLDER: &str = "KAIROS_DEMO_IMAGES";
/// Where the demo's registry has them.
pub(crate) const PREFIX: &str = "registry.example.com/kairos-operator";

/// The registry as builder Pods reach it: buildah asks no mirror.
pub(crate) const REGISTRY: &str = "10.99.0.1:5000";
/// A Kairos image to build from.
pub(crate) const BOOTABLE: &str = "kairos/debian:v1.0.0";
/// The tool images that the artifact-controller names by default; those that the demo's build uses.
const TOOLS: [&str; 2] = [
    "quay.io/kairos/auroraboot:v0.24.0",
    "quay.io/containers/buildah:v1.43.1",
];

/// Name and tag of a controller's image.
pub(crate) fn of(controller: &str) -> (String, &'static str) {
    (format!("{PREFIX}/{controller}"), env!("CARGO_PKG_VERSION"))
}

/// Serves the controllers' images to the nodes. Blocking.
pub(crate) fn controllers(nodes: &RealNodes) -> anyhow::Result<()> {
    let folder = std::env::var_os(FOLDER)
        .map(PathBuf::from)
        .with_context(|| {
            format!("{FOLDER} is not set: start the demo with `cargo xtask demo`, which makes the images")
        })?;
    for controller in CONTROLLERS {
        let (name, tag) = of(controller);
        let archive = folder.join(format!("{controller}.tar"));
        nodes
            .images()
            .put_archive(&format!("{name}:{tag}"), &archive)?;
    }
    Ok(())
}

/// Serves a stand-in for the Kairos image of that name and version, which test nodes can be upgraded to. Blocking.
pub(crate) fn kairos(nodes: &RealNodes, name: &str, version: &str) -> anyhow::Result<()> {
    let image = images::kairos(nodes.busybox()?, &release(version), Upgrade::Works)?;
    nodes.images().put(name, image).map(drop)
}

/// Serves the tools of a build, and something to build from. Blocking; makes the tools' image the first time, a minute.
pub(crate) fn builds(nodes: &RealNodes) -> anyhow::Result<()> {
    let tools = operator::build_tools()?.finish()?;
    for name in TOOLS {
        nodes.images().put_blobs(name, &tools)?;
    }
    let image = images::bootable(nodes.busybox()?)?;
    nodes
        .images()
        .put(&format!("{REGISTRY}/{BOOTABLE}"), image)
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tools_are_those_that_the_controller_names() {
        let arguments = include_str!("../../../crates/artifact-controller/src/args.rs");
        for name in TOOLS {
            assert!(
                arguments.contains(&format!("default_value = \"{name}\"")),
                "{name}"
            );
        }
    }
}

//! The programs of a cluster: built by Go from pinned modules, once, into a cache outside the checkout.
//!
//! A program's cache folder is named by a hash of its module's `go.mod` and `go.sum` and of the build's flags, so a
//! changed pin is a new folder. Two processes that want the same program build it once: the second waits at a file lock.

mod apt;
mod build;
mod debian;
mod kubernetes;
mod tool;

use std::path::PathBuf;

use anyhow::Context;

pub use apt::apt_install;
pub use debian::debian_program;
pub use kubernetes::DEFAULT_VERSION as KUBERNETES_VERSION;
pub use tool::Tool;

/// Environment variable that moves the cache folder.
const CACHE_VARIABLE: &str = "KAIROS_E2E_CACHE";

/// The folder that holds what is made once per machine: programs, and root file systems of nodes.
pub fn cache_folder() -> anyhow::Result<PathBuf> {
    let given = std::env::var_os(CACHE_VARIABLE)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from);
    let user = || {
        let absolute = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let base =
            absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
        base.map(|base| base.join("kairos-operator-e2e"))
    };
    let folder = given
        .or_else(user)
        .with_context(|| format!("no home folder to cache programs in: set {CACHE_VARIABLE}"))?;
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("failed to create the cache folder {}", folder.display()))?;
    Ok(folder)
}

/// The path of a tool's program in its pinned version, built first when it is not there yet (blocking: minutes).
pub fn tool(tool: Tool) -> anyhow::Result<PathBuf> {
    build::ensure(tool, &build::Module::pinned(tool))
}

/// Like [`tool`], from another Kubernetes version: `v1.33.5`, or `v1.33` (also `v1.33.x`) for its newest patch release.
pub fn kubernetes_tool(tool: Tool, version: &str) -> anyhow::Result<PathBuf> {
    build::ensure(tool, &kubernetes::module(version)?)
}

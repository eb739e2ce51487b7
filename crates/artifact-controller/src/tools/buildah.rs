//! buildah, with flags that 1.28 and 1.43 have in common.

use super::{Argv, Call, Pull};
use crate::paths::{RUN_STORAGE, STORAGE};

fn buildah(command: &str) -> Call {
    Call::new(&["buildah"])
        .flag("--root", STORAGE)
        .flag("--runroot", RUN_STORAGE)
        // Containers have no overlay mounts to give, and each image is built once.
        .flag("--storage-driver", "vfs")
        .switch_if(command, true)
}

/// Builds a Dockerfile under a local tag, each instruction in a chroot.
pub fn build(dockerfile: &str, context: &str, tag: &str, squash: bool, pull: &Pull<'_>) -> Argv {
    buildah("build")
        .flag("--isolation", "chroot")
        .switch_if("--layers=false", true)
        .switch_if("--squash", squash)
        .flag("--file", dockerfile)
        .flag("--tag", tag)
        .flag_if("--arch", pull.arch)
        .flag_if("--authfile", pull.auth_file)
        .switch_if("--tls-verify=false", pull.insecure)
        .positional(&[context])
}

/// Writes a local image as a docker archive, under a name.
pub fn archive(tag: &str, file: &str, name: &str) -> Argv {
    buildah("push").positional(&[tag, &format!("docker-archive:{file}:{name}")])
}

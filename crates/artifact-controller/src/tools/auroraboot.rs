//! AuroraBoot v0.24.0.

use super::{Argv, Call, Pull};
use crate::plan::Disk;

/// Unpacks an image into a folder. Credentials are found through the environment variable `DOCKER_CONFIG`.
pub fn unpack(image: &str, folder: &str, pull: &Pull<'_>) -> Argv {
    Call::new(&["auroraboot", "unpack"])
        .flag_if("--arch", pull.arch)
        .switch_if("--allow-insecure-registries", pull.insecure)
        .positional(&[image, folder])
}

/// The source of an image archive.
pub fn archive(file: &str) -> String {
    format!("ocifile:{file}")
}

/// The source of a folder with a root file system.
pub fn folder(path: &str) -> String {
    format!("dir:{path}")
}

/// Builds `OUTPUT/NAME.iso` and `OUTPUT/NAME.iso.sha256`.
pub fn build_iso(
    name: &str,
    root: &str,
    output: &str,
    cloud_config: Option<&str>,
    overlay: Option<&str>,
    arch: Option<&str>,
) -> Argv {
    Call::new(&["auroraboot", "build-iso"])
        .flag("--override-name", name)
        .flag("--output", output)
        .flag_if("--cloud-config", cloud_config)
        .flag_if("--overlay-iso", overlay)
        .flag_if("--arch", arch)
        .positional(&[&folder(root)])
}

/// Takes `PREFIX.squashfs`, `PREFIX-kernel` and `PREFIX-initrd` out of an ISO. The folder must exist.
pub fn netboot(iso: &str, output: &str, prefix: &str) -> Argv {
    Call::new(&["auroraboot", "netboot"]).positional(&[iso, output, prefix])
}

/// Builds a disk image in a folder of its own, under a name that AuroraBoot makes up; see [`disk_suffix`].
pub fn disk(
    kind: Disk,
    root: &str,
    state: &str,
    mebibytes: Option<u64>,
    cloud_config: Option<&str>,
    arch: Option<&str>,
) -> Argv {
    let kind = match kind {
        Disk::Raw => "disk.raw",
        Disk::Azure => "disk.vhd",
        Disk::Gce => "disk.gce",
    };
    let mut call = Call::new(&["auroraboot"])
        .flag_if("--cloud-config", cloud_config)
        .set(kind, "true")
        .set("disable_netboot", "true")
        .set("disable_http_server", "true")
        .set("state_dir", state)
        .set("container_image", &folder(root));
    if let Some(arch) = arch {
        call = call.set("arch", arch);
    }
    if let Some(mebibytes) = mebibytes {
        call = call.set("disk.size", &mebibytes.to_string());
    }
    call.positional(&[])
}

/// How the name of the file that [`disk`] builds ends; it begins with `kairos-`.
pub fn disk_suffix(kind: Disk) -> &'static str {
    match kind {
        Disk::Raw => ".raw",
        Disk::Azure => ".raw.vhd",
        Disk::Gce => ".raw.gce.tar.gz",
    }
}

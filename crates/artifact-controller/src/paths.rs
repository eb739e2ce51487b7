//! Where things are inside the containers of a builder Pod. The controller and the worker agree on these.

/// The folder that all containers of the build share; an emptyDir.
pub const BUILD: &str = "/build";
/// The worker's own program, copied there so that images of tools can run it.
pub const WORKER: &str = "/build/bin/artifact-worker";
/// The root file system that images are made of.
pub const ROOT: &str = "/build/rootfs";
/// An empty build context, for Dockerfiles without a volume of their own.
pub const EMPTY_CONTEXT: &str = "/build/context";
/// The rendered Dockerfile.
pub const DOCKERFILE: &str = "/build/dockerfiles/Dockerfile";
/// The Dockerfile that converts an image to Kairos.
pub const CONVERT_DOCKERFILE: &str = "/build/dockerfiles/Dockerfile.convert";
/// The Dockerfile that lays the changed root file system over the image.
pub const ASSEMBLE_DOCKERFILE: &str = "/build/dockerfiles/Dockerfile.assemble";
/// Image archives on the way: as built, as converted, as wanted.
pub const IMAGES: &str = "/build/images";
/// The image that the Dockerfile built.
pub const BUILT_ARCHIVE: &str = "/build/images/built.tar";
/// The image after its conversion.
pub const CONVERTED_ARCHIVE: &str = "/build/images/converted.tar";
/// The image after everything was laid over it.
pub const ASSEMBLED_ARCHIVE: &str = "/build/images/assembled.tar";
/// Images and layers of buildah.
pub const STORAGE: &str = "/build/storage";
/// What buildah keeps while it runs.
pub const RUN_STORAGE: &str = "/build/storage-run";
/// Files laid over the ISO.
pub const ISO_OVERLAY: &str = "/build/iso-overlay";
/// The ISO, as it is built.
pub const ISO: &str = "/build/iso";
/// Files for network boot, as they are built.
pub const NETBOOT: &str = "/build/netboot";
/// Parent of each disk image's own work folder.
pub const DISKS: &str = "/build/disks";
/// Temporary files of tools.
pub const TEMPORARY: &str = "/build/tmp";
/// The cloud config as a plain file: a mounted Secret is a folder of links, which tools copy as such.
pub const CLOUD_CONFIG: &str = "/build/cloud-config.yaml";

/// The merged registry credentials; kept in memory.
pub const REGISTRY_AUTH: &str = "/registry-auth";
/// The file in there; tools also find it by the folder.
pub const REGISTRY_AUTH_FILE: &str = "/registry-auth/config.json";

/// The volume with the finished files.
pub const ARTIFACTS: &str = "/artifacts";

/// The `ConfigMap` of the build.
pub const CONFIG: &str = "/kairos/config";
/// The Secret with the Dockerfile, as the file `Dockerfile`.
pub const DOCKERFILE_SECRET: &str = "/kairos/dockerfile";
/// The Secret with values, one file each.
pub const VALUES_SECRET: &str = "/kairos/values";
/// The Secret with the cloud config, as the file `cloud-config.yaml`.
pub const CLOUD_CONFIG_SECRET: &str = "/kairos/cloud-config";
/// Secrets of registries, one folder each.
pub const PULL_SECRETS: &str = "/kairos/pull-secrets";
/// The user's volume for the ISO.
pub const ISO_OVERLAY_VOLUME: &str = "/kairos/overlay-iso";
/// The user's volume for the root file system.
pub const ROOT_OVERLAY_VOLUME: &str = "/kairos/overlay-rootfs";
/// The user's volume with the build context.
pub const CONTEXT_VOLUME: &str = "/kairos/context";

/// Where a container leaves its last words.
pub const TERMINATION_LOG: &str = "/dev/termination-log";

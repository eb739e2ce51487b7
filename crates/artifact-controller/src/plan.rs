//! The build plan: what an `OSArtifact`'s spec asks for, checked and normalised. Everything after works on the plan.
//!
//! A spec that cannot be meant is refused with a sentence that says what to write. Nothing here knows images of tools or
//! other settings of the controller, so that a new version of the operator builds nothing anew.

mod fields;
mod reference;
mod size;
mod version;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod tests_support {
    /// Containers of the largest builder Pod there can be.
    pub(crate) const MOST_CONTAINERS: usize =
        super::MOST_IMPORTERS + crate::steps::STEP_NAMES.len();
}

use api_types::osartifact::{Architecture, OSArtifact};
use k8s_openapi::api::core::v1::{Container, Volume};
use operator_runtime::names::short_hash;
use serde::Serialize;

pub use reference::is_reference;
pub use size::mebibytes;
pub use version::{Version, in_release_text, is_version};

use self::fields::{
    archive_name, bound, bundles, disks, importers, kairos_release, netboot_url, pull_secrets,
    refuse, release, secret_key, source, text, volumes,
};

/// Key of a Dockerfile's Secret where the spec names none.
const DOCKERFILE_KEY: &str = "Dockerfile";
/// Key of a cloud config's Secret where the spec names none.
const CLOUD_CONFIG_KEY: &str = "cloud-config.yaml";
/// Volume names that the build keeps for itself, besides those that the schema of the resource refuses. Objects that
/// were stored before that schema may still have those.
const RESERVED_VOLUMES: [&str; 5] = ["artifacts", "rootfs", "config", "dockerfile", "cloudconfig"];
/// Further volumes of the build begin like this.
pub const VOLUME_PREFIX: &str = "kairos-build-";
/// More would leave the build's own containers too little of the room that all termination messages of a Pod share.
const MOST_IMPORTERS: usize = 8;
/// Bundles of one artifact.
const MOST_BUNDLES: usize = 64;

/// A spec that cannot be built, as a sentence that says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// What the build begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// An image that is a Kairos image, or is made one when it turns out to be none.
    Image(String),
    /// An image that is made a Kairos image.
    Base(String),
    /// A Dockerfile, whose image is made a Kairos image when it is none yet.
    Dockerfile(DockerfileSource),
}

/// A Dockerfile and what its template is rendered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DockerfileSource {
    /// Where the Dockerfile is.
    pub file: SecretKey,
    /// Name of a Secret with values, and the one key to take from it; every entry without a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values_from: Option<(String, Option<String>)>,
    /// Values that win over the Secret's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<(String, String)>,
}

/// An entry of a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretKey {
    /// Name of the Secret.
    pub name: String,
    /// The key.
    pub key: String,
}

/// What a release file becomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReleaseText {
    /// The whole file.
    File(String),
    /// The value of one key; the others stay.
    Word(String),
}

/// A kind of disk image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Disk {
    /// `NAME.raw`.
    Raw,
    /// `NAME.vhd`.
    Azure,
    /// `NAME.gce.tar.gz`.
    Gce,
}

/// A checked spec. Its serialised form is what the build depends on: a new field is left out where it says nothing, so
/// that a new version of this program finds the same hash for an old spec.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Name of the `OSArtifact`, which the files are called after.
    pub name: String,
    /// What the build begins with.
    pub source: Source,
    /// Whether the image itself is wanted as `NAME.tar`, and the name that it has in there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
    /// The processor, where the spec names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<Architecture>,
    /// The version a converted image gets, where the spec names one; else the controller's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// A cloud config for the images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud_config: Option<SecretKey>,
    /// The ISO's grub.cfg.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grub_config: Option<String>,
    /// What /etc/os-release becomes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os_release: Option<ReleaseText>,
    /// What /etc/kairos-release becomes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kairos_release: Option<ReleaseText>,
    /// Images laid over the root file system, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bundles: Vec<String>,
    /// Whether `NAME.iso` is wanted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub iso: bool,
    /// Whether the files for network boot are wanted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub netboot: bool,
    /// Where machines will find those files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netboot_url: Option<String>,
    /// Disk images wanted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<Disk>,
    /// Their size in MiB; as large as needed without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_mebibytes: Option<u64>,
    /// Volume that the Dockerfile's COPY reads from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_context: Option<String>,
    /// Volume laid over the ISO.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlay_iso: Option<String>,
    /// Volume laid over the root file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlay_rootfs: Option<String>,
    /// Containers that run first, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub importers: Vec<Container>,
    /// The user's volumes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Secrets with which images are pulled. They change no file, so they are no part of what was built.
    #[serde(skip)]
    pub pull_secrets: Vec<String>,
}

/// What a build was started from: `CONTENT.ACCESS`. Another content is built anew; another access starts anew only a
/// build that has not succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanHash {
    content: String,
    access: String,
}

impl PlanHash {
    /// As it stands in the status.
    pub fn to_text(&self) -> String {
        format!("{}.{}", self.content, self.access)
    }

    /// Whether the files that `recorded` stands for are those of this plan.
    pub fn same_content(&self, recorded: &str) -> bool {
        recorded.split('.').next() == Some(&self.content)
    }
}

impl Plan {
    /// What a build of this plan depends on.
    pub fn hash(&self) -> PlanHash {
        // Every part serialises: there are no maps with keys other than strings.
        let content = serde_json::to_string(self).unwrap_or_default();
        let secrets: Vec<&str> = self.pull_secrets.iter().map(String::as_str).collect();
        PlanHash {
            content: short_hash(&[&content]),
            access: short_hash(&secrets),
        }
    }

    /// Whether something is laid over the root file system after the image is there.
    pub fn changes_root(&self) -> bool {
        self.os_release.is_some()
            || self.kairos_release.is_some()
            || self.overlay_rootfs.is_some()
            || !self.bundles.is_empty()
    }

    /// Whether any output is made from the root file system.
    pub fn needs_root(&self) -> bool {
        self.iso || self.netboot || !self.disks.is_empty() || self.changes_root()
    }
}

/// Checks and normalises the spec of `artifact`.
pub fn plan(artifact: &OSArtifact) -> Result<Plan, Refusal> {
    let spec = &artifact.spec;
    if spec.is_nested_form() {
        return refuse(
            "spec.image and spec.artifacts are kairos-operator's later form of OSArtifact, which is not built here; \
             write imageName, baseImageName or baseImageDockerfile and the outputs directly below spec",
        );
    }
    let name = artifact.metadata.name.clone().unwrap_or_default();
    let disks = disks(spec);
    let wanted = spec.iso || spec.netboot || !disks.is_empty();
    let source = source(spec)?;
    let built = !matches!(source, Source::Image(_));
    let (kairos_release, version) = kairos_release(spec)?;
    Ok(Plan {
        archive: (built || !wanted)
            .then(|| archive_name(spec, built, &name))
            .transpose()?,
        source,
        arch: spec.arch,
        version,
        cloud_config: secret_key(
            "cloudConfigRef",
            spec.cloud_config_ref.as_ref(),
            CLOUD_CONFIG_KEY,
        )?,
        grub_config: text(spec.grub_config.as_ref()),
        os_release: text(spec.os_release.as_ref())
            .map(|text| release("osRelease", text))
            .transpose()?,
        kairos_release,
        bundles: bundles(spec)?,
        iso: spec.iso,
        netboot: spec.netboot,
        netboot_url: text(spec.netboot_url.as_ref())
            .map(|url| netboot_url(&url))
            .transpose()?,
        disk_mebibytes: text(spec.disk_size.as_ref())
            .filter(|_| !disks.is_empty())
            .map(|size| mebibytes(&size))
            .transpose()?,
        disks,
        build_context: bound(spec, "buildContext", |bindings| &bindings.build_context)?,
        overlay_iso: bound(spec, "overlayISO", |bindings| &bindings.overlay_iso)?,
        overlay_rootfs: bound(spec, "overlayRootfs", |bindings| &bindings.overlay_rootfs)?,
        importers: importers(spec)?,
        volumes: volumes(spec)?,
        pull_secrets: pull_secrets(spec),
        name,
    })
}

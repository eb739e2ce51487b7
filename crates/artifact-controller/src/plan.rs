//! The build plan: what an `OSArtifact`'s spec asks for, checked and normalised. Everything after works on the plan.
//!
//! A spec that cannot be meant is refused with a sentence that says what to write. Nothing here knows images of tools or
//! other settings of the controller, so that a new version of the operator builds nothing anew.

mod reference;
mod size;
mod version;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod tests_support {
    /// Containers of the largest builder Pod there can be.
    pub(crate) const MOST_CONTAINERS: usize = super::MOST_IMPORTERS + super::STEP_NAMES.len();
}

use api_types::osartifact::{Architecture, OSArtifact, OSArtifactSpec, SecretKeySelector};
use k8s_openapi::api::core::v1::{Container, Volume};
use operator_runtime::names::short_hash;
use serde::Serialize;

pub use reference::is_reference;
pub use size::mebibytes;
pub use version::{Version, in_release_text, is_version};

use crate::steps::STEP_NAMES;

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

fn refuse<T>(sentence: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(sentence.into()))
}

/// The text, unless it is empty: an empty field means the same as none.
fn text(given: Option<&String>) -> Option<String> {
    given.filter(|text| !text.trim().is_empty()).cloned()
}

fn source(spec: &OSArtifactSpec) -> Result<Source, Refusal> {
    if let Some(file) = secret_key(
        "baseImageDockerfile",
        spec.base_image_dockerfile.as_ref(),
        DOCKERFILE_KEY,
    )? {
        let values = spec.dockerfile_template_values.clone().unwrap_or_default();
        let values_from = spec.dockerfile_template_values_from.as_ref();
        return Ok(Source::Dockerfile(DockerfileSource {
            file,
            values_from: values_from.map(|from| (from.name.clone(), text(from.key.as_ref()))),
            values: values.into_iter().collect(),
        }));
    }
    if let Some(base) = text(spec.base_image_name.as_ref()) {
        return reference::checked("baseImageName", &base).map(Source::Base);
    }
    match text(spec.image_name.as_ref()) {
        Some(image) => reference::checked("imageName", &image).map(Source::Image),
        None => refuse(
            "spec says nothing to build from; set imageName (a Kairos image), baseImageName (an image to make Kairos of) \
             or baseImageDockerfile (a Secret with a Dockerfile)",
        ),
    }
}

/// Beside another source, imageName names the image that comes out.
fn archive_name(spec: &OSArtifactSpec, built: bool, name: &str) -> Result<String, Refusal> {
    let given = text(spec.image_name.as_ref()).filter(|_| built);
    let image = reference::checked("imageName", &given.unwrap_or_else(|| name.to_owned()))?;
    if image.contains('@') {
        return refuse(format!(
            "imageName {image:?} names the image that is built, which has no digest yet; write a name with a tag"
        ));
    }
    let has_tag = image
        .rsplit('/')
        .next()
        .is_some_and(|last| last.contains(':'));
    Ok(if has_tag {
        image
    } else {
        format!("{image}:latest")
    })
}

fn secret_key(
    field: &str,
    selector: Option<&SecretKeySelector>,
    default: &str,
) -> Result<Option<SecretKey>, Refusal> {
    let Some(selector) = selector else {
        return Ok(None);
    };
    if selector.name.is_empty() {
        return refuse(format!("{field} names no Secret; set {field}.name"));
    }
    Ok(Some(SecretKey {
        name: selector.name.clone(),
        key: text(selector.key.as_ref()).unwrap_or_else(|| default.to_owned()),
    }))
}

fn disks(spec: &OSArtifactSpec) -> Vec<Disk> {
    [
        (spec.cloud_image, Disk::Raw),
        (spec.azure_image, Disk::Azure),
        (spec.gce_image, Disk::Gce),
    ]
    .into_iter()
    .filter_map(|(wanted, disk)| wanted.then_some(disk))
    .collect()
}

/// `KEY=value` lines are the file; a bare word is one value.
fn release(field: &str, text: String) -> Result<ReleaseText, Refusal> {
    if text.contains('=') {
        return Ok(ReleaseText::File(text));
    }
    let word = text.trim();
    let plain = |character: char| character.is_ascii_alphanumeric() || "._+-".contains(character);
    if word.chars().all(plain) {
        Ok(ReleaseText::Word(word.to_owned()))
    } else {
        refuse(format!(
            "{field} is neither lines of KEY=value nor a single word of letters, digits and . _ + -; write one of the two"
        ))
    }
}

fn kairos_release(
    spec: &OSArtifactSpec,
) -> Result<(Option<ReleaseText>, Option<Version>), Refusal> {
    let Some(given) = text(spec.kairos_release.as_ref()) else {
        return Ok((None, None));
    };
    let release = release("kairosRelease", given)?;
    let version = match &release {
        ReleaseText::Word(word) => Some(word.clone()),
        ReleaseText::File(file) => in_release_text(file),
    };
    let version = version.map(|text| Version::parse(&text)).transpose()?;
    Ok((Some(release), version))
}

fn bundles(spec: &OSArtifactSpec) -> Result<Vec<String>, Refusal> {
    let bundles = spec.bundles.clone().unwrap_or_default();
    if bundles.len() > MOST_BUNDLES {
        return refuse(format!(
            "spec.bundles has more than {MOST_BUNDLES} entries; put several bundles into one image"
        ));
    }
    bundles
        .iter()
        .map(|bundle| reference::checked("bundles", bundle))
        .collect()
}

fn netboot_url(url: &str) -> Result<String, Refusal> {
    let known = ["http://", "https://", "tftp://"];
    if known
        .iter()
        .any(|scheme| url.len() > scheme.len() && url.starts_with(scheme))
    {
        Ok(url.trim_end_matches('/').to_owned())
    } else {
        refuse(format!(
            "netbootURL {url:?} is no address that machines can boot from; write one that begins with http://, https:// or tftp://"
        ))
    }
}

fn bound(
    spec: &OSArtifactSpec,
    field: &str,
    of: impl Fn(&api_types::osartifact::VolumeBindings) -> &Option<String>,
) -> Result<Option<String>, Refusal> {
    let Some(name) = spec
        .volume_bindings
        .as_ref()
        .and_then(|bindings| text(of(bindings).as_ref()))
    else {
        return Ok(None);
    };
    let volumes = spec.volumes.iter().flatten();
    if volumes.into_iter().any(|volume| volume.name == name) {
        Ok(Some(name))
    } else {
        refuse(format!(
            "volumeBindings.{field} names the volume {name:?}, which spec.volumes does not have; add it there"
        ))
    }
}

fn volumes(spec: &OSArtifactSpec) -> Result<Vec<Volume>, Refusal> {
    let volumes = spec.volumes.clone().unwrap_or_default();
    for (index, volume) in volumes.iter().enumerate() {
        let name = volume.name.as_str();
        if RESERVED_VOLUMES.contains(&name) || name.starts_with(VOLUME_PREFIX) {
            return refuse(format!(
                "the volume name {name:?} belongs to the build; give the volume another name"
            ));
        }
        if volumes.iter().take(index).any(|other| other.name == name) {
            return refuse(format!(
                "two volumes are called {name:?}; give each volume a name of its own"
            ));
        }
    }
    Ok(volumes)
}

fn importers(spec: &OSArtifactSpec) -> Result<Vec<Container>, Refusal> {
    let importers = spec.importers.clone().unwrap_or_default();
    if importers.len() > MOST_IMPORTERS {
        return refuse(format!(
            "spec.importers has more than {MOST_IMPORTERS} containers; let one of them do the work of several"
        ));
    }
    for (index, importer) in importers.iter().enumerate() {
        let name = importer.name.as_str();
        if STEP_NAMES.contains(&name) {
            return refuse(format!(
                "the importer name {name:?} is that of a step of the build; give the importer another name"
            ));
        }
        if importers.iter().take(index).any(|other| other.name == name) {
            return refuse(format!(
                "two importers are called {name:?}; give each importer a name of its own"
            ));
        }
    }
    Ok(importers)
}

fn pull_secrets(spec: &OSArtifactSpec) -> Vec<String> {
    let secrets = spec.image_pull_secrets.iter().flatten();
    let mut names: Vec<String> = Vec::new();
    for secret in secrets.filter(|secret| !secret.name.is_empty()) {
        if !names.contains(&secret.name) {
            names.push(secret.name.clone());
        }
    }
    names
}

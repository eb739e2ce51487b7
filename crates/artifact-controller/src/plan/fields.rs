//! The fields of a spec, one by one: checked, normalised, or refused with a sentence.

use api_types::osartifact::{OSArtifactSpec, SecretKeySelector, VolumeBindings};
use k8s_openapi::api::core::v1::{Container, Volume};

use super::{
    DOCKERFILE_KEY, Disk, DockerfileSource, MOST_BUNDLES, MOST_IMPORTERS, RESERVED_VOLUMES,
    Refusal, ReleaseText, SecretKey, Source, VOLUME_PREFIX, Version, in_release_text, reference,
};
use crate::steps::STEP_NAMES;

pub(super) fn refuse<T>(sentence: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(sentence.into()))
}

/// The text, unless it is empty: an empty field means the same as none.
pub(super) fn text(given: Option<&String>) -> Option<String> {
    given.filter(|text| !text.trim().is_empty()).cloned()
}

pub(super) fn source(spec: &OSArtifactSpec) -> Result<Source, Refusal> {
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
pub(super) fn archive_name(
    spec: &OSArtifactSpec,
    built: bool,
    name: &str,
) -> Result<String, Refusal> {
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

pub(super) fn secret_key(
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

pub(super) fn disks(spec: &OSArtifactSpec) -> Vec<Disk> {
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
pub(super) fn release(field: &str, text: String) -> Result<ReleaseText, Refusal> {
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

pub(super) fn kairos_release(
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

pub(super) fn bundles(spec: &OSArtifactSpec) -> Result<Vec<String>, Refusal> {
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

pub(super) fn netboot_url(url: &str) -> Result<String, Refusal> {
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

pub(super) fn bound(
    spec: &OSArtifactSpec,
    field: &str,
    of: impl Fn(&VolumeBindings) -> &Option<String>,
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

pub(super) fn volumes(spec: &OSArtifactSpec) -> Result<Vec<Volume>, Refusal> {
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

pub(super) fn importers(spec: &OSArtifactSpec) -> Result<Vec<Container>, Refusal> {
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

pub(super) fn pull_secrets(spec: &OSArtifactSpec) -> Vec<String> {
    let secrets = spec.image_pull_secrets.iter().flatten();
    let mut names: Vec<String> = Vec::new();
    for secret in secrets.filter(|secret| !secret.name.is_empty()) {
        if !names.contains(&secret.name) {
            names.push(secret.name.clone());
        }
    }
    names
}

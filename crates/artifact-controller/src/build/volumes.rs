//! Volumes of the builder Pod, and what each container sees of them. Secrets are mounted as optional: the worker says
//! what is missing, in words that reach the status, where the kubelet would only keep the Pod waiting.

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, EmptyDirVolumeSource, KeyToPath, PersistentVolumeClaimVolumeSource,
    ProjectedVolumeSource, SecretProjection, SecretVolumeSource, Volume, VolumeMount,
    VolumeProjection,
};

use super::names::claim_name;
use crate::paths;
use crate::plan::{Plan, SecretKey, Source, VOLUME_PREFIX};
use crate::steps::Step;

/// The names that kairos-operator gave.
const ARTIFACTS: &str = "artifacts";
const BUILD: &str = "rootfs";
const CONFIG: &str = "config";
const DOCKERFILE: &str = "dockerfile";
const CLOUD_CONFIG: &str = "cloudconfig";
const VALUES: &str = "values";
const PULL_SECRETS: &str = "pull-secrets";
const REGISTRY_AUTH: &str = "registry-auth";

/// Volumes that kairos-operator did not have get a prefix of their own, so that no user's volume is called the same.
fn own(name: &str) -> String {
    format!("{VOLUME_PREFIX}{name}")
}

/// All volumes: ours, then the user's.
pub fn volumes(plan: &Plan) -> Vec<Volume> {
    let mut volumes = vec![
        Volume {
            name: ARTIFACTS.to_owned(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim_name(&plan.name),
                read_only: None,
            }),
            ..Volume::default()
        },
        empty(BUILD.to_owned(), None),
        Volume {
            name: CONFIG.to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: plan.name.clone(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
    ];
    if let Source::Dockerfile(source) = &plan.source {
        volumes.push(secret_file(DOCKERFILE, &source.file, "Dockerfile"));
        if let Some((name, key)) = &source.values_from {
            let items = key.as_ref().map(|key| vec![item(key, key)]);
            volumes.push(secret(own(VALUES), name, items));
        }
    }
    if let Some(cloud_config) = &plan.cloud_config {
        volumes.push(secret_file(CLOUD_CONFIG, cloud_config, "cloud-config.yaml"));
    }
    if !plan.pull_secrets.is_empty() {
        volumes.push(pull_secrets(&plan.pull_secrets));
        volumes.push(empty(own(REGISTRY_AUTH), Some("Memory")));
    }
    volumes.extend(plan.volumes.iter().cloned());
    volumes
}

fn empty(name: String, medium: Option<&str>) -> Volume {
    Volume {
        name,
        empty_dir: Some(EmptyDirVolumeSource {
            medium: medium.map(str::to_owned),
            size_limit: None,
        }),
        ..Volume::default()
    }
}

fn item(key: &str, path: &str) -> KeyToPath {
    KeyToPath {
        key: key.to_owned(),
        path: path.to_owned(),
        mode: None,
    }
}

fn secret_file(name: &str, key: &SecretKey, path: &str) -> Volume {
    secret(name.to_owned(), &key.name, Some(vec![item(&key.key, path)]))
}

fn secret(name: String, secret: &str, items: Option<Vec<KeyToPath>>) -> Volume {
    Volume {
        name,
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            items,
            optional: Some(true),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// Each Secret in a folder named by its place in the list, with whichever of the two formats it has.
fn pull_secrets(names: &[String]) -> Volume {
    let source = |(index, name): (usize, &String)| VolumeProjection {
        secret: Some(SecretProjection {
            name: name.clone(),
            items: Some(vec![
                item(".dockerconfigjson", &format!("{index}/config.json")),
                item(".dockercfg", &format!("{index}/dockercfg")),
            ]),
            optional: Some(true),
        }),
        ..VolumeProjection::default()
    };
    Volume {
        name: own(PULL_SECRETS),
        projected: Some(ProjectedVolumeSource {
            sources: Some(names.iter().enumerate().map(source).collect()),
            default_mode: None,
        }),
        ..Volume::default()
    }
}

/// Whether the tool of `step` pulls, and has credentials for it. buildah fails where it is told of a file that is not there.
pub fn pulls_with_credentials(plan: &Plan, step: &Step) -> bool {
    let pulls = [
        "build-image",
        "unpack-image",
        "convert-image",
        "unpack-bundles",
    ];
    !plan.pull_secrets.is_empty() && pulls.contains(&step.name)
}

/// What the container of `step` sees: the build's folder, and of the rest only what it reads or writes.
pub fn mounts(plan: &Plan, step: &Step) -> Vec<VolumeMount> {
    let mut mounts = vec![mount(BUILD, paths::BUILD, false)];
    let secrets = !plan.pull_secrets.is_empty();
    match step.name {
        "prepare" => {
            mounts.push(mount(CONFIG, paths::CONFIG, true));
            if let Source::Dockerfile(source) = &plan.source {
                mounts.push(mount(DOCKERFILE, paths::DOCKERFILE_SECRET, true));
                if source.values_from.is_some() {
                    mounts.push(mount(&own(VALUES), paths::VALUES_SECRET, true));
                }
            }
            if plan.cloud_config.is_some() {
                mounts.push(mount(CLOUD_CONFIG, paths::CLOUD_CONFIG_SECRET, true));
            }
            if secrets {
                mounts.push(mount(&own(PULL_SECRETS), paths::PULL_SECRETS, true));
                mounts.push(mount(&own(REGISTRY_AUTH), paths::REGISTRY_AUTH, false));
            }
            if let Some(volume) = &plan.overlay_iso {
                mounts.push(mount(volume, paths::ISO_OVERLAY_VOLUME, true));
            }
        }
        "customise" => {
            mounts.push(mount(CONFIG, paths::CONFIG, true));
            if let Some(volume) = &plan.overlay_rootfs {
                mounts.push(mount(volume, paths::ROOT_OVERLAY_VOLUME, true));
            }
        }
        "collect" => {
            mounts.push(mount(CONFIG, paths::CONFIG, true));
            mounts.push(mount(ARTIFACTS, paths::ARTIFACTS, false));
        }
        "build-image" => {
            if let Some(volume) = &plan.build_context {
                mounts.push(mount(volume, paths::CONTEXT_VOLUME, true));
            }
        }
        _ => {}
    }
    if pulls_with_credentials(plan, step) {
        mounts.push(mount(&own(REGISTRY_AUTH), paths::REGISTRY_AUTH, true));
    }
    mounts
}

fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

//! The first step: everything that later steps read, as plain files of the build's folder.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{Layout, Result, WorkerError, auth, file, overlay, values};
use crate::paths;
use crate::plan::Disk;
use crate::recipe::{Dockerfile, Recipe};
use crate::steps::{LOCAL_TAG, disk_folder};
use crate::template::{self, Limits};
use crate::texts;

/// Folders that tools expect to exist.
const FOLDERS: [&str; 8] = [
    paths::BUILD,
    paths::ROOT,
    paths::EMPTY_CONTEXT,
    paths::IMAGES,
    paths::ISO,
    paths::NETBOOT,
    paths::TEMPORARY,
    "/build/dockerfiles",
];

/// Lays everything out. Returns what the user should know although nothing failed.
pub fn prepare(layout: &Layout, recipe: &Recipe) -> Result<String> {
    for folder in FOLDERS {
        create(&layout.path(folder))?;
    }
    for disk in [Disk::Raw, Disk::Azure, Disk::Gce] {
        create(&layout.path(&disk_folder(disk)))?;
    }
    own_program(layout)?;
    let mut notes = Vec::new();
    if !recipe.pull_secrets.is_empty() {
        let merged = layout.path(paths::REGISTRY_AUTH_FILE);
        let secrets = layout.path(paths::PULL_SECRETS);
        for missing in auth::merge(&secrets, &recipe.pull_secrets, &merged)? {
            notes.push(format!(
                "the pull Secret {missing:?} does not exist or holds no credentials"
            ));
        }
    }
    dockerfiles(layout, recipe)?;
    notes.extend(cloud_config(layout, recipe)?);
    iso_overlay(layout, recipe)?;
    if let Some(url) = &recipe.netboot_url {
        let script = format!("{}/{}.ipxe", paths::NETBOOT, recipe.name);
        write(&layout.path(&script), &texts::ipxe(url, &recipe.name)?)?;
    }
    Ok(notes.join("; "))
}

fn create(folder: &Path) -> Result<()> {
    file("create", folder, std::fs::create_dir_all(folder))
}

fn write(path: &Path, text: impl AsRef<[u8]>) -> Result<()> {
    if let Some(parent) = path.parent() {
        create(parent)?;
    }
    file("write", path, std::fs::write(path, text))
}

/// Images of tools have no worker of their own.
fn own_program(layout: &Layout) -> Result<()> {
    let own = Path::new("/proc/self/exe");
    let target = layout.path(paths::WORKER);
    if let Some(folder) = target.parent() {
        create(folder)?;
    }
    file("copy the worker to", &target, std::fs::copy(own, &target))?;
    let executable = std::fs::Permissions::from_mode(0o755);
    file(
        "make executable",
        &target,
        std::fs::set_permissions(&target, executable),
    )
}

fn dockerfiles(layout: &Layout, recipe: &Recipe) -> Result<()> {
    let convert = &recipe.convert;
    let text =
        texts::convert_dockerfile(&convert.base, &convert.kairos_init_image, &convert.version)?;
    write(&layout.path(paths::CONVERT_DOCKERFILE), text)?;
    if recipe.assemble {
        write(
            &layout.path(paths::ASSEMBLE_DOCKERFILE),
            texts::assemble_dockerfile(LOCAL_TAG)?,
        )?;
    }
    let target = layout.path(paths::DOCKERFILE);
    match &recipe.dockerfile {
        None => Ok(()),
        Some(Dockerfile::From(image)) => write(&target, texts::from_dockerfile(image)?),
        Some(Dockerfile::Template {
            secret,
            key,
            values_from,
            values_key,
            values: inline,
        }) => {
            let path = layout.path(paths::DOCKERFILE_SECRET).join("Dockerfile");
            let source =
                optional(&path)?.ok_or_else(|| missing("baseImageDockerfile", secret, key))?;
            let mut all = match values_from {
                Some(secret) => {
                    let folder = layout.path(paths::VALUES_SECRET);
                    values::from_secret(&folder, secret, values_key.as_deref())?
                }
                None => BTreeMap::new(),
            };
            let hidden = all.clone();
            all.extend(inline.iter().cloned());
            let rendered = template::render(&source, &all, &Limits::default());
            let rendered = rendered.map_err(|error| {
                WorkerError::Input(format!(
                    "the Dockerfile {key:?} of Secret {secret:?} is not rendered: {}",
                    values::hide(error.message(), &hidden)
                ))
            })?;
            write(&target, rendered)
        }
    }
}

fn missing(field: &str, secret: &str, key: &str) -> WorkerError {
    WorkerError::Input(format!(
        "{field}: the Secret {secret:?} does not exist in this namespace, or has no key {key:?}; create it, or correct \
         the name"
    ))
}

fn optional(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        content => file("read", path, content).map(Some),
    }
}

/// AuroraBoot fails on a cloud config that is empty, and renders `[[[ … ]]]` in it.
fn cloud_config(layout: &Layout, recipe: &Recipe) -> Result<Option<String>> {
    let Some((secret, key)) = &recipe.cloud_config else {
        return Ok(None);
    };
    let path = layout
        .path(paths::CLOUD_CONFIG_SECRET)
        .join("cloud-config.yaml");
    let content = optional(&path)?.ok_or_else(|| missing("cloudConfigRef", secret, key))?;
    if content.trim_ascii().is_empty() {
        return Err(WorkerError::Input(format!(
            "cloudConfigRef: the key {key:?} of Secret {secret:?} is empty; write a cloud config, or remove the field"
        )));
    }
    let target = layout.path(paths::CLOUD_CONFIG);
    write(&target, &content)?;
    let readable = std::fs::Permissions::from_mode(0o644);
    file(
        "make readable",
        &target,
        std::fs::set_permissions(&target, readable),
    )?;
    let is_template = content.windows(3).any(|window| window == b"[[[");
    Ok(is_template.then(|| {
        format!("the cloud config {key:?} of Secret {secret:?} contains \"[[[\", which AuroraBoot reads as the beginning of a template")
    }))
}

/// The user's files for the ISO, and the grub.cfg, which wins.
fn iso_overlay(layout: &Layout, recipe: &Recipe) -> Result<()> {
    let target = layout.path(paths::ISO_OVERLAY);
    create(&target)?;
    if recipe.overlay_iso {
        overlay::copy(
            &layout.path(paths::ISO_OVERLAY_VOLUME),
            &target,
            overlay::Owners::Ours,
        )?;
    }
    if let Some(grub) = &recipe.grub_config {
        write(&target.join("boot/grub2/grub.cfg"), grub)?;
    }
    Ok(())
}

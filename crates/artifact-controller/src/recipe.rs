//! What the worker in the builder Pod needs to know: the plan's texts and files, without anything secret. It travels in
//! the `ConfigMap` of the build.

use serde::{Deserialize, Serialize};

use crate::paths;
use crate::plan::{Disk, Plan, ReleaseText, SecretKey, Source, Version};
use crate::steps::{LOCAL_TAG, disk_folder};
use crate::tools::auroraboot::disk_suffix;

/// The recipe's key in the `ConfigMap`.
pub const KEY: &str = "recipe.json";

/// The worker's side of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recipe {
    /// Which build this is for; the Pod says the same, so that a Pod never works by another build's recipe.
    pub build: String,
    /// Name of the `OSArtifact`.
    pub name: String,
    /// The Dockerfile to write, if the build begins with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<Dockerfile>,
    /// How an image is converted to Kairos.
    pub convert: Convert,
    /// Whether the changed root file system is laid over the image.
    #[serde(default)]
    pub assemble: bool,
    /// Where the cloud config is, for messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_config: Option<(String, String)>,
    /// The ISO's grub.cfg.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grub_config: Option<String>,
    /// Whether a volume is laid over the ISO.
    #[serde(default)]
    pub overlay_iso: bool,
    /// Whether a volume is laid over the root file system.
    #[serde(default)]
    pub overlay_rootfs: bool,
    /// What /etc/os-release becomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_release: Option<ReleaseText>,
    /// What /etc/kairos-release becomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kairos_release: Option<ReleaseText>,
    /// Names of the Secrets with registry credentials, in the order in which they win.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pull_secrets: Vec<String>,
    /// Where machines find the network boot files; writes the iPXE script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netboot_url: Option<String>,
    /// The files that must come out.
    pub outputs: Vec<Output>,
}

/// A Dockerfile to write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Dockerfile {
    /// A template in a Secret.
    Template {
        /// Name of the Secret, for messages.
        secret: String,
        /// The key, for messages.
        key: String,
        /// Name of the Secret with values, for messages.
        values_from: Option<String>,
        /// The one key of it that is a value.
        values_key: Option<String>,
        /// Values that win.
        values: Vec<(String, String)>,
    },
    /// Nothing but this image.
    From(String),
}

/// How an image is converted to Kairos.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Convert {
    /// The image to convert.
    pub base: String,
    /// The image with kairos-init.
    pub kairos_init_image: String,
    /// The version it gets.
    pub version: Version,
}

/// A file that must come out of the build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Which one.
    pub kind: OutputKind,
    /// Where the tools leave it: the first that exists.
    pub from: Vec<From>,
}

/// Where a tool leaves a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum From {
    /// At this path.
    File(String),
    /// As the only file in this folder that begins with `kairos-` and ends like this.
    Only(String, String),
}

/// Each file that a build can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OutputKind {
    /// `NAME.tar`
    Image,
    /// `NAME.iso`
    Iso,
    /// `NAME.raw`
    Raw,
    /// `NAME.vhd`
    Azure,
    /// `NAME.gce.tar.gz`
    Gce,
    /// `NAME.squashfs`
    Squashfs,
    /// `NAME-kernel`
    Kernel,
    /// `NAME-initrd`
    Initrd,
    /// `NAME.ipxe`
    Ipxe,
}

impl OutputKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Image,
        Self::Iso,
        Self::Raw,
        Self::Azure,
        Self::Gce,
        Self::Squashfs,
        Self::Kernel,
        Self::Initrd,
        Self::Ipxe,
    ];

    /// The name of the file for an `OSArtifact` of that name.
    pub fn file(self, name: &str) -> String {
        let suffix = match self {
            Self::Image => ".tar",
            Self::Iso => ".iso",
            Self::Raw => ".raw",
            Self::Azure => ".vhd",
            Self::Gce => ".gce.tar.gz",
            Self::Squashfs => ".squashfs",
            Self::Kernel => "-kernel",
            Self::Initrd => "-initrd",
            Self::Ipxe => ".ipxe",
        };
        format!("{name}{suffix}")
    }

    /// The output of the spec that it belongs to.
    pub fn wire_name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Iso => "iso",
            Self::Raw => "cloudImage",
            Self::Azure => "azureImage",
            Self::Gce => "gceImage",
            Self::Squashfs | Self::Kernel | Self::Initrd | Self::Ipxe => "netboot",
        }
    }

    /// One letter for the worker's report, which has to be short.
    pub fn letter(self) -> char {
        match self {
            Self::Image => 't',
            Self::Iso => 'i',
            Self::Raw => 'r',
            Self::Azure => 'a',
            Self::Gce => 'g',
            Self::Squashfs => 's',
            Self::Kernel => 'k',
            Self::Initrd => 'd',
            Self::Ipxe => 'x',
        }
    }

    /// The kind of that letter.
    pub fn of_letter(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.letter() == letter)
    }
}

/// What the controller's flags contribute to a recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipeSettings {
    /// The image with kairos-init.
    pub kairos_init_image: String,
    /// The version of converted images whose spec names none.
    pub default_version: Version,
}

/// The recipe of `plan`, for the build of that name.
pub fn recipe(plan: &Plan, build: &str, settings: &RecipeSettings) -> Recipe {
    let key = |key: &SecretKey| (key.name.clone(), key.key.clone());
    let (dockerfile, base) = match &plan.source {
        Source::Base(image) => (None, image.clone()),
        Source::Image(image) if plan.archive.is_none() => (None, image.clone()),
        Source::Image(image) => (Some(Dockerfile::From(image.clone())), LOCAL_TAG.to_owned()),
        Source::Dockerfile(source) => {
            let from = source.values_from.clone();
            let dockerfile = Dockerfile::Template {
                secret: source.file.name.clone(),
                key: source.file.key.clone(),
                values_key: from.as_ref().and_then(|(_, key)| key.clone()),
                values_from: from.map(|(name, _)| name),
                values: source.values.clone(),
            };
            (Some(dockerfile), LOCAL_TAG.to_owned())
        }
    };
    let version = plan.version.as_ref().unwrap_or(&settings.default_version);
    Recipe {
        build: build.to_owned(),
        name: plan.name.clone(),
        dockerfile,
        convert: Convert {
            base,
            kairos_init_image: settings.kairos_init_image.clone(),
            version: version.clone(),
        },
        assemble: plan.archive.is_some() && plan.changes_root(),
        cloud_config: plan.cloud_config.as_ref().map(key),
        grub_config: plan.grub_config.clone(),
        overlay_iso: plan.overlay_iso.is_some(),
        overlay_rootfs: plan.overlay_rootfs.is_some(),
        os_release: plan.os_release.clone(),
        kairos_release: plan.kairos_release.clone(),
        pull_secrets: plan.pull_secrets.clone(),
        netboot_url: plan.netboot_url.clone().filter(|_| plan.netboot),
        outputs: outputs(plan),
    }
}

/// The files that must come out of `plan`.
pub fn outputs(plan: &Plan) -> Vec<Output> {
    let mut outputs = Vec::new();
    let mut add = |kind: OutputKind, from: Vec<From>| outputs.push(Output { kind, from });
    let file = |folder: &str, kind: OutputKind| {
        vec![From::File(format!("{folder}/{}", kind.file(&plan.name)))]
    };
    if plan.archive.is_some() {
        let archives = if plan.changes_root() {
            vec![paths::ASSEMBLED_ARCHIVE]
        } else {
            vec![paths::CONVERTED_ARCHIVE, paths::BUILT_ARCHIVE]
        };
        add(
            OutputKind::Image,
            archives
                .into_iter()
                .map(|path| From::File(path.to_owned()))
                .collect(),
        );
    }
    if plan.iso {
        add(OutputKind::Iso, file(paths::ISO, OutputKind::Iso));
    }
    if plan.netboot {
        for kind in [OutputKind::Squashfs, OutputKind::Kernel, OutputKind::Initrd] {
            add(kind, file(paths::NETBOOT, kind));
        }
        if plan.netboot_url.is_some() {
            add(OutputKind::Ipxe, file(paths::NETBOOT, OutputKind::Ipxe));
        }
    }
    for &disk in &plan.disks {
        let kind = match disk {
            Disk::Raw => OutputKind::Raw,
            Disk::Azure => OutputKind::Azure,
            Disk::Gce => OutputKind::Gce,
        };
        add(
            kind,
            vec![From::Only(disk_folder(disk), disk_suffix(disk).to_owned())],
        );
    }
    outputs
}

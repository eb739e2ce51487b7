//! OSArtifact: build bootable images from a container image.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::JobSpec;
use k8s_openapi::api::core::v1::{
    Container, LocalObjectReference, PersistentVolumeClaimSpec, Volume,
};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod schema;
mod source;
mod status;

pub use source::{Architecture, SecretKeySelector, VolumeBindings};
pub use status::{
    ArtifactFile, ArtifactPhase, ExporterPhase, ExporterStatus, OSArtifactStatus, StepStatus,
};

/// What is built, from what, and where it goes.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "build.kairos.io",
    version = "v1alpha2",
    kind = "OSArtifact",
    namespaced,
    status = "OSArtifactStatus",
    derive = "PartialEq",
    doc = "An OSArtifact builds bootable images (ISO, disk images, network boot files) from a container image, and hands them to exporters.",
    shortname = "osa",
    category = "kairos",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "Where the build stands"),
    printcolumn(name = "Step", type_ = "string", json_path = ".status.step", description = "What is being done"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Time since creation"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", description = "What is going on, in a sentence", priority = 1),
    validation = Rule {
        optional_old_self: Some(true),
        ..Rule::new("oldSelf.hasValue() || self.metadata.name.size() <= 52")
            .message("metadata.name must have at most 52 characters, because the names of Jobs are made from it; choose a shorter name")
    }
)]
#[x_kube(
    validation = Rule::new(
        "has(self.imageName) || has(self.baseImageName) || has(self.baseImageDockerfile) || has(self.image)"
    ).message(
        "spec must say what to build from: set imageName (a Kairos image), baseImageName (an image to make Kairos of) or baseImageDockerfile (a Secret with a Dockerfile)"
    ),
    validation = Rule::new(
        "!has(self.volumeBindings) || [self.volumeBindings.?buildContext, self.volumeBindings.?overlayISO, self.volumeBindings.?overlayRootfs].all(binding, !binding.hasValue() || (has(self.volumes) && self.volumes.exists(volume, volume.name == binding.value())))"
    ).message(
        "volumeBindings must name volumes of spec.volumes; add the volume there, or correct the name"
    )
)]
pub struct OSArtifactSpec {
    /// A Kairos image to build from. Beside baseImageName or baseImageDockerfile: the name of the image that comes
    /// out of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub image_name: Option<String>,

    /// Any other image, which is made a Kairos image first. Not used beside baseImageDockerfile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub base_image_name: Option<String>,

    /// A Dockerfile in a Secret, which is built and made a Kairos image first. Left out, the key is "Dockerfile".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_image_dockerfile: Option<SecretKeySelector>,

    /// Values for the Go template that the Dockerfile may be: {{ .Name }} becomes the value of Name. They win over
    /// dockerfileTemplateValuesFrom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerfile_template_values: Option<BTreeMap<String, String>>,

    /// A Secret whose entries are values for the Dockerfile template. Left out, the key means: every entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerfile_template_values_from: Option<SecretKeySelector>,

    /// Build an ISO: NAME.iso.
    #[serde(default)]
    pub iso: bool,

    /// Build a raw disk image: NAME.raw.
    #[serde(default)]
    pub cloud_image: bool,

    /// Size of the disk images: a whole number of MiB, or a number with a unit such as "10G" or "10Gi". Left out:
    /// as large as needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[1-9][0-9]*([MGT]i?)?$')").message(
        "diskSize must be a whole number of MiB, or a whole number with M, G, T, Mi, Gi or Ti, for example \"10G\""
    ))]
    pub disk_size: Option<String>,

    /// Build a disk image for Azure: NAME.vhd.
    #[serde(default)]
    pub azure_image: bool,

    /// Build a disk image for Google Cloud: NAME.gce.tar.gz.
    #[serde(default)]
    pub gce_image: bool,

    /// Build kernel, initrd and root file system for network boot.
    #[serde(default)]
    pub netboot: bool,

    /// Where machines will find the network boot files.
    #[serde(
        rename = "netbootURL",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 2048))]
    pub netboot_url: Option<String>,

    /// The processor that the images are for: amd64 or arm64. Left out: that of the node that builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Architecture")]
    pub arch: Option<Architecture>,

    /// A cloud config in a Secret that becomes part of the images. Left out, the key is "cloud-config.yaml".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_config_ref: Option<SecretKeySelector>,

    /// A grub.cfg for the ISO, in place of the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grub_config: Option<String>,

    /// What /etc/os-release of the image says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_release: Option<String>,

    /// What /etc/kairos-release of the image says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kairos_release: Option<String>,

    /// Images of bundles that are laid over the root file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundles: Option<Vec<String>>,

    /// Secrets in the OSArtifact's namespace with which images are pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::image_pull_secrets")]
    pub image_pull_secrets: Option<Vec<LocalObjectReference>>,

    /// Jobs that run when the build is ready, each with the built files in its volume "artifacts".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::embedded::<Vec<JobSpec>>")]
    pub exporters: Option<Vec<JobSpec>>,

    /// The volume claim that holds the built files. Left out: 10Gi, ReadWriteOnce, of the default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::embedded::<PersistentVolumeClaimSpec>")]
    pub volume: Option<PersistentVolumeClaimSpec>,

    /// Further volumes for importers and the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::volumes")]
    pub volumes: Option<Vec<Volume>>,

    /// Containers that run one after the other before the build, to fill volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::embedded::<Vec<Container>>")]
    pub importers: Option<Vec<Container>>,

    /// Which of spec.volumes the build uses for what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_bindings: Option<VolumeBindings>,

    /// Not built by this operator: the image part of kairos-operator's later form of this object. A stored object
    /// keeps it; a new one is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::nested_image")]
    pub image: Option<Value>,

    /// Not built by this operator: the outputs part of kairos-operator's later form of this object. A stored object
    /// keeps it; a new one is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::nested_artifacts")]
    pub artifacts: Option<Value>,
}

impl OSArtifactSpec {
    /// Whether this is kairos-operator's later, nested form, which is kept and not built.
    pub fn is_nested_form(&self) -> bool {
        self.image.is_some() || self.artifacts.is_some()
    }
}

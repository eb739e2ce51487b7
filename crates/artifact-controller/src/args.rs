//! The command line: without a subcommand the controller, and beside it a way to try templates on a laptop.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use k8s_openapi::api::core::v1::{Affinity, ResourceRequirements, Toleration};
use k8s_openapi::jiff::SignedDuration;
use operator_runtime::args::RuntimeArgs;
use operator_runtime::namespaces::Namespaces;

use crate::build::BuildSettings;
use crate::plan::Version;

/// Builds OSArtifacts: bootable images from container images.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "artifact-controller",
    version,
    args_conflicts_with_subcommands = true
)]
pub struct Args {
    /// The controller's own flags.
    #[command(flatten)]
    pub controller: ControllerArgs,

    /// What to do instead of running the controller.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The subcommands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Renders a Dockerfile template and prints the text, or explains what is wrong with it.
    Render {
        /// YAML file with the values: a map of strings. Without it, there are none.
        #[arg(long, value_name = "FILE")]
        values: Option<PathBuf>,
        /// The Dockerfile template.
        dockerfile: PathBuf,
    },
}

/// Flags of the controller.
#[derive(Clone, Debug, clap::Args)]
pub struct ControllerArgs {
    /// Flags that all controllers share.
    #[command(flatten)]
    pub runtime: RuntimeArgs,

    /// Which namespaces it works in.
    #[command(flatten)]
    pub namespaces: Namespaces,

    /// Image with artifact-worker, which is this controller's own image.
    #[arg(long, env = "WORKER_IMAGE", default_value = "artifact-controller")]
    pub worker_image: String,

    /// Image with AuroraBoot. The flags that are used are those of v0.24.0.
    #[arg(
        long,
        env = "AURORABOOT_IMAGE",
        default_value = "quay.io/kairos/auroraboot:v0.24.0"
    )]
    pub auroraboot_image: String,

    /// Image with buildah.
    #[arg(
        long,
        env = "BUILDAH_IMAGE",
        default_value = "quay.io/containers/buildah:v1.43.1"
    )]
    pub buildah_image: String,

    /// Image with kairos-init, which makes Kairos images of others. The flags that are used are those of v0.16.1.
    #[arg(
        long,
        env = "KAIROS_INIT_IMAGE",
        default_value = "quay.io/kairos/kairos-init:v0.16.1"
    )]
    pub kairos_init_image: String,

    /// Version of converted images whose kairosRelease names none; a semantic version.
    #[arg(long, env = "DEFAULT_KAIROS_VERSION", default_value = "v3.6.0", value_parser = version)]
    pub default_kairos_version: Version,

    /// Pull images also from registries without TLS, or with certificates that nobody signed.
    #[arg(long, env = "ALLOW_INSECURE_REGISTRIES")]
    pub allow_insecure_registries: bool,

    /// Name of a pull secret, in the OSArtifact's namespace, for the images of the tools. May be given more than once, or
    /// as a list with commas.
    #[arg(
        long = "image-pull-secret",
        env = "IMAGE_PULL_SECRETS",
        value_delimiter = ','
    )]
    pub image_pull_secrets: Vec<String>,

    /// Priority class of builder Pods. It must exist.
    #[arg(long, env = "PRIORITY_CLASS_NAME")]
    pub priority_class_name: Option<String>,

    /// Label of nodes that may build, as KEY=VALUE. May be given more than once, or as a list with commas.
    #[arg(
        long = "builder-node-selector",
        env = "BUILDER_NODE_SELECTOR",
        value_delimiter = ','
    )]
    pub builder_node_selector: Vec<String>,

    /// Taints that builder Pods tolerate, as JSON: a list as in a Pod's spec.tolerations.
    #[arg(long, env = "BUILDER_TOLERATIONS")]
    pub builder_tolerations: Option<String>,

    /// Affinity of builder Pods, as JSON: as in a Pod's spec.affinity.
    #[arg(long, env = "BUILDER_AFFINITY")]
    pub builder_affinity: Option<String>,

    /// Requests and limits of each container that runs a tool, as JSON: as in a container's resources.
    #[arg(long, env = "BUILDER_RESOURCES")]
    pub builder_resources: Option<String>,

    /// How long a build or an exporter may wait for an image, a volume or a node before it is given up.
    #[arg(long, env = "PROGRESS_DEADLINE_SECONDS", default_value_t = 1800, value_parser = clap::value_parser!(i64).range(1..=604_800))]
    pub progress_deadline_seconds: i64,

    /// How long one step of a build may run before the build is given up.
    #[arg(long, env = "STEP_DEADLINE_SECONDS", default_value_t = 14_400, value_parser = clap::value_parser!(i64).range(1..=604_800))]
    pub step_deadline_seconds: i64,
}

fn version(text: &str) -> Result<Version, String> {
    if crate::plan::is_version(text) {
        Version::parse(text).map_err(|refusal| refusal.to_string())
    } else {
        Err("write a semantic version such as v3.6.0".to_owned())
    }
}

impl ControllerArgs {
    /// How long a build may wait for something.
    pub fn patience(&self) -> SignedDuration {
        SignedDuration::from_secs(self.progress_deadline_seconds)
    }

    /// How long one step of a build may run.
    pub fn step_patience(&self) -> SignedDuration {
        SignedDuration::from_secs(self.step_deadline_seconds)
    }

    /// What the flags contribute to the objects that are built.
    pub fn build_settings(&self) -> anyhow::Result<BuildSettings> {
        let given = |text: &&String| !text.is_empty();
        Ok(BuildSettings {
            worker_image: self.worker_image.clone(),
            auroraboot_image: self.auroraboot_image.clone(),
            buildah_image: self.buildah_image.clone(),
            kairos_init_image: self.kairos_init_image.clone(),
            default_version: self.default_kairos_version.clone(),
            insecure_registries: self.allow_insecure_registries,
            image_pull_secrets: self
                .image_pull_secrets
                .iter()
                .filter(given)
                .cloned()
                .collect(),
            priority_class_name: self
                .priority_class_name
                .clone()
                .filter(|name| !name.is_empty()),
            node_selector: self
                .builder_node_selector
                .iter()
                .filter(given)
                .map(label)
                .collect::<anyhow::Result<_>>()?,
            tolerations: json::<Vec<Toleration>>(
                "--builder-tolerations",
                self.builder_tolerations.as_ref(),
            )?
            .unwrap_or_default(),
            affinity: json::<Affinity>("--builder-affinity", self.builder_affinity.as_ref())?,
            resources: json::<ResourceRequirements>(
                "--builder-resources",
                self.builder_resources.as_ref(),
            )?
            .unwrap_or_default(),
        })
    }
}

fn label(text: &String) -> anyhow::Result<(String, String)> {
    let (key, value) = text.split_once('=').with_context(|| {
        format!("failed to read --builder-node-selector {text:?}: write KEY=VALUE")
    })?;
    Ok((key.to_owned(), value.to_owned()))
}

fn json<T: serde::de::DeserializeOwned>(
    flag: &str,
    text: Option<&String>,
) -> anyhow::Result<Option<T>> {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
        return Ok(None);
    };
    let value =
        serde_json::from_str(text).with_context(|| format!("failed to read {flag} as JSON"))?;
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn flags_reach_the_settings() {
        let args = Args::parse_from([
            "artifact-controller",
            "--builder-node-selector=disk=fast,zone=a",
            "--builder-tolerations=[{\"key\": \"build\", \"operator\": \"Exists\"}]",
            "--builder-resources={\"limits\": {\"memory\": \"4Gi\"}}",
            "--progress-deadline-seconds=60",
        ]);
        let settings = args.controller.build_settings().unwrap();
        assert_eq!(settings.node_selector["zone"], "a");
        assert_eq!(settings.tolerations[0].key.as_deref(), Some("build"));
        assert!(settings.resources.limits.is_some());
        assert_eq!(args.controller.patience().as_secs(), 60);
    }

    #[test]
    fn flags_that_cannot_be_read_are_named() {
        for (flag, name) in [
            ("--builder-tolerations={}", "--builder-tolerations"),
            ("--builder-node-selector=fast", "KEY=VALUE"),
        ] {
            let args = Args::parse_from(["artifact-controller", flag]);
            let error = format!("{:#}", args.controller.build_settings().unwrap_err());
            assert!(error.contains(name), "{error}");
        }
        assert!(
            Args::try_parse_from(["artifact-controller", "--default-kairos-version=latest"])
                .is_err()
        );
    }

    #[test]
    fn a_template_is_tried_without_any_flag_of_the_controller() {
        let args = Args::parse_from(["artifact-controller", "render", "Dockerfile"]);
        assert!(matches!(args.command, Some(Command::Render { .. })));
    }
}

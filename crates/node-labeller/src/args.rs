//! The command line.

use clap::Parser;
use k8s_openapi::jiff::SignedDuration;
use operator_runtime::args::RuntimeArgs;

use crate::build::BuildSettings;
use crate::decide::Limits;

/// Labels each Kairos node with what it is. Other nodes are left without these labels.
#[derive(Clone, Debug, Parser)]
#[command(name = "node-labeller", version)]
pub struct Args {
    /// Flags that all controllers share.
    #[command(flatten)]
    pub runtime: RuntimeArgs,

    /// Image of the Pods that look at nodes; it holds /node-labeller-detect. The image of this controller does.
    #[arg(long, env = "DETECT_IMAGE")]
    pub detect_image: String,

    /// Namespace of those Pods. They mount folders of the host, which its Pod Security level must allow.
    #[arg(
        long,
        env = "DETECT_NAMESPACE",
        default_value = "kairos-operator-detect"
    )]
    pub detect_namespace: String,

    /// User that those Pods run as. 0 only where the nodes' release files are for root alone.
    #[arg(long, env = "DETECT_USER", default_value_t = 65_532, value_parser = clap::value_parser!(i64).range(0..=2_147_483_647))]
    pub detect_user: i64,

    /// How long such a Pod may take before it is given up and tried again later, image pull included.
    #[arg(long, env = "DETECT_DEADLINE_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(i64).range(5..=3600))]
    pub detect_deadline_seconds: i64,

    /// How many such Pods may run at once.
    #[arg(long, env = "MAX_PODS_IN_FLIGHT", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub max_pods_in_flight: u16,

    /// After how long a node is looked at again although nothing about it has changed; up to a tenth less, by the node's
    /// uid, so that nodes do not come all at once.
    #[arg(long, env = "RESYNC_SECONDS", default_value_t = 86_400, value_parser = clap::value_parser!(i64).range(10..=31_536_000))]
    pub resync_seconds: i64,

    /// Label selector: only these nodes are looked at, the labels of others stay as they are. All nodes when not set.
    #[arg(long, env = "NODE_SELECTOR")]
    pub node_selector: Option<String>,

    /// Name of a pull secret in the Pods' namespace. May be given more than once, or as a list with commas.
    #[arg(
        long = "image-pull-secret",
        env = "IMAGE_PULL_SECRETS",
        value_delimiter = ','
    )]
    pub image_pull_secrets: Vec<String>,

    /// Priority class of the Pods. It must exist.
    #[arg(long, env = "PRIORITY_CLASS_NAME")]
    pub priority_class_name: Option<String>,
}

impl Args {
    /// What the flags contribute to the Pods that are built.
    pub fn build_settings(&self) -> BuildSettings {
        let given = |text: &String| !text.is_empty();
        BuildSettings {
            image: self.detect_image.clone(),
            namespace: self.detect_namespace.clone(),
            user: self.detect_user,
            deadline_seconds: self.detect_deadline_seconds,
            image_pull_secrets: self
                .image_pull_secrets
                .iter()
                .filter(|name| given(name))
                .cloned()
                .collect(),
            priority_class_name: self.priority_class_name.clone().filter(given),
        }
    }

    /// What the flags contribute to decisions.
    pub fn limits(&self) -> Limits {
        Limits {
            pods_in_flight: usize::from(self.max_pods_in_flight),
            resync: SignedDuration::from_secs(self.resync_seconds),
            deadline: SignedDuration::from_secs(self.detect_deadline_seconds),
        }
    }

    /// The node selector, if there is one.
    pub fn node_selector(&self) -> Option<&str> {
        self.node_selector
            .as_deref()
            .map(str::trim)
            .filter(|selector| !selector.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_each_flag_has_help() {
        let command = Args::command();
        command.clone().debug_assert();
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{}", argument.get_id());
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let args = Args::parse_from(["node-labeller", "--detect-image=x", "--node-selector= "]);
        assert_eq!(args.limits().pods_in_flight, 20);
        assert_eq!(args.limits().resync, SignedDuration::from_hours(24));
        assert_eq!(args.node_selector(), None);
        assert_eq!(args.build_settings().namespace, "kairos-operator-detect");
    }

    #[test]
    fn without_an_image_there_is_nothing_to_run() {
        assert!(Args::try_parse_from(["node-labeller"]).is_err());
    }
}

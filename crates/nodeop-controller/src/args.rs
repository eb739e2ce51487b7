//! The command line.

use clap::Parser;
use operator_runtime::args::RuntimeArgs;
use operator_runtime::namespaces::Namespaces;

use crate::build::BuildSettings;

/// Runs NodeOps: one Job per selected node, within the operation's concurrency, with every result in its status.
#[derive(Clone, Debug, Parser)]
#[command(name = "nodeop-controller", version)]
pub struct Args {
    /// Flags that all controllers share.
    #[command(flatten)]
    pub runtime: RuntimeArgs,

    /// Which namespaces it works in.
    #[command(flatten)]
    pub namespaces: Namespaces,

    /// Image for the Jobs of NodeOps that name none.
    #[arg(long, env = "DEFAULT_IMAGE", default_value = api_types::names::DEFAULT_NODEOP_IMAGE)]
    pub default_image: String,

    /// Name of a pull secret, in the NodeOp's namespace, for every Pod this controller makes. May be given more than
    /// once, or as a list with commas.
    #[arg(
        long = "image-pull-secret",
        env = "IMAGE_PULL_SECRETS",
        value_delimiter = ','
    )]
    pub image_pull_secrets: Vec<String>,

    /// Priority class of every Pod this controller makes. It must exist.
    #[arg(long, env = "PRIORITY_CLASS_NAME")]
    pub priority_class_name: Option<String>,

    /// Image that holds the node agent at /node-agent, for NodeOps that reboot nodes. Left out: the image of this
    /// controller's own Pod.
    #[arg(long, env = "AGENT_IMAGE")]
    pub agent_image: Option<String>,

    /// The node this controller runs on; it is operated on last of its group. In a Deployment: the downward API's
    /// spec.nodeName.
    #[arg(long, env = "NODE_NAME")]
    pub node_name: Option<String>,
}

impl Args {
    /// What the flags contribute to the objects that are built.
    pub fn build_settings(&self) -> BuildSettings {
        let given = |text: &String| !text.is_empty();
        BuildSettings {
            default_image: self.default_image.clone(),
            image_pull_secrets: self
                .image_pull_secrets
                .iter()
                .filter(|name| given(name))
                .cloned()
                .collect(),
            priority_class_name: self.priority_class_name.clone().filter(given),
            agent_image: self.agent_image.clone().unwrap_or_default(),
        }
    }
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
    fn pull_secrets_may_be_repeated_or_listed() {
        let args = Args::parse_from([
            "nodeop-controller",
            "--image-pull-secret",
            "a,b",
            "--image-pull-secret",
            "c",
        ]);
        assert_eq!(args.build_settings().image_pull_secrets, ["a", "b", "c"]);
    }
}

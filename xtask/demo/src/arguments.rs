//! The command line, and what it teaches.

use anyhow::bail;
use clap::{Parser, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  cargo xtask demo                     a cluster of real nodes (root), all controllers as Pods, all stories
  cargo xtask demo upgrade             one story: nodeop, upgrade or artifact
  cargo xtask demo --keep              the same, left running; says how to use and how to end it
  cargo xtask demo --simulated 500     500 simulated nodes; needs no root; the nodeop story alone
  cargo xtask demo --context staging   the nodeop story on your own cluster; where the operator is not installed, its
                                       controller runs here, under its own token
  cargo xtask demo --context staging --agent-image registry.example.com/nodeop-controller:0.1.0
                                       the same; the controller runs there, as a Deployment

The exit code is 0 only when everything came to a good end. Ctrl-C ends everything that was started here.";

/// Start a cluster on this machine, install the operator on it, and watch it work.
///
/// The cluster is a real API server and four real kubelets, one control-plane node and three workers, each in namespaces
/// of its own; without root the nodes are simulated. The first run builds
/// Kubernetes with Go and the nodes' root file system from Debian packages, which takes minutes.
/// The images of the controllers are built, and all four run as Pods. Then, one after the other: nodes get their labels;
/// a NodeOp (deploy/examples/nodeop.yaml) says hello from each; a NodeOpUpgrade (deploy/examples/nodeopupgrade.yaml)
/// upgrades and reboots each node, first one alone; an OSArtifact is built. The Kairos image and AuroraBoot are stand-ins.
#[derive(Clone, Debug, Parser)]
#[command(name = "demo", bin_name = "cargo xtask demo", after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Tell this story alone instead of all.
    pub(crate) story: Option<Story>,

    /// Leave the cluster running at the end; prints its kubeconfig and how to end it.
    #[arg(long, conflicts_with = "context")]
    pub(crate) keep: bool,

    /// Use this many simulated nodes (kwok) instead of real ones. Their Pods run nothing, so there is no output.
    #[arg(long, value_name = "N", conflicts_with = "context", value_parser = clap::value_parser!(u16).range(1..=5000))]
    pub(crate) simulated: Option<u16>,

    /// Use the cluster of this context of your kubeconfig. Installs the CRDs, the namespace kairos-operator and the
    /// controller's rights there; they stay.
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,

    /// Run the controller on that cluster, as a Deployment with this image, instead of here.
    #[arg(long, value_name = "IMAGE", requires = "context")]
    pub(crate) agent_image: Option<String>,

    /// Only say whether real nodes can run here, after installing the packages they need.
    #[arg(long, hide = true)]
    pub(crate) check_nodes: bool,

    /// Only say whether the run needs the images of the controllers.
    #[arg(long, hide = true)]
    pub(crate) check_images: bool,
}

/// What can be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Story {
    /// A command on each node.
    Nodeop,
    /// Another Kairos on each node, with reboots.
    Upgrade,
    /// A bootable image.
    Artifact,
}

impl Arguments {
    /// Whether the run wants nodes of its own that run what Pods say.
    pub(crate) fn wants_real_nodes(&self) -> bool {
        self.context.is_none() && self.simulated.is_none()
    }

    /// The stories to tell. Only real nodes of our own can be rebooted and pull the stand-in images.
    pub(crate) fn stories(&self, real_nodes: bool) -> anyhow::Result<Vec<Story>> {
        match self.story {
            None if real_nodes => Ok(Story::value_variants().to_vec()),
            None => Ok(vec![Story::Nodeop]),
            Some(story) if real_nodes || story == Story::Nodeop => Ok(vec![story]),
            Some(story) => bail!(
                "the story {story:?} needs real nodes that are started here, as root: run it without --simulated and --context"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(words: &[&str]) -> Arguments {
        Arguments::try_parse_from(["demo"].iter().chain(words)).unwrap()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn an_image_is_only_for_a_cluster_that_exists() {
        assert!(Arguments::try_parse_from(["demo", "--agent-image", "x"]).is_err());
        assert!(Arguments::try_parse_from(["demo", "--context", "c", "--keep"]).is_err());
        assert!(Arguments::try_parse_from(["demo", "--simulated", "0"]).is_err());
    }

    #[test]
    fn all_stories_are_told_on_real_nodes_and_one_elsewhere() {
        let all = [Story::Nodeop, Story::Upgrade, Story::Artifact];
        assert_eq!(parse(&[]).stories(true).unwrap(), all);
        assert_eq!(parse(&["upgrade"]).stories(true).unwrap(), [Story::Upgrade]);
        assert_eq!(parse(&[]).stories(false).unwrap(), [Story::Nodeop]);
        assert!(parse(&["--simulated", "3"]).stories(false).is_ok());
    }

    #[test]
    fn a_story_that_needs_real_nodes_is_refused_elsewhere() {
        for story in ["upgrade", "artifact"] {
            let error = parse(&[story, "--simulated", "3"])
                .stories(false)
                .unwrap_err();
            assert!(error.to_string().contains("real nodes"), "{error}");
        }
    }
}

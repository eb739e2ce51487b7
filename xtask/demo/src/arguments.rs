//! The command line, and what it teaches.

use clap::Parser;

const EXAMPLES: &str = "\
Examples:
  cargo xtask demo                     a cluster of real nodes (root), gone at the end
  cargo xtask demo --keep              the same, left running; says how to use and how to end it
  cargo xtask demo --simulated 500     500 simulated nodes; needs no root
  cargo xtask demo --context staging   on your own cluster; the controller runs here, under its own token
  cargo xtask demo --context staging --agent-image registry.example.com/nodeop-controller:0.1.0
                                       on your own cluster; the controller runs there, as a Deployment

The exit code is 0 only when the operation completed. Ctrl-C ends everything that was started here.";

/// Start a cluster on this machine, install the operator on it, and run a NodeOp that you can watch.
///
/// The cluster is a real API server and four real kubelets, one control-plane node and three workers, each in namespaces
/// of its own; without root the nodes are simulated. The first run builds
/// Kubernetes with Go and the nodes' root file system from Debian packages, which takes minutes; later runs take seconds.
/// The operation is deploy/examples/nodeop.yaml: it says hello from each node and reads its release file.
#[derive(Clone, Debug, Parser)]
#[command(name = "demo", bin_name = "cargo xtask demo", after_help = EXAMPLES)]
pub(crate) struct Arguments {
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
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

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
}

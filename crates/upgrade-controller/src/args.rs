//! The command line.

use clap::Parser;
use operator_runtime::args::RuntimeArgs;
use operator_runtime::namespaces::Namespaces;

use crate::build::BuildSettings;

/// Carries out NodeOpUpgrades: one NodeOp for each, with its progress shown in the NodeOpUpgrade's status.
#[derive(Clone, Debug, Parser)]
#[command(name = "upgrade-controller", version)]
pub struct Args {
    /// Flags that all controllers share.
    #[command(flatten)]
    pub runtime: RuntimeArgs,

    /// Which namespaces it works in.
    #[command(flatten)]
    pub namespaces: Namespaces,

    /// How many seconds the check before an upgrade may take on one node. The node pulls the image in this time, before
    /// it is cordoned, so give slow lines more.
    #[arg(long, env = "PREFLIGHT_DEADLINE_SECONDS", default_value_t = 1800, value_parser = clap::value_parser!(i32).range(1..=86_400))]
    pub preflight_deadline_seconds: i32,

    /// How many seconds the upgrade itself may take on one node, all tries together. An upgrade that hangs ends then.
    #[arg(long, env = "UPGRADE_DEADLINE_SECONDS", default_value_t = 7200, value_parser = clap::value_parser!(i32).range(1..=86_400))]
    pub upgrade_deadline_seconds: i32,
}

impl Args {
    /// What the flags contribute to the NodeOps that are built.
    pub fn build_settings(&self) -> BuildSettings {
        BuildSettings {
            preflight_deadline_seconds: self.preflight_deadline_seconds,
            upgrade_deadline_seconds: self.upgrade_deadline_seconds,
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
    fn without_flags_the_settings_are_the_defaults() {
        assert_eq!(
            Args::parse_from(["upgrade-controller"]).build_settings(),
            BuildSettings::default()
        );
    }
}

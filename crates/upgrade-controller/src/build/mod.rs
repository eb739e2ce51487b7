//! The one object that this controller makes, from a NodeOpUpgrade and the controller's settings. Pure.

pub mod command;
pub mod node_op;

/// What the controller's flags contribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildSettings {
    /// Seconds for the preflight on one node, the pull of the image included.
    pub preflight_deadline_seconds: i32,
    /// Seconds for the upgrade on one node, all tries together.
    pub upgrade_deadline_seconds: i32,
}

impl Default for BuildSettings {
    fn default() -> Self {
        Self {
            preflight_deadline_seconds: 1800,
            upgrade_deadline_seconds: 7200,
        }
    }
}

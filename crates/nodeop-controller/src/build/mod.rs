//! The objects this controller creates, one file per kind. Pure: a NodeOp, a node and the controller's settings in, an
//! object out; snapshot-tested.

pub mod agent;
pub mod check_pod;
pub mod job;
pub mod names;
pub mod pod;
pub mod reboot_pod;

/// What the controller's flags contribute to the objects it builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildSettings {
    /// Image of a NodeOp that names none.
    pub default_image: String,
    /// Pull secrets for every Pod, after those of the NodeOp.
    pub image_pull_secrets: Vec<String>,
    /// Priority class of every Pod; the cluster's default when there is none.
    pub priority_class_name: Option<String>,
    /// Image that holds our agent; empty where the controller was not told one, and then no NodeOp with a reboot can be
    /// carried out.
    pub agent_image: String,
}

impl Default for BuildSettings {
    fn default() -> Self {
        Self {
            default_image: "busybox:latest".to_owned(),
            image_pull_secrets: Vec::new(),
            priority_class_name: None,
            agent_image: String::new(),
        }
    }
}

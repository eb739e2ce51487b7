//! The objects this controller creates, one file per kind. Pure: a node and the controller's settings in, an object out;
//! snapshot-tested.

pub mod labels;
pub mod pod;

/// What the controller's flags contribute to the objects it builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildSettings {
    /// Image that holds the detection.
    pub image: String,
    /// Namespace of the Pods.
    pub namespace: String,
    /// User that the Pods run as.
    pub user: i64,
    /// After how many seconds the kubelet ends a Pod.
    pub deadline_seconds: i64,
    /// Pull secrets of the Pods.
    pub image_pull_secrets: Vec<String>,
    /// Priority class of the Pods; the cluster's default when there is none.
    pub priority_class_name: Option<String>,
}

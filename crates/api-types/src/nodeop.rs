//! NodeOp: one command on each selected node, with preparation before and proof after it.

use k8s_openapi::api::core::v1::LocalObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::schema::edit::{Unchanged, unless_started};

mod check;
mod drain;
mod status;

pub use crate::concurrency::Concurrency;
pub use check::{PreflightCommand, VerifyCommand};
pub use drain::DrainOptions;
pub use status::{NodeCounts, NodeOpStatus, NodePhase, NodeStatus, NodeStep, Phase, RebootStatus};

// Field by field the meaning that kairos-operator's users know; what is new is optional.
/// What to run on which nodes, and how carefully.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "operator.kairos.io",
    version = "v1alpha1",
    kind = "NodeOp",
    namespaced,
    status = "NodeOpStatus",
    derive = "PartialEq",
    doc = "A NodeOp runs one command on each selected node: on a few at once, with cordon, drain, reboot and checks where asked for.",
    shortname = "nop",
    category = "kairos",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "Where the operation stands"),
    printcolumn(name = "Done", type_ = "string", json_path = ".status.summary.done", description = "Nodes that are done, of all that are selected"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.summary.failed", description = "Nodes that failed"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Time since creation"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", description = "What is going on, in a sentence", priority = 1),
    validation = Rule::new(edit_rule()).message(EDIT_MESSAGE)
)]
pub struct NodeOpSpec {
    /// Which nodes the command runs on, by their labels. Left out or empty: all nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::label_selector")]
    pub node_selector: Option<LabelSelector>,

    /// Image of the container that runs the command. Left out: the default image of the operator, which is
    /// busybox:latest unless the admin chose another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub image: Option<String>,

    /// Secrets in the NodeOp's namespace with which the images are pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::image_pull_secrets")]
    pub image_pull_secrets: Option<Vec<LocalObjectReference>>,

    /// The program to run on each node and its arguments, as root in a privileged container that has the node's
    /// root file system mounted at hostMountPath. For a shell line write ["sh", "-c", "..."].
    #[schemars(schema_with = "crate::schema::command")]
    pub command: Vec<String>,

    /// Where the node's root file system is mounted in the container: an absolute path, also given to the command
    /// in the environment variable HOST_DIR.
    #[serde(default = "default_host_mount_path")]
    #[schemars(length(max = 4096))]
    #[x_kube(validation = Rule::new("self.matches('^/[^:]*[^/:]$')").message(
        "hostMountPath must be an absolute path below / without ':' and without '/' at its end, for example /host"
    ))]
    pub host_mount_path: String,

    /// Mark the node unschedulable before the command runs, and schedulable again when it has succeeded.
    #[serde(default)]
    pub cordon: bool,

    /// Make a cordoned node schedulable again also when it failed. After a reboot that was not proven the node stays
    /// cordoned all the same, because its state is not known.
    #[serde(default)]
    pub uncordon_on_failure: bool,

    /// Whether and how Pods are evicted from the node before the command runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_options: Option<DrainOptions>,

    /// Reboot the node when the command has succeeded, and count the node as done only when it is back with a new
    /// boot ID and Ready.
    #[serde(default)]
    pub reboot_on_success: bool,

    /// How often a failed command is tried again on the same node.
    #[serde(default = "default_backoff_limit")]
    #[schemars(range(min = 0))]
    pub backoff_limit: i32,

    /// How many nodes are worked on at once: a whole number, or a percentage of the matching nodes such as "25%",
    /// rounded down but at least one. 0 means all at once.
    #[serde(default)]
    pub concurrency: Concurrency,

    /// Start no further node once one has failed. Nodes that have started are followed to their end.
    #[serde(default)]
    pub stop_on_failure: bool,

    /// A command that decides on each node, before anything is touched, whether there is something to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preflight: Option<PreflightCommand>,

    /// A command that must succeed on each node after the command (and the reboot) before the node counts as done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<VerifyCommand>,

    /// How many seconds a node may take from the permission to reboot until it is back and Ready.
    #[serde(default = "default_reboot_timeout_seconds")]
    #[schemars(range(min = 1))]
    pub reboot_timeout_seconds: i32,

    /// How many seconds a selected node that is not Ready is waited for before it counts as failed.
    #[serde(default = "default_node_ready_timeout_seconds")]
    #[schemars(range(min = 1))]
    pub node_ready_timeout_seconds: i32,

    /// How many seconds the command may take on one node, all tries together. Left out: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub active_deadline_seconds: Option<i32>,

    /// How many seconds a finished Job, with its logs, is kept. The result in the status stays.
    #[serde(default = "default_ttl_seconds_after_finished")]
    #[schemars(range(min = 600))]
    pub ttl_seconds_after_finished: i32,

    /// Start no further node while this is true. Nodes that have started are followed to their end.
    #[serde(default)]
    pub paused: bool,

    /// Let several control-plane nodes be cordoned or rebooted at once. This can cost the cluster its quorum.
    #[serde(default)]
    pub allow_control_plane_parallel: bool,
}

/// Once a node was reserved, the fields below are what its Job was built from, and a change would make one operation
/// out of two. Whatever is not listed may change at any time.
fn edit_rule() -> String {
    let spec = Unchanged::below("spec");
    unless_started(&[
        spec.field("command"),
        spec.field("hostMountPath"),
        spec.field("cordon"),
        spec.field("rebootOnSuccess"),
        spec.field("backoffLimit"),
        spec.field("allowControlPlaneParallel"),
        spec.optional("nodeSelector"),
        spec.optional("image"),
        spec.optional("imagePullSecrets"),
        spec.optional_object("preflight", |check| {
            vec![check.field("command"), check.optional("image")]
        }),
        spec.optional_object("verify", |check| {
            vec![check.field("command"), check.optional("image")]
        }),
    ])
}

const EDIT_MESSAGE: &str = "this NodeOp has started, so what it runs and where cannot change any more; create a new \
    NodeOp instead (paused, concurrency, stopOnFailure, uncordonOnFailure, drainOptions, the timeouts and \
    ttlSecondsAfterFinished may still be edited)";

impl NodeOpSpec {
    /// Whether nodes are made unschedulable: asked for, or implied by a drain.
    pub fn cordons(&self) -> bool {
        self.cordon || self.drains()
    }

    /// Whether the operation disturbs what runs on a node, so that no other operation may do so at the same time.
    pub fn disrupts(&self) -> bool {
        self.cordons() || self.reboot_on_success
    }

    /// Whether Pods are evicted.
    pub fn drains(&self) -> bool {
        self.drain_options
            .as_ref()
            .is_some_and(|options| options.enabled)
    }
}

impl Default for NodeOpSpec {
    /// What the API server makes of a manifest without any field. Such a NodeOp is not valid: the command is empty.
    fn default() -> Self {
        Self {
            node_selector: None,
            image: None,
            image_pull_secrets: None,
            command: Vec::new(),
            host_mount_path: default_host_mount_path(),
            cordon: false,
            uncordon_on_failure: false,
            drain_options: None,
            reboot_on_success: false,
            backoff_limit: default_backoff_limit(),
            concurrency: Concurrency::default(),
            stop_on_failure: false,
            preflight: None,
            verify: None,
            reboot_timeout_seconds: default_reboot_timeout_seconds(),
            node_ready_timeout_seconds: default_node_ready_timeout_seconds(),
            active_deadline_seconds: None,
            ttl_seconds_after_finished: default_ttl_seconds_after_finished(),
            paused: false,
            allow_control_plane_parallel: false,
        }
    }
}

fn default_host_mount_path() -> String {
    "/host".to_owned()
}

fn default_backoff_limit() -> i32 {
    6
}

fn default_reboot_timeout_seconds() -> i32 {
    1800
}

fn default_node_ready_timeout_seconds() -> i32 {
    3600
}

fn default_ttl_seconds_after_finished() -> i32 {
    86_400
}

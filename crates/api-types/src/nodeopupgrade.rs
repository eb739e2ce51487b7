//! NodeOpUpgrade: bring the selected nodes to the Kairos version of an image.

use k8s_openapi::api::core::v1::LocalObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::schema::edit::{Unchanged, unless_started};

mod drain;
mod status;

pub use crate::concurrency::Concurrency;
pub use drain::UpgradeDrainOptions;
pub use status::{NodeOpUpgradeStatus, UpgradePhase};

/// Which nodes are upgraded, to which image, and how carefully.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "operator.kairos.io",
    version = "v1alpha1",
    kind = "NodeOpUpgrade",
    namespaced,
    status = "NodeOpUpgradeStatus",
    derive = "PartialEq",
    doc = "A NodeOpUpgrade brings the selected Kairos nodes to the version of an image, with cordon, drain, reboot and a look at the booted version. It creates one NodeOp of the same name and shows its progress.",
    shortname = "nopup",
    category = "kairos",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "Where the upgrade stands"),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image", description = "The image that nodes are brought to"),
    printcolumn(name = "Done", type_ = "string", json_path = ".status.summary.done", description = "Nodes that are done, of all that are selected"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.summary.failed", description = "Nodes that failed"),
    printcolumn(name = "Current", type_ = "string", json_path = ".status.current", description = "Nodes that are being worked on"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Time since creation"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", description = "What is going on, in a sentence", priority = 1),
    validation = Rule::new(edit_rule()).message(EDIT_MESSAGE)
)]
pub struct NodeOpUpgradeSpec {
    /// The Kairos image to upgrade to. Its version is the version that nodes have afterwards.
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("self != ''").message(
        "image must name the Kairos image to upgrade to, for example quay.io/kairos/opensuse:leap-15.6-standard-amd64-generic-v3.6.0"
    ))]
    pub image: String,

    /// Secrets in the NodeOpUpgrade's namespace with which the image is pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::image_pull_secrets")]
    pub image_pull_secrets: Option<Vec<LocalObjectReference>>,

    /// Which nodes are upgraded, by their labels. Left out or empty: all nodes; nodes that are no Kairos are
    /// skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::label_selector")]
    pub node_selector: Option<LabelSelector>,

    /// How many nodes are upgraded at once: a whole number, or a percentage of the matching nodes such as "25%",
    /// rounded down but at least one. 0 means all at once; control-plane nodes go one by one in any case.
    #[serde(default)]
    pub concurrency: Concurrency,

    /// Start no further node once one has failed. Nodes that have started are followed to their end.
    #[serde(default)]
    pub stop_on_failure: bool,

    /// Upgrade the system that the node boots, and reboot into it.
    #[serde(default = "default_true")]
    pub upgrade_active: bool,

    /// Upgrade the recovery system. With upgradeActive: false only that is done, without cordon, drain and reboot.
    #[serde(default)]
    pub upgrade_recovery: bool,

    /// Upgrade also nodes that have the image's version already.
    #[serde(default)]
    pub force: bool,

    /// Let the upgrade log everything it does.
    #[serde(default)]
    pub debug: bool,

    /// Paths of the image that are left out of the upgrade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(max = 4096)))]
    pub exclude_paths: Option<Vec<String>>,

    /// Make a node schedulable again also when its upgrade failed. After a reboot that was not proven the node stays
    /// cordoned all the same, because its state is not known.
    #[serde(default)]
    pub uncordon_on_failure: bool,

    /// Whether and how Pods are evicted from a node before it is upgraded and rebooted.
    #[serde(default)]
    pub drain_options: UpgradeDrainOptions,

    /// Start no further node while this is true. Nodes that have started are followed to their end.
    #[serde(default)]
    pub paused: bool,

    /// How many seconds a node may take from the permission to reboot until it is back and Ready.
    #[serde(default = "default_reboot_timeout_seconds")]
    #[schemars(range(min = 1))]
    pub reboot_timeout_seconds: i32,
}

/// The NodeOp of an upgrade that has started does not take these changes; refusing them here says so at once.
fn edit_rule() -> String {
    let spec = Unchanged::below("spec");
    unless_started(&[
        spec.field("image"),
        spec.field("upgradeActive"),
        spec.field("upgradeRecovery"),
        spec.field("force"),
        spec.field("debug"),
        spec.optional("nodeSelector"),
        spec.optional("imagePullSecrets"),
        spec.optional("excludePaths"),
    ])
}

const EDIT_MESSAGE: &str = "this NodeOpUpgrade has started, so what it upgrades and to which image cannot change any \
    more; create a new NodeOpUpgrade instead (paused, concurrency, stopOnFailure, uncordonOnFailure, drainOptions and \
    rebootTimeoutSeconds may still be edited)";

impl Default for NodeOpUpgradeSpec {
    /// What the API server makes of a manifest without any field. Such an upgrade is not valid: the image is empty.
    fn default() -> Self {
        Self {
            image: String::new(),
            image_pull_secrets: None,
            node_selector: None,
            concurrency: Concurrency::default(),
            stop_on_failure: false,
            upgrade_active: default_true(),
            upgrade_recovery: false,
            force: false,
            debug: false,
            exclude_paths: None,
            uncordon_on_failure: false,
            drain_options: UpgradeDrainOptions::default(),
            paused: false,
            reboot_timeout_seconds: default_reboot_timeout_seconds(),
        }
    }
}

fn default_true() -> bool {
    true
}

fn default_reboot_timeout_seconds() -> i32 {
    1800
}

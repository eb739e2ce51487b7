//! Labels, annotations, finalizers and fixed names of objects that this operator reads or writes.
//!
//! Names without a note were introduced by kairos-operator and are kept, because people's tools select by them.

/// Label on Jobs and Pods: the NodeOp they belong to. A name over 63 characters is cut and ends in a hash; the
/// full name is then in an annotation of the same key.
pub const LABEL_NODEOP: &str = "kairos.io/nodeop";

/// Label on Jobs and Pods: the node they work on, cut like [`LABEL_NODEOP`].
pub const LABEL_NODE: &str = "kairos.io/node";

/// Label on the Pod that reboots a node; its value is [`VALUE_TRUE`].
pub const LABEL_REBOOT: &str = "kairos.io/reboot";

/// Label on the Pod that checks a node before the operation; its value is [`VALUE_TRUE`].
pub const LABEL_PREFLIGHT: &str = "kairos.io/preflight";

/// Label on a NodeOp that a NodeOpUpgrade created: the name of that NodeOpUpgrade.
pub const LABEL_NODEOPUPGRADE: &str = "nodeopupgrade.kairos.io/name";

/// Annotation on a NodeOp that a NodeOpUpgrade created: the generation of the NodeOpUpgrade that was last carried over in
/// full. Not known to kairos-operator.
pub const ANNOTATION_UPGRADE_GENERATION: &str = "nodeopupgrade.kairos.io/generation";

/// Label on all objects of a build: the name of the OSArtifact.
pub const LABEL_ARTIFACT: &str = "build.kairos.io/artifact";

/// Label on nodes that run Kairos, set by the node labeller; its value is [`VALUE_TRUE`].
pub const LABEL_MANAGED: &str = "kairos.io/managed";

/// The value of labels that only say yes.
pub const VALUE_TRUE: &str = "true";

/// Annotation on a Node: who made it unschedulable, as `namespace/name@uid` of the NodeOp.
pub const ANNOTATION_CORDONED_BY: &str = "operator.kairos.io/cordoned-by";

/// Annotation on a Node: which NodeOp may cordon, drain and reboot it now, as `namespace/name@uid`. Not known to
/// kairos-operator.
pub const ANNOTATION_CLAIMED_BY: &str = "operator.kairos.io/claimed-by";

/// Annotation on the reboot Pod: the boot ID that the node may leave by a reboot. Not known to kairos-operator.
pub const ANNOTATION_REBOOT_AUTHORIZED: &str = "kairos.io/reboot-authorized";

/// Annotation on the reboot Pod: how far the reboot is; [`REBOOT_STATE_COMPLETED`] at the end.
pub const ANNOTATION_REBOOT_STATE: &str = "kairos.io/reboot-state";

/// Value of [`ANNOTATION_REBOOT_STATE`] once the reboot is proven.
pub const REBOOT_STATE_COMPLETED: &str = "completed";

/// Annotation on an exporter Job: its place in `spec.exporters`, counted from 0.
pub const ANNOTATION_EXPORT_INDEX: &str = "build.kairos.io/export-index";

/// Annotation on an exporter Job: what it runs and on which build, as a hash. Not known to kairos-operator.
pub const ANNOTATION_EXPORT_HASH: &str = "build.kairos.io/export-hash";

/// Annotation on an OSArtifact that failed: any new value tries again what is missing. Not known to kairos-operator.
pub const ANNOTATION_RETRY: &str = "build.kairos.io/retry";

/// Annotation on an OSArtifact or its volume claim: with [`VALUE_TRUE`], the claim outlives the OSArtifact. Not known to
/// kairos-operator.
pub const ANNOTATION_RETAIN: &str = "build.kairos.io/retain";

/// Annotation on a retained volume claim: the uid of the OSArtifact it belongs to. Not known to kairos-operator.
pub const ANNOTATION_ARTIFACT_UID: &str = "build.kairos.io/artifact-uid";

/// Our finalizer on a NodeOp: held while a node is claimed, so that deletion gives nodes back. Not known to
/// kairos-operator.
pub const FINALIZER_NODEOP: &str = "operator.kairos.io/release-nodes";

/// Finalizer that kairos-operator left on NodeOps; removed when the object is deleted.
pub const FINALIZER_KAIROS_OPERATOR_NODEOP: &str = "nodeop-reboot.kairos.io/clusterrolebinding";

/// Finalizer that kairos-operator left on OSArtifacts; removed when the object is deleted.
pub const FINALIZER_KAIROS_OPERATOR_OSARTIFACT: &str = "build.kairos.io/osbuilder-finalizer";

/// Name of the container that runs a NodeOp's command; with a reboot it is the init container.
pub const CONTAINER_NAME: &str = "nodeop";

/// Name of the container of the node agent: in the Job, where it follows the command and prepares the reboot, and in the
/// reboot Pod. Not known to kairos-operator.
pub const AGENT_CONTAINER: &str = "agent";

/// Environment variable of that container: where the node's root file system is mounted.
pub const ENV_HOST_DIR: &str = "HOST_DIR";

/// Folder on the node that holds the sentinel files of reboots; their names begin with the Job's name.
pub const SENTINEL_FOLDER: &str = "/usr/local/.kairos";

/// Image of a NodeOp that names none, where the controller was given no other default.
pub const DEFAULT_NODEOP_IMAGE: &str = "busybox:latest";

/// Where kairos-operator holds its Lease: as its manifests install it, or in our own namespace. While it does, our
/// controllers stand by, so that nothing is done twice.
pub const LEASES_OF_KAIROS_OPERATOR: [&str; 2] =
    ["operator-system/ce9721c3.kairos.io", "ce9721c3.kairos.io"];

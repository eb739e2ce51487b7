//! Types and reasons of the conditions in our status objects.
//!
//! `kubectl wait --for=condition=Complete` and alerts read these words, so they are written once, here.

/// Condition types. Each has status True, False or Unknown.
pub mod types {
    /// True when the object has reached its good end.
    pub const COMPLETE: &str = "Complete";
    /// True when the object has reached a bad end; the reason says which.
    pub const FAILED: &str = "Failed";
    /// True when the files of an OSArtifact are built.
    pub const BUILT: &str = "Built";
    /// True when every exporter of an OSArtifact has succeeded.
    pub const EXPORTED: &str = "Exported";
    /// True when an OSArtifact is built and exported.
    pub const READY: &str = "Ready";
    /// True, and only there, when spec.volume of an OSArtifact asks for another volume than the one there is.
    pub const VOLUME_OUTDATED: &str = "VolumeOutdated";
    /// True while work is going on; False with a reason that says why nothing moves.
    pub const PROGRESSING: &str = "Progressing";
}

/// Condition reasons.
pub mod reasons {
    /// Nothing has happened yet.
    pub const PENDING: &str = "Pending";
    /// Work is going on.
    pub const RUNNING: &str = "Running";
    /// Every node is done, or the build is ready.
    pub const COMPLETED: &str = "Completed";
    /// `spec.paused` holds back what has not started.
    pub const PAUSED: &str = "Paused";
    /// The object was taken over from kairos-operator; it is followed to its end and starts nothing new.
    pub const ADOPTED: &str = "Adopted";

    /// The spec asks for something that this version cannot do; nothing was started.
    pub const UNSUPPORTED: &str = "Unsupported";
    /// The spec says something that cannot be meant; the message says what to write.
    pub const INVALID_SPEC: &str = "InvalidSpec";

    /// The node selector matches no node.
    pub const NO_MATCHING_NODES: &str = "NoMatchingNodes";
    /// Nodes that are left to do are not Ready.
    pub const NODES_NOT_READY: &str = "NodesNotReady";
    /// Nodes that are left to do are claimed by another operation.
    pub const NODES_CLAIMED: &str = "NodesClaimed";
    /// Another control-plane node is not Ready or being operated on, so no further one is started.
    pub const CONTROL_PLANE_BUSY: &str = "ControlPlaneBusy";
    /// More nodes match than the status of one object can hold.
    pub const TOO_MANY_NODES: &str = "TooManyNodes";

    /// The API server refused the Pod: Pod Security, a quota or a policy.
    pub const POD_REFUSED: &str = "PodRefused";
    /// Pods cannot be evicted from a node: budgets or drain options forbid it.
    pub const DRAIN_BLOCKED: &str = "DrainBlocked";

    /// At least one node failed.
    pub const NODE_FAILED: &str = "NodeFailed";
    /// A node failed and `spec.stopOnFailure` kept the others from starting.
    pub const STOPPED: &str = "Stopped";
    /// `spec.activeDeadlineSeconds` passed.
    pub const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";

    /// The NodeOp of an upgrade is made, or has not reported yet.
    pub const INITIALIZING: &str = "Initializing";
    /// The NodeOp of an upgrade has been waiting for the nodeop-controller for too long.
    pub const NODE_OP_CONTROLLER_MISSING: &str = "NodeOpControllerMissing";
    /// The API server refused the NodeOp of an upgrade, or an edit of it.
    pub const NODE_OP_REFUSED: &str = "NodeOpRefused";
    /// A NodeOp of the upgrade's name exists that is not the upgrade's.
    pub const NODE_OP_NAME_TAKEN: &str = "NodeOpNameTaken";
    /// Somebody deleted the NodeOp of an upgrade before its end.
    pub const NODE_OP_DELETED: &str = "NodeOpDeleted";

    /// A step of a build failed; the message names it and its cause.
    pub const BUILD_FAILED: &str = "BuildFailed";
    /// A build has waited too long for something: an image, a volume, room on a node.
    pub const STUCK: &str = "Stuck";
    /// An exporter failed; the message names it and its cause.
    pub const EXPORT_FAILED: &str = "ExportFailed";
    /// The volume claim was made from an earlier spec, and a claim cannot be changed.
    pub const CLAIM_EXISTS: &str = "ClaimExists";
    /// A name that the build needs is taken by an object that is not ours.
    pub const NAME_TAKEN: &str = "NameTaken";
}

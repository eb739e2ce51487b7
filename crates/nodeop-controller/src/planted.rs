//! Mistakes that tests plant, to show that the simulation finds them.

/// Whether a test has planted this mistake. Outside of tests it is the constant `false`, and nothing of it is built.
#[cfg(test)]
macro_rules! planted {
    ($mistake:ident) => {
        $crate::planted::Planted::$mistake.is_planted()
    };
}
#[cfg(not(test))]
macro_rules! planted {
    ($mistake:ident) => {
        false
    };
}

#[cfg(test)]
std::thread_local! {
    static PRESENT: std::cell::Cell<Option<Planted>> = const { std::cell::Cell::new(None) };
}

/// A mistake that somebody could make. Each stands at one place, as `planted!(Name)`.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    /// A claim is written without the Node's uid and resourceVersion.
    ClaimWithoutVersion,
    /// A node that reboots or is verified does not count against `concurrency`.
    SlotFreedEarly,
    /// The reboot Pod is created with the permission to reboot, before the command has run.
    RebootBeforeComplete,
    /// The sentinel is written before the command runs.
    SentinelBeforeWork,
    /// A node is made schedulable whoever cordoned it.
    BlindUncordon,
    /// A claim puts its name on the cordon that a human set.
    CordonAdopted,
    /// The status is written without resourceVersion.
    StatusWithoutVersion,
    /// What was decided is done before the status is acknowledged.
    ActBeforeAcknowledged,
    /// A Job's name is another one each time.
    RandomJobName,
    /// The holder of a claim is taken for dead without asking.
    DeadClaimAssumed,
    /// A control-plane node is worked on without the control plane's place.
    PlaceIgnored,
    /// The permission names the boot that the node is in, not the one to leave.
    PermitForPresentBoot,
    /// A Ready node proves its reboot.
    ReadyProvesReboot,
    /// A drain deletes Pods.
    EvictByDelete,
    /// A Job that no cache shows was deleted.
    MissingJobTrusted,
    /// The finalizer goes without a look for nodes that are still held.
    FinalizerDroppedEarly,
    /// A result is written before the node is given back.
    ResultBeforeRelease,
    /// The result of a node that is gone is dropped.
    ResultForgotten,
    /// The control plane's place stays taken.
    PlaceKept,
}

#[cfg(test)]
impl Planted {
    /// All of them.
    pub(crate) const ALL: [Self; 19] = [
        Self::ClaimWithoutVersion,
        Self::SlotFreedEarly,
        Self::RebootBeforeComplete,
        Self::SentinelBeforeWork,
        Self::BlindUncordon,
        Self::CordonAdopted,
        Self::StatusWithoutVersion,
        Self::ActBeforeAcknowledged,
        Self::RandomJobName,
        Self::DeadClaimAssumed,
        Self::PlaceIgnored,
        Self::PermitForPresentBoot,
        Self::ReadyProvesReboot,
        Self::EvictByDelete,
        Self::MissingJobTrusted,
        Self::FinalizerDroppedEarly,
        Self::ResultBeforeRelease,
        Self::ResultForgotten,
        Self::PlaceKept,
    ];

    /// Plants the mistake, or none, for what runs on this thread.
    pub(crate) fn plant(mistake: Option<Self>) {
        PRESENT.set(mistake);
    }

    pub(crate) fn is_planted(self) -> bool {
        PRESENT.get() == Some(self)
    }
}

//! Which nodes are looked at next, and what becomes of the Pods that are there. Pure: a snapshot and `now` go in, steps
//! come out.
//!
//! A node is looked at when it has no record, when its state is another than its record's, and when its record is old; and
//! once more with the marker files, where its record wants them. One Pod per node, no more Pods at once than the limit.

mod judge;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

pub use judge::{Failure, Verdict};

use crate::record::{Markers, mark_of};
use crate::watched::{WatchedNode, WatchedPod};

/// Ended Pods that wait to be read or removed may be this many times the limit; then nothing new is started.
const ENDED_PER_LIMIT: usize = 2;

/// What the flags say.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most Pods that have not ended.
    pub pods_in_flight: usize,
    /// After how long a node is looked at again.
    pub resync: SignedDuration,
    /// After how long the kubelet ends a Pod.
    pub deadline: SignedDuration,
}

/// What a Pod looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Release files and the kernel command line.
    Files,
    /// Marker files in /run/cos too.
    FilesAndMarkers,
}

/// A step that is being carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// The Pod is being created.
    Creating,
    /// The Pod is being read or removed.
    Ending,
}

/// What one decision looks at.
#[derive(Debug)]
pub struct Snapshot<'a> {
    /// Every Node that is selected.
    pub nodes: &'a [Arc<WatchedNode>],
    /// Our Pods by name.
    pub pods: &'a BTreeMap<String, Arc<WatchedPod>>,
    /// Steps that are being carried out, by the Pod's name.
    pub busy: &'a BTreeMap<String, Busy>,
    /// Nodes, by uid, that are left alone with their Pods until then, because something failed.
    pub held: &'a HashMap<String, Timestamp>,
    /// How many more steps may be carried out at once.
    pub room: usize,
}

/// One step; steps do not depend on each other.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Start a Pod on a node.
    Create {
        /// The node.
        node: Arc<WatchedNode>,
        /// What the Pod looks at.
        probe: Probe,
    },
    /// Write down what a Pod told, and remove it.
    Conclude {
        /// The Pod's node.
        node: Arc<WatchedNode>,
        /// The Pod.
        pod: Arc<WatchedPod>,
        /// What it told.
        verdict: Verdict,
    },
    /// Remove a Pod whose word does not matter (any more).
    Remove {
        /// The Pod.
        pod: Arc<WatchedPod>,
        /// Whether its node has changed under it.
        outdated: bool,
    },
}

impl Step {
    /// The uid of the node that it is about; empty where there is none.
    pub fn node_uid(&self) -> String {
        let uid = match self {
            Self::Create { node, .. } | Self::Conclude { node, .. } => node.uid(),
            Self::Remove { pod, .. } => pod.node_uid().unwrap_or_default(),
        };
        uid.to_owned()
    }

    /// The name of the Pod that it is about.
    pub fn pod_name(&self) -> String {
        match self {
            Self::Create { node, .. } => node.pod_name.clone(),
            Self::Conclude { pod, .. } | Self::Remove { pod, .. } => pod.name().to_owned(),
        }
    }
}

/// What is to be done now, and when to look again if nothing happens.
#[derive(Debug, Default)]
pub struct Plan {
    /// To be carried out side by side.
    pub steps: Vec<Step>,
    /// When something falls due.
    pub wake_at: Option<Timestamp>,
    /// Pods that have not ended.
    pub in_flight: usize,
    /// Nodes that wait for a Pod.
    pub waiting: usize,
    /// Nodes with the label that says Kairos.
    pub managed: usize,
}

impl Plan {
    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

/// Decides.
pub fn decide(snapshot: &Snapshot<'_>, limits: &Limits, now: Timestamp) -> Plan {
    let mut plan = Plan {
        managed: snapshot
            .nodes
            .iter()
            .filter(|node| node.is_managed())
            .count(),
        ..Plan::default()
    };
    let by_uid: HashMap<&str, &Arc<WatchedNode>> = snapshot
        .nodes
        .iter()
        .map(|node| (node.uid(), node))
        .collect();
    for pod in snapshot.pods.values() {
        if snapshot.busy.contains_key(pod.name()) {
            continue;
        }
        match snapshot.held.get(pod.node_uid().unwrap_or_default()) {
            Some(until) if *until > now => plan.wake(*until),
            _ => {
                let node = pod.node_uid().and_then(|uid| by_uid.get(uid));
                end(pod, node.copied(), limits, now, &mut plan);
            }
        }
    }
    // What is concluded gives a node its labels; what is removed only tidies up.
    plan.steps
        .sort_by_key(|step| matches!(step, Step::Remove { .. }));
    plan.steps.truncate(snapshot.room);
    start(snapshot, limits, now, &mut plan);
    plan
}

/// What becomes of one Pod.
fn end(
    pod: &Arc<WatchedPod>,
    node: Option<&Arc<WatchedNode>>,
    limits: &Limits,
    now: Timestamp,
    plan: &mut Plan,
) {
    let remove = |outdated| Step::Remove {
        pod: Arc::clone(pod),
        outdated,
    };
    let Some(node) = node.filter(|node| node.has_linux) else {
        plan.steps.push(remove(false));
        return;
    };
    let told = |record: &crate::record::Record| record.by == mark_of(pod);
    if node.record.as_ref().is_some_and(told) {
        plan.steps.push(remove(false));
    } else if pod.state() != node.state {
        // The node has booted or was upgraded meanwhile: whichever of its states the Pod saw, a new one tells.
        plan.steps.push(remove(true));
    } else {
        match judge::judge(pod, limits, now) {
            Ok(verdict) => plan.steps.push(Step::Conclude {
                node: Arc::clone(node),
                pod: Arc::clone(pod),
                verdict,
            }),
            Err(overdue_at) => plan.wake(overdue_at),
        }
    }
}

type Wanted<'a> = (Urgency, &'a Arc<WatchedNode>, Probe);

/// Starts Pods as far as the limit allows: unknown nodes first, changed ones next, old records last.
fn start(snapshot: &Snapshot<'_>, limits: &Limits, now: Timestamp, plan: &mut Plan) {
    let mut wanted: Vec<Wanted<'_>> = Vec::new();
    for node in snapshot.nodes {
        let (urgency, probe) = match need(node, limits, now) {
            Need::Now(urgency, probe) => (urgency, probe),
            Need::At(due) => {
                plan.wake(due);
                continue;
            }
            Need::Nothing => continue,
        };
        match snapshot.held.get(node.uid()) {
            Some(until) if *until > now => plan.wake(*until),
            _ => {
                let name = &node.pod_name;
                if !snapshot.pods.contains_key(name) && !snapshot.busy.contains_key(name) {
                    wanted.push((urgency, node, probe));
                }
            }
        }
    }
    let creating = snapshot
        .busy
        .iter()
        .filter(|(_, busy)| **busy == Busy::Creating)
        .map(|(name, _)| name.as_str());
    let in_flight: BTreeSet<&str> = snapshot
        .pods
        .values()
        .filter(|pod| !pod.has_ended())
        .map(|pod| pod.name())
        .chain(creating)
        .collect();
    let ended = snapshot.pods.len().saturating_sub(in_flight.len());
    let room = if ended > ENDED_PER_LIMIT * limits.pods_in_flight {
        0
    } else {
        limits.pods_in_flight.saturating_sub(in_flight.len())
    };
    let room = room.min(snapshot.room.saturating_sub(plan.steps.len()));
    plan.in_flight = in_flight.len() + wanted.len().min(room);
    plan.waiting = wanted.len().saturating_sub(room);
    let order = |(one, a, _): &Wanted<'_>, (other, b, _): &Wanted<'_>| {
        (one, a.name()).cmp(&(other, b.name()))
    };
    // Only the first few are put into order: thousands may be waiting.
    if room < wanted.len() {
        wanted.select_nth_unstable_by(room, order);
        wanted.truncate(room);
    }
    wanted.sort_by(order);
    plan.steps
        .extend(wanted.into_iter().map(|(_, node, probe)| Step::Create {
            node: Arc::clone(node),
            probe,
        }));
}

/// Whether a node is to be looked at.
enum Need {
    Now(Urgency, Probe),
    At(Timestamp),
    /// Not before it changes.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    Unknown,
    Changed,
    Old,
}

fn need(node: &WatchedNode, limits: &Limits, now: Timestamp) -> Need {
    // A Pod that is bound to a node that is not Ready would only wait there.
    if !node.has_linux || !node.is_ready() || node.metadata.deletion_timestamp.is_some() {
        return Need::Nothing;
    }
    let Some(record) = node
        .record
        .as_ref()
        .filter(|record| record.is_plausible(now))
    else {
        return Need::Now(Urgency::Unknown, Probe::Files);
    };
    let again = match record.markers {
        Some(Markers::Read) => Probe::FilesAndMarkers,
        Some(Markers::Wanted | Markers::Missing) | None => Probe::Files,
    };
    if record.of != node.state {
        return Need::Now(Urgency::Changed, again);
    }
    if record.markers == Some(Markers::Wanted) {
        return Need::Now(Urgency::Changed, Probe::FilesAndMarkers);
    }
    let due = record.due(node.jitter, limits.resync);
    if due <= now {
        Need::Now(Urgency::Old, again)
    } else {
        Need::At(due)
    }
}

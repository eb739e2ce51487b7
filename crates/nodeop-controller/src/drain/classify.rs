//! What becomes of each Pod of a node: the rules of `kubectl drain`. Pure.
//!
//! Two rules differ from kubectl's on purpose. A Pod that is terminating already is only waited for, whatever the options
//! say: they forbid to end Pods, and this one has been ended by somebody else. And with `ignoreDaemonSets` the finished
//! Pods of a DaemonSet stay too: they hold nothing up, and their DaemonSet clears them away.

use api_types::nodeop::DrainOptions;

use super::OwnObjects;
use super::pod::{Controller, DrainPod};

/// Why a Pod may not be evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// It belongs to a DaemonSet, and `ignoreDaemonSets` is false.
    DaemonSet,
    /// Nobody would create it anew, and `force` is false.
    NoController,
    /// It would lose the data of an emptyDir volume, and `deleteEmptyDirData` is false.
    EmptyDir,
}

/// A Pod that the options forbid to evict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forbidden {
    /// The Pod, as `namespace/name`.
    pub pod: String,
    /// Why.
    pub why: Refusal,
}

/// The Pods of a node, sorted. A Pod that is in none of the lists is left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classified {
    /// Pods that the options forbid to evict, once per reason.
    pub forbidden: Vec<Forbidden>,
    /// Pods to evict.
    pub evict: Vec<DrainPod>,
    /// Finished Pods, to delete: their end disrupts nothing.
    pub delete: Vec<DrainPod>,
    /// Pods whose deletion has been asked for already.
    pub terminating: Vec<DrainPod>,
}

impl Classified {
    /// Whether nothing has to go.
    pub fn is_empty(&self) -> bool {
        let Self {
            forbidden,
            evict,
            delete,
            terminating,
        } = self;
        forbidden.is_empty() && evict.is_empty() && delete.is_empty() && terminating.is_empty()
    }
}

/// Sorts the Pods of one node.
pub fn classify(
    pods: impl IntoIterator<Item = DrainPod>,
    options: &DrainOptions,
    own: &OwnObjects,
) -> Classified {
    let mut classified = Classified::default();
    for pod in pods {
        if pod.mirror || is_own(&pod, own) {
            continue;
        }
        let daemon_set = pod.controller == Controller::DaemonSet;
        if daemon_set && options.ignore_daemon_sets {
            continue;
        }
        if pod.finished && pod.deletion.is_none() {
            classified.delete.push(pod);
        } else if daemon_set && !pod.finished {
            forbid(&mut classified, &pod, Refusal::DaemonSet);
        } else if pod.deletion.is_some() {
            classified.terminating.push(pod);
        } else {
            let unowned = pod.controller == Controller::None && !options.force;
            let loses_data = pod.empty_dir && !options.delete_empty_dir_data;
            if unowned {
                forbid(&mut classified, &pod, Refusal::NoController);
            }
            if loses_data {
                forbid(&mut classified, &pod, Refusal::EmptyDir);
            }
            if !unowned && !loses_data {
                classified.evict.push(pod);
            }
        }
    }
    classified
}

fn forbid(classified: &mut Classified, pod: &DrainPod, why: Refusal) {
    classified.forbidden.push(Forbidden {
        pod: pod.to_string(),
        why,
    });
}

fn is_own(pod: &DrainPod, own: &OwnObjects) -> bool {
    match &pod.controller {
        Controller::NodeOp => true,
        Controller::Job(uid) => own.jobs.contains(uid),
        Controller::None | Controller::DaemonSet | Controller::Other => false,
    }
}

#[cfg(test)]
mod tests;

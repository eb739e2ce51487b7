//! Every change of a world's Jobs, as a watch tells it: nothing between two looks is missed.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::batch::v1::Job;
use kube::Api;
use kube::runtime::watcher::{self, Event};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How long the last Job may take to end.
const PATIENCE: Duration = Duration::from_mins(1);

/// What was seen so far.
#[derive(Default)]
pub(crate) struct JobHistory {
    /// The most Jobs that had no result at the same time.
    pub(crate) most_active: usize,
    /// Nodes in the order in which their Jobs appeared.
    pub(crate) order: Vec<String>,
    active: BTreeMap<String, String>,
    ended: usize,
    together: Vec<(String, String)>,
}

/// A running record.
pub(crate) struct Recording {
    task: JoinHandle<JobHistory>,
    stop: mpsc::Sender<usize>,
}

impl JobHistory {
    /// Records from now on.
    pub(crate) async fn record(jobs: Api<Job>) -> Recording {
        let (stop, mut stopped) = mpsc::channel(1);
        let mut events = watcher::watcher(jobs, watcher::Config::default()).boxed();
        // The first list is over before the test goes on.
        while !matches!(events.try_next().await.unwrap(), Some(Event::InitDone)) {}
        let task = tokio::spawn(async move {
            let mut history = Self::default();
            let mut expected = usize::MAX;
            while history.ended < expected {
                tokio::select! {
                    count = stopped.recv() => expected = count.unwrap_or(0),
                    event = events.next() => match event {
                        Some(Ok(Event::Apply(job) | Event::InitApply(job))) => history.take(&job),
                        Some(Ok(_) | Err(_)) => {}
                        None => break,
                    },
                }
            }
            history
        });
        Recording { task, stop }
    }

    fn take(&mut self, job: &Job) {
        let name = job.metadata.name.clone().unwrap();
        let node = job
            .spec
            .as_ref()
            .unwrap()
            .template
            .spec
            .as_ref()
            .unwrap()
            .node_name
            .clone()
            .unwrap();
        let conditions = job
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten());
        let ended = conditions
            .filter(|found| found.status == "True")
            .any(|found| matches!(found.type_.as_str(), "Complete" | "Failed"));
        if ended {
            self.ended += usize::from(self.active.remove(&name).is_some());
            return;
        }
        if !self.active.contains_key(&name) && !self.order.contains(&node) {
            self.together.extend(
                self.active
                    .values()
                    .map(|other| (other.clone(), node.clone())),
            );
            self.order.push(node.clone());
            self.active.insert(name, node);
            self.most_active = self.most_active.max(self.active.len());
        }
    }

    /// Pairs of one node of each list whose Jobs were active together.
    pub(crate) fn overlaps(&self, some: &[String], others: &[String]) -> Vec<(String, String)> {
        let pairs = self.together.iter().filter(|(a, b)| {
            (some.contains(a) && others.contains(b)) || (some.contains(b) && others.contains(a))
        });
        pairs.cloned().collect()
    }
}

impl Recording {
    /// Waits until that many Jobs have ended, and returns what was seen.
    pub(crate) async fn finish(self, jobs: usize) -> JobHistory {
        self.stop.send(jobs).await.unwrap();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .unwrap()
            .unwrap()
    }
}

//! When Jobs were created and done, and what the NodeOp's status said when, as watches tell.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use api_types::names::LABEL_NODE;
use api_types::nodeop::{NodeOp, Phase};
use futures::StreamExt as _;
use k8s_openapi::api::batch::v1::Job;
use kube::api::ObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// How long both watches may take to begin.
const BEGUN: Duration = Duration::from_secs(30);

/// A Job with what is looked at.
#[derive(Resource, Clone, Debug, Default, Serialize, Deserialize)]
#[resource(inherit = Job)]
#[serde(default)]
struct SeenJob {
    metadata: ObjectMeta,
    status: SeenStatus,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct SeenStatus {
    conditions: Vec<SeenCondition>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct SeenCondition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

/// One Job's times.
#[derive(Clone, Debug)]
pub struct JobTimes {
    /// Its node.
    pub node: String,
    /// When it was seen first.
    pub created: Instant,
    /// When it was seen Complete.
    pub done: Option<Instant>,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Jobs by UID.
    pub jobs: HashMap<String, JobTimes>,
    /// When the status first gave a node's result.
    pub results: BTreeMap<String, Instant>,
    /// Bytes of the largest status, as JSON.
    pub status_bytes: usize,
    /// When the operation had ended, and how.
    pub ended: Option<(Instant, Phase)>,
}

impl Seen {
    /// From a Job's end to the status with its node's result.
    pub fn status_delays(&self) -> Vec<Duration> {
        let done = self.jobs.values().filter_map(|job| {
            let told = self.results.get(&job.node)?;
            Some(told.saturating_duration_since(job.done?))
        });
        done.collect()
    }

    /// Jobs beyond one for each node.
    pub fn doubled(&self) -> usize {
        let mut nodes: Vec<&str> = self.jobs.values().map(|job| job.node.as_str()).collect();
        nodes.sort_unstable();
        nodes.dedup();
        self.jobs.len() - nodes.len()
    }
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    waiting: Mutex<HashMap<String, oneshot::Sender<()>>>,
}

/// Watches one namespace until it is dropped.
pub struct Journal {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
    ended: watch::Receiver<bool>,
}

impl Journal {
    /// Begins to watch, and returns when nothing can be missed any more.
    pub async fn start(client: &Client, namespace: &str) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (begun, mut beginning) = watch::channel(0);
        let (end, ended) = watch::channel(false);
        let jobs = Api::<SeenJob>::namespaced(client.clone(), namespace);
        let node_ops = Api::<NodeOp>::namespaced(client.clone(), namespace);
        let of_jobs = Arc::clone(&shared);
        let of_node_ops = Arc::clone(&shared);
        let begun = Arc::new(begun);
        let tasks = vec![
            tokio::spawn(follow(jobs, Arc::clone(&begun), move |job| {
                of_jobs.job(&job);
            })),
            tokio::spawn(follow(node_ops, begun, move |node_op| {
                if of_node_ops.node_op(&node_op) {
                    end.send_replace(true);
                }
            })),
        ];
        tokio::time::timeout(BEGUN, beginning.wait_for(|count| *count >= 2))
            .await
            .context("the watches of the bench did not begin")?
            .context("the watches of the bench ended")?;
        Ok(Self {
            shared,
            tasks,
            ended,
        })
    }

    /// Resolves when the Job of that name is Complete. To be called before it is created.
    pub fn done(&self, job: &str) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.shared.waiting).insert(job.to_owned(), sender);
        receiver
    }

    /// Waits for the end of the operation. `check` fails when nobody works on it any more.
    pub async fn ended(
        &self,
        patience: Duration,
        check: impl Fn() -> anyhow::Result<()>,
    ) -> anyhow::Result<Seen> {
        let deadline = Instant::now() + patience;
        let mut ended = self.ended.clone();
        loop {
            let waited =
                tokio::time::timeout(Duration::from_secs(1), ended.wait_for(|ended| *ended)).await;
            if waited.is_ok() {
                return Ok(self.seen());
            }
            check()?;
            if Instant::now() > deadline {
                let seen = self.seen();
                bail!(
                    "the operation did not end within {} s: {} Jobs, {} results",
                    patience.as_secs(),
                    seen.jobs.len(),
                    seen.results.len()
                );
            }
        }
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        lock(&self.shared.seen).clone()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn follow<K>(api: Api<K>, begun: Arc<watch::Sender<usize>>, mut look: impl FnMut(K))
where
    K: Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let mut events = watcher(api, watcher::Config::default())
        .default_backoff()
        .boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::InitDone) => begun.send_modify(|count| *count += 1),
            Ok(Event::Apply(object) | Event::InitApply(object)) => look(object),
            // An interrupted watch is resumed.
            Ok(Event::Init | Event::Delete(_)) | Err(_) => {}
        }
    }
}

impl Shared {
    fn job(&self, job: &SeenJob) {
        let now = Instant::now();
        let uid = job.metadata.uid.clone().unwrap_or_default();
        let done = job
            .status
            .conditions
            .iter()
            .any(|condition| condition.type_ == "Complete" && condition.status == "True");
        let mut seen = lock(&self.seen);
        let times = seen.jobs.entry(uid).or_insert_with(|| {
            let labels = job.metadata.labels.as_ref();
            JobTimes {
                node: labels
                    .and_then(|labels| labels.get(LABEL_NODE))
                    .cloned()
                    .unwrap_or_default(),
                created: now,
                done: None,
            }
        });
        if done && times.done.is_none() {
            times.done = Some(now);
            let name = job.metadata.name.as_deref().unwrap_or_default();
            if let Some(waiting) = lock(&self.waiting).remove(name) {
                // Who no longer waits has failed with its own message.
                waiting.send(()).ok();
            }
        }
    }

    /// Whether it has ended.
    fn node_op(&self, node_op: &NodeOp) -> bool {
        let now = Instant::now();
        let Some(status) = &node_op.status else {
            return false;
        };
        let mut seen = lock(&self.seen);
        let bytes = serde_json::to_vec(status).map_or(0, |json| json.len());
        seen.status_bytes = seen.status_bytes.max(bytes);
        for (node, entry) in &status.node_statuses {
            if entry.phase.is_terminal() && !seen.results.contains_key(node) {
                seen.results.insert(node.clone(), now);
            }
        }
        let end = status.phase.filter(|phase| phase.is_terminal());
        if let Some(phase) = end {
            seen.ended.get_or_insert((now, phase));
        }
        end.is_some()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under a lock leaves its content whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(uid: &str, node: &str, conditions: &serde_json::Value) -> SeenJob {
        serde_json::from_value(json!({
            "metadata": {"name": format!("job-{uid}"), "uid": uid, "labels": {LABEL_NODE: node}},
            "status": {"conditions": conditions},
        }))
        .unwrap()
    }

    #[test]
    fn a_second_job_for_a_node_is_counted_and_a_second_sight_of_one_is_not() {
        let shared = Shared::default();
        shared.job(&job("1", "a", &json!([])));
        shared.job(&job(
            "1",
            "a",
            &json!([{"type": "Complete", "status": "True"}]),
        ));
        shared.job(&job(
            "2",
            "b",
            &json!([{"type": "Complete", "status": "False"}]),
        ));
        assert_eq!(lock(&shared.seen).doubled(), 0);
        assert!(lock(&shared.seen).jobs["1"].done.is_some());
        assert!(lock(&shared.seen).jobs["2"].done.is_none());
        shared.job(&job("3", "a", &json!([])));
        assert_eq!(lock(&shared.seen).doubled(), 1);
    }

    #[test]
    fn who_waits_for_a_job_is_told_once_it_is_complete() {
        let shared = Shared::default();
        let (sender, mut receiver) = oneshot::channel();
        lock(&shared.waiting).insert("job-1".to_owned(), sender);
        shared.job(&job(
            "1",
            "a",
            &json!([{"type": "SuccessCriteriaMet", "status": "True"}]),
        ));
        assert!(receiver.try_recv().is_err());
        shared.job(&job(
            "1",
            "a",
            &json!([{"type": "Complete", "status": "True"}]),
        ));
        assert!(receiver.try_recv().is_ok());
    }

    #[test]
    fn the_delay_of_a_result_is_counted_from_the_end_of_its_job() {
        let shared = Shared::default();
        shared.job(&job(
            "1",
            "a",
            &json!([{"type": "Complete", "status": "True"}]),
        ));
        shared.job(&job("2", "b", &json!([])));
        let node_op = |phase: &str| -> NodeOp {
            serde_json::from_value(json!({
                "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOp", "metadata": {"name": "x"},
                "spec": {"command": ["true"]},
                "status": {"phase": phase, "nodeStatuses": {"a": {"phase": "Completed"}, "b": {"phase": "Running"}}},
            }))
            .unwrap()
        };
        assert!(!shared.node_op(&node_op("Running")));
        assert_eq!(lock(&shared.seen).status_delays().len(), 1);
        assert!(lock(&shared.seen).ended.is_none());
        assert!(shared.node_op(&node_op("Completed")));
        assert!(matches!(
            lock(&shared.seen).ended,
            Some((_, Phase::Completed))
        ));
    }
}

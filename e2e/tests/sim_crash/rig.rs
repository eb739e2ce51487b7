//! A cluster with simulated nodes, and a controller behind a proxy that kills it at a chosen moment.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api_types::nodeop::{NodeOp, NodeOpStatus, NodePhase, Phase};
use e2e::cluster::{Cluster, ControlPlane};
use e2e::guard::ProcessHandle;
use e2e::operator::{self, Controller};
use e2e::proxy::{FaultProxy, Moment, Verdict, Write};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::history::JobHistory;
use crate::machines::Machines;

const NODES: usize = 3;
const CONCURRENCY: usize = 2;
/// How long an operation may take, with a kill in between.
const PATIENCE: Duration = Duration::from_mins(3);

const STAGES: &str = include_str!("../sim_disturb/stages.yaml");

/// What the operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Story {
    /// One command on each node.
    Command,
    /// With preflight, cordon, drain, reboot and verify.
    Whole,
}

/// When the controller is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kill {
    /// Before the API server gets its n-th write.
    Before(usize),
    /// After the API server has done its n-th write, before the answer arrives.
    After(usize),
    /// This long after its start.
    At(Duration),
}

/// What the proxy's hook needs to know of the run.
#[derive(Default)]
struct Aim {
    kill: Option<Kill>,
    /// Number of the last write of the runs before.
    base: usize,
    victim: Option<ProcessHandle>,
}

/// What a run came to.
pub(crate) struct Outcome {
    /// Writes of the controller, leases apart.
    pub(crate) writes: usize,
    /// Whether the moment of the kill came.
    pub(crate) killed: bool,
}

pub(crate) struct Rig {
    story: Story,
    cluster: Cluster,
    proxy: FaultProxy,
    controller: Controller,
    aim: Arc<Mutex<Aim>>,
    /// What each run was, and its namespace.
    runs: Mutex<Vec<(String, String)>>,
}

impl Rig {
    pub(crate) async fn start(story: Story) -> Self {
        let cluster = Cluster::builder()
            .control_plane(ControlPlane::Full)
            .simulated_nodes(NODES)
            .stages(STAGES)
            .controller_manager_argument("--node-monitor-grace-period=30m")
            .start()
            .await
            .unwrap();
        operator::install(&cluster).await.unwrap();
        let aim = Arc::new(Mutex::new(Aim::default()));
        let hook = Arc::clone(&aim);
        let counts = |path: &str| !path.contains("/leases");
        let proxy = FaultProxy::start(&cluster, counts, move |write, moment| {
            shoot(&hook, write, moment)
        });
        let proxy = proxy.await.unwrap();
        let controller = Controller::new(&cluster, "nodeop-controller", Some(&proxy.url()))
            .await
            .unwrap()
            .argument(&format!("--agent-image={}", operator::AGENT_IMAGE));
        Self {
            story,
            cluster,
            proxy,
            controller,
            aim,
            runs: Mutex::default(),
        }
    }

    /// Runs one operation to its end, with the controller killed once and started again, and checks what must hold.
    pub(crate) async fn run(&self, what: &str, kill: Option<Kill>) -> Outcome {
        let begun = tokio::time::Instant::now();
        let namespace = self.cluster.temp_namespace("crash").await.unwrap();
        let client = self.cluster.client().unwrap();
        let jobs: Api<Job> = Api::namespaced(client.clone(), namespace.name());
        let history = JobHistory::record(jobs.clone()).await;
        let machines = Machines::start(client.clone(), namespace.name().to_owned());
        // It is there before the controller, so that every run begins alike.
        create(&client, namespace.name(), self.story).await;
        let base = self.proxy.writes();
        let first = self.controller.start(&self.cluster).unwrap();
        *self.aim.lock().unwrap() = Aim {
            kill,
            base,
            victim: Some(first.clone()),
        };

        if let Some(Kill::At(delay)) = kill {
            tokio::time::sleep(delay).await;
            first.kill().unwrap();
        }
        let mut running = first.clone();
        let status = loop {
            let status = self.watch(&client, namespace.name(), &running, what).await;
            match status {
                Some(status) => break status,
                None => running = self.controller.start(&self.cluster).unwrap(),
            }
        };
        if self.story == Story::Whole {
            // The finalizer goes after the last status.
            let deadline = tokio::time::Instant::now() + PATIENCE;
            while let Err(left) = machines.are_given_back(NODES).await {
                assert!(tokio::time::Instant::now() < deadline, "{what}: {left}");
                if running.exit().is_some() {
                    running = self.controller.start(&self.cluster).unwrap();
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            assert_eq!(
                machines.boots(),
                vec![1; NODES],
                "{what}: boots that were permitted"
            );
        }
        let seconds = begun.elapsed().as_secs_f32();
        eprintln!("{what}: ended after {seconds:.1} s");
        let killed = first.exit().is_some();
        // The Events of the end are on their way.
        tokio::time::sleep(Duration::from_millis(200)).await;
        running.kill().unwrap();
        running.wait().await.unwrap();

        assert_eq!(status.phase, Some(Phase::Completed), "{what}: {status:#?}");
        let completed = status
            .node_statuses
            .values()
            .filter(|entry| entry.phase == NodePhase::Completed);
        assert_eq!(completed.count(), NODES, "{what}: {status:#?}");
        let listed = jobs.list(&ListParams::default()).await.unwrap();
        let names: BTreeSet<_> = listed
            .items
            .into_iter()
            .map(|job| job.metadata.name)
            .collect();
        assert_eq!(names.len(), NODES, "{what}");
        self.runs
            .lock()
            .unwrap()
            .push((what.to_owned(), namespace.name().to_owned()));
        let history = history.finish(NODES).await;
        assert!(
            history.most_active <= CONCURRENCY,
            "{what}: {} Jobs at once",
            history.most_active
        );
        Outcome {
            writes: self.proxy.writes() - base,
            killed,
        }
    }

    /// Waits for the operation's end (its status) or the controller's (nothing).
    async fn watch(
        &self,
        client: &Client,
        namespace: &str,
        controller: &ProcessHandle,
        what: &str,
    ) -> Option<NodeOpStatus> {
        let api: Api<NodeOp> = Api::namespaced(client.clone(), namespace);
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let status = api.get("op").await.unwrap().status.unwrap_or_default();
            if status.phase.is_some_and(Phase::is_terminal) {
                return Some(status);
            }
            if controller.exit().is_some() {
                return None;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{what}: not ended within {PATIENCE:?}: {status:#?}\n{}",
                controller.log_tail(40)
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Checks over the whole audit log that no run created a Job twice.
    pub(crate) fn check_audit_log(&self) {
        let audit = self.cluster.audit().unwrap();
        let created = audit.service_account(operator::NAMESPACE, "nodeop-controller");
        let created = created.verb("create").resource("jobs").succeeded();
        for (what, namespace) in self.runs.lock().unwrap().iter() {
            // A creation whose client died before the answer may be logged as failed although it was done: that the
            // Jobs exist was looked at in the run.
            let count = created.clone().namespace(namespace).count();
            assert!(
                count <= NODES,
                "{what}: {count} Jobs created, by the audit log"
            );
        }
    }
}

async fn create(client: &Client, namespace: &str, story: Story) {
    let api: Api<NodeOp> = Api::namespaced(client.clone(), namespace);
    let spec = match story {
        Story::Command => json!({"command": ["run"], "concurrency": CONCURRENCY}),
        Story::Whole => json!({
            "command": ["run"], "concurrency": CONCURRENCY, "rebootOnSuccess": true,
            "preflight": {"command": ["look"]}, "verify": {"command": ["check"]},
            "drainOptions": {"enabled": true, "force": true},
        }),
    };
    let node_op = json!({
        "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOp", "metadata": {"name": "op"}, "spec": spec,
    });
    api.create(
        &PostParams::default(),
        &serde_json::from_value(node_op).unwrap(),
    )
    .await
    .unwrap();
}

/// Kills the controller when its write is the one that is aimed at, and lets nothing of it pass any more.
fn shoot(aim: &Mutex<Aim>, write: &Write, moment: Moment) -> Verdict {
    let mut aim = aim.lock().unwrap();
    let number = write.number.saturating_sub(aim.base);
    let hit = match aim.kill {
        Some(Kill::Before(wanted)) => moment == Moment::Before && number == wanted,
        Some(Kill::After(wanted)) => moment == Moment::After && number == wanted,
        Some(Kill::At(_)) | None => false,
    };
    if !hit {
        return Verdict::Pass;
    }
    aim.kill = None;
    if let Some(victim) = aim.victim.take() {
        victim.kill().unwrap();
    }
    Verdict::Cut
}

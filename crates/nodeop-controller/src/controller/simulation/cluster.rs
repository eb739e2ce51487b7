//! The cluster around the controller: kubelets, the Job controller, a workload with its owner, people. It moves by one small
//! step at a time.

use std::collections::{BTreeMap, BTreeSet};

use api_types::names::{AGENT_CONTAINER, CONTAINER_NAME};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::history::is_active;
use super::model::{By, Kind, Model, NAMESPACE, is_healthy, node_of, owner_of, text};
use crate::agent::decide::{Action, Observation, decide};
use ::simulation::Choices;

/// Names of the nodes; the first two are control plane.
pub(super) const NODES: [&str; 3] = ["control-1", "control-2", "worker-1"];
/// Pods of the workload.
const REPLICAS: usize = 3;

/// What can disturb. Each schedule knows about half of it, so that some get far and others meet much of the same.
const DISTURBANCES: [&str; 10] = [
    FAILURES,
    POWER_CUTS,
    READINESS,
    REPLACEMENTS,
    CORDONS,
    LOST_PODS,
    DELETED_JOBS,
    PAUSES,
    DELETIONS,
    OPERATIONS,
];
const FAILURES: &str = "failures";
const POWER_CUTS: &str = "power cuts";
const READINESS: &str = "readiness";
const REPLACEMENTS: &str = "replaced machines";
const CORDONS: &str = "cordons";
const LOST_PODS: &str = "lost pods";
const DELETED_JOBS: &str = "deleted jobs";
const PAUSES: &str = "pauses";
const DELETIONS: &str = "deletions";
const OPERATIONS: &str = "more operations";

/// Something that can happen next.
#[derive(Clone, Debug)]
pub(super) enum Move {
    CommandEnds(String, bool),
    JobReports(String),
    CheckEnds(String, &'static str, &'static str),
    PodStarts(String),
    Agent(String),
    NodeReturns(String),
    PodGoes(String),
    Recreate,
    Collect(Kind, String),
    PowerCut(String),
    Readiness(String, bool),
    Cordon(String),
    Uncordon(String),
    PodLost(String),
    JobDeleted(String),
    Pause(String, bool),
    DeleteOp(String),
    CreateOp,
    Replace(String),
}

#[derive(Debug, Default)]
struct Machine {
    down: bool,
    sentinels: BTreeSet<String>,
}

#[derive(Debug, Default)]
pub(super) struct Cluster {
    pub(super) model: Model,
    machines: BTreeMap<String, Machine>,
    /// What the command of each Job came to, by the Job's name, until it is reported.
    ended: BTreeMap<String, bool>,
    boots: u32,
    pods: u32,
    /// What disturbs in this schedule.
    disturbed_by: BTreeSet<&'static str>,
    /// What else happened, by name, for the report.
    pub(super) disturbances: BTreeMap<&'static str, u64>,
}

impl Cluster {
    pub(super) fn new(choices: &mut Choices, time: Timestamp) -> Self {
        let mut cluster = Self::default();
        cluster.model.time = time;
        for about in DISTURBANCES {
            if choices.rarely(about, 2) {
                cluster.disturbed_by.insert(about);
            }
        }
        for (index, name) in NODES.iter().enumerate() {
            cluster.boots += 1;
            let role = (index < 2).then(|| json!({"node-role.kubernetes.io/control-plane": ""}));
            let node = json!({"apiVersion": "v1", "kind": "Node",
                "metadata": {"name": name, "labels": role.unwrap_or_else(|| json!({}))},
                "spec": {}, "status": {
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "nodeInfo": {"bootID": boot_id(cluster.boots), "systemUUID": format!("machine-{name}")}}});
            cluster.model.create(Kind::Node, node, By::World);
            cluster
                .machines
                .insert((*name).to_owned(), Machine::default());
        }
        for _ in 0..REPLICAS {
            cluster.recreate();
        }
        cluster.create_op(choices);
        cluster
    }

    /// One step. `calm`: nothing that disturbs.
    pub(super) fn step(&mut self, choices: &mut Choices, calm: bool) {
        let moves = if !calm && choices.rarely("disturbed", 4) {
            self.disturbances()
        } else {
            self.moves(calm)
        };
        if moves.is_empty() {
            return;
        }
        let weights: Vec<u32> = moves.iter().map(|(weight, _)| *weight).collect();
        let name = |index: usize| format!("{:?}", moves[index].1);
        let (_, chosen) = &moves[choices.pick("world", &weights, name)];
        let chosen = chosen.clone();
        self.take(&chosen, choices);
    }

    /// Whether something is still going on by itself.
    pub(super) fn is_busy(&self) -> bool {
        !self.moves(true).is_empty()
    }

    fn moves(&self, calm: bool) -> Vec<(u32, Move)> {
        let mut moves = Vec::new();
        // A command may fail at any time: that is no disturbance.
        let fails = self.has(FAILURES);
        self.work(&mut moves, fails);
        self.upkeep(&mut moves);
        if !calm {
            self.recover(&mut moves);
        }
        moves
    }

    fn is_up(&self, node: &str) -> bool {
        self.machines.get(node).is_some_and(|machine| !machine.down)
    }

    fn has(&self, disturbance: &str) -> bool {
        self.disturbed_by.contains(disturbance)
    }

    fn work(&self, moves: &mut Vec<(u32, Move)>, fails: bool) {
        for (name, job) in self.model.all(Kind::Job) {
            if !is_active(job) || !self.is_up(node_of(job)) {
                continue;
            }
            if self.ended.contains_key(name) {
                moves.push((24, Move::JobReports(name.to_owned())));
            } else {
                moves.push((24, Move::CommandEnds(name.to_owned(), true)));
                if fails {
                    moves.push((8, Move::CommandEnds(name.to_owned(), false)));
                }
            }
        }
        for (name, pod) in self.model.all(Kind::Pod) {
            let ready = self.is_up(text(pod, "/spec/nodeName"))
                && pod["metadata"]["deletionTimestamp"].is_null();
            let phase = text(pod, "/status/phase");
            if !ready || is_app(pod) {
                continue;
            }
            if name.ends_with("-reboot") {
                match phase {
                    "Pending" => moves.push((24, Move::PodStarts(name.to_owned()))),
                    "Running" if self.agent_acts(pod) => {
                        moves.push((24, Move::Agent(name.to_owned())));
                    }
                    _ => {}
                }
            } else if phase == "Pending" {
                moves.push((24, Move::CheckEnds(name.to_owned(), "Succeeded", "")));
                if fails {
                    moves.push((6, Move::CheckEnds(name.to_owned(), "Failed", "broken")));
                    let words = if name.ends_with("-preflight") {
                        "nothing to do"
                    } else {
                        ""
                    };
                    moves.push((6, Move::CheckEnds(name.to_owned(), "Succeeded", words)));
                }
            }
        }
    }

    fn upkeep(&self, moves: &mut Vec<(u32, Move)>) {
        for (name, machine) in &self.machines {
            if machine.down {
                moves.push((24, Move::NodeReturns(name.clone())));
            }
        }
        let exists = |uid: &str| {
            let owners = self
                .model
                .all(Kind::NodeOp)
                .chain(self.model.all(Kind::Job));
            owners
                .into_iter()
                .any(|(_, owner)| text(owner, "/metadata/uid") == uid)
        };
        for kind in [Kind::Job, Kind::Pod] {
            for (name, object) in self.model.all(kind) {
                let marked = !object["metadata"]["deletionTimestamp"].is_null();
                if !is_app(object) && !owner_of(object).is_empty() && !exists(owner_of(object)) {
                    moves.push((12, Move::Collect(kind, name.to_owned())));
                } else if marked && self.is_up(text(object, "/spec/nodeName")) {
                    moves.push((18, Move::PodGoes(name.to_owned())));
                }
            }
        }
        let apps = self.model.all(Kind::Pod).filter(|(_, pod)| is_healthy(pod));
        if apps.count() < REPLICAS && self.home().is_some() {
            moves.push((12, Move::Recreate));
        }
    }

    /// What ends a disturbance that does not end by itself.
    fn recover(&self, moves: &mut Vec<(u32, Move)>) {
        for (name, node) in self.model.all(Kind::Node) {
            if self.is_up(name) && text(node, "/status/conditions/0/status") != "True" {
                moves.push((6, Move::Readiness(name.to_owned(), true)));
            }
        }
        for (name, node_op) in self.model.all(Kind::NodeOp) {
            if node_op["spec"]["paused"] == true {
                moves.push((6, Move::Pause(name.to_owned(), false)));
            }
        }
    }

    fn disturbances(&self) -> Vec<(u32, Move)> {
        let mut moves = Vec::new();
        for (name, node) in self.model.all(Kind::Node) {
            let name = name.to_owned();
            let ready = text(node, "/status/conditions/0/status") == "True";
            let is_up = self.is_up(&name);
            if is_up && self.has(POWER_CUTS) {
                moves.push((1, Move::PowerCut(name.clone())));
            }
            if is_up && ready && self.has(READINESS) {
                moves.push((1, Move::Readiness(name.clone(), false)));
            }
            if is_up && self.has(REPLACEMENTS) {
                moves.push((1, Move::Replace(name.clone())));
            }
            if !self.has(CORDONS) {
                continue;
            }
            let cordoned = node["spec"]["unschedulable"] == true;
            moves.push((
                1,
                if cordoned {
                    Move::Uncordon(name)
                } else {
                    Move::Cordon(name)
                },
            ));
        }
        for (name, pod) in self.model.all(Kind::Pod) {
            let lives = text(pod, "/status/phase") != "Failed";
            if self.has(LOST_PODS) && lives && name.ends_with("-reboot") {
                moves.push((1, Move::PodLost(name.to_owned())));
            }
        }
        for (name, job) in self.model.all(Kind::Job) {
            if self.has(DELETED_JOBS) && self.is_noted_as_running(job) {
                moves.push((1, Move::JobDeleted(name.to_owned())));
            }
        }
        let mut count = 0;
        for (name, node_op) in self.model.all(Kind::NodeOp) {
            count += 1;
            let paused = node_op["spec"]["paused"] == true;
            if self.has(PAUSES) && !paused {
                moves.push((1, Move::Pause(name.to_owned(), true)));
            }
            let lives = node_op["metadata"]["deletionTimestamp"].is_null();
            if self.has(DELETIONS) && lives {
                moves.push((1, Move::DeleteOp(name.to_owned())));
            }
        }
        if count < 2 && (count == 0 || self.has(OPERATIONS)) {
            moves.push((3, Move::CreateOp));
        }
        moves
    }

    /// A Job that is deleted before the status says that it runs could be created again: see ARCHITECTURE.md, "what
    /// remains open by design".
    fn is_noted_as_running(&self, job: &Value) -> bool {
        let mut node_ops = self.model.all(Kind::NodeOp);
        node_ops
            .find(|(_, node_op)| text(node_op, "/metadata/uid") == owner_of(job))
            .is_none_or(|(_, node_op)| {
                let step = text(&node_op["status"]["nodeStatuses"][node_of(job)], "/step");
                matches!(
                    step,
                    "Running" | "AwaitingReboot" | "Rebooting" | "Verifying"
                )
            })
    }

    fn agent_acts(&self, pod: &Value) -> bool {
        matches!(
            self.agent(pod),
            Action::Ask | Action::Force | Action::Finish
        )
    }

    fn agent(&self, pod: &Value) -> Action {
        let node = text(pod, "/spec/nodeName");
        let boot = self.model.get(Kind::Node, node);
        let name = text(pod, "/metadata/name").trim_end_matches("-reboot");
        let seen = Observation {
            authorized: pod["metadata"]["annotations"]
                [api_types::names::ANNOTATION_REBOOT_AUTHORIZED]
                .as_str(),
            boot_id: boot.map_or("", |node| text(node, "/status/nodeInfo/bootID")),
            sentinel: self
                .machines
                .get(node)
                .is_some_and(|machine| machine.sentinels.contains(name)),
            asked: None,
        };
        decide(seen, std::time::Duration::from_mins(5))
    }

    fn home(&self) -> Option<String> {
        let mut nodes = self.model.all(Kind::Node);
        nodes
            .find(|(name, node)| self.is_up(name) && node["spec"]["unschedulable"] != true)
            .map(|(name, _)| name.to_owned())
    }
}

mod moves;

fn boot_id(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn is_app(pod: &Value) -> bool {
    pod["metadata"]["labels"]["app"].is_string()
}

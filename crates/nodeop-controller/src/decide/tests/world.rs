//! A cluster in memory that carries out what passes plan.

use serde_json::Value;

use super::*;
use crate::build::names::{check_pod_name, reboot_pod_name};
use crate::claim::{Holder, claim_patch};
use crate::observe::Observed;
use crate::watched::WatchedPod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

pub(super) struct World {
    pub(super) op: NodeOp,
    pub(super) nodes: Vec<WatchedNode>,
    pub(super) jobs: Vec<WatchedJob>,
    pub(super) pods: Vec<WatchedPod>,
    pub(super) vanished: BTreeSet<String>,
    pub(super) causes: BTreeMap<String, String>,
    /// Living foreign claims, by node.
    pub(super) claims: BTreeMap<String, String>,
    pub(super) busy: BTreeMap<String, String>,
    pub(super) boots: BTreeMap<String, String>,
    pub(super) drains: BTreeMap<String, DrainView>,
    /// What a look at Pods in mode Drain finds next.
    pub(super) drain_state: DrainState,
    /// What a look in mode Check finds.
    pub(super) check_state: DrainState,
    pub(super) standing: Standing,
    pub(super) can_reboot: bool,
    pub(super) unreleased: BTreeMap<String, String>,
    pub(super) problems: BTreeMap<String, String>,
    pub(super) second: i64,
    pub(super) own_node: Option<&'static str>,
    /// Everything that was done to the cluster, in order.
    pub(super) log: Vec<String>,
}

impl World {
    pub(super) fn new(spec: &str, nodes: Vec<WatchedNode>) -> Self {
        let waiting = DrainState::Waiting {
            message: "waiting for 1 Pod".to_owned(),
            blocked: 0,
            remaining: 1,
        };
        Self {
            op: node_op(spec),
            nodes,
            jobs: Vec::new(),
            pods: Vec::new(),
            vanished: BTreeSet::new(),
            causes: BTreeMap::new(),
            claims: BTreeMap::new(),
            busy: BTreeMap::new(),
            boots: BTreeMap::new(),
            drains: BTreeMap::new(),
            drain_state: DrainState::Drained,
            check_state: waiting,
            standing: Standing::Free,
            can_reboot: true,
            unreleased: BTreeMap::new(),
            problems: BTreeMap::new(),
            second: 0,
            own_node: None,
            log: Vec::new(),
        }
    }

    fn observed(&self) -> Observed {
        Observed {
            nodes: by_name(self.nodes.clone(), WatchedNode::name),
            jobs: by_name(self.jobs.clone(), WatchedJob::name),
            pods: by_name(self.pods.clone(), WatchedPod::name),
            vanished: self.vanished.clone(),
            causes: self.causes.clone(),
            claims: self.claims.clone(),
            busy: self.busy.clone(),
            drains: self.drains.clone(),
            boots: self.boots.clone(),
            control_plane: self.standing.clone(),
            can_reboot: self.can_reboot,
            unreleased: self.unreleased.clone(),
            problems: self.problems.clone(),
            ..Observed::default()
        }
    }

    pub(super) fn plan(&self, rehearsal: &Rehearsal) -> Plan {
        let observed = self.observed();
        let snapshot = observed.snapshot(&self.op, self.own_node);
        decide(&snapshot, rehearsal, at(self.second))
    }

    pub(super) fn deletion(&self) -> Deletion {
        let observed = self.observed();
        delete(&observed.snapshot(&self.op, None), at(self.second))
    }

    /// One pass, carried out. Returns the nodes whose Job was created.
    pub(super) fn pass(&mut self) -> Vec<String> {
        self.second += 2;
        let mut plan = self.plan(&Rehearsal::Passed);
        if plan.hold {
            let finalizers = self.op.metadata.finalizers.get_or_insert_default();
            finalizers.push(FINALIZER_NODEOP.to_owned());
            plan = self.plan(&Rehearsal::Passed);
        }
        for release in std::mem::take(&mut plan.releases) {
            self.release(&release);
        }
        if plan.write != Write::Nothing {
            self.op.status = Some(NodeOpStatus {
                last_updated: Some(time(self.second)),
                ..plan.status
            });
        }
        let mut created = Vec::new();
        for act in plan.acts {
            if let Act::CreateJob(node) = &act {
                if self.create_job(node) {
                    created.push(node.clone());
                }
            } else {
                self.carry_out(&act);
            }
        }
        created
    }

    /// Passes until nothing is done any more.
    pub(super) fn settle(&mut self) {
        for _ in 0..20 {
            let before = (self.log.len(), self.op.status.clone());
            self.pass();
            if before == (self.log.len(), self.op.status.clone()) {
                return;
            }
        }
    }

    pub(super) fn release(&mut self, release: &Release) {
        self.log.push(format!("release {}", release.node));
        if let Some(patch) = &release.patch {
            self.patch(&release.node, patch);
        }
        if release.place {
            self.standing = Standing::Free;
        }
        for pod in &release.pods {
            self.pods.retain(|known| known.name() != pod);
        }
    }

    pub(super) fn carry_out(&mut self, act: &Act) {
        let op = self.op.clone();
        self.log.push(match act {
            Act::AskDrain(node, mode) => format!("drain {node} {mode:?}"),
            other => format!("{other:?}"),
        });
        match act {
            Act::CreateJob(node) => {
                self.create_job(node);
            }
            Act::CreateCheck(node, check) => {
                self.add_pod(&check_pod_name(&op, node, *check), "Pending", None);
            }
            Act::CreateRebootPod { node, authorized } => {
                self.add_pod(
                    &reboot_pod_name(&op, node),
                    "Running",
                    authorized.as_deref(),
                );
            }
            Act::Authorize { pod, boot, .. } => {
                if let Some(pod) = self.pods.iter_mut().find(|known| known.name() == pod) {
                    pod.metadata.annotations =
                        Some([("kairos.io/reboot-authorized".to_owned(), boot.clone())].into());
                }
            }
            Act::DeletePod(name) => self.pods.retain(|pod| pod.name() != name),
            Act::TakePlace(node) => {
                if self.standing == Standing::Free {
                    self.standing = Standing::Ours(node.clone());
                }
            }
            Act::Claim(name) => {
                let node = self.node(name);
                let patch = claim_patch(node, &Holder::of(&op), op.spec.cordons());
                self.patch(name, &patch);
            }
            Act::AskDrain(node, mode) => {
                let state = match mode {
                    Mode::Check => self.check_state.clone(),
                    Mode::Drain => self.drain_state.clone(),
                };
                let view = DrainView {
                    mode: *mode,
                    at: at(self.second),
                    state,
                    blockers: None,
                    next_after: SignedDuration::from_secs(1),
                };
                self.drains.insert(node.clone(), view);
            }
        }
    }

    fn add_pod(&mut self, name: &str, phase: &str, authorized: Option<&str>) {
        if self.pods.iter().any(|pod| pod.name() == name) {
            return;
        }
        let mut pod = WatchedPod::default();
        pod.metadata.name = Some(name.to_owned());
        pod.metadata.uid = Some(format!("uid-of-{name}-{}", self.second));
        pod.metadata.creation_timestamp = Some(time(self.second));
        pod.metadata.annotations = authorized
            .map(|boot| [("kairos.io/reboot-authorized".to_owned(), boot.to_owned())].into());
        pod.status.phase = phase.to_owned();
        self.pods.push(pod);
    }

    /// The Pod of a check ends.
    pub(super) fn end_check(&mut self, node: &str, check: Check, phase: &str, message: &str) {
        let name = check_pod_name(&self.op, node, check);
        let code = i32::from(phase == "Failed");
        let status = serde_json::json!({"phase": phase, "containerStatuses": [
            {"name": "nodeop", "state": {"terminated": {"exitCode": code, "message": message}}}]});
        let pod = self.pods.iter_mut().find(|pod| pod.name() == name);
        pod.unwrap_or_else(|| panic!("no pod {name}")).status =
            serde_json::from_value(status).unwrap();
    }

    pub(super) fn check_exists(&self, node: &str, check: Check) -> bool {
        let name = check_pod_name(&self.op, node, check);
        self.pods.iter().any(|pod| pod.name() == name)
    }

    pub(super) fn reboot_pod(&self, node: &str) -> Option<&WatchedPod> {
        let name = reboot_pod_name(&self.op, node);
        self.pods.iter().find(|pod| pod.name() == name)
    }

    pub(super) fn reboot_pod_mut(&mut self, node: &str) -> &mut WatchedPod {
        let name = reboot_pod_name(&self.op, node);
        self.pods.iter_mut().find(|pod| pod.name() == name).unwrap()
    }

    /// A merge patch on a Node, as the API server applies one.
    pub(super) fn patch(&mut self, name: &str, patch: &Value) {
        let node = self.nodes.iter_mut().find(|node| node.name() == name);
        let Some(node) = node else { return };
        let annotations = node.metadata.annotations.get_or_insert_default();
        for (key, value) in patch["metadata"]["annotations"].as_object().unwrap() {
            match value.as_str() {
                Some(value) => annotations.insert(key.clone(), value.to_owned()),
                None => annotations.remove(key),
            };
        }
        if let Some(value) = patch.get("spec").and_then(|spec| spec.get("unschedulable")) {
            node.spec.unschedulable = value.as_bool().unwrap_or_default();
        }
    }

    pub(super) fn create_job(&mut self, node: &str) -> bool {
        let name = job_name(&self.op, node);
        let new = self.jobs.iter().all(|job| job.name() != name);
        if new {
            self.log.push(format!("job {node}"));
            let mut job = job(&name, None);
            job.metadata.uid = Some(format!("uid-of-{name}"));
            self.jobs.push(job);
        }
        new
    }

    pub(super) fn end_job(&mut self, node: &str, how: &str) {
        let name = job_name(&self.op, node);
        self.jobs.retain(|job| job.name() != name);
        self.jobs.push(job(&name, Some(how)));
    }

    /// The Job ends well, and its agent says in which boot.
    pub(super) fn end_job_in_boot(&mut self, node: &str, boot: &str) {
        self.end_job(node, "Complete");
        let name = job_name(&self.op, node);
        let mut pod = WatchedPod::default();
        pod.metadata.name = Some(format!("{name}-abcde"));
        pod.metadata.owner_references = Some(vec![OwnerReference {
            kind: "Job".to_owned(),
            name,
            controller: Some(true),
            ..OwnerReference::default()
        }]);
        pod.status = serde_json::from_value(
            serde_json::json!({"phase": "Succeeded", "containerStatuses": [
            {"name": "agent", "state": {"terminated": {"exitCode": 0, "message": boot}}}]}),
        )
        .unwrap();
        self.pods.push(pod);
    }

    pub(super) fn node(&self, name: &str) -> &WatchedNode {
        self.nodes.iter().find(|node| node.name() == name).unwrap()
    }

    pub(super) fn node_mut(&mut self, name: &str) -> &mut WatchedNode {
        self.nodes
            .iter_mut()
            .find(|node| node.name() == name)
            .unwrap()
    }

    pub(super) fn boot(&mut self, name: &str, boot: &str) {
        self.node_mut(name).status.node_info.boot_id = boot.to_owned();
    }

    pub(super) fn status(&self) -> &NodeOpStatus {
        self.op.status.as_ref().unwrap()
    }

    pub(super) fn status_or_default(&self) -> NodeOpStatus {
        self.op.status.clone().unwrap_or_default()
    }

    pub(super) fn entry(&self, node: &str) -> &NodeStatus {
        &self.status().node_statuses[node]
    }

    pub(super) fn step(&self, node: &str) -> Option<NodeStep> {
        self.status()
            .node_statuses
            .get(node)
            .and_then(|entry| entry.step)
    }

    pub(super) fn message(&self, node: &str) -> &str {
        self.entry(node).message.as_deref().unwrap_or_default()
    }

    pub(super) fn progressing(&self) -> (&str, &str, &str) {
        let found = condition(self.status(), "Progressing").unwrap();
        (&found.status, &found.reason, &found.message)
    }

    /// The claim and the cordon on a node, as annotations say.
    pub(super) fn is_claimed(&self, node: &str) -> bool {
        self.node(node)
            .annotation("operator.kairos.io/claimed-by")
            .is_some()
    }

    pub(super) fn is_cordoned(&self, node: &str) -> bool {
        self.node(node).spec.unschedulable
    }
}

//! The walk: an operation, the cluster around it, and what must hold at every instant.

use std::collections::BTreeMap as Map;

use proptest::prelude::*;

use super::*;
use crate::build::names::{check_pod_name, reboot_pod_name};

/// Something that happens between two passes, or to one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Pass,
    /// The status is refused, or the controller dies before it writes it: what was released is released.
    Conflict,
    /// The status is written, then the controller dies before its acts.
    DieAfterWrite,
    EndJob(usize, bool),
    EndCheck(usize, bool, bool),
    /// The agent on the node does what its annotation and its sentinel say.
    Agent(usize),
    PowerCut(usize),
    ToggleReady(usize),
    /// A human takes the cordon off.
    Uncordon(usize),
    LosePod(usize),
    /// The Node object is deleted, or the node registers again.
    Away(usize, bool),
    /// Somebody deletes a Job that the status says to run.
    DeleteJob(usize),
    Foreign(usize, bool),
    Busy(usize, bool),
    DrainHangs(bool),
    Pause(bool),
    Clock(i64),
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let node = 0..4usize;
    prop_oneof![
        10 => Just(Step::Pass),
        2 => Just(Step::Conflict),
        2 => Just(Step::DieAfterWrite),
        6 => (node.clone(), prop::bool::weighted(0.85)).prop_map(|(node, good)| Step::EndJob(node, good)),
        6 => (node.clone(), prop::bool::weighted(0.9), prop::bool::weighted(0.1))
            .prop_map(|(node, good, words)| Step::EndCheck(node, good, words)),
        8 => node.clone().prop_map(Step::Agent),
        1 => node.clone().prop_map(Step::PowerCut),
        2 => node.clone().prop_map(Step::ToggleReady),
        1 => node.clone().prop_map(Step::Uncordon),
        1 => node.clone().prop_map(Step::LosePod),
        2 => (node.clone(), any::<bool>()).prop_map(|(node, away)| Step::Away(node, away)),
        1 => node.clone().prop_map(Step::DeleteJob),
        1 => (node.clone(), any::<bool>()).prop_map(|(node, on)| Step::Foreign(node, on)),
        1 => (node, any::<bool>()).prop_map(|(node, on)| Step::Busy(node, on)),
        1 => any::<bool>().prop_map(Step::DrainHangs),
        1 => any::<bool>().prop_map(Step::Pause),
        2 => (-50..400i64).prop_map(Step::Clock),
    ]
}

pub(super) fn name(index: usize) -> String {
    format!("node-{index}")
}

pub(super) struct Walk {
    pub(super) world: World,
    boots: u32,
    /// Nodes whose object is deleted.
    away: Map<String, WatchedNode>,
    pub(super) jobs: Map<String, u32>,
    /// Verifies that were begun.
    pub(super) verifies: Map<String, u32>,
    /// Reboots by the agent.
    reboots: Map<String, u32>,
    /// Nodes whose command has succeeded: their sentinel is written.
    sentinels: std::collections::BTreeSet<String>,
}

impl Walk {
    pub(super) fn new(spec: &str) -> Self {
        let nodes = (0..4)
            .map(|index| {
                let labels: &[(&str, &str)] = if index < 2 { &[CONTROL_PLANE] } else { &[] };
                let mut node = node(&name(index), labels);
                node.status.node_info.boot_id =
                    format!("00000000-0000-4000-8000-00000000000{index}");
                node
            })
            .collect();
        Self {
            world: World::new(spec, nodes),
            boots: 0,
            away: Map::new(),
            jobs: Map::new(),
            verifies: Map::new(),
            reboots: Map::new(),
            sentinels: std::collections::BTreeSet::new(),
        }
    }

    fn new_boot(&mut self, node: &str) {
        self.boots += 1;
        let boot = format!("11111111-0000-4000-8000-{:012}", self.boots);
        self.world.boot(node, &boot);
    }

    fn pass(&mut self, write: bool, act: bool) {
        let world = &mut self.world;
        world.second += 2;
        let mut plan = world.plan(&Rehearsal::Passed);
        if plan.hold {
            let status = world.status_or_default();
            assert!(
                !status.node_statuses.values().any(holds_slot),
                "a node is worked on without our finalizer"
            );
            world.op.metadata.finalizers = Some(vec![FINALIZER_NODEOP.to_owned()]);
            plan = world.plan(&Rehearsal::Passed);
        }
        for release in &plan.releases {
            world.release(release);
        }
        if !write {
            return;
        }
        if plan.write == Write::Now {
            world.op.status = Some(NodeOpStatus {
                last_updated: Some(time(world.second)),
                ..plan.status
            });
        }
        if !act {
            return;
        }
        for act in plan.acts {
            self.act(&act);
        }
        self.check();
    }

    fn act(&mut self, act: &Act) {
        let world = &mut self.world;
        match act {
            Act::CreateJob(node) => {
                assert!(world.is_claimed(node), "{node}: a Job without a claim");
                assert!(world.is_cordoned(node), "{node}: a Job without a cordon");
                assert!(
                    world.reboot_pod(node).is_some(),
                    "{node}: a Job without its reboot Pod"
                );
                if world.create_job(node) {
                    *self.jobs.entry(node.clone()).or_default() += 1;
                }
                return;
            }
            Act::CreateCheck(node, Check::Verify) if !world.check_exists(node, Check::Verify) => {
                *self.verifies.entry(node.clone()).or_default() += 1;
            }
            Act::Claim(node) => {
                assert!(
                    !world.claims.contains_key(node),
                    "{node}: a living claim was taken"
                );
            }
            Act::Authorize { node, boot, .. }
            | Act::CreateRebootPod {
                node,
                authorized: Some(boot),
            } => {
                let entry = &world.status_or_default().node_statuses[node];
                assert_eq!(
                    entry.boot_id.as_ref(),
                    Some(boot),
                    "{node}: permitted before it was recorded"
                );
                assert!(
                    self.sentinels.contains(node),
                    "{node}: permitted before the command succeeded"
                );
                let ours = world.is_claimed(node) && !world.claims.contains_key(node);
                assert!(ours, "{node}: permitted without a claim");
            }
            _ => {}
        }
        world.carry_out(act);
    }

    pub(super) fn take(&mut self, step: Step) {
        match step {
            Step::Pass => self.pass(true, true),
            Step::Conflict => self.pass(false, false),
            Step::DieAfterWrite => self.pass(true, false),
            Step::EndCheck(index, good, words) => self.end_check(&name(index), good, words),
            // Nothing is heard of it.
            Step::Agent(index)
            | Step::PowerCut(index)
            | Step::ToggleReady(index)
            | Step::Uncordon(index)
            | Step::EndJob(index, _)
            | Step::Foreign(index, _)
                if self.away.contains_key(&name(index)) => {}
            Step::EndJob(index, good) => self.end_job(&name(index), good),
            Step::Away(index, away) => self.away(&name(index), away),
            Step::DeleteJob(index) => self.delete_job(&name(index)),
            Step::Agent(index) => self.agent(&name(index)),
            Step::PowerCut(index) => self.new_boot(&name(index)),
            Step::ToggleReady(index) => {
                let node = self.world.node_mut(&name(index));
                let ready = node.readiness().is_ok();
                let status = if ready { "False" } else { "True" };
                node.status.conditions[0].status = status.to_owned();
            }
            Step::Uncordon(index) => self.world.node_mut(&name(index)).spec.unschedulable = false,
            Step::LosePod(index) => {
                let pod = reboot_pod_name(&self.world.op, &name(index));
                self.world.pods.retain(|known| known.name() != pod);
            }
            Step::Foreign(index, on) => {
                // Another operation takes only what is not claimed.
                if !on {
                    self.world.claims.remove(&name(index));
                } else if !self.world.is_claimed(&name(index)) {
                    self.world
                        .claims
                        .insert(name(index), "shop/other".to_owned());
                }
            }
            Step::Busy(index, true) => {
                self.world.busy.insert(name(index), "shop/job".to_owned());
            }
            Step::Busy(index, false) => {
                self.world.busy.remove(&name(index));
            }
            Step::DrainHangs(hangs) => {
                self.world.drain_state = if hangs {
                    DrainState::Waiting {
                        message: "waiting for 1 Pod".to_owned(),
                        blocked: 1,
                        remaining: 1,
                    }
                } else {
                    DrainState::Drained
                };
            }
            Step::Pause(paused) => self.world.op.spec.paused = paused,
            Step::Clock(seconds) => self.world.second += seconds,
        }
    }

    fn away(&mut self, node: &str, away: bool) {
        let nodes = &mut self.world.nodes;
        let found = nodes.iter().position(|known| known.name() == node);
        match (away, found) {
            (true, Some(index)) => {
                let mut gone = nodes.remove(index);
                // What was on the object is lost with it.
                gone.metadata.annotations = None;
                gone.spec.unschedulable = false;
                self.away.insert(node.to_owned(), gone);
            }
            (false, None) => nodes.extend(self.away.remove(node)),
            _ => {}
        }
    }

    fn delete_job(&mut self, node: &str) {
        let status = self.world.status_or_default();
        let noted = status.node_statuses.get(node).is_some_and(|entry| {
            let step = entry.step;
            step == Some(NodeStep::Running)
                || (step == Some(NodeStep::NodeGone) && entry.phase == NodePhase::Running)
        });
        if noted {
            let job = job_name(&self.world.op, node);
            self.world.jobs.retain(|known| known.name() != job);
        }
    }

    fn end_job(&mut self, node: &str, good: bool) {
        let job = job_name(&self.world.op, node);
        let active = self.world.jobs.iter().any(|known| {
            known.name() == job && known.outcome() == crate::watched::JobOutcome::Active
        });
        if !active {
            return;
        }
        if good {
            let boot = self.world.node(node).status.node_info.boot_id.clone();
            self.world.end_job_in_boot(node, &boot);
            self.sentinels.insert(node.to_owned());
        } else {
            self.world.end_job(node, "FailureTarget");
        }
    }

    fn end_check(&mut self, node: &str, good: bool, words: bool) {
        for check in [Check::Preflight, Check::Verify] {
            let pod = check_pod_name(&self.world.op, node, check);
            let open = self
                .world
                .pods
                .iter()
                .any(|known| known.name() == pod && known.status.phase == "Pending");
            if open {
                let phase = if good { "Succeeded" } else { "Failed" };
                let words = if words { "already done" } else { "" };
                self.world.end_check(node, check, phase, words);
            }
        }
    }

    /// The agent's rule: permission for this very boot, and the sentinel.
    fn agent(&mut self, node: &str) {
        let boot = self.world.node(node).status.node_info.boot_id.clone();
        let permitted = self
            .world
            .reboot_pod(node)
            .and_then(|pod| pod.authorized())
            .is_some_and(|authorized| authorized == boot);
        if permitted && self.sentinels.contains(node) {
            *self.reboots.entry(node.to_owned()).or_default() += 1;
            self.new_boot(node);
        }
    }

    /// What holds at every instant.
    pub(super) fn check(&self) {
        let world = &self.world;
        for (node, count) in &self.jobs {
            assert_eq!(*count, 1, "{node} was started {count} times");
        }
        for (node, count) in &self.reboots {
            assert_eq!(*count, 1, "{node} was rebooted {count} times");
        }
        for (node, count) in &self.verifies {
            assert_eq!(*count, 1, "{node} was verified {count} times");
        }
        let disturbed = (0..2)
            .map(name)
            .filter(|name| !self.away.contains_key(name) && world.is_claimed(name));
        assert!(
            disturbed.count() <= 1,
            "two control-plane nodes are disturbed at once"
        );
    }
}

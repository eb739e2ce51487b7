//! Random walks of an operation that cordons, drains, reboots and verifies: whatever happens around it, every node is
//! disturbed once, by permission, and given back.

use std::collections::BTreeMap as Map;

use proptest::prelude::*;

use super::*;
use crate::build::names::{check_pod_name, reboot_pod_name};

/// Something that happens between two passes, or to one.
#[derive(Clone, Copy, Debug)]
enum Step {
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
    Foreign(usize, bool),
    Busy(usize, bool),
    DrainHangs(bool),
    Pause(bool),
    Clock(i64),
}

fn step() -> impl Strategy<Value = Step> {
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
        1 => (node.clone(), any::<bool>()).prop_map(|(node, on)| Step::Foreign(node, on)),
        1 => (node, any::<bool>()).prop_map(|(node, on)| Step::Busy(node, on)),
        1 => any::<bool>().prop_map(Step::DrainHangs),
        1 => any::<bool>().prop_map(Step::Pause),
        2 => (-50..400i64).prop_map(Step::Clock),
    ]
}

fn name(index: usize) -> String {
    format!("node-{index}")
}

struct Walk {
    world: World,
    boots: u32,
    jobs: Map<String, u32>,
    /// Reboots by the agent.
    reboots: Map<String, u32>,
    /// Nodes whose command has succeeded: their sentinel is written.
    sentinels: std::collections::BTreeSet<String>,
}

impl Walk {
    fn new(spec: &str) -> Self {
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
            jobs: Map::new(),
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

    fn take(&mut self, step: Step) {
        match step {
            Step::Pass => self.pass(true, true),
            Step::Conflict => self.pass(false, false),
            Step::DieAfterWrite => self.pass(true, false),
            Step::EndJob(index, good) => self.end_job(&name(index), good),
            Step::EndCheck(index, good, words) => self.end_check(&name(index), good, words),
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
    fn check(&self) {
        let world = &self.world;
        for (node, count) in &self.jobs {
            assert_eq!(*count, 1, "{node} was started {count} times");
        }
        for (node, count) in &self.reboots {
            assert_eq!(*count, 1, "{node} was rebooted {count} times");
        }
        let disturbed = (0..2).filter(|index| world.is_claimed(&name(*index)));
        assert!(
            disturbed.count() <= 1,
            "two control-plane nodes are disturbed at once"
        );
    }
}

/// Walks until the first control-plane node has come to `step`.
fn walk_to(step: NodeStep) -> Walk {
    let mut walk = Walk::new(
        "command: [run]\ndrainOptions: {enabled: true, timeoutSeconds: 900}\nrebootOnSuccess: true\n\
         verify: {command: [check]}\nconcurrency: 1",
    );
    for _ in 0..40 {
        let status = walk.world.status_or_default();
        if status
            .node_statuses
            .get(&name(0))
            .is_some_and(|entry| entry.step == Some(step))
        {
            return walk;
        }
        walk.take(Step::Pass);
        let status = walk.world.status_or_default();
        if status
            .node_statuses
            .get(&name(0))
            .is_some_and(|entry| entry.step == Some(step))
        {
            return walk;
        }
        walk.take(Step::EndJob(0, true));
        walk.take(Step::Agent(0));
    }
    panic!(
        "node-0 never came to {step:?}: {:#?}",
        walk.world.status_or_default()
    );
}

#[test]
fn a_claim_removed_by_a_human_is_not_taken_again_by_the_pass_that_gives_the_node_back() {
    let mut walk = walk_to(NodeStep::Verifying);
    walk.take(Step::Pass);
    walk.take(Step::EndCheck(0, true, false));
    walk.world.node_mut(&name(0)).spec.unschedulable = false;
    walk.world.node_mut(&name(0)).metadata.annotations = None;
    walk.take(Step::Pass);
    let status = walk.world.status_or_default();
    assert_eq!(status.node_statuses[&name(0)].phase, NodePhase::Completed);
    assert!(!walk.world.is_claimed(&name(0)));
    assert!(!walk.world.is_cordoned(&name(0)));
}

#[test]
fn a_reboot_pod_lost_just_before_the_job_is_made_again_first() {
    let mut walk = Walk::new("command: [run]\ncordon: true\nrebootOnSuccess: true\nconcurrency: 1");
    while walk
        .world
        .status_or_default()
        .node_statuses
        .get(&name(0))
        .is_none_or(|entry| entry.step != Some(NodeStep::Starting))
    {
        walk.take(Step::DieAfterWrite);
        if walk.world.status_or_default().node_statuses[&name(0)].step == Some(NodeStep::Starting) {
            break;
        }
        walk.take(Step::Pass);
        assert!(walk.jobs.is_empty(), "the walk went past the step");
    }
    walk.take(Step::LosePod(0));
    walk.take(Step::Pass);
    assert!(walk.jobs.is_empty());
    walk.take(Step::Pass);
    walk.take(Step::Pass);
    assert_eq!(walk.jobs[&name(0)], 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn every_node_is_disturbed_once_by_permission_and_given_back(
        steps in proptest::collection::vec(step(), 1..120),
        stop in any::<bool>(),
        uncordon in any::<bool>(),
    ) {
        let mut walk = Walk::new(&format!(
            "command: [run]\ndrainOptions: {{enabled: true, timeoutSeconds: 900}}\nrebootOnSuccess: true\n\
             preflight: {{command: [check]}}\nverify: {{command: [check]}}\nstopOnFailure: {stop}\n\
             uncordonOnFailure: {uncordon}\nconcurrency: 2\nrebootTimeoutSeconds: 1200"
        ));
        for step in steps {
            walk.take(step);
            walk.check();
        }
        // Left alone, with every node Ready and nobody else about, the operation comes to an end.
        walk.take(Step::Pause(false));
        walk.take(Step::DrainHangs(false));
        for index in 0..4 {
            walk.take(Step::Foreign(index, false));
            walk.take(Step::Busy(index, false));
            if walk.world.node(&name(index)).readiness().is_err() {
                walk.take(Step::ToggleReady(index));
            }
        }
        for _ in 0..120 {
            for index in 0..4 {
                walk.take(Step::EndJob(index, true));
                walk.take(Step::EndCheck(index, true, false));
                walk.take(Step::Agent(index));
            }
            walk.take(Step::Clock(5));
            walk.take(Step::Pass);
            if crate::status::is_terminal(&walk.world.status_or_default()) {
                break;
            }
        }
        let status = walk.world.status_or_default();
        prop_assert!(crate::status::is_terminal(&status), "never ended: {:#?}", status);
        for index in 0..4 {
            let node = name(index);
            prop_assert!(!walk.world.is_claimed(&node), "{} is still claimed", node);
            prop_assert!(walk.world.reboot_pod(&node).is_none(), "{} has a reboot Pod left", node);
            let failed = status.node_statuses.get(&node).is_some_and(|entry| entry.phase == NodePhase::Failed);
            prop_assert!(failed || !walk.world.is_cordoned(&node), "{} is still cordoned", node);
        }
        prop_assert_eq!(&walk.world.standing, &Standing::Free);
    }
}

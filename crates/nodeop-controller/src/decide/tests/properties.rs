//! Random walks: whatever happens around it, the invariants of one NodeOp hold.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Something that happens between two passes, or to one.
#[derive(Clone, Copy, Debug)]
enum Step {
    Pass,
    /// The pass's status write is refused (another writer): nothing of the plan happens.
    Conflict,
    /// The status is written, then the controller dies.
    DieAfterWrite,
    EndJob(usize, bool),
    ToggleReady(usize),
    RemoveNode(usize),
    AddNode(usize),
    Pause(bool),
    Clock(i64),
    Concurrency(i32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Pass),
        1 => Just(Step::Conflict),
        1 => Just(Step::DieAfterWrite),
        4 => (0..8usize, prop::bool::weighted(0.8)).prop_map(|(node, good)| Step::EndJob(node, good)),
        1 => (0..8usize).prop_map(Step::ToggleReady),
        1 => (0..8usize).prop_map(Step::RemoveNode),
        1 => (0..8usize).prop_map(Step::AddNode),
        1 => any::<bool>().prop_map(Step::Pause),
        1 => (-100..5000i64).prop_map(Step::Clock),
        1 => (0..4i32).prop_map(Step::Concurrency),
    ]
}

fn any_node(index: usize) -> WatchedNode {
    let labels: &[(&str, &str)] = if index < 2 { &[CONTROL_PLANE] } else { &[] };
    node(&format!("node-{index}"), labels)
}

struct Walk {
    world: World,
    created: Vec<String>,
    finished: BTreeMap<String, NodePhase>,
    limit_at_start: usize,
}

impl Walk {
    fn take(&mut self, step: Step) {
        let world = &mut self.world;
        match step {
            Step::Pass => self.pass(true),
            Step::DieAfterWrite => self.pass(false),
            Step::Conflict => {
                world.second += 1;
                let _ = world.plan(&Rehearsal::Passed);
            }
            Step::EndJob(index, good) => {
                let name = job_name(&world.op, &format!("node-{index}"));
                if world.jobs.iter().any(|job| job.name() == name) {
                    world.end_job(
                        &format!("node-{index}"),
                        if good { "Complete" } else { "FailureTarget" },
                    );
                }
            }
            Step::ToggleReady(index) => {
                let name = format!("node-{index}");
                if let Some(known) = world.nodes.iter_mut().find(|node| node.name() == name) {
                    let ready = known.readiness().is_ok();
                    *known = if ready {
                        not_ready(any_node(index))
                    } else {
                        any_node(index)
                    };
                }
            }
            Step::RemoveNode(index) => world
                .nodes
                .retain(|node| node.name() != format!("node-{index}")),
            Step::AddNode(index) => {
                if world
                    .nodes
                    .iter()
                    .all(|node| node.name() != format!("node-{index}"))
                {
                    world.nodes.push(any_node(index));
                }
            }
            Step::Pause(paused) => world.op.spec.paused = paused,
            Step::Clock(seconds) => world.second += seconds,
            Step::Concurrency(limit) => {
                world.op.spec.concurrency =
                    serde_json::from_value(serde_json::json!(limit)).unwrap();
            }
        }
    }

    fn pass(&mut self, create: bool) {
        let world = &mut self.world;
        world.second += 1;
        let before = world.op.status.clone().unwrap_or_default();
        let plan = world.plan(&Rehearsal::Passed);
        self.limit_at_start = world.op.spec.concurrency.limit(world.nodes.len());
        let reserved_now = plan
            .status
            .node_statuses
            .iter()
            .filter(|(name, entry)| {
                entry.step == Some(NodeStep::Reserved) && !before.node_statuses.contains_key(*name)
            })
            .count();
        let active = plan
            .status
            .node_statuses
            .values()
            .filter(|entry| holds_slot(entry))
            .count();
        if reserved_now > 0 {
            assert!(
                active <= self.limit_at_start,
                "{active} nodes active, {} allowed",
                self.limit_at_start
            );
            assert_eq!(plan.write, Write::Now, "a reservation is never held back");
            assert!(!world.op.spec.paused, "a paused operation started a node");
        }
        for name in plan.starts() {
            let entry = &plan.status.node_statuses[name];
            assert_eq!(
                entry.step,
                Some(NodeStep::Reserved),
                "{name} started without a reservation"
            );
        }
        self.check_order(&plan, &before);
        let starts: Vec<String> = plan.starts().map(str::to_owned).collect();
        let world = &mut self.world;
        if plan.write == Write::Now {
            world.op.status = Some(NodeOpStatus {
                last_updated: Some(time(world.second)),
                ..plan.status
            });
        }
        if create {
            for name in starts {
                if world.create_job(&name) {
                    self.created.push(name);
                }
            }
        }
        self.check_results();
    }

    /// No worker is reserved while a matching control-plane node has not ended.
    fn check_order(&self, plan: &Plan, before: &NodeOpStatus) {
        let newly = |node: &&WatchedNode| {
            plan.status
                .node_statuses
                .get(node.name())
                .is_some_and(|entry| entry.step == Some(NodeStep::Reserved))
                && !before.node_statuses.contains_key(node.name())
        };
        let worker_starts = self
            .world
            .nodes
            .iter()
            .filter(|node| !node.is_control_plane())
            .any(|node| newly(&node));
        let control_plane_open = self.world.nodes.iter().any(|node| {
            node.is_control_plane()
                && !plan
                    .status
                    .node_statuses
                    .get(node.name())
                    .is_some_and(is_finished)
        });
        assert!(
            !(worker_starts && control_plane_open),
            "a worker started before the control plane had ended"
        );
    }

    /// A recorded result stays; a terminal operation stays terminal.
    fn check_results(&mut self) {
        let Some(status) = &self.world.op.status else {
            return;
        };
        for (name, phase) in &self.finished {
            let now = status.node_statuses.get(name).map(|entry| entry.phase);
            assert_eq!(now, Some(*phase), "the result of {name} changed");
        }
        for (name, entry) in &status.node_statuses {
            if is_finished(entry) {
                self.finished.insert(name.clone(), entry.phase);
            }
        }
    }
}

proptest! {
    #![proptest_config(crate::testing::cases(512))]
    #[test]
    fn invariants_hold_on_every_walk(
        steps in proptest::collection::vec(step(), 1..80),
        stop in any::<bool>(),
    ) {
        let nodes = (0..6).map(any_node).collect();
        let spec = format!("{{command: [run], stopOnFailure: {stop}, nodeReadyTimeoutSeconds: 1000}}");
        let mut walk = Walk {
            world: World::new(&spec, nodes),
            created: Vec::new(),
            finished: BTreeMap::new(),
            limit_at_start: 0,
        };
        for step in steps {
            walk.take(step);
        }
        let unique: BTreeSet<&String> = walk.created.iter().collect();
        prop_assert_eq!(unique.len(), walk.created.len(), "a node was started twice: {:?}", walk.created);

        // Left alone, with every Job ended and every node Ready, the operation comes to an end.
        walk.world.op.spec.paused = false;
        for index in 0..8 {
            walk.take(Step::AddNode(index));
            if walk.world.nodes.iter().any(|node| node.name() == format!("node-{index}") && node.readiness().is_err()) {
                walk.take(Step::ToggleReady(index));
            }
        }
        for _ in 0..30 {
            for index in 0..8 {
                walk.take(Step::EndJob(index, true));
            }
            walk.take(Step::Clock(30));
            walk.take(Step::Pass);
        }
        let status = walk.world.op.status.clone().unwrap_or_default();
        prop_assert!(crate::status::is_terminal(&status), "never ended: {:?}", status);
    }
}

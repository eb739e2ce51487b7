//! Random walks of an operation that cordons, drains, reboots and verifies: whatever happens around it, every node is
//! disturbed once, by permission, and given back.

mod walk;

use proptest::prelude::*;

use super::*;
use walk::{Step, Walk, name, step};

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
fn a_verify_does_not_run_again_after_its_node_was_given_back_and_the_write_of_its_result_was_refused()
 {
    let mut walk = walk_to(NodeStep::Verifying);
    walk.take(Step::Pass);
    walk.take(Step::EndCheck(0, true, false));
    walk.take(Step::Conflict);
    assert!(!walk.world.is_cordoned(&name(0)), "it was given back");
    walk.take(Step::Pass);
    let status = walk.world.status_or_default();
    assert_eq!(status.node_statuses[&name(0)].phase, NodePhase::Completed);
    assert_eq!(walk.verifies[&name(0)], 1);
    assert!(!walk.world.is_claimed(&name(0)) && !walk.world.is_cordoned(&name(0)));
    assert!(
        !walk.world.check_exists(&name(0), Check::Verify),
        "it is not needed any more"
    );
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
    #![proptest_config(crate::testing::cases(512))]
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
            walk.take(Step::Away(index, false));
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
            // That of a node which was gone when the operation ended goes with the finalizer.
            let left = status.node_statuses.contains_key(&node) && walk.world.reboot_pod(&node).is_some();
            prop_assert!(!left, "{} has a reboot Pod left", node);
            let failed = status.node_statuses.get(&node).is_some_and(|entry| entry.phase == NodePhase::Failed);
            prop_assert!(failed || !walk.world.is_cordoned(&node), "{} is still cordoned", node);
        }
        // That of a node which left the operation is freed with the finalizer.
        let free = match &walk.world.standing {
            Standing::Ours(node) => !status.node_statuses.contains_key(node),
            other => *other == Standing::Free,
        };
        prop_assert!(free, "{:?}", walk.world.standing);
    }
}

//! NodeOps that kairos-operator began.

use super::*;

fn left_by_kairos_operator(status: &str) -> World {
    let mut world = World::new("command: [run]", workers(&["a", "b"]));
    world.op.status = Some(serde_saphyr::from_str(status).unwrap());
    world
}

#[test]
fn running_jobs_are_followed_and_nothing_new_is_started() {
    let mut world = left_by_kairos_operator(
        "{phase: Running, nodeStatuses: {a: {phase: Running, jobName: old-a}, b: {phase: Pending}}}",
    );
    world.jobs.push(job("old-a", None));
    assert_eq!(world.pass(), [""; 0]);
    assert_eq!(world.progressing().1, reasons::ADOPTED);
    world.jobs = vec![job("old-a", Some("Complete"))];
    assert_eq!(world.pass(), [""; 0]);
    assert_eq!(world.entry("a").phase, NodePhase::Completed);
    assert_eq!(world.status().phase, Some(Phase::Failed));
    assert!(
        world
            .status()
            .message
            .as_ref()
            .unwrap()
            .contains("1 nodes were not started"),
        "{:?}",
        world.status()
    );
    assert_eq!(world.entry("b").phase, NodePhase::Pending, "left as it was");
}

#[test]
fn an_operation_whose_nodes_all_complete_is_completed() {
    let mut world = left_by_kairos_operator(
        "{phase: Running, nodeStatuses: {a: {phase: Completed}, b: {phase: Running, jobName: old-b}}}",
    );
    world.jobs.push(job("old-b", Some("Complete")));
    world.pass();
    assert_eq!(world.status().phase, Some(Phase::Completed));
}

#[test]
fn a_job_is_found_by_its_node_label_where_the_status_names_none() {
    let mut world =
        left_by_kairos_operator("{phase: Running, nodeStatuses: {a: {phase: Pending}}}");
    let mut old = job("made-by-the-other", None);
    old.metadata.labels = Some([("kairos.io/node".to_owned(), "a".to_owned())].into());
    world.jobs.push(old);
    world.pass();
    assert_eq!(
        world.entry("a").job_name.as_deref(),
        Some("made-by-the-other")
    );
}

#[test]
fn a_finished_one_gets_conditions_once_and_is_never_reopened() {
    for (phase, name) in [("Completed", "Complete"), ("Failed", "Failed")] {
        let mut world = left_by_kairos_operator(&format!(
            "{{phase: {phase}, nodeStatuses: {{a: {{phase: {phase}}}}}}}"
        ));
        assert_eq!(world.pass(), [""; 0]);
        assert_eq!(condition(world.status(), name).unwrap().status, "True");
        let after = world.op.status.clone();
        world.pass();
        assert_eq!(world.op.status, after);
    }
}

/// A node as kairos-operator leaves it in the middle of its work: cordoned in the NodeOp's name, with a reboot Pod.
fn cordoned_with_reboot_pod(world: &mut World, name: &str) {
    let me = crate::claim::Holder::of(&world.op).to_string();
    let node = world.node_mut(name);
    node.spec.unschedulable = true;
    node.metadata.annotations = Some([("operator.kairos.io/cordoned-by".to_owned(), me)].into());
    let mut pod = crate::watched::WatchedPod::default();
    pod.metadata.name = Some(format!("op-reboot-{name}"));
    pod.metadata.labels = Some(
        [("kairos.io/reboot", "true"), ("kairos.io/node", name)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    );
    pod.status.phase = "Running".to_owned();
    world.pods.push(pod);
}

#[test]
fn a_node_that_was_cordoned_but_got_no_job_is_given_back_before_the_end_is_told() {
    let mut world =
        left_by_kairos_operator("{phase: Running, nodeStatuses: {b: {phase: Pending}}}");
    cordoned_with_reboot_pod(&mut world, "b");
    world
        .unreleased
        .insert("b".to_owned(), "giving the node back".to_owned());
    let plan = world.plan(&Rehearsal::Passed);
    assert_eq!(plan.status.phase, Some(Phase::Running), "not over yet");
    world.unreleased.clear();
    world.pass();
    assert!(!world.is_cordoned("b") && world.pods.is_empty());
    assert_eq!(world.status().phase, Some(Phase::Failed));
}

#[test]
fn a_command_that_fails_takes_the_reboot_pod_of_kairos_operator_away() {
    let status = "{phase: Running, nodeStatuses: {a: {phase: Running, jobName: old-a}}}";
    let mut world = left_by_kairos_operator(status);
    cordoned_with_reboot_pod(&mut world, "a");
    world.jobs.push(job("old-a", Some("Failed")));
    world.pass();
    assert_eq!(world.entry("a").phase, NodePhase::Failed);
    assert!(world.pods.is_empty());
    assert!(world.is_cordoned("a"), "as without uncordonOnFailure");
}

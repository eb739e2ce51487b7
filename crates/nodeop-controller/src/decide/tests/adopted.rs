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

//! Exporters, turn by turn.

use api_types::osartifact::{ArtifactPhase, ExporterPhase};
use kube::ResourceExt as _;

use super::WITH_EXPORTERS;
use super::world::World;
use crate::decide::Action;

#[test]
fn exporters_run_once_each_and_ready_waits_for_all() {
    let mut world = World::new(WITH_EXPORTERS);
    world.build();
    assert_eq!(world.phase(), ArtifactPhase::Exporting);
    assert_eq!(world.jobs.len(), 2);
    world.end_job(0, "Complete");
    let actions = world.pass();
    assert_eq!(actions, [], "first the result is recorded");
    assert_eq!(world.message(), "1 of 2 exporters are done");
    assert_eq!(world.pass(), [Action::Expire("my-export-0".into(), 60)]);
    world.jobs.retain(|job| job.name_any() != "my-export-0");
    world.settle();
    assert_eq!(world.jobs.len(), 1, "what is recorded does not run again");
    world.end_job(1, "Complete");
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Ready);
}

#[test]
fn a_failed_exporter_is_an_error_the_others_finish_and_a_retry_runs_only_it() {
    let mut world = World::new(WITH_EXPORTERS);
    world.build();
    world.end_job(0, "FailureTarget");
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Error);
    assert!(
        world.message().starts_with("exporter 0 failed: "),
        "{}",
        world.message()
    );
    world.end_job(1, "Complete");
    world.settle();
    assert_eq!(world.status().exporters[1].phase, ExporterPhase::Succeeded);
    let builder = world.status().builder_pod;
    world.retry("1");
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Exporting);
    assert_eq!(
        world.status().builder_pod,
        builder,
        "nothing is built again"
    );
    assert_eq!(world.status().exporters[0].attempt, 2);
    world.end_job(0, "Complete");
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Ready);
}

#[test]
fn an_edited_exporter_runs_again_and_one_that_is_gone_is_removed() {
    let mut world = World::new(WITH_EXPORTERS);
    world.build();
    for index in [0, 1] {
        world.end_job(index, "Complete");
    }
    world.settle();
    world.edit("{imageName: a, iso: true, exporters: [{template: {spec: {containers: [{name: a, image: another}]}}}]}");
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Exporting);
    assert_eq!(world.jobs.len(), 1);
    assert_eq!(world.status().exporters.len(), 1);
    world.end_job(0, "Complete");
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Ready);
}

#[test]
fn a_pod_that_takes_the_place_of_a_failed_one_has_the_whole_time_to_start() {
    let mut world = World::new(WITH_EXPORTERS);
    world.build();
    // It ran for an hour and failed; the Job has made another Pod, whose image the registry does not give right away.
    world.now += 60 * 60;
    world.exporter_pod_waits(0, world.now, "ErrImagePull");
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Exporting);
    assert!(
        world.message().contains("cannot start: ErrImagePull"),
        "{}",
        world.message()
    );
    world.now += 30 * 60;
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Error);
    assert!(
        world
            .message()
            .contains("given up after 30 min without progress: copy cannot start: ErrImagePull"),
        "{}",
        world.message()
    );
}

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::*;
use crate::outcome::{Outcome, encode};
use crate::record::{Record, mark_of};
use crate::testing::{at, ended, node, pending, record, waiting};

mod properties;

const LIMITS: Limits = Limits {
    pods_in_flight: 3,
    resync: SignedDuration::from_hours(24),
    deadline: SignedDuration::from_secs(60),
};

/// What a decision looks at, by value.
#[derive(Default)]
struct World {
    nodes: Vec<Arc<WatchedNode>>,
    pods: BTreeMap<String, Arc<WatchedPod>>,
    busy: BTreeMap<String, Busy>,
    held: HashMap<String, Timestamp>,
}

impl World {
    fn of(nodes: Vec<WatchedNode>, pods: Vec<WatchedPod>) -> Self {
        Self {
            nodes: nodes.into_iter().map(Arc::new).collect(),
            pods: pods
                .into_iter()
                .map(|pod| (pod.name().to_owned(), Arc::new(pod)))
                .collect(),
            ..Self::default()
        }
    }

    fn decide(&self, now: Timestamp) -> Plan {
        let snapshot = Snapshot {
            nodes: &self.nodes,
            pods: &self.pods,
            busy: &self.busy,
            held: &self.held,
            room: 64,
        };
        decide(&snapshot, &LIMITS, now)
    }
}

fn known(name: &str, at: Timestamp) -> WatchedNode {
    let mut node = node(name);
    node.record = Some(record(&node, at));
    node
}

/// Names of the nodes that Pods are started on, and what they look at.
fn starts(plan: &Plan) -> Vec<(&str, Probe)> {
    let starts = plan.steps.iter().filter_map(|step| match step {
        Step::Create { node, probe } => Some((node.name(), *probe)),
        _ => None,
    });
    starts.collect()
}

fn verdict(plan: &Plan) -> &Verdict {
    match &plan.steps[0] {
        Step::Conclude { verdict, .. } => verdict,
        step => panic!("{step:?}"),
    }
}

#[test]
fn a_node_is_looked_at_once_and_again_when_its_state_changes_or_its_record_is_old() {
    let fresh = node("fresh");
    let same = known("same", at(0));
    let mut changed = known("changed", at(0));
    "another".clone_into(&mut changed.state);
    let world = World::of(vec![fresh, same, changed], vec![]);
    let plan = world.decide(at(10));
    assert_eq!(
        starts(&plan),
        [("fresh", Probe::Files), ("changed", Probe::Files)]
    );
    let due = plan.wake_at.unwrap();
    let world = World::of(vec![known("same", at(0))], vec![]);
    assert!(due > at(20 * 3600) && due <= at(24 * 3600), "{due}");
    assert_eq!(starts(&world.decide(due)), [("same", Probe::Files)]);
    let just_before = due.saturating_sub(SignedDuration::from_secs(1)).unwrap();
    assert!(starts(&world.decide(just_before)).is_empty());
}

#[test]
fn nodes_without_linux_or_not_ready_or_going_are_left_alone() {
    let mut windows = node("windows");
    windows.has_linux = false;
    let mut down = node("down");
    "False".clone_into(&mut down.status.conditions[0].status);
    let mut silent = node("silent");
    silent.status.conditions.clear();
    let mut going = node("going");
    going.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0)));
    let plan = World::of(vec![windows, down, silent, going], vec![]).decide(at(0));
    assert!(plan.steps.is_empty() && plan.waiting == 0, "{plan:?}");
}

#[test]
fn a_record_from_the_future_does_not_count() {
    let plan = World::of(vec![known("a", at(3 * 3600))], vec![]).decide(at(0));
    assert_eq!(starts(&plan), [("a", Probe::Files)]);
}

#[test]
fn no_more_pods_than_the_limit_whether_seen_or_being_created() {
    let nodes: Vec<_> = ["a", "b", "c", "d", "e"].map(node).into();
    let pod = pending(&nodes[0], Probe::Files, at(0));
    let mut world = World::of(nodes, vec![pod]);
    let being_created = world.nodes[1].pod_name.clone();
    world.busy.insert(being_created, Busy::Creating);
    let plan = world.decide(at(0));
    assert_eq!(starts(&plan), [("c", Probe::Files)]);
    assert_eq!((plan.in_flight, plan.waiting), (3, 2));
}

#[test]
fn unknown_nodes_come_before_changed_ones_and_those_before_old_ones() {
    let old = known("a", at(0));
    let mut changed = known("b", at(0));
    "another".clone_into(&mut changed.state);
    let nodes = vec![old, changed, node("c"), node("d")];
    let plan = World::of(nodes, vec![]).decide(at(2 * 86_400));
    let order: Vec<_> = starts(&plan).into_iter().map(|(name, _)| name).collect();
    assert_eq!(order, ["c", "d", "b"]);
}

#[test]
fn a_node_that_failed_waits_for_its_time_and_so_does_its_pod() {
    let mut world = World::of(
        vec![node("a"), node("b")],
        vec![ended(&node("b"), Probe::Files, "void")],
    );
    for name in ["uid-of-a", "uid-of-b"] {
        world.held.insert(name.to_owned(), at(30));
    }
    let plan = world.decide(at(0));
    assert!(plan.steps.is_empty());
    assert_eq!(plan.wake_at, Some(at(30)));
    assert_eq!(world.decide(at(30)).steps.len(), 2);
}

#[test]
fn what_a_pod_told_is_written_once() {
    let mut node = known("a", at(0));
    let message = encode(&Outcome::NotKairos).unwrap();
    let pod = ended(&node, Probe::Files, &message);
    let plan = World::of(vec![node.clone()], vec![pod.clone()]).decide(at(5));
    assert_eq!(verdict(&plan), &Verdict::Detected(Outcome::NotKairos));
    node.record = node.record.map(|record| Record {
        by: mark_of(&pod),
        ..record
    });
    let plan = World::of(vec![node], vec![pod]).decide(at(5));
    assert!(matches!(
        plan.steps[..],
        [Step::Remove {
            outdated: false,
            ..
        }]
    ));
}

#[test]
fn a_pod_of_an_earlier_state_or_of_no_node_is_removed_unheard() {
    let message = encode(&Outcome::NotKairos).unwrap();
    let pod = ended(&node("a"), Probe::Files, &message);
    let mut rebooted = node("a");
    "another".clone_into(&mut rebooted.state);
    let plan = World::of(vec![rebooted], vec![pod.clone()]).decide(at(5));
    assert!(matches!(
        plan.steps[..],
        [Step::Remove { outdated: true, .. }]
    ));
    let mut again = node("a");
    again.metadata.uid = Some("another machine".to_owned());
    again.pod_name = crate::build::pod::pod_name("a", "another machine");
    let plan = World::of(vec![again], vec![pod.clone()]).decide(at(5));
    assert!(
        plan.steps
            .iter()
            .any(|step| matches!(step, Step::Remove { .. }))
    );
    assert_eq!(starts(&plan), [("a", Probe::Files)], "the names differ");
    let mut windows = node("a");
    windows.has_linux = false;
    let plan = World::of(vec![windows], vec![pod]).decide(at(5));
    assert!(matches!(plan.steps[..], [Step::Remove { .. }]));
}

#[test]
fn marker_files_are_looked_at_by_a_second_pod_and_the_next_time_at_once() {
    let with = |markers, state: &str| {
        let mut node = known("a", at(0));
        let record = node.record.as_mut().unwrap();
        record.markers = markers;
        state.clone_into(&mut node.state);
        if state == "same" {
            "same".clone_into(&mut record.of);
        }
        World::of(vec![node], vec![]).decide(at(1))
    };
    let wanted = with(Some(Markers::Wanted), "same");
    assert_eq!(starts(&wanted), [("a", Probe::FilesAndMarkers)]);
    for settled in [None, Some(Markers::Read), Some(Markers::Missing)] {
        assert!(starts(&with(settled, "same")).is_empty(), "{settled:?}");
    }
    let read = with(Some(Markers::Read), "rebooted");
    assert_eq!(starts(&read), [("a", Probe::FilesAndMarkers)]);
    for unknown in [None, Some(Markers::Wanted), Some(Markers::Missing)] {
        assert_eq!(
            starts(&with(unknown, "rebooted")),
            [("a", Probe::Files)],
            "{unknown:?}"
        );
    }
}

#[test]
fn a_pod_that_does_not_end_is_given_up_with_the_cause_that_it_shows() {
    let pod = pending(&node("a"), Probe::Files, at(0));
    let pod = waiting(pod, "ImagePullBackOff", "no such image");
    let world = World::of(vec![node("a")], vec![pod]);
    let plan = world.decide(at(80));
    assert!(plan.steps.is_empty());
    assert_eq!(plan.wake_at, Some(at(90)));
    let plan = world.decide(at(90));
    let Verdict::Failed(Failure::DetectionTimedOut, words) = verdict(&plan) else {
        panic!("{plan:?}")
    };
    assert!(
        words.contains("within 60 s: ImagePullBackOff: no such image"),
        "{words}"
    );
}

#[test]
fn only_a_pod_that_could_not_start_tells_that_the_marker_files_are_missing() {
    let exceeded = |probe, reason: &str| {
        let mut pod = waiting(pending(&node("a"), probe, at(0)), reason, "");
        "Failed".clone_into(&mut pod.status.phase);
        pod.status.reason = Some("DeadlineExceeded".to_owned());
        let plan = World::of(vec![node("a")], vec![pod]).decide(at(61));
        verdict(&plan).clone()
    };
    let missing = exceeded(Probe::FilesAndMarkers, "ContainerCreating");
    assert_eq!(missing, Verdict::MarkersMissing);
    for (probe, reason) in [
        (Probe::Files, "ContainerCreating"),
        (Probe::FilesAndMarkers, "ErrImagePull"),
    ] {
        assert!(matches!(
            exceeded(probe, reason),
            Verdict::Failed(Failure::DetectionTimedOut, _)
        ));
    }
    let bare = pending(&node("a"), Probe::FilesAndMarkers, at(0));
    let plan = World::of(vec![node("a")], vec![bare]).decide(at(90));
    assert_eq!(verdict(&plan), &Verdict::MarkersMissing);
}

#[test]
fn a_failing_detection_is_told_with_its_last_words_in_one_line() {
    let mut pod = ended(&node("a"), Probe::Files, "no space\nleft");
    "Failed".clone_into(&mut pod.status.phase);
    let end = pod.status.container_statuses[0]
        .state
        .terminated
        .as_mut()
        .unwrap();
    end.exit_code = 1;
    end.reason = Some("Error".to_owned());
    let plan = World::of(vec![node("a")], vec![pod]).decide(at(1));
    let words = "the detection ended with exit code 1 (Error): no space left".to_owned();
    assert_eq!(
        verdict(&plan),
        &Verdict::Failed(Failure::DetectionFailed, words)
    );
}

#[test]
fn a_message_from_elsewhere_is_never_taken_for_facts() {
    for message in [
        "",
        "hello",
        r#"{"kairos":{"l":{"managed":"true","boot-state":"x"}}}"#,
    ] {
        let pod = ended(&node("a"), Probe::Files, message);
        let plan = World::of(vec![node("a")], vec![pod]).decide(at(1));
        assert!(
            matches!(
                verdict(&plan),
                Verdict::Failed(Failure::DetectionMessageVoid, _)
            ),
            "{message}"
        );
    }
}

#[test]
fn ended_pods_that_cannot_be_removed_keep_new_ones_from_starting() {
    let nodes: Vec<_> = (0..8).map(|index| node(&format!("n{index}"))).collect();
    let pods = nodes[..7].iter().map(|node| ended(node, Probe::Files, ""));
    let mut world = World::of(nodes.clone(), pods.collect());
    for pod in world.pods.keys() {
        world.busy.insert(pod.clone(), Busy::Ending);
    }
    assert!(world.decide(at(0)).steps.is_empty());
    world.pods.pop_first();
    assert_eq!(starts(&world.decide(at(0))).len(), 1);
}

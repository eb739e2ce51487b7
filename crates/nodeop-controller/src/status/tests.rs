use super::*;
use k8s_openapi::jiff::SignedDuration;

use super::due::PROGRESS_BYTES_PER_SECOND;
use crate::testing::at;

fn entry(phase: NodePhase, message: Option<&str>) -> NodeStatus {
    NodeStatus {
        phase,
        message: message.map(str::to_owned),
        ..NodeStatus::default()
    }
}

fn running(nodes: usize, now: i64) -> NodeOpStatus {
    let entries = (0..nodes)
        .map(|index| {
            (
                format!("node-{index:05}"),
                entry(NodePhase::Running, Some("0123456789")),
            )
        })
        .collect();
    let mut status = next(
        &NodeOpStatus::default(),
        entries,
        &Outcome::Running,
        nodes,
        Some(1),
        at(now),
    );
    status.last_updated = Some(Time(at(now)));
    status
}

#[test]
fn a_status_that_says_nothing_new_is_not_written() {
    let before = running(3, 0);
    let after = next(
        &before,
        before.node_statuses.clone(),
        &Outcome::Running,
        3,
        Some(1),
        at(50),
    );
    assert_eq!(write_decision(&before, &after, at(50)), Write::Nothing);
}

#[test]
fn progress_waits_for_its_interval_and_is_written_when_the_clock_went_back() {
    let before = running(3, 100);
    let mut entries = before.node_statuses.clone();
    entries.insert("node-00001".to_owned(), entry(NodePhase::Completed, None));
    let after = next(&before, entries, &Outcome::Running, 3, Some(1), at(100));
    let millis = SignedDuration::from_millis(400);
    assert_eq!(
        write_decision(&before, &after, at(100) + millis),
        Write::After(SignedDuration::from_millis(600))
    );
    assert_eq!(write_decision(&before, &after, at(101)), Write::Now);
    assert_eq!(write_decision(&before, &after, at(0)), Write::Now);
}

#[test]
fn a_node_that_was_waited_for_is_reserved_in_writing_before_its_job_is_created() {
    for step in [NodeStep::WaitingForReady, NodeStep::NodeGone] {
        let mut before = running(3, 100);
        let mut waiting = entry(NodePhase::Pending, None);
        waiting.step = Some(step);
        before
            .node_statuses
            .insert("node-00001".to_owned(), waiting.clone());
        let mut entries = before.node_statuses.clone();
        waiting.step = Some(NodeStep::Reserved);
        entries.insert("node-00001".to_owned(), waiting);
        let after = next(&before, entries, &Outcome::Running, 3, Some(1), at(100));
        assert_eq!(write_decision(&before, &after, at(100)), Write::Now);
    }
}

#[test]
fn a_large_status_is_written_more_rarely() {
    let before = running(5000, 100);
    let seconds = size(&before) / PROGRESS_BYTES_PER_SECOND;
    assert!(seconds >= 3, "{seconds}");
    let mut entries = before.node_statuses.clone();
    entries.insert(
        "node-00001".to_owned(),
        entry(NodePhase::Running, Some("other")),
    );
    let after = next(&before, entries, &Outcome::Running, 5000, Some(1), at(102));
    assert!(matches!(
        write_decision(&before, &after, at(102)),
        Write::After(_)
    ));
    assert_eq!(write_decision(&before, &after, at(110)), Write::Now);
}

#[test]
fn the_end_is_written_at_once() {
    let before = running(1, 100);
    let entries = [("node-00000".to_owned(), entry(NodePhase::Completed, None))].into();
    let after = next(
        &before,
        entries,
        &Outcome::Ended { not_started: 0 },
        1,
        Some(1),
        at(100),
    );
    assert_eq!(write_decision(&before, &after, at(100)), Write::Now);
}

#[test]
fn past_its_limit_a_status_keeps_of_finished_nodes_the_phase_only() {
    let entries: BTreeMap<_, _> = (0..9000)
        .map(|index| {
            let phase = if index % 2 == 0 {
                NodePhase::Completed
            } else {
                NodePhase::Running
            };
            (
                format!("node-{index:05}"),
                entry(phase, Some(&"m".repeat(60))),
            )
        })
        .collect();
    let after = next(
        &NodeOpStatus::default(),
        entries,
        &Outcome::Running,
        9000,
        Some(1),
        at(0),
    );
    let finished = &after.node_statuses["node-00000"];
    assert_eq!(finished, &entry(NodePhase::Completed, None));
    assert!(after.node_statuses["node-00001"].message.is_some());
}

#[test]
fn room_shrinks_with_each_entry_down_to_none() {
    let entries: BTreeMap<_, _> = (0..30_000)
        .map(|index| {
            (
                format!("node-{index:05}"),
                entry(NodePhase::Completed, None),
            )
        })
        .collect();
    assert!(room_left(&BTreeMap::new()) == FULL_BYTES);
    assert_eq!(room_left(&entries), 0);
}

#[test]
fn a_skipped_node_is_counted_as_completed_and_as_skipped() {
    let entries = [
        (
            "a".to_owned(),
            entry(NodePhase::Completed, Some("Skipped: already up to date")),
        ),
        ("b".to_owned(), entry(NodePhase::Completed, None)),
    ]
    .into();
    let after = next(
        &NodeOpStatus::default(),
        entries,
        &Outcome::Ended { not_started: 0 },
        2,
        Some(1),
        at(0),
    );
    let counts = after.summary.unwrap();
    assert_eq!(
        (counts.completed, counts.skipped, counts.done.as_str()),
        (2, 1, "2/2")
    );
    assert_eq!(
        after.message.as_deref(),
        Some("all 2 nodes completed (1 skipped)")
    );
}

#[test]
fn messages_stay_within_their_bounds() {
    let mut failing = entry(NodePhase::Running, None);
    fail(&mut failing, at(0), &"é".repeat(2000));
    assert!(failing.message.as_ref().unwrap().len() <= NODE_MESSAGE_BYTES);
    let entries = (0..100)
        .map(|index| (format!("node-{index}"), failing.clone()))
        .collect();
    let after = next(
        &NodeOpStatus::default(),
        entries,
        &Outcome::Ended { not_started: 0 },
        100,
        Some(1),
        at(0),
    );
    assert!(
        after.message.as_ref().unwrap().len() <= 1200,
        "{}",
        after.message.as_ref().unwrap().len()
    );
    assert!(after.message.unwrap().contains("and 97 more"));
}

#[test]
fn each_turn_is_reported_once() {
    let before = running(2, 0);
    let mut entries = before.node_statuses.clone();
    entries.insert(
        "node-00000".to_owned(),
        entry(NodePhase::Failed, Some("disk full")),
    );
    let middle = next(
        &before,
        entries.clone(),
        &Outcome::Running,
        2,
        Some(1),
        at(1),
    );
    let told = reports(&before, &middle);
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].reason, told[0].warning, told[0].note.as_str()),
        ("NodeFailed", true, "node-00000 failed: disk full")
    );
    entries.insert("node-00001".to_owned(), entry(NodePhase::Completed, None));
    let end = next(
        &middle,
        entries,
        &Outcome::Ended { not_started: 0 },
        2,
        Some(1),
        at(2),
    );
    let told: Vec<_> = reports(&middle, &end)
        .into_iter()
        .map(|report| report.reason)
        .collect();
    assert_eq!(told, ["NodeCompleted", "OperationFailed"]);
    assert!(reports(&end, &end).is_empty());
}

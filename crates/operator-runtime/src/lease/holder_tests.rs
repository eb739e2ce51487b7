//! Whole contenders against a small API server that keeps one Lease, in paused time.

use super::{LeaseHolder, Loss};
use crate::testing::lease_server::{LeaseServer, Mood, PATH};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

/// Lets the contender run for a while; `Some` when it lost the Lease.
async fn run_for(holder: &mut LeaseHolder, span: Duration) -> Option<Loss> {
    timeout(span, holder.hold()).await.ok()
}

#[tokio::test(start_paused = true)]
async fn every_write_is_guarded() {
    let server = LeaseServer::start();
    let (mut holder, leadership, metrics) = server.contender("a");
    assert!(!leadership.is_leading());
    assert_eq!(run_for(&mut holder, 21 * SECOND).await, None);
    assert!(leadership.is_leading());
    assert_eq!(server.spec()["holderIdentity"], "a");
    assert_eq!(server.spec()["leaseDurationSeconds"], 15);
    let text = metrics.encode().unwrap();
    assert!(
        text.contains("leader_election_leading{controller=\"sample-controller\"} 1\n"),
        "{text}"
    );

    let requests = server.api.requests();
    let methods: Vec<_> = requests
        .iter()
        .map(|request| request.method.as_str())
        .collect();
    // One look, one creation, then a renewal each 5 s without another look.
    assert_eq!(methods, ["GET", "POST", "PATCH", "PATCH", "PATCH", "PATCH"]);
    let mut versions = Vec::new();
    for request in requests.iter().filter(|request| request.method == "PATCH") {
        assert_eq!(request.path, PATH);
        versions.push(
            request.body["metadata"]["resourceVersion"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    versions.dedup();
    assert_eq!(
        versions.len(),
        4,
        "each renewal follows the version before: {versions:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_killed_holder_is_succeeded_within_twenty_seconds() {
    let server = LeaseServer::start();
    let (mut first, _, _) = server.contender("a");
    let (mut second, leadership, _) = server.contender("b");
    assert_eq!(run_for(&mut first, SECOND).await, None);
    let standby = tokio::spawn(async move { second.hold().await });
    assert_eq!(run_for(&mut first, 20 * SECOND).await, None);
    assert!(!leadership.is_leading());
    drop(first);
    let killed_at = Instant::now();
    timeout(60 * SECOND, leadership.acquired()).await.unwrap();
    assert!(
        killed_at.elapsed() < 20 * SECOND,
        "{:?}",
        killed_at.elapsed()
    );
    assert_eq!(server.spec()["holderIdentity"], "b");
    assert_eq!(server.spec()["leaseTransitions"], 1);
    standby.abort();
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_at_the_next_look() {
    let server = LeaseServer::start();
    let (mut first, first_leadership, _) = server.contender("a");
    let (mut second, leadership, _) = server.contender("b");
    assert_eq!(run_for(&mut first, SECOND).await, None);
    let standby = tokio::spawn(async move { second.hold().await });
    assert_eq!(run_for(&mut first, 20 * SECOND).await, None);
    assert!(!leadership.is_leading());
    first.release().await;
    assert!(!first_leadership.is_leading());
    let released_at = Instant::now();
    timeout(60 * SECOND, leadership.acquired()).await.unwrap();
    assert!(
        released_at.elapsed() <= 2 * SECOND,
        "{:?}",
        released_at.elapsed()
    );
    standby.abort();
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_reaches_nobody_stops_at_its_deadline() {
    let server = LeaseServer::start();
    let (mut holder, leadership, metrics) = server.contender("a");
    assert_eq!(run_for(&mut holder, 6 * SECOND).await, None);
    // The last renewal was sent after 5 s, so the term ends after 15 s.
    server.set_mood(Mood::Deaf);
    let begun = Instant::now();
    assert_eq!(
        run_for(&mut holder, 60 * SECOND).await,
        Some(Loss::Deadline)
    );
    assert_eq!(begun.elapsed(), 9 * SECOND);
    assert!(!leadership.is_leading());
    assert!(
        metrics
            .encode()
            .unwrap()
            .contains("leader_election_leading{controller=\"sample-controller\"} 0\n")
    );
}

#[tokio::test(start_paused = true)]
async fn a_term_that_ran_out_counts_before_anybody_notices() {
    let server = LeaseServer::start();
    let (mut holder, leadership, _) = server.contender("a");
    assert_eq!(run_for(&mut holder, SECOND).await, None);
    assert!(leadership.is_leading());
    // The lease's task is not run meanwhile, as when the process is frozen.
    sleep(10 * SECOND).await;
    assert!(!leadership.is_leading());
}

#[tokio::test(start_paused = true)]
async fn a_renewal_whose_answer_is_lost_does_not_end_the_term() {
    let server = LeaseServer::start();
    let (mut holder, leadership, _) = server.contender("a");
    assert_eq!(run_for(&mut holder, 4 * SECOND).await, None);
    server.set_mood(Mood::ActsSilently);
    assert_eq!(run_for(&mut holder, 3 * SECOND).await, None);
    server.set_mood(Mood::Answers);
    assert_eq!(run_for(&mut holder, 30 * SECOND).await, None);
    assert!(leadership.is_leading());
    assert_eq!(server.spec()["leaseTransitions"], 0);
}

#[tokio::test(start_paused = true)]
async fn two_processes_of_one_identity_do_not_both_lead() {
    let server = LeaseServer::start();
    let (mut first, first_leadership, _) = server.contender("a");
    assert_eq!(run_for(&mut first, SECOND).await, None);
    let (mut second, _, _) = server.contender("a");
    assert_eq!(run_for(&mut second, SECOND).await, None);
    let loss = run_for(&mut first, 60 * SECOND).await;
    assert_eq!(loss, Some(Loss::SameIdentity("a".to_owned())));
    assert!(!first_leadership.is_leading());
}

#[tokio::test(start_paused = true)]
async fn a_holder_restores_a_deleted_lease() {
    let server = LeaseServer::start();
    let (mut holder, leadership, _) = server.contender("a");
    assert_eq!(run_for(&mut holder, SECOND).await, None);
    *server.lease.lock().unwrap() = None;
    assert_eq!(run_for(&mut holder, 20 * SECOND).await, None);
    assert!(leadership.is_leading());
    assert_eq!(server.spec()["holderIdentity"], "a");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_another_holds_is_not_released() {
    let server = LeaseServer::start();
    let (mut holder, _, _) = server.contender("a");
    assert_eq!(run_for(&mut holder, SECOND).await, None);
    server.lease.lock().unwrap().as_mut().unwrap()["spec"]["holderIdentity"] = json!("b");
    holder.release().await;
    assert_eq!(server.spec()["holderIdentity"], "b");
}

#[tokio::test(start_paused = true)]
async fn a_standby_costs_half_a_request_per_second() {
    let server = LeaseServer::start();
    let (mut first, _, _) = server.contender("a");
    assert_eq!(run_for(&mut first, SECOND).await, None);
    let before = server.api.requests().len();
    let (mut second, _, _) = server.contender("b");
    assert_eq!(run_for(&mut second, 14 * SECOND).await, None);
    let looks = server.api.requests().len() - before;
    assert!(looks <= 8, "{looks} requests in 14 s");
}

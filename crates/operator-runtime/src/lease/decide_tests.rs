//! The decision, case by case.

use super::{Decision, Elector, LeaseSnapshot, Loss, Terms};
use k8s_openapi::jiff::Timestamp;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);
const TERMS: Terms = Terms {
    duration: Duration::from_secs(15),
    renew_deadline: Duration::from_secs(10),
    retry: Duration::from_secs(2),
};

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn held_by(holder: &str, renewed: i64) -> LeaseSnapshot {
    LeaseSnapshot {
        resource_version: renewed.to_string(),
        holder: Some(holder.to_owned()),
        duration: 15 * SECOND,
        acquired_at: Some(time(1)),
        renewed_at: Some(time(renewed)),
        transitions: 0,
    }
}

fn released() -> LeaseSnapshot {
    LeaseSnapshot {
        holder: None,
        ..held_by("", 1)
    }
}

/// A contender "a" that leads since `now` with the term that `held_by("a", _)` shows.
fn leader(now: Instant) -> Elector {
    let mut elector = Elector::new("a", TERMS);
    elector.observe(None, now);
    elector.wrote(held_by("a", 1), time(1), now);
    elector
}

#[test]
fn a_missing_lease_is_created_at_once() {
    let now = Instant::now();
    let mut elector = Elector::new("a", TERMS);
    assert!(elector.needs_read());
    elector.observe(None, now);
    assert_eq!(elector.decide(now), Decision::Create);
}

#[test]
fn a_released_lease_is_taken_at_once() {
    let now = Instant::now();
    let mut elector = Elector::new("a", TERMS);
    elector.observe(Some(held_by("b", 1)), now);
    elector.observe(Some(released()), now + SECOND);
    assert_eq!(elector.decide(now + SECOND), Decision::Acquire);
}

#[test]
fn the_own_lease_of_a_former_process_is_taken_at_once() {
    let now = Instant::now();
    let mut elector = Elector::new("a", TERMS);
    elector.observe(Some(held_by("a", 1)), now);
    assert_eq!(elector.decide(now), Decision::Acquire);
}

#[test]
fn anothers_lease_is_waited_for_from_when_it_was_seen_to_change() {
    let now = Instant::now();
    let mut elector = Elector::new("a", TERMS);
    // The holder's clock is decades behind: that must not matter.
    elector.observe(Some(held_by("b", 1)), now);
    assert_eq!(elector.decide(now), Decision::WaitUntil(now + 15 * SECOND));
    elector.observe(Some(held_by("b", 1)), now + 14 * SECOND);
    assert_eq!(
        elector.decide(now + 14 * SECOND),
        Decision::WaitUntil(now + 15 * SECOND)
    );
    assert_eq!(elector.decide(now + 15 * SECOND), Decision::Acquire);
    elector.observe(Some(held_by("b", 2)), now + 15 * SECOND);
    assert_eq!(
        elector.decide(now + 15 * SECOND),
        Decision::WaitUntil(now + 30 * SECOND)
    );
}

#[test]
fn a_changed_label_is_no_renewal() {
    let now = Instant::now();
    let mut elector = Elector::new("a", TERMS);
    elector.observe(Some(held_by("b", 1)), now);
    let relabelled = LeaseSnapshot {
        resource_version: "99".to_owned(),
        ..held_by("b", 1)
    };
    elector.observe(Some(relabelled.clone()), now + 15 * SECOND);
    assert_eq!(elector.decide(now + 15 * SECOND), Decision::Acquire);
    assert_eq!(elector.lease(), Some(&relabelled));
}

#[test]
fn the_holder_says_how_long_to_wait() {
    let now = Instant::now();
    let mut elector = Elector::new("a", TERMS);
    let longer = LeaseSnapshot {
        duration: 40 * SECOND,
        ..held_by("b", 1)
    };
    elector.observe(Some(longer), now);
    assert_eq!(
        elector.decide(now + 39 * SECOND),
        Decision::WaitUntil(now + 40 * SECOND)
    );
}

#[test]
fn a_vanished_lease_is_waited_for_as_if_just_renewed() {
    let now = Instant::now();
    let mut elector = Elector::new("a", TERMS);
    elector.observe(Some(held_by("b", 1)), now);
    elector.observe(None, now + 10 * SECOND);
    elector.observe(None, now + 20 * SECOND);
    assert_eq!(
        elector.decide(now + 24 * SECOND),
        Decision::WaitUntil(now + 25 * SECOND)
    );
    assert_eq!(elector.decide(now + 25 * SECOND), Decision::Create);
}

#[test]
fn a_leader_renews_without_reading_and_its_term_ends_on_time() {
    let now = Instant::now();
    let mut elector = leader(now);
    assert!(!elector.needs_read());
    assert_eq!(elector.decide(now + 9 * SECOND), Decision::Renew);
    elector.wrote(held_by("a", 2), time(1), now + 9 * SECOND);
    assert_eq!(elector.leads_until(), Some(now + 19 * SECOND));
    assert_eq!(
        elector.decide(now + 19 * SECOND),
        Decision::Lost(Loss::Deadline)
    );
}

#[test]
fn a_leader_whose_write_failed_reads_before_it_decides() {
    let now = Instant::now();
    let mut elector = leader(now);
    elector.write_failed();
    assert!(elector.needs_read());
    // The write had happened after all.
    elector.observe(Some(held_by("a", 7)), now + SECOND);
    assert_eq!(elector.decide(now + SECOND), Decision::Renew);
    assert_eq!(elector.lease().unwrap().resource_version, "7");
    // Its term is not prolonged by having been read.
    assert_eq!(elector.leads_until(), Some(now + 10 * SECOND));
}

#[test]
fn a_leader_stops_when_the_lease_is_not_its_own_any_more() {
    let now = Instant::now();
    let lost = |lease: LeaseSnapshot| {
        let mut elector = leader(now);
        elector.observe(Some(lease), now + SECOND);
        elector.decide(now + SECOND)
    };
    assert_eq!(
        lost(held_by("b", 2)),
        Decision::Lost(Loss::Taken("b".to_owned()))
    );
    assert_eq!(lost(released()), Decision::Lost(Loss::Released));
    let other_term = LeaseSnapshot {
        acquired_at: Some(time(2)),
        ..held_by("a", 2)
    };
    assert_eq!(
        lost(other_term),
        Decision::Lost(Loss::SameIdentity("a".to_owned()))
    );
}

#[test]
fn a_leader_restores_a_deleted_lease() {
    let now = Instant::now();
    let mut elector = leader(now);
    elector.observe(None, now + SECOND);
    assert_eq!(elector.decide(now + SECOND), Decision::Create);
}

//! The drain between claim and command.

use super::*;

#[test]
fn pods_that_must_not_be_evicted_fail_the_node_before_the_cordon() {
    let mut world = World::new(
        "command: [run]\ndrainOptions: {enabled: true}",
        workers(&["a"]),
    );
    world.check_state = DrainState::Forbidden("shop/db-0 has no controller (force)".to_owned());
    world.settle();
    assert_eq!(world.entry("a").phase, NodePhase::Failed);
    assert_eq!(world.message("a"), "shop/db-0 has no controller (force)");
    assert!(
        !world.log.iter().any(|line| line.contains("Claim")),
        "{:?}",
        world.log
    );
}

#[test]
fn a_drain_is_asked_for_after_the_cordon_and_the_job_follows_an_empty_list() {
    let mut world = World::new(
        "command: [run]\ndrainOptions: {enabled: true}",
        workers(&["a"]),
    );
    world.drain_state = DrainState::Waiting {
        message: "waiting for 1 Pod: shop/db-0".to_owned(),
        blocked: 1,
        remaining: 1,
    };
    world.settle();
    assert!(world.is_cordoned("a"));
    assert_eq!(world.step("a"), Some(NodeStep::Draining));
    assert_eq!(world.message("a"), "waiting for 1 Pod: shop/db-0");
    assert!(world.jobs.is_empty());
    world.drain_state = DrainState::Drained;
    world.settle();
    assert_eq!(world.step("a"), Some(NodeStep::Running));
    let claim = world.log.iter().position(|line| line.contains("Claim"));
    let drain = world.log.iter().position(|line| line == "drain a Drain");
    let job = world.log.iter().position(|line| line == "job a");
    assert!(claim < drain && drain < job, "{:?}", world.log);
}

#[test]
fn a_drain_that_takes_too_long_fails_and_uncordons_the_node_and_its_timer_outlives_restarts() {
    let mut world = World::new(
        "command: [run]\ndrainOptions: {enabled: true, timeoutSeconds: 300}",
        workers(&["a"]),
    );
    world.drain_state = DrainState::Waiting {
        message: "waiting for 1 Pod: shop/db-0".to_owned(),
        blocked: 1,
        remaining: 1,
    };
    world.settle();
    world.second += 200;
    // A restart: what was only remembered is gone.
    world.drains.clear();
    world.pass();
    assert_eq!(world.step("a"), Some(NodeStep::Draining));
    world.second += 100;
    world.pass();
    assert_eq!(world.entry("a").phase, NodePhase::Failed);
    let message = world.message("a").to_owned();
    assert!(
        message.contains("300 s") && message.contains("shop/db-0"),
        "{message}"
    );
    assert!(!world.is_cordoned("a") && !world.is_claimed("a"));
    assert!(world.jobs.is_empty());
}

#[test]
fn a_drain_without_timeout_waits_for_ever() {
    let mut world = World::new(
        "command: [run]\ndrainOptions: {enabled: true, timeoutSeconds: 0}",
        workers(&["a"]),
    );
    world.drain_state = DrainState::Waiting {
        message: "waiting".to_owned(),
        blocked: 1,
        remaining: 1,
    };
    world.settle();
    world.second += 1_000_000;
    world.pass();
    assert_eq!(world.step("a"), Some(NodeStep::Draining));
}

#[test]
fn a_clock_that_was_put_back_neither_hides_the_end_of_a_drain_nor_lengthens_its_time() {
    let waiting = DrainState::Waiting {
        message: "waiting for 1 Pod: shop/db-0".to_owned(),
        blocked: 1,
        remaining: 1,
    };
    let manifest = "command: [run]\ndrainOptions: {enabled: true, timeoutSeconds: 300}";
    for (ends, seconds) in [(true, 1), (false, 300)] {
        let mut world = World::new(manifest, workers(&["a"]));
        world.second = 7200;
        world.drain_state = waiting.clone();
        world.settle();
        assert_eq!(world.step("a"), Some(NodeStep::Draining));
        world.second = 0;
        world.pass();
        if ends {
            world.drain_state = DrainState::Drained;
        }
        world.second += seconds;
        world.settle();
        if ends {
            assert_eq!(world.step("a"), Some(NodeStep::Running));
        } else {
            assert_eq!(world.entry("a").phase, NodePhase::Failed);
        }
    }
}

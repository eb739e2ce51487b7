//! Deterministic simulation: the controller's passes run against a model of the API server, with caches that lag, answers
//! that get lost, processes that die at any request, two that lead at once, clocks that jump, nodes that die and people who
//! interfere. A schedule is a list of choices; one that breaks a rule is shrunk and printed, to be kept as a test.

mod choices;
mod cluster;
mod history;
mod model;
mod process;
mod schedule;

use std::collections::{BTreeMap, BTreeSet};

use choices::{Choices, shrink};
use schedule::{Outcome, run};

/// Schedules of one run, unless `SIMULATION_SCHEDULES` says otherwise.
const SCHEDULES: u64 = 100;

/// Runs that shrinking a schedule may take.
const SHRINKS: usize = 400;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// Shrinks a schedule that breaks a rule, and tells it.
fn tell(seed: u64, outcome: &Outcome) -> String {
    eprintln!(
        "seed {seed} breaks a rule: {:#?}\nshrinking",
        outcome.violations
    );
    let breaks = |choices: &[u32]| {
        !run(Choices::given(choices.to_vec()), false)
            .violations
            .is_empty()
    };
    let small = shrink(outcome.choices.clone(), SHRINKS, breaks);
    let shrunk = run(Choices::given(small.clone()), true);
    format!(
        "seed {seed}: {:#?}\nshrunk to {small:?}: {:#?}\n{}",
        outcome.violations,
        shrunk.violations,
        shrunk.trace.join("\n")
    )
}

#[test]
fn no_schedule_breaks_a_rule() {
    let first = number("SIMULATION_SEED", 1);
    let count = number("SIMULATION_SCHEDULES", SCHEDULES);
    let begun = std::time::Instant::now();
    let (mut faults, mut states) = (BTreeMap::<&str, u64>::new(), BTreeSet::new());
    let mut requests = 0;
    for seed in first..first + count {
        let outcome = run(Choices::random(seed), false);
        assert!(outcome.violations.is_empty(), "{}", tell(seed, &outcome));
        for (fault, count) in outcome.faults {
            *faults.entry(fault).or_default() += count;
        }
        states.extend(outcome.states);
        requests += outcome.requests;
    }
    println!(
        "{count} schedules from seed {first}, {requests} requests, {:.1} s\nfaults: {faults:?}\n{} states: {states:?}",
        begun.elapsed().as_secs_f64(),
        states.len()
    );
}

/// For the one who looks for the cause: `SIMULATION_SEED` tells all that happens in one schedule.
#[test]
fn one_schedule_can_be_told() {
    let outcome = run(Choices::random(number("SIMULATION_SEED", 1)), true);
    println!("{}\n{:#?}", outcome.trace.join("\n"), outcome.violations);
    assert!(!outcome.trace.is_empty());
}

#[test]
fn the_same_choices_make_the_same_schedule() {
    for seed in 1..20 {
        let first = run(Choices::random(seed), true);
        let again = run(Choices::given(first.choices.clone()), true);
        for (index, (left, right)) in first.trace.iter().zip(&again.trace).enumerate() {
            assert_eq!(left, right, "seed {seed}, line {index}");
        }
        assert_eq!(first.choices, again.choices);
    }
}

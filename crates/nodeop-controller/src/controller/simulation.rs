//! Deterministic simulation: the controller's passes run against a model of the API server, with caches that lag, answers
//! that get lost, processes that die at any request, two that lead at once, clocks that jump, nodes that die and people who
//! interfere. A schedule is a list of choices; one that breaks a rule is shrunk, printed, and can be kept as a test.
//!
//! `SIMULATION_SCHEDULES` says how many, `SIMULATION_SEED` from which on, and `SIMULATION_KEEP` that what breaks a rule is to
//! be written to `simulation/kept`.

mod cluster;
mod history;
mod model;
mod process;
mod schedule;

use ::simulation::{Choices, Kept, Outcome, number, search, small, tell};
use schedule::run;

use crate::planted::Planted;

/// Schedules of one run, unless `SIMULATION_SCHEDULES` says otherwise: more than any planted mistake takes to be found, so
/// that none is found by a fault that was there without it.
const SCHEDULES: u64 = 300;
/// Schedules within which a planted mistake must be found.
const SCHEDULES_PER_MISTAKE: u64 = 2_000;

fn planted(mistake: Option<Planted>) -> impl Fn(Choices) -> Outcome {
    move |choices| {
        Planted::plant(mistake);
        let outcome = run(choices, false);
        Planted::plant(None);
        outcome
    }
}

#[test]
fn no_schedule_breaks_a_rule() {
    let first = number("SIMULATION_SEED", 1);
    let count = number("SIMULATION_SCHEDULES", SCHEDULES);
    let begun = std::time::Instant::now();
    let search = search(first, count, planted(None));
    let seconds = begun.elapsed().as_secs_f64();
    println!("from seed {first}, {seconds:.1} s: {search}");
    if let Some((seed, outcome)) = search.broken {
        if number("SIMULATION_KEEP", 0) > 0 {
            let small = run(small(&outcome, planted(None)), false);
            kept().keep(&format!("seed-{seed}"), &small);
        }
        let trace = |choices| run(choices, true);
        panic!("{}", tell(seed, &outcome, planted(None), trace));
    }
}

/// Each broke a rule once, by a fault that is mended.
#[test]
fn no_kept_schedule_breaks_a_rule() {
    let failures = kept().failures(&[], |choices, _| run(choices, false));
    assert!(failures.is_empty(), "{failures:#?}");
}

/// For the one who looks for the cause: `SIMULATION_SEED` tells all that happens in one schedule.
#[test]
fn one_schedule_can_be_told() {
    let outcome = run(Choices::random(number("SIMULATION_SEED", 1)), true);
    if std::env::var_os("SIMULATION_SEED").is_some() {
        println!("{}\n{:#?}", outcome.trace.join("\n"), outcome.violations);
    }
    assert!(!outcome.trace.is_empty());
}

#[test]
fn the_same_choices_make_the_same_schedule() {
    for seed in 1..10 {
        let first = run(Choices::random(seed).telling(), true);
        let again = run(Choices::given(first.choices.clone()), true);
        let kept = run(Choices::kept(&first.told.join("\n")), true);
        for (what, other) in [("given", again), ("kept", kept)] {
            for (index, (left, right)) in first.trace.iter().zip(&other.trace).enumerate() {
                assert_eq!(left, right, "seed {seed}, {what}, line {index}");
            }
            assert_eq!(first.trace.len(), other.trace.len(), "seed {seed}, {what}");
        }
    }
}

/// A rig that overlooks one of these would overlook the like of it: then the model or the rules lack something.
#[test]
fn every_planted_mistake_is_found() {
    let mut missed = Vec::new();
    for mistake in Planted::ALL {
        let first = number("SIMULATION_SEED", 1);
        let found = search(first, SCHEDULES_PER_MISTAKE, planted(Some(mistake)));
        let Some((seed, outcome)) = found.broken else {
            println!("{mistake:?}: missed in {} schedules", found.schedules);
            missed.push(mistake);
            continue;
        };
        let violation = outcome.violations.first().map_or("", String::as_str);
        let after = seed - first + 1;
        println!("{mistake:?}: found after {after} schedules: {violation}");
        if number("SIMULATION_KEEP", 0) > 0 {
            let run = planted(Some(mistake));
            let outcome = run(small(&outcome, &run));
            kept().keep(&format!("{mistake:?}"), &outcome);
        }
    }
    assert!(missed.is_empty(), "no schedule finds {missed:?}");
}

fn kept() -> Kept {
    Kept::of(env!("CARGO_MANIFEST_DIR"))
}

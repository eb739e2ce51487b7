//! Runs many schedules at once, and makes small what breaks a rule.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::choices::shrink;
use crate::{Choices, Outcome};

/// Runs that shrinking a schedule may take.
const SHRINKS: usize = 400;

/// What [`search`] came to.
#[derive(Debug, Default)]
pub struct Search {
    /// The first seed that breaks a rule.
    pub broken: Option<(u64, Outcome)>,
    /// Schedules that were run.
    pub schedules: u64,
    /// Requests that were made.
    pub requests: u64,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// States that were seen.
    pub states: BTreeSet<String>,
}

/// A number from the environment.
pub fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| {
        value.parse().expect("the variable holds a number")
    })
}

/// Runs the schedules of `count` seeds from `first` on, on all processors, until one breaks a rule.
pub fn search(first: u64, count: u64, run: impl Fn(Choices) -> Outcome + Sync) -> Search {
    let next = AtomicU64::new(first);
    let search = Mutex::new(Search::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    // Who has begun an earlier seed ends it, so that the first that breaks a rule is always the same.
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let outcome = run(Choices::random(seed));
                    if !outcome.violations.is_empty() {
                        next.fetch_max(first + count, Ordering::Relaxed);
                    }
                    let mut search = search.lock().unwrap_or_else(PoisonError::into_inner);
                    search.add(seed, outcome);
                }
            });
        }
    });
    search.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl Search {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.schedules += 1;
        self.requests += outcome.requests;
        for (fault, count) in &outcome.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        self.states.extend(outcome.states.iter().cloned());
        let earlier = self.broken.as_ref().is_none_or(|(known, _)| seed < *known);
        if earlier && !outcome.violations.is_empty() {
            self.broken = Some((seed, outcome));
        }
    }
}

impl fmt::Display for Search {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} schedules, {} requests\nfaults: {:?}\n{} states: {:?}",
            self.schedules,
            self.requests,
            self.faults,
            self.states.len(),
            self.states
        )
    }
}

/// The choices of a schedule that breaks a rule, made small.
pub fn small(outcome: &Outcome, run: impl Fn(Choices) -> Outcome) -> Choices {
    let breaks = |choices: &[u32]| !run(Choices::given(choices.to_vec())).violations.is_empty();
    Choices::given(shrink(outcome.choices.clone(), SHRINKS, breaks)).telling()
}

/// Shrinks a schedule that breaks a rule, and tells it. `trace` runs it and tells what happens.
pub fn tell(
    seed: u64,
    outcome: &Outcome,
    run: impl Fn(Choices) -> Outcome,
    trace: impl Fn(Choices) -> Outcome,
) -> String {
    eprintln!(
        "seed {seed} breaks a rule: {:#?}\nshrinking",
        outcome.violations
    );
    let shrunk = trace(small(outcome, run));
    format!(
        "seed {seed}: {:#?}\nshrunk: {:#?}\n{}\nto keep it, write this to simulation/kept/NAME.txt:\n{}",
        outcome.violations,
        shrunk.violations,
        shrunk.trace.join("\n"),
        shrunk.told.join("\n")
    )
}

#[test]
fn the_first_seed_that_breaks_a_rule_is_found_whoever_is_faster() {
    let broken = |mut choices: Choices| {
        let breaks = choices.draw("number", 50) == 7;
        Outcome {
            violations: if breaks {
                vec!["seven".to_owned()]
            } else {
                Vec::new()
            },
            choices: choices.taken().to_vec(),
            ..Outcome::default()
        }
    };
    let first = search(1, 1000, broken).broken.map(|(seed, _)| seed);
    let alone = (1..1000).find(|seed| !broken(Choices::random(*seed)).violations.is_empty());
    assert_eq!(first, alone);
    assert!(search(1, 3, |_| Outcome::default()).broken.is_none());
}

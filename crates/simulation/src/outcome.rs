//! What a schedule came to.

use std::collections::{BTreeMap, BTreeSet};

/// What one schedule came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Rules that were broken.
    pub violations: Vec<String>,
    /// All choices that were drawn.
    pub choices: Vec<u32>,
    /// The same in words, where the choices told it.
    pub told: Vec<String>,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// States that were seen.
    pub states: BTreeSet<String>,
    /// Requests that were made.
    pub requests: u64,
    /// What happened, in words, where that was asked for.
    pub trace: Vec<String>,
}

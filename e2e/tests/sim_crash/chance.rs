//! Random moments that can be had again: from the seed in `KAIROS_E2E_SEED`.

use std::time::Duration;

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// The seed of an ordinary run.
const SEED: u64 = 20_261_124;

/// A number that the environment may set.
pub(crate) fn from_environment<T: std::str::FromStr>(name: &str, otherwise: T) -> T {
    let given = std::env::var(name).ok();
    given
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

/// A sequence of moments.
pub(crate) struct Moments {
    /// What it follows from.
    pub(crate) seed: u64,
    runner: TestRunner,
}

impl Moments {
    /// The sequence of the environment's seed.
    pub(crate) fn new() -> Self {
        let seed = from_environment("KAIROS_E2E_SEED", SEED);
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let runner = TestRunner::new_with_rng(Config::default(), rng);
        Self { seed, runner }
    }

    /// The next one, before so many milliseconds have passed.
    pub(crate) fn next(&mut self, within: u64) -> Duration {
        let millis = (0..within).new_tree(&mut self.runner).unwrap().current();
        Duration::from_millis(millis)
    }
}

//! The choices of one schedule: random by seed, recorded, and replayed when they are given.

/// Draws small numbers. 0 always stands for what is plain: no fault, the first of several.
#[derive(Debug)]
pub(super) struct Choices {
    given: Vec<u32>,
    taken: Vec<u32>,
    random: Option<fastrand::Rng>,
}

impl Choices {
    /// Random ones, the same for the same seed.
    pub(super) fn random(seed: u64) -> Self {
        Self {
            given: Vec::new(),
            taken: Vec::new(),
            random: Some(fastrand::Rng::with_seed(seed)),
        }
    }

    /// Exactly these, and 0 when they are used up.
    pub(super) fn given(given: Vec<u32>) -> Self {
        Self {
            given,
            taken: Vec::new(),
            random: None,
        }
    }

    /// One of `0..below`.
    pub(super) fn draw(&mut self, below: u32) -> u32 {
        let next = match &mut self.random {
            Some(random) => random.u32(..),
            None => self.given.get(self.taken.len()).copied().unwrap_or(0),
        };
        let value = next % below.max(1);
        self.taken.push(value);
        value
    }

    /// One index of `length` things.
    pub(super) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.draw(u32::try_from(length).unwrap())).unwrap()
    }

    /// Yes, about once in `times`.
    pub(super) fn rarely(&mut self, times: u32) -> bool {
        self.draw(times) == times - 1
    }

    /// The index of one of `weights`, each as likely as it is heavy.
    pub(super) fn weighted(&mut self, weights: &[u32]) -> usize {
        let mut left = self.draw(weights.iter().sum());
        for (index, weight) in weights.iter().enumerate() {
            if left < *weight {
                return index;
            }
            left -= weight;
        }
        0
    }

    /// All that was drawn.
    pub(super) fn taken(&self) -> &[u32] {
        &self.taken
    }

    /// Whether nothing is left of what was given.
    pub(super) fn are_used_up(&self) -> bool {
        self.random.is_none() && self.taken.len() >= self.given.len()
    }
}

/// Makes `choices` smaller for as long as `fails` says that they still fail, within `tries` runs.
pub(super) fn shrink(
    mut choices: Vec<u32>,
    mut tries: usize,
    mut fails: impl FnMut(&[u32]) -> bool,
) -> Vec<u32> {
    let mut block = choices.len() / 2;
    while block > 0 && tries > 0 {
        let mut start = 0;
        while start < choices.len() && tries > 0 {
            let end = (start + block).min(choices.len());
            let mut without = choices.clone();
            without.drain(start..end);
            let mut plain = choices.clone();
            plain[start..end].fill(0);
            tries = tries.saturating_sub(2);
            if fails(&without) {
                choices = without;
            } else if plain != choices && fails(&plain) {
                choices = plain;
                start = end;
            } else {
                start = end;
            }
        }
        block /= 2;
    }
    while choices.last() == Some(&0) {
        choices.pop();
    }
    choices
}

#[test]
fn a_failing_schedule_shrinks_to_what_it_takes() {
    let choices: Vec<u32> = (0..100).collect();
    let small = shrink(choices, 2000, |choices| {
        choices.contains(&40) && choices.contains(&70)
    });
    assert_eq!(small, [40, 70]);
}

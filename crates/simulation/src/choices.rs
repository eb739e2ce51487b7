//! The choices of one schedule: random by seed, recorded, and replayed when they are given.

use std::collections::{BTreeMap, VecDeque};

/// Draws one of several. The first always stands for what is plain: no fault, the first of several.
#[derive(Debug)]
pub struct Choices {
    source: Source,
    taken: Vec<u32>,
    told: Option<Vec<String>>,
}

#[derive(Debug)]
enum Source {
    Random(Box<fastrand::Rng>),
    Given(Vec<u32>),
    /// What was chosen, in words, by what it was about.
    Kept(BTreeMap<String, VecDeque<String>>),
}

impl Choices {
    /// Random ones, the same for the same seed.
    pub fn random(seed: u64) -> Self {
        Self::of(Source::Random(Box::new(fastrand::Rng::with_seed(seed))))
    }

    /// Exactly these, and the first of each when they are used up.
    pub fn given(given: Vec<u32>) -> Self {
        Self::of(Source::Given(given))
    }

    /// Those that [`Self::told`] told. They name what was chosen, and what it was about, so they mean the same when there is
    /// more to choose from, or less: what is not among it any more becomes the first.
    pub fn kept(told: &str) -> Self {
        let mut kept = BTreeMap::<String, VecDeque<String>>::new();
        let lines = told.lines().filter_map(|line| line.split_once(": "));
        for (about, name) in lines {
            let queue = kept.entry(about.to_owned()).or_default();
            queue.push_back(name.to_owned());
        }
        Self::of(Source::Kept(kept))
    }

    fn of(source: Source) -> Self {
        Self {
            source,
            taken: Vec::new(),
            told: None,
        }
    }

    /// Remembers in words what is chosen.
    #[must_use]
    pub fn telling(mut self) -> Self {
        self.told = Some(Vec::new());
        self
    }

    /// The index of one of `weights`, each as likely as it is heavy. `name` says what each of them is.
    pub fn pick(&mut self, about: &str, weights: &[u32], name: impl Fn(usize) -> String) -> usize {
        let sum = weights.iter().sum::<u32>().max(1);
        let value = match &mut self.source {
            Source::Random(random) => random.u32(..sum),
            Source::Given(given) => given.get(self.taken.len()).copied().unwrap_or(0) % sum,
            Source::Kept(kept) => {
                let wanted = kept.get_mut(about).and_then(VecDeque::pop_front);
                let found = (0..weights.len())
                    .find(|index| weights[*index] > 0 && Some(name(*index)) == wanted);
                weights[..found.unwrap_or(0)].iter().sum()
            }
        };
        self.taken.push(value);
        let index = heavy(weights, value);
        if let Some(told) = &mut self.told {
            told.push(format!("{about}: {}", name(index)));
        }
        index
    }

    /// One of `0..below`.
    pub fn draw(&mut self, about: &str, below: u32) -> u32 {
        let value = match &mut self.source {
            Source::Random(random) => random.u32(..below.max(1)),
            Source::Given(given) => {
                given.get(self.taken.len()).copied().unwrap_or(0) % below.max(1)
            }
            Source::Kept(kept) => {
                let wanted = kept.get_mut(about).and_then(VecDeque::pop_front);
                let wanted = wanted.and_then(|wanted| wanted.parse::<u32>().ok());
                wanted.unwrap_or(0).min(below.saturating_sub(1))
            }
        };
        self.taken.push(value);
        if let Some(told) = &mut self.told {
            told.push(format!("{about}: {value}"));
        }
        value
    }

    /// One index of `length` things.
    pub fn index(&mut self, about: &str, length: usize) -> usize {
        usize::try_from(self.draw(about, u32::try_from(length).unwrap())).unwrap()
    }

    /// Yes, about once in `times`.
    pub fn rarely(&mut self, about: &str, times: u32) -> bool {
        let names = ["no", "yes"];
        self.pick(about, &[times - 1, 1], |index| names[index].to_owned()) == 1
    }

    /// All that was drawn.
    pub fn taken(&self) -> &[u32] {
        &self.taken
    }

    /// The same in words, where that was asked for.
    pub fn told(&self) -> &[String] {
        self.told.as_deref().unwrap_or_default()
    }

    /// Whether nothing is left of what was given. `about` is what every step begins with.
    pub fn are_used_up(&self, about: &str) -> bool {
        match &self.source {
            Source::Random(_) => false,
            Source::Given(given) => self.taken.len() >= given.len(),
            Source::Kept(kept) => kept.get(about).is_none_or(VecDeque::is_empty),
        }
    }
}

/// The index of the one of `weights` in whose share `value` lies.
fn heavy(weights: &[u32], value: u32) -> usize {
    let mut left = value;
    for (index, weight) in weights.iter().enumerate() {
        if left < *weight {
            return index;
        }
        left -= weight;
    }
    0
}

/// Makes `choices` smaller for as long as `fails` says that they still fail, within `tries` runs.
pub(crate) fn shrink(
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
    // The end of what is given ends the faults: that may be what it takes.
    let mut shorter = choices.clone();
    while shorter.last() == Some(&0) {
        shorter.pop();
    }
    if shorter != choices && fails(&shorter) {
        return shorter;
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

#[test]
fn what_shrinks_still_fails_when_its_length_matters() {
    let fails = |choices: &[u32]| choices.len() >= 50 && choices.contains(&40);
    let choices: Vec<u32> = (0..100).collect();
    assert!(fails(&shrink(choices, 2000, fails)));
}

#[test]
fn kept_choices_mean_the_same_when_there_is_more_to_choose_from() {
    let name = |names: &'static [&'static str]| move |index: usize| names[index].to_owned();
    let mut first = Choices::given(vec![1, 2]).telling();
    first.pick("fruit", &[1, 1], name(&["apple", "pear"]));
    first.draw("how many", 4);
    let mut again = Choices::kept(&first.told().join("\n"));
    assert!(!again.are_used_up("fruit"));
    again.draw("of which colour", 3);
    let names = name(&["apple", "plum", "pear"]);
    assert_eq!(again.pick("fruit", &[1, 5, 1], names), 2);
    assert_eq!(again.draw("how many", 9), 2);
    assert!(again.are_used_up("fruit"));
}

//! Schedules that once broke a rule, as they were told: files `NAME.txt` in one folder.

use std::path::PathBuf;

use crate::{Choices, Outcome};

/// The folder of one controller's kept schedules.
///
/// One that bears the name of a planted mistake must still find it. Any other broke a rule by a fault that is mended.
#[derive(Clone, Debug)]
pub struct Kept(PathBuf);

impl Kept {
    /// Below the sources of the crate whose `CARGO_MANIFEST_DIR` is `manifest`.
    pub fn of(manifest: &str) -> Self {
        let folder = "src/controller/simulation/kept";
        Self(PathBuf::from(manifest).join(folder))
    }

    /// Writes one.
    pub fn keep(&self, name: &str, outcome: &Outcome) {
        std::fs::create_dir_all(&self.0).expect("the folder can be made");
        let path = self.0.join(format!("{name}.txt"));
        std::fs::write(path, outcome.told.join("\n") + "\n").expect("the folder can be written");
    }

    /// What does not hold of them: each breaks no rule, and each of `mistakes` has one that finds it. `run` runs a schedule
    /// with that mistake planted.
    pub fn failures(
        &self,
        mistakes: &[&str],
        run: impl Fn(Choices, Option<&str>) -> Outcome,
    ) -> Vec<String> {
        let mut failures = Vec::new();
        let files = std::fs::read_dir(&self.0).expect("there are kept schedules");
        let mut names: Vec<String> = files
            .filter_map(|file| Some(file.ok()?.path().file_stem()?.to_str()?.to_owned()))
            .collect();
        names.sort();
        for name in &names {
            let told = std::fs::read_to_string(self.0.join(format!("{name}.txt")))
                .expect("a kept schedule can be read");
            let outcome = run(Choices::kept(&told), None);
            if !outcome.violations.is_empty() {
                failures.push(format!("{name} breaks a rule: {:?}", outcome.violations));
            }
            let planted = mistakes.contains(&name.as_str());
            if planted && run(Choices::kept(&told), Some(name)).violations.is_empty() {
                failures.push(format!("the schedule kept for {name} does not find it any more: have it found anew with SIMULATION_KEEP=1"));
            }
        }
        let missing = mistakes
            .iter()
            .filter(|mistake| !names.iter().any(|name| name == *mistake));
        failures.extend(missing.map(|mistake| format!("no schedule is kept for {mistake}")));
        failures
    }
}

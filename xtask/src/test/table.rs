//! The closing table of a test run.

use std::{fmt::Write, time::Duration};

use super::runner::Counts;

/// How a part ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its tests ran; whether they passed is in the counts.
    Ran,
    /// It could not run here, and that is no failure.
    NotRun(String),
    /// It failed as a whole, for this reason.
    Failed(String),
}

/// One line of the table.
#[derive(Debug)]
pub(super) struct Row {
    part: String,
    counts: Counts,
    elapsed: Option<Duration>,
    budget: Option<Duration>,
    pub(super) verdict: Verdict,
}

impl Row {
    pub(super) fn ran(
        part: &str,
        counts: Counts,
        elapsed: Duration,
        budget: Option<Duration>,
    ) -> Self {
        Self {
            part: part.to_owned(),
            counts,
            elapsed: Some(elapsed),
            budget,
            verdict: Verdict::Ran,
        }
    }

    pub(super) fn failed(part: &str, reason: &str) -> Self {
        let verdict = Verdict::Failed(reason.to_owned());
        Self {
            part: part.to_owned(),
            counts: Counts::default(),
            elapsed: None,
            budget: None,
            verdict,
        }
    }

    /// A part that this machine cannot run: a failure only when it was asked for by name.
    pub(super) fn not_run(part: &str, reason: &str, asked_for: bool) -> Self {
        let row = Self::failed(part, reason);
        if asked_for {
            row
        } else {
            Self {
                verdict: Verdict::NotRun(reason.to_owned()),
                ..row
            }
        }
    }

    pub(super) fn is_good(&self) -> bool {
        self.counts.failed == 0 && !matches!(self.verdict, Verdict::Failed(_))
    }

    /// The part's counts; a part that failed as a whole counts as one failure.
    fn counted(&self) -> Counts {
        match self.verdict {
            Verdict::Failed(_) if self.counts.failed == 0 => Counts {
                failed: 1,
                ..self.counts
            },
            _ => self.counts,
        }
    }

    fn remark(&self) -> String {
        match &self.verdict {
            Verdict::NotRun(reason) => format!("not run: {reason}"),
            Verdict::Failed(reason) => format!("failed: {reason}"),
            Verdict::Ran if self.is_over_budget() => {
                "more than 1.5 times its budget: mend it, or move it to `cargo xtask soak`"
                    .to_owned()
            }
            Verdict::Ran => String::new(),
        }
    }

    fn is_over_budget(&self) -> bool {
        match (self.elapsed, self.budget) {
            (Some(elapsed), Some(budget)) => elapsed > budget + budget / 2,
            _ => false,
        }
    }
}

/// The table, and the sum over all parts alone on the last line.
pub(super) fn render(rows: &[Row]) -> String {
    let mut text = String::from("\npart    passed  failed  seconds  budget\n");
    let mut sum = Counts::default();
    for row in rows {
        let counts = row.counted();
        sum += counts;
        let elapsed = row.elapsed.map_or_else(
            || "-".to_owned(),
            |time| format!("{:.1}", time.as_secs_f64()),
        );
        let budget = row
            .budget
            .map_or_else(|| "-".to_owned(), |time| time.as_secs().to_string());
        let line = format!(
            "{:<6}  {:>6}  {:>6}  {elapsed:>7}  {budget:>6}  {}",
            row.part,
            counts.passed,
            counts.failed,
            row.remark()
        );
        // Writing to a String cannot fail.
        writeln!(text, "{}", line.trim_end()).unwrap_or_default();
    }
    writeln!(text, "\n{} passed, {} failed", sum.passed, sum.failed).unwrap_or_default();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(seconds: u64, budget: u64) -> Row {
        let counts = Counts {
            passed: 3,
            failed: 0,
        };
        Row::ran(
            "unit",
            counts,
            Duration::from_secs(seconds),
            Some(Duration::from_secs(budget)),
        )
    }

    #[test]
    fn the_last_line_is_the_sum_alone() {
        let text = render(&[ran(1, 10), Row::failed("api", "no test ran")]);
        assert_eq!(text.lines().last(), Some("3 passed, 1 failed"));
        assert!(text.contains("failed: no test ran"), "{text}");
    }

    #[test]
    fn a_part_is_marked_from_one_and_a_half_times_its_budget() {
        assert!(!render(&[ran(15, 10)]).contains("1.5 times"));
        assert!(render(&[ran(16, 10)]).contains("1.5 times"));
        assert!(ran(16, 10).is_good());
    }

    #[test]
    fn a_part_that_cannot_run_fails_only_when_asked_for() {
        assert!(Row::not_run("nodes", "no root", false).is_good());
        assert!(!Row::not_run("nodes", "no root", true).is_good());
        let text = render(&[ran(1, 10), Row::not_run("nodes", "no root", false)]);
        assert!(
            text.contains("not run: no root") && text.ends_with("3 passed, 0 failed\n"),
            "{text}"
        );
    }
}

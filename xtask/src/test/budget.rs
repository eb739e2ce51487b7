//! The time budget of each part, read from the table in CONTRIBUTING.md: the one place where it stands.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, bail};

/// Reads the table whose header has the columns `part` and `budget`; budgets are whole seconds, written `60 s`.
pub(super) fn read(markdown: &str) -> anyhow::Result<BTreeMap<String, Duration>> {
    let mut lines = markdown.lines().map(cells);
    let columns = lines.by_ref().find_map(|cells| {
        let column = |name: &str| {
            cells
                .iter()
                .position(|cell| cell.eq_ignore_ascii_case(name))
        };
        Some((column("part")?, column("budget")?))
    });
    let Some((part, budget)) = columns else {
        bail!("found no table with the columns part and budget in CONTRIBUTING.md: put it back");
    };
    let mut budgets = BTreeMap::new();
    for cells in lines.skip(1).take_while(|cells| !cells.is_empty()) {
        let (Some(part), Some(budget)) = (cells.get(part), cells.get(budget)) else {
            continue;
        };
        let seconds = budget
            .strip_suffix('s')
            .map(str::trim)
            .and_then(|number| number.parse().ok());
        let seconds = seconds.with_context(|| {
            format!("failed to read the budget {budget:?} of the part {part} in CONTRIBUTING.md: write it as `60 s`")
        })?;
        budgets.insert((*part).to_owned(), Duration::from_secs(seconds));
    }
    Ok(budgets)
}

/// The cells of a row of a Markdown table; empty when the line is none.
fn cells(line: &str) -> Vec<&str> {
    let Some(row) = line.trim().strip_prefix('|') else {
        return Vec::new();
    };
    row.trim_end_matches('|')
        .split('|')
        .map(|cell| cell.trim().trim_matches('`'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::parts::Part;

    const TABLE: &str = "# How\n\n| Other | table |\n| --- | --- |\n| x | y |\n\n\
                         | part | shows | budget |\n| --- | --- | --- |\n| unit | rules | 30 s |\n| `api` | CEL | 90 s |\n\n\
                         | after | it |\n";

    #[test]
    fn budgets_come_from_the_table_with_those_columns() {
        let budgets = read(TABLE).unwrap();
        assert_eq!(budgets.len(), 2);
        assert_eq!(budgets["unit"], Duration::from_secs(30));
        assert_eq!(budgets["api"], Duration::from_secs(90));
    }

    #[test]
    fn a_budget_that_is_no_number_of_seconds_is_named() {
        let message = read(&TABLE.replace("90 s", "soon"))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("soon") && message.contains("api"),
            "{message}"
        );
    }

    #[test]
    fn a_page_without_the_table_is_an_error() {
        assert!(read("# How\n").is_err());
    }

    #[test]
    fn the_projects_own_table_has_every_part() {
        let page = include_str!("../../../CONTRIBUTING.md");
        let budgets = read(page).unwrap();
        for part in Part::DEFAULT.into_iter().chain([Part::Faults]) {
            assert!(
                budgets.contains_key(part.name()),
                "{} has no budget",
                part.name()
            );
        }
    }
}

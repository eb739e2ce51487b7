//! The tables and the JSON file.

mod machine;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::json;

use crate::figures::{Spread, exponent, number};
use crate::nodeop::Run;

/// A table of columns that fit their content.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let longest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        longest.max(header.get(column).map_or(0, |name| name.chars().count()))
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let mut text = String::new();
        for (cell, width) in cells.iter().zip(&widths) {
            // Writing to a String cannot fail.
            write!(text, "{cell:>width$}  ").unwrap_or_default();
        }
        text.trim_end().to_owned() + "\n"
    };
    let mut text = line(header.to_vec());
    for row in rows {
        text += &line(row.iter().map(String::as_str).collect());
    }
    text
}

/// The table of runs of NodeOps.
pub fn of_runs(runs: &[Run]) -> String {
    let header = [
        "nodes",
        "at once",
        "floor s",
        "seconds",
        "ratio",
        "requests/node",
        "events/node",
        "doubled",
        "CPU s",
        "peak MiB",
        "status KiB",
        "slot>Job ms",
        "floor ms",
        "Job>status ms",
    ];
    let rows: Vec<Vec<String>> = runs
        .iter()
        .map(|run| {
            vec![
                run.work.nodes.to_string(),
                match run.work.concurrency {
                    0 => "all".to_owned(),
                    limit => limit.to_string(),
                },
                format!("{:.1}", run.floor_seconds),
                format!("{:.1}", run.measured.seconds),
                format!("{:.2}", run.ratio),
                format!("{:.2}", run.measured.requests_per_node),
                format!(
                    "{:.2}",
                    number(run.measured.requests.events) / number(run.work.nodes)
                ),
                run.measured.doubled.to_string(),
                format!("{:.2}", run.measured.cpu_seconds),
                format!("{:.1}", run.measured.peak_mib),
                format!("{:.0}", number(run.measured.status_bytes) / 1024.0),
                spread(run.measured.slot_to_job),
                spread(run.floor_slot_to_job),
                spread(run.measured.job_to_status),
            ]
        })
        .collect();
    table(&header, &rows) + "(two times: p50 / p99)\n"
}

fn spread(spread: Option<Spread>) -> String {
    spread.map_or_else(
        || "-".to_owned(),
        |spread| format!("{:.0} / {:.0}", spread.p50, spread.p99),
    )
}

/// Requests for each node by verb and resource, one column for each run.
pub fn of_requests(runs: &[Run]) -> String {
    let mut kinds: Vec<&String> = runs
        .iter()
        .flat_map(|run| run.measured.requests.by_kind.keys())
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    let names: Vec<String> = runs
        .iter()
        .map(|run| match run.work.concurrency {
            0 => format!("{}/all", run.work.nodes),
            limit => format!("{}/{limit}", run.work.nodes),
        })
        .collect();
    let header: Vec<&str> = std::iter::once("requests of")
        .chain(names.iter().map(String::as_str))
        .collect();
    let rows: Vec<Vec<String>> = kinds
        .into_iter()
        .map(|kind| {
            let counts = runs.iter().map(|run| {
                let count = run
                    .measured
                    .requests
                    .by_kind
                    .get(kind)
                    .copied()
                    .unwrap_or_default();
                count.to_string()
            });
            std::iter::once(kind.clone()).chain(counts).collect()
        })
        .collect();
    table(&header, &rows)
}

/// Reads one figure of a run.
type Figure = fn(&Run) -> f64;

/// How the figures grow with the nodes, by concurrency; nothing where there is one size.
pub fn of_growth(runs: &[Run]) -> String {
    let mut limits: Vec<usize> = runs.iter().map(|run| run.work.concurrency).collect();
    limits.sort_unstable();
    limits.dedup();
    let mut text = String::new();
    for limit in limits {
        let figures: [(&str, Figure); 4] = [
            ("seconds", |run| run.measured.seconds),
            ("seconds of the floor", |run| run.floor_seconds),
            ("CPU seconds", |run| run.measured.cpu_seconds),
            ("requests", |run| number(run.measured.requests.total())),
        ];
        for (name, figure) in figures {
            let points: Vec<(f64, f64)> = runs
                .iter()
                .filter(|run| run.work.concurrency == limit)
                .map(|run| (number(run.work.nodes), figure(run)))
                .collect();
            if let Some(exponent) = exponent(&points) {
                let limit = match limit {
                    0 => "all".to_owned(),
                    limit => limit.to_string(),
                };
                // Writing to a String cannot fail.
                writeln!(
                    text,
                    "{name} ({limit} at once) grow with the nodes to the power of {exponent:.2}"
                )
                .unwrap_or_default();
            }
        }
    }
    text
}

/// Writes all figures, with the machine and the programs that they are of. Returns where.
pub fn write_json(
    given: Option<&Path>,
    command: &str,
    runs: &impl Serialize,
) -> anyhow::Result<PathBuf> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => default_folder()?.join(format!("bench-{command}.json")),
    };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let all = json!({
        "command": format!("cargo xtask bench {}", arguments.join(" ")),
        "machine": machine::describe(),
        "kubernetes": e2e::assets::KUBERNETES_VERSION,
        "build": if cfg!(debug_assertions) { "debug" } else { "release" },
        "runs": runs,
    });
    let text = serde_json::to_string_pretty(&all).context("failed to write the figures")?;
    fs::write(&path, text + "\n").with_context(|| format!("failed to write {}", path.display()))?;
    Ok(path)
}

/// The folder of the running program, in the build folder.
fn default_folder() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("failed to find the running program")?;
    let folder = own.parent().context("the running program has no folder")?;
    Ok(folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            vec!["1".to_owned(), "22".to_owned()],
            vec!["12345".to_owned(), "3".to_owned()],
        ];
        assert_eq!(
            table(&["a", "bbb"], &rows),
            "    a  bbb\n    1   22\n12345    3\n"
        );
    }
}

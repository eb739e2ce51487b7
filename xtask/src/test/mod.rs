//! `cargo xtask test`: runs the parts of the test suite, prints what the runner prints, and closes with one table and
//! the line `N passed, N failed`.

mod budget;
pub(crate) mod parts;
pub(crate) mod runner;
mod table;

use std::{
    fs,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::{agent, demo, deny, tidy, workspace::Workspace};

use parts::Part;
use runner::Counts;
use table::{Row, Verdict};

/// Run the tests: all of them with tidy and deny, or the parts that are named.
///
/// unit needs nothing; api and sim start an API server on loopback (built by Go once, then kept); nodes starts real
/// kubelets in namespaces of their own and needs root. CONTRIBUTING.md says what belongs where.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)] // One switch per part is what a command line looks like.
pub(crate) struct Arguments {
    /// Only what needs no API server.
    #[arg(long)]
    unit: bool,
    /// Only what needs an API server and no node.
    #[arg(long)]
    api: bool,
    /// Only what needs simulated nodes.
    #[arg(long)]
    sim: bool,
    /// Only what needs real nodes (root).
    #[arg(long)]
    nodes: bool,
    /// Only builds of OSArtifacts on a real node (root).
    #[arg(long)]
    artifact: bool,
    /// Only metrics, dashboards and alerts, with a real Prometheus.
    #[arg(long)]
    observe: bool,
    /// Only what the controllers cost in requests, on simulated nodes.
    #[arg(long)]
    bench: bool,
    /// Only the Helm chart and kustomize (an API server; helm and kubectl are built by Go once).
    #[arg(long)]
    chart: bool,
    /// Only simulated faults: thousands of schedules against a model of the API server, and planted mistakes.
    #[arg(long)]
    faults: bool,
    /// Build and use this Kubernetes instead of the pinned one, for example v1.33.5, or v1.33.x for the newest 1.33 (with --api or --sim).
    #[arg(long, value_name = "VERSION", value_parser = kubernetes_version)]
    kubernetes: Option<String>,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let named = named(arguments);
    ensure!(
        arguments.kubernetes.is_none() || (!named.is_empty() && !named.contains(&Part::Nodes)),
        "--kubernetes takes the place of the pinned version for --api and --sim only: name one of them"
    );
    let mut rows = Vec::new();
    if named.is_empty() {
        rows.push(tidy_row(workspace)?);
        rows.push(deny_row(workspace)?);
    }
    let selected = if named.is_empty() {
        Part::DEFAULT.to_vec()
    } else {
        named.clone()
    };
    let build = build_row(workspace, &selected)?;
    let builds = build.is_good();
    rows.push(build);
    if !builds {
        print!("{}", table::render(&rows));
        return Ok(ExitCode::FAILURE);
    }
    let environment = environment(workspace, arguments);
    let contributing = fs::read_to_string(workspace.root.join("CONTRIBUTING.md"))
        .context("failed to read CONTRIBUTING.md, which holds the time budgets")?;
    let budgets = budget::read(&contributing)?;
    for part in selected {
        if matches!(part, Part::Nodes | Part::Artifact)
            && let Some(reason) = demo::why_no_real_nodes(workspace)?
        {
            println!("{}: not run: {reason}", part.name());
            rows.push(Row::not_run(part.name(), &reason, named.contains(&part)));
            continue;
        }
        let budget = budgets.get(part.name()).copied();
        rows.push(part_row(workspace, part, budget, &environment)?);
    }
    print!("{}", table::render(&rows));
    Ok(if rows.iter().all(Row::is_good) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn named(arguments: &Arguments) -> Vec<Part> {
    let switches = [
        (arguments.unit, Part::Unit),
        (arguments.api, Part::Api),
        (arguments.sim, Part::Sim),
        (arguments.nodes, Part::Nodes),
        (arguments.artifact, Part::Artifact),
        (arguments.observe, Part::Observe),
        (arguments.bench, Part::Bench),
        (arguments.chart, Part::Chart),
        (arguments.faults, Part::Faults),
    ];
    switches
        .into_iter()
        .filter_map(|(on, part)| on.then_some(part))
        .collect()
}

/// What the tests read: where our programs are, and which Kubernetes is asked for.
fn environment(workspace: &Workspace, arguments: &Arguments) -> Vec<(&'static str, String)> {
    let mut environment = workspace.program_variables().to_vec();
    if let Some(version) = &arguments.kubernetes {
        environment.push(("KAIROS_E2E_KUBERNETES", version.clone()));
    }
    environment
}

fn tidy_row(workspace: &Workspace) -> anyhow::Result<Row> {
    let start = Instant::now();
    let outcome = tidy::check(workspace, false)?;
    let counts = Counts {
        passed: outcome.passed,
        failed: outcome.failed,
    };
    Ok(Row::ran("tidy", counts, start.elapsed(), None))
}

fn deny_row(workspace: &Workspace) -> anyhow::Result<Row> {
    let start = Instant::now();
    let passed = deny::check(workspace, false)?;
    let counts = Counts {
        passed: usize::from(passed),
        failed: usize::from(!passed),
    };
    Ok(Row::ran("deny", counts, start.elapsed(), None))
}

/// Builds before anything runs, so that the time of a part is not the compiler's. Unit tests alone do not wait for the
/// others, and do not fail when those do not compile.
fn build_row(workspace: &Workspace, selected: &[Part]) -> anyhow::Result<Row> {
    println!("building");
    let start = Instant::now();
    let build = |part| -> anyhow::Result<bool> {
        match parts::runs(workspace, part).first() {
            Some(selection) => runner::build_selection(workspace, selection),
            None => Ok(true),
        }
    };
    let mut is_good = match selected {
        [part @ (Part::Unit | Part::Faults)] => build(*part)?,
        _ => runner::build(workspace)?,
    };
    if is_good && selected.len() > 1 && selected.contains(&Part::Faults) {
        is_good = build(Part::Faults)?;
    }
    if is_good && selected.contains(&Part::Nodes) {
        agent::build(workspace)?;
    }
    if !is_good {
        return Ok(Row::failed(
            "build",
            "something does not compile; rustc says what above",
        ));
    }
    Ok(Row::ran("build", Counts::default(), start.elapsed(), None))
}

fn part_row(
    workspace: &Workspace,
    part: Part,
    budget: Option<Duration>,
    environment: &[(&'static str, String)],
) -> anyhow::Result<Row> {
    let runs = parts::runs(workspace, part);
    if runs.is_empty() {
        return Ok(Row::failed(part.name(), "no test target belongs to it"));
    }
    println!("{}: running", part.name());
    let mut environment = environment.to_vec();
    environment.extend(parts::variables(part));
    let start = Instant::now();
    let mut counts = Counts::default();
    for arguments in &runs {
        counts += runner::run(workspace, arguments, &environment)?;
    }
    let mut row = Row::ran(part.name(), counts, start.elapsed(), budget);
    if counts == Counts::default() {
        row.verdict = Verdict::Failed("no test ran".to_owned());
    }
    Ok(row)
}

/// Accepts `v1.MINOR`, `v1.MINOR.x` (its newest patch release) and `v1.MINOR.PATCH`.
fn kubernetes_version(text: &str) -> Result<String, String> {
    let is_number = |part: &str| part.parse::<u32>().is_ok();
    let parts: Vec<&str> = text.split('.').collect();
    match parts[..] {
        ["v1", minor] | ["v1", minor, "x"] if is_number(minor) => Ok(text.to_owned()),
        ["v1", minor, patch] if is_number(minor) && is_number(patch) => Ok(text.to_owned()),
        _ => Err("write it as v1.33.5, or v1.33.x for the newest of 1.33".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubernetes_version_is_a_patch_or_the_newest_of_a_minor() {
        for right in ["v1.33.5", "v1.33.x", "v1.33"] {
            assert!(kubernetes_version(right).is_ok(), "{right}");
        }
        for wrong in [
            "1.33.5",
            "v1",
            "v1.x",
            "v2.0.0",
            "v1.33.5.1",
            "v1.33.5-rc.0",
            "",
        ] {
            assert!(kubernetes_version(wrong).is_err(), "{wrong}");
        }
    }
}

//! Which test belongs to which part: by the name of the file it stands in.

use crate::{
    tidy::Finding,
    workspace::{Package, Workspace},
};

/// Options that select tests; always the whole workspace, so that all parts share one build of every dependency.
pub(crate) type Selection = Vec<String>;

/// A part of the test suite, from the cheapest to the dearest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// No API server: unit tests of every crate, integration tests outside e2e, documentation examples.
    Unit,
    /// An API server and no node: `e2e/tests/api_*.rs` and `cluster.rs`.
    Api,
    /// Simulated nodes: `e2e/tests/sim_*.rs`.
    Sim,
    /// Real nodes: `e2e/tests/node_*.rs`.
    Nodes,
    /// Builds on a real node: `e2e/tests/artifact_*.rs`.
    Artifact,
    /// Metrics, dashboards and alerts, with a real Prometheus: `e2e/tests/observe_*.rs`.
    Observe,
    /// What the controllers cost, in requests: `xtask/bench/tests/*.rs`.
    Bench,
    /// The Helm chart and kustomize, with helm, kubectl and an API server: `e2e/tests/chart_*.rs`.
    Chart,
    /// Simulated faults, thousands of schedules of them: the modules `simulation` of the controllers.
    Faults,
}

/// Optimises the controllers whose simulation runs.
const SIMULATION_CONFIG: &str = ".cargo/simulation.toml";
/// Schedules without a planted mistake.
const SIMULATION_SCHEDULES: &str = "20000";

impl Part {
    /// Without [`Self::Faults`], which builds the controllers once more: it runs when it is named, and every night.
    pub(crate) const DEFAULT: [Self; 8] = [
        Self::Unit,
        Self::Api,
        Self::Sim,
        Self::Nodes,
        Self::Artifact,
        Self::Observe,
        Self::Bench,
        Self::Chart,
    ];

    /// As in CONTRIBUTING.md and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Api => "api",
            Self::Sim => "sim",
            Self::Nodes => "nodes",
            Self::Artifact => "artifact",
            Self::Observe => "observe",
            Self::Bench => "bench",
            Self::Chart => "chart",
            Self::Faults => "faults",
        }
    }

    /// The part of a test file of a package; none when its name says none.
    fn of(package: &str, test: &str) -> Option<Self> {
        if package == "bench" {
            return Some(Self::Bench);
        }
        if package != "e2e" {
            return Some(Self::Unit);
        }
        let prefixes = [
            ("api_", Self::Api),
            ("sim_", Self::Sim),
            ("node_", Self::Nodes),
            ("artifact_", Self::Artifact),
            ("observe_", Self::Observe),
            ("chart_", Self::Chart),
        ];
        let by_prefix = prefixes
            .into_iter()
            .find(|(prefix, _)| test.starts_with(prefix))
            .map(|(_, part)| part);
        by_prefix.or_else(|| (test == "cluster").then_some(Self::Api))
    }
}

/// One selection per call of `cargo test` that the part needs; empty when no test belongs to it.
pub(crate) fn runs(workspace: &Workspace, part: Part) -> Vec<Selection> {
    let tests: Vec<&str> = integration_tests(&workspace.packages)
        .filter(|(package, test)| Part::of(package, test) == Some(part))
        .map(|(_, test)| test)
        .collect();
    if part == Part::Faults {
        let tests = [
            "--lib",
            "--",
            "simulation::",
            "--nocapture",
            "--test-threads=1",
        ];
        let selection = ["--config", SIMULATION_CONFIG].into_iter().chain(tests);
        return vec![selection.map(str::to_owned).collect()];
    }
    let mut selection: Selection = tests
        .iter()
        .flat_map(|test| ["--test".to_owned(), (*test).to_owned()])
        .collect();
    if part == Part::Unit {
        selection.extend(["--lib", "--bins"].map(str::to_owned));
        return vec![selection, vec!["--doc".to_owned()]];
    }
    if selection.is_empty() {
        Vec::new()
    } else {
        vec![selection]
    }
}

/// What the tests of a part read besides what all of them read.
pub(super) fn variables(part: Part) -> Option<(&'static str, String)> {
    (part == Part::Faults).then(|| ("SIMULATION_SCHEDULES", SIMULATION_SCHEDULES.to_owned()))
}

/// Test files of e2e whose name says no part: no run would include them.
pub(crate) fn misnamed(workspace: &Workspace) -> Vec<Finding> {
    integration_tests(&workspace.packages)
        .filter(|(package, test)| Part::of(package, test).is_none())
        .map(|(package, test)| {
            Finding::error(
                format!("{package}/tests/{test}.rs"),
                "belongs to no part of the tests, so nothing runs it",
                "start its name with api_, sim_, node_, artifact_, observe_ or chart_",
            )
        })
        .collect()
}

/// Package and name of each integration test.
fn integration_tests(packages: &[Package]) -> impl Iterator<Item = (&str, &str)> {
    packages.iter().flat_map(|package| {
        package
            .integration_tests()
            .map(|test| (&*package.name, test))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_test_file_says_its_part() {
        assert_eq!(Part::of("e2e", "api_nodeop"), Some(Part::Api));
        assert_eq!(Part::of("e2e", "cluster"), Some(Part::Api));
        assert_eq!(Part::of("e2e", "sim_crash"), Some(Part::Sim));
        assert_eq!(Part::of("e2e", "node_reboot"), Some(Part::Nodes));
        assert_eq!(Part::of("e2e", "artifact_build"), Some(Part::Artifact));
        assert_eq!(Part::of("e2e", "observe_controllers"), Some(Part::Observe));
        assert_eq!(Part::of("e2e", "chart_template"), Some(Part::Chart));
        assert_eq!(Part::of("bench", "small"), Some(Part::Bench));
        assert_eq!(Part::of("e2e", "apiary"), None);
        assert_eq!(Part::of("api-types", "schema"), Some(Part::Unit));
    }
}

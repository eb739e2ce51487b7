//! Who may depend on whom: the layers of ARCHITECTURE.md, read from `cargo metadata`.

use crate::workspace::Workspace;

use super::Finding;

/// Crates that every controller stands on; they stand on no crate of this workspace.
const FOUNDATION: [&str; 2] = ["api-types", "operator-runtime"];
/// The crate that only tests of controllers use; it stands on no crate of this workspace either.
const SIMULATION: &str = "simulation";

/// A package below `crates/` and the packages of this workspace that its Cargo.toml names, in any section.
#[derive(Debug)]
pub(super) struct Layer {
    name: String,
    /// Relative to the root.
    manifest: String,
    depends_on: Vec<String>,
}

pub(super) fn layers(workspace: &Workspace) -> Vec<Layer> {
    let packages = workspace.packages.iter().map(|package| Layer {
        name: package.name.clone(),
        manifest: workspace.relative(&package.manifest_path),
        depends_on: package
            .dependencies
            .iter()
            .filter(|dependency| dependency.path.is_some())
            .filter(|dependency| dependency.name != SIMULATION || !dependency.is_for_tests())
            .map(|dependency| dependency.name.clone())
            .collect(),
    });
    packages
        .filter(|layer| layer.manifest.starts_with("crates/"))
        .collect()
}

pub(super) fn check(layers: &[Layer]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for layer in layers {
        let is_foundation = layer.name == SIMULATION || FOUNDATION.contains(&&*layer.name);
        for dependency in &layer.depends_on {
            if !is_foundation && FOUNDATION.contains(&&**dependency) {
                continue;
            }
            let remedy = if is_foundation {
                "move what it needs into this crate, or the code that needs it out of it"
            } else {
                "controllers meet only in the Kubernetes API: move shared code to operator-runtime or api-types"
            };
            findings.push(Finding::error(
                &layer.manifest,
                format!("{} must not depend on {dependency}", layer.name),
                remedy,
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(name: &str, depends_on: &[&str]) -> Layer {
        Layer {
            name: name.into(),
            manifest: format!("crates/{name}/Cargo.toml"),
            depends_on: depends_on.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn controllers_on_the_foundation_are_fine() {
        let layers = [
            layer("api-types", &[]),
            layer("carrot-controller", &["api-types", "operator-runtime"]),
        ];
        assert_eq!(check(&layers), []);
    }

    #[test]
    fn the_foundation_depends_on_no_workspace_crate() {
        let findings = check(&[layer("operator-runtime", &["api-types"])]);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].place, "crates/operator-runtime/Cargo.toml");
        assert!(
            findings[0]
                .what
                .contains("operator-runtime must not depend on api-types")
        );
    }

    #[test]
    fn no_controller_depends_on_another_or_on_the_tests() {
        let findings = check(&[layer(
            "carrot-controller",
            &["api-types", "turnip-controller", "e2e"],
        )]);
        let named: Vec<_> = findings.iter().map(|finding| &*finding.what).collect();
        assert_eq!(
            named,
            [
                "carrot-controller must not depend on turnip-controller",
                "carrot-controller must not depend on e2e"
            ]
        );
    }
}

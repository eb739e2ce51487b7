//! What is in the image of each controller, and what it says of itself: all from `cargo metadata`.

use std::collections::BTreeMap;

use crate::workspace::{Package, Workspace};

/// One image: that of a package below `crates/` that has a binary of its own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contents {
    /// Of the package and the image.
    pub(super) name: String,
    /// The binaries of the package; the one of its own name comes first, and is what a container starts.
    pub(super) programs: Vec<String>,
    pub(super) version: String,
    pub(super) description: String,
    pub(super) license: String,
    pub(super) repository: Option<String>,
}

/// The images of a workspace.
pub(super) fn of(workspace: &Workspace) -> Vec<Contents> {
    workspace
        .packages
        .iter()
        .filter(|package| {
            workspace
                .relative(&package.manifest_path)
                .starts_with("crates/")
        })
        .filter_map(contents)
        .collect()
}

fn contents(package: &Package) -> Option<Contents> {
    let mut programs: Vec<String> = package.binaries().map(str::to_owned).collect();
    if !programs.contains(&package.name) {
        return None;
    }
    programs.sort_by_key(|program| (*program != package.name, program.clone()));
    Some(Contents {
        name: package.name.clone(),
        programs,
        version: package.version.clone(),
        description: package.description.clone().unwrap_or_default(),
        license: package.license.clone().unwrap_or_default(),
        repository: package.repository.clone(),
    })
}

impl Contents {
    /// Labels as the OCI image specification names them. Without a known place of the source there is no label for it.
    pub(super) fn labels(&self, revision: &str, source: Option<&str>) -> BTreeMap<String, String> {
        let source = source.or(self.repository.as_deref());
        let labels = [
            ("title", Some(&*self.name)),
            ("description", Some(&*self.description)),
            ("version", Some(&*self.version)),
            ("licenses", Some(&*self.license)),
            ("revision", Some(revision)),
            ("source", source),
        ];
        labels
            .into_iter()
            .filter_map(|(key, value)| {
                Some((format!("org.opencontainers.image.{key}"), value?.to_owned()))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_controller_of_this_workspace_has_an_image_and_its_own_binary_is_started() {
        let workspace = Workspace::load().unwrap();
        let images: Vec<(String, Vec<String>)> = of(&workspace)
            .into_iter()
            .map(|contents| (contents.name, contents.programs))
            .collect();
        let expected = [
            (
                "artifact-controller",
                vec!["artifact-controller", "artifact-worker"],
            ),
            (
                "node-labeller",
                vec!["node-labeller", "node-labeller-detect"],
            ),
            ("nodeop-controller", vec!["nodeop-controller", "node-agent"]),
            ("upgrade-controller", vec!["upgrade-controller"]),
        ];
        let expected = expected.map(|(name, programs)| {
            let programs = programs.into_iter().map(str::to_owned).collect();
            (name.to_owned(), programs)
        });
        assert_eq!(images, expected);
    }

    #[test]
    fn the_source_is_told_when_it_is_known() {
        let contents = of(&Workspace::load().unwrap()).remove(0);
        let labels = contents.labels("abc", Some("https://example.com/repository"));
        for key in [
            "title",
            "description",
            "version",
            "licenses",
            "revision",
            "source",
        ] {
            let value = &labels[&format!("org.opencontainers.image.{key}")];
            assert!(!value.is_empty(), "{key}");
        }
        let unknown = Contents {
            repository: None,
            ..contents
        };
        assert_eq!(unknown.labels("abc", None).len(), labels.len() - 1);
    }
}

//! What an image is made of, as CycloneDX 1.5 JSON: the crates from `cargo metadata`, and what is linked beside them.
//!
//! Written by hand because the library of cargo-cyclonedx brings XML, UUIDs and times that are of no use here, and would
//! have to be told to leave out what differs from run to run.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::workspace::Workspace;

use super::programs::target;

/// What `cargo metadata` says of all packages.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    repository: Option<String>,
    /// Set for a package of a registry.
    source: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Debug, Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Debug, Deserialize)]
struct Kind {
    /// `dev` or `build`; none for what is linked.
    kind: Option<String>,
}

/// The bills of materials of all images.
pub(super) struct Bills {
    packages: BTreeMap<String, Package>,
    /// What each package links.
    links: BTreeMap<String, Vec<String>>,
    /// The versions of the Rust compiler's library and of the C library.
    libraries: [(&'static str, String, &'static str); 2],
}

impl Bills {
    /// Asks cargo, the compiler and the C library.
    pub(super) fn load(workspace: &Workspace) -> anyhow::Result<Self> {
        let arguments = ["metadata", "--format-version", "1", "--locked"];
        let output = workspace
            .cargo(arguments)
            .args(["--filter-platform", &target()])
            .stderr(Stdio::inherit())
            .output()
            .context("failed to start `cargo metadata`")?;
        ensure!(
            output.status.success(),
            "`cargo metadata` failed: what it says above has to be mended first"
        );
        let metadata = serde_json::from_slice(&output.stdout)
            .context("failed to read the answer of `cargo metadata`")?;
        let rust = first_number(Command::new("rustc").arg("--version"))?;
        let c = first_number(Command::new("getconf").arg("GNU_LIBC_VERSION"))?;
        Ok(Self::new(metadata, rust, c))
    }

    fn new(metadata: Metadata, rust: String, c: String) -> Self {
        let linked = |edge: &Edge| edge.dep_kinds.iter().any(|kind| kind.kind.is_none());
        let links = metadata.resolve.nodes.into_iter().map(|node| {
            let linked = node.deps.into_iter().filter(linked).map(|edge| edge.pkg);
            (node.id, linked.collect())
        });
        let packages = metadata.packages.into_iter();
        Self {
            packages: packages
                .map(|package| (package.id.clone(), package))
                .collect(),
            links: links.collect(),
            libraries: [
                ("rust-std", rust, "Apache-2.0 OR MIT"),
                ("glibc", c, "LGPL-2.1-or-later"),
            ],
        }
    }

    /// The bill of the image of a package, as text. It holds no time and no random number, so it is the same in every run.
    pub(super) fn of(&self, name: &str) -> anyhow::Result<String> {
        let own = |package: &&Package| package.name == name && package.source.is_none();
        let Some(root) = self.packages.values().find(own) else {
            bail!("failed to list what {name} is made of: `cargo metadata` knows no such package")
        };
        let mut linked = BTreeSet::new();
        let mut waiting = vec![&root.id];
        while let Some(id) = waiting.pop() {
            if linked.insert(id) {
                waiting.extend(self.links.get(id).into_iter().flatten());
            }
        }
        let mut components = Vec::new();
        let mut dependencies = Vec::new();
        for package in linked.iter().filter_map(|id| self.packages.get(*id)) {
            let needs: Vec<String> = self
                .links
                .get(&package.id)
                .into_iter()
                .flatten()
                .filter_map(|id| self.packages.get(id).map(reference))
                .collect();
            dependencies.push(json!({"ref": reference(package), "dependsOn": needs}));
            if package.id != root.id {
                components.push(component(package, "library"));
            }
        }
        for (name, version, license) in &self.libraries {
            components.push(json!({
                "type": "library", "name": name, "version": version, "bom-ref": format!("{name}@{version}"),
                "licenses": [{"expression": license}],
            }));
        }
        let bill = json!({
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "version": 1,
            "metadata": {"component": component(root, "application")},
            "components": components,
            "dependencies": dependencies,
        });
        let mut text = serde_json::to_string_pretty(&bill)?;
        text.push('\n');
        Ok(text)
    }
}

fn component(package: &Package, kind: &str) -> Value {
    let mut component = json!({
        "type": kind,
        "name": package.name,
        "version": package.version,
        "bom-ref": reference(package),
    });
    if package.source.is_some() {
        component["purl"] = json!(reference(package));
    }
    if let Some(license) = &package.license {
        // Old crates write a slash where the expression has an OR.
        component["licenses"] = json!([{"expression": license.replace('/', " OR ")}]);
    }
    if let Some(repository) = &package.repository {
        component["externalReferences"] = json!([{"type": "vcs", "url": repository}]);
    }
    component
}

/// What the bill calls a package, everywhere the same.
fn reference(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}

/// The first word of a program's answer that begins with a digit.
fn first_number(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().display().to_string();
    let failed = || format!("failed to ask {name} for a version");
    let output = command.output().with_context(failed)?;
    let text = String::from_utf8(output.stdout).with_context(failed)?;
    text.split_whitespace()
        .find(|word| word.starts_with(|first: char| first.is_ascii_digit()))
        .map(str::to_owned)
        .with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that links a library, which is built with a tool and tested with another.
    fn bills() -> Bills {
        let package = |name: &str, source: Option<&str>| json!({"id": name, "name": name, "version": "1.0.0", "license": "MIT/Apache-2.0", "repository": null, "source": source});
        let edge =
            |name: &str, kind: Option<&str>| json!({"pkg": name, "dep_kinds": [{"kind": kind}]});
        let metadata = json!({
            "packages": [
                package("carrot", None), package("soil", Some("registry")),
                package("spade", Some("registry")), package("scale", Some("registry")),
            ],
            "resolve": {"nodes": [
                {"id": "carrot", "deps": [edge("soil", None), edge("scale", Some("dev"))]},
                {"id": "soil", "deps": [edge("spade", Some("build"))]},
                {"id": "spade", "deps": []}, {"id": "scale", "deps": []},
            ]},
        });
        let metadata = serde_json::from_value(metadata).unwrap();
        Bills::new(metadata, "1.95.0".into(), "2.36".into())
    }

    #[test]
    fn a_bill_lists_what_is_linked_and_nothing_else() {
        let bill: Value = serde_json::from_str(&bills().of("carrot").unwrap()).unwrap();
        let names: Vec<&str> = bill["components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|component| component["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["soil", "rust-std", "glibc"]);
        let soil = &bill["components"][0];
        assert_eq!(soil["purl"], "pkg:cargo/soil@1.0.0");
        assert_eq!(soil["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(bill["metadata"]["component"]["name"], "carrot");
        assert_eq!(
            bill["dependencies"][0],
            json!({"ref": "pkg:cargo/carrot@1.0.0", "dependsOn": ["pkg:cargo/soil@1.0.0"]})
        );
    }

    #[test]
    fn the_bill_of_a_controller_names_what_it_stands_on() {
        let bills = Bills::load(&Workspace::load().unwrap()).unwrap();
        let bill: Value = serde_json::from_str(&bills.of("upgrade-controller").unwrap()).unwrap();
        let components = bill["components"].as_array().unwrap();
        let find = |name: &str| components.iter().find(|known| known["name"] == name);
        for name in ["api-types", "kube-client", "rustls", "rust-std", "glibc"] {
            assert!(find(name).is_some(), "{name}");
        }
        assert!(find("proptest").is_none(), "it is only tested with it");
        let unlicensed = components.iter().find(|known| known["licenses"].is_null());
        assert_eq!(unlicensed, None);
    }

    #[test]
    fn an_unknown_package_has_no_bill() {
        assert!(bills().of("leek").unwrap_err().to_string().contains("leek"));
    }
}

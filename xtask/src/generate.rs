//! `cargo xtask generate`: everything in the repository that is made from code, as one list of paths and contents.
//! Writing and checking walk the same list, so a file that is written is also checked.

use std::{collections::BTreeSet, fs, process::ExitCode};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::workspace::Workspace;

mod chart;
mod dashboards;
#[cfg(test)]
mod expressions;
mod metrics;
mod reference;
mod values;

/// The CRDs for kustomize.
const CRDS: &str = "deploy/crds";
const DASHBOARDS: &str = "charts/kairos-operator/dashboards";
const REFERENCE: &str = "docs/reference";
/// Folders that hold generated files only; anything else found in them is stale.
const GENERATED_FOLDERS: [&str; 3] = [chart::CRDS, DASHBOARDS, REFERENCE];
/// Largest file of a custom resource definition, in bytes: client-side `kubectl apply` keeps a copy of the object in an
/// annotation (as compact JSON, about half of the file), and annotations end at 256 KiB.
const LARGEST_CRD: usize = 200 * 1024;

/// Write the files that are made: the CRDs, the chart's README and dashboards, the kustomize components that the chart renders
/// to, the reference pages and the list of metrics.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Write nothing; fail when a file is not what would be written.
    #[arg(long)]
    check: bool,
}

/// A file that is made from code.
#[derive(Debug)]
pub(crate) struct Generated {
    /// Relative to the root of the workspace.
    pub(crate) path: String,
    pub(crate) content: String,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut files = files(workspace)?;
    files.extend(chart::components(workspace)?);
    let stale = differing(workspace, &files)?;
    if arguments.check {
        for path in &stale {
            println!(
                "{path}: is not what the code makes; run `cargo xtask generate` and commit the result"
            );
        }
        return Ok(if stale.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    for path in &stale {
        let absolute = workspace.root.join(path);
        if let Some(file) = files.iter().find(|file| file.path == *path) {
            if let Some(folder) = absolute.parent() {
                fs::create_dir_all(folder)
                    .with_context(|| format!("failed to create {}", folder.display()))?;
            }
            fs::write(&absolute, &file.content)
                .with_context(|| format!("failed to write {path}"))?;
            println!("wrote {path}");
        } else {
            fs::remove_file(&absolute)
                .with_context(|| format!("failed to remove {path}, which nothing makes"))?;
            println!("removed {path}");
        }
    }
    println!("{} files are fresh", files.len());
    Ok(ExitCode::SUCCESS)
}

/// Paths that differ from what the code makes: missing, changed, or left over in a generated folder. What needs helm is
/// not among them: `cargo xtask test --chart` looks at that.
pub(crate) fn stale(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    differing(workspace, &files(workspace)?)
}

fn differing(workspace: &Workspace, files: &[Generated]) -> anyhow::Result<Vec<String>> {
    let mut stale: BTreeSet<String> = files
        .iter()
        .filter(|file| {
            fs::read_to_string(workspace.root.join(&file.path))
                .ok()
                .as_ref()
                != Some(&file.content)
        })
        .map(|file| file.path.clone())
        .collect();
    // A folder that holds a generated file holds nothing else.
    let folders: BTreeSet<&str> = files
        .iter()
        .filter_map(|file| Some(file.path.rsplit_once('/')?.0))
        .filter(|folder| folder.starts_with("deploy/") || GENERATED_FOLDERS.contains(folder))
        .collect();
    for folder in folders {
        let Ok(entries) = fs::read_dir(workspace.root.join(folder)) else {
            continue;
        };
        for entry in entries {
            let path = format!("{folder}/{}", entry?.file_name().display());
            if !files.iter().any(|file| file.path == path) {
                stale.insert(path);
            }
        }
    }
    Ok(stale.into_iter().collect())
}

/// Every file that is made by this program alone, with its content.
fn files(workspace: &Workspace) -> anyhow::Result<Vec<Generated>> {
    let mut files = crds()?;
    files.push(chart::readme(workspace)?);
    for (name, source) in dashboards::SOURCES {
        files.push(Generated {
            path: format!("{DASHBOARDS}/{name}.json"),
            content: dashboards::json(name, source)?,
        });
    }
    for crd in definitions()? {
        let name = crd["spec"]["names"]["singular"]
            .as_str()
            .context("a custom resource definition has no singular name")?;
        files.push(Generated {
            path: format!("{REFERENCE}/{name}.md"),
            content: reference::page(&crd)?,
        });
    }
    files.push(Generated {
        path: "docs/metrics.md".to_owned(),
        content: metrics::page()?,
    });
    Ok(files)
}

fn definitions() -> anyhow::Result<Vec<Value>> {
    let all = api_types::crds::all();
    let all: Result<Vec<Value>, _> = all.iter().map(serde_json::to_value).collect();
    all.context("failed to serialise a custom resource definition")
}

/// The CRDs with their kustomization, and the chart's copies of them.
fn crds() -> anyhow::Result<Vec<Generated>> {
    let mut files = Vec::new();
    let mut copies = Vec::new();
    for value in definitions()? {
        files.push(crd_file(CRDS, &value)?);
        copies.push(crd_file(chart::CRDS, &chart::crd(&value)?)?);
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    let names: Vec<&str> = files
        .iter()
        .filter_map(|file| file.path.rsplit('/').next())
        .collect();
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": names,
    });
    files.push(Generated {
        path: format!("{CRDS}/kustomization.yaml"),
        content: yaml(&kustomization)?,
    });
    files.extend(copies);
    Ok(files)
}

fn crd_file(folder: &str, crd: &Value) -> anyhow::Result<Generated> {
    let name = crd["metadata"]["name"]
        .as_str()
        .context("a custom resource definition has no name")?;
    let content = yaml(crd)?;
    let size = content.len();
    ensure!(
        size <= LARGEST_CRD,
        "the custom resource definition {name} has {size} bytes, more than {LARGEST_CRD}: shorten its descriptions"
    );
    let path = format!("{folder}/{name}.yaml");
    Ok(Generated { path, content })
}

/// YAML that readers of version 1.1 (kubectl) and 1.2 read alike, with a first line that says where it comes from.
fn yaml(value: &Value) -> anyhow::Result<String> {
    let options = serde_saphyr::ser_options! {
        // A Pod template is nested so deep that half of a definition would be spaces.
        indent_step: 1,
        prefer_block_scalars: false,
    };
    let body =
        serde_saphyr::to_string_with_options(value, options).context("failed to write YAML")?;
    Ok(format!(
        "# Made by `cargo xtask generate`; edits here are lost.\n{}\n",
        body.trim_end()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_quotes_words_that_a_yaml_1_1_reader_takes_for_booleans() {
        let text = yaml(&json!({"y": "on", "text": "a: b"})).unwrap();
        assert!(text.contains("\"on\"") || text.contains("'on'"), "{text}");
        assert!(
            text.contains("\"a: b\"") || text.contains("'a: b'"),
            "{text}"
        );
    }

    #[test]
    fn a_definition_over_the_limit_is_refused_with_its_name_and_size() {
        let crd = json!({"metadata": {"name": "wide"}, "spec": "x".repeat(LARGEST_CRD)});
        let message = crd_file(CRDS, &crd).unwrap_err().to_string();
        assert!(
            message.contains("wide") && message.contains("shorten"),
            "{message}"
        );
    }

    #[test]
    fn the_generated_files_are_fresh() {
        assert_eq!(
            stale(&Workspace::load().unwrap()).unwrap(),
            Vec::<String>::new(),
            "run `cargo xtask generate`"
        );
    }

    #[test]
    fn every_generated_file_is_named_in_the_kustomization() {
        let files = crds().unwrap();
        let kustomization = files
            .iter()
            .find(|file| file.path.ends_with("kustomization.yaml"))
            .unwrap();
        assert!(files.len() >= 2);
        for file in files
            .iter()
            .filter(|file| !file.path.ends_with("kustomization.yaml"))
        {
            let name = file.path.rsplit('/').next().unwrap();
            assert!(
                kustomization.content.contains(&format!("- {name}")),
                "{name} is missing"
            );
        }
    }
}

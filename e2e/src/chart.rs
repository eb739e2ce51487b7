//! The Helm chart: what it renders, and the kustomize components of `deploy`, which are made of that.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::assets::{self, Tool};
use crate::operator::NAMESPACE;

/// The controllers: key in the chart's values, and folder below `deploy`.
pub const CONTROLLERS: [(&str, &str); 4] = [
    ("nodeop", "nodeop-controller"),
    ("upgrade", "upgrade-controller"),
    ("artifact", "artifact-controller"),
    ("labeller", "node-labeller"),
];

/// What stands before the documents of one template in the output of `helm template`.
const SOURCE: &str = "# Source: kairos-operator/templates/";

/// Folder of the chart.
pub fn folder() -> PathBuf {
    root().join("charts/kairos-operator")
}

/// Root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The helm program, built first when it is not there yet, with folders of its own below `home` instead of the user's.
pub fn helm(home: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(assets::tool(Tool::Helm)?);
    for (name, folder) in [
        ("HELM_CACHE_HOME", "cache"),
        ("HELM_CONFIG_HOME", "config"),
        ("HELM_DATA_HOME", "data"),
    ] {
        command.env(name, home.join(folder));
    }
    command
        .env_remove("HELM_NAMESPACE")
        .env_remove("KUBECONFIG");
    Ok(command)
}

/// What `helm template` prints for the chart with these arguments more. A refusal is the error.
pub fn template(arguments: &[&str]) -> anyhow::Result<String> {
    let home = tempfile::tempdir().context("failed to create a folder for helm")?;
    let output = helm(home.path())?
        .args(["template", "kairos-operator"])
        .arg(folder())
        .args(["--namespace", NAMESPACE])
        .args(arguments)
        .output()
        .context("failed to start helm")?;
    if !output.status.success() {
        bail!(
            "failed to render the chart: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).context("the rendered chart is not UTF-8")
}

/// Every file of the kustomize components: path from the root of the repository, and content.
pub fn components() -> anyhow::Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for (key, component) in CONTROLLERS {
        let switches = only(key);
        let mut arguments: Vec<&str> = switches.iter().map(String::as_str).collect();
        arguments.push("--set=crds.install=false");
        let by_template = split(&template(&arguments)?)?;
        let names: Vec<&str> = by_template.keys().map(String::as_str).collect();
        let resources = names.join("\n- ");
        files.insert(
            format!("deploy/{component}/kustomization.yaml"),
            format!(
                "{}# Everything that belongs to the {component}; takes part in deploy/default. Your image: \
                 `kustomize edit set image\n# {component}=REGISTRY/{component}:TAG`.\n\
                 apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources:\n- {resources}\n",
                header()
            ),
        );
        for (name, documents) in by_template {
            files.insert(
                format!("deploy/{component}/{name}"),
                format!("{}{}", header(), documents.join("---\n")),
            );
        }
    }
    Ok(files)
}

/// The switches that leave only one controller on.
pub fn only(key: &str) -> Vec<String> {
    let others = CONTROLLERS.iter().filter(|(other, _)| *other != key);
    others
        .map(|(other, _)| format!("--set={other}.enabled=false"))
        .collect()
}

fn header() -> &'static str {
    "# Made from charts/kairos-operator by `cargo xtask generate`; edits here are lost.\n"
}

/// The documents of `helm template`, by the name of the file they come from.
fn split(rendered: &str) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut paths: BTreeMap<String, String> = BTreeMap::new();
    for document in rendered
        .split("---\n")
        .filter(|text| !text.trim().is_empty())
    {
        let (path, text) = document
            .strip_prefix(SOURCE)
            .and_then(|rest| rest.split_once('\n'))
            .context("a document of `helm template` does not say which template it comes from")?;
        let name = path.rsplit('/').next().unwrap_or(path);
        let known = paths
            .entry(name.to_owned())
            .or_insert_with(|| path.to_owned());
        if known != path {
            bail!("the templates {known} and {path} would be one file of a component: rename one");
        }
        let documents = files.entry(name.to_owned()).or_default();
        documents.push(format!("{}\n", text.trim()));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_go_to_the_file_that_is_named_like_their_template() {
        let rendered = "---\n# Source: kairos-operator/templates/a/role.yaml\n# why\nkind: Role\n\
                        ---\n# Source: kairos-operator/templates/a/role.yaml\nkind: RoleBinding\n\
                        ---\n# Source: kairos-operator/templates/service.yaml\nkind: Service\n";
        let files = split(rendered).unwrap();
        assert_eq!(
            files["role.yaml"],
            ["# why\nkind: Role\n", "kind: RoleBinding\n"]
        );
        assert_eq!(files["service.yaml"], ["kind: Service\n"]);
    }

    #[test]
    fn two_templates_of_one_name_are_refused() {
        let rendered = "---\n# Source: kairos-operator/templates/a/role.yaml\nkind: Role\n\
                        ---\n# Source: kairos-operator/templates/b/role.yaml\nkind: Role\n";
        let message = split(rendered).unwrap_err().to_string();
        assert!(
            message.contains("a/role.yaml") && message.contains("b/role.yaml"),
            "{message}"
        );
    }

    #[test]
    fn a_document_of_no_template_is_refused() {
        assert!(split("---\nkind: Role\n").is_err());
    }
}

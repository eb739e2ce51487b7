//! All controllers as Pods, installed as a user installs them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use e2e::assets::{self, Tool};
use serde_json::json;
use tokio::process::Command;

use crate::cluster::Target;
use crate::images::{self, CONTROLLERS};
use crate::install;

/// Longest time for `kubectl apply`.
const APPLY: Duration = Duration::from_mins(2);
/// The folder that `kubectl apply -k` is given by users.
const DEFAULT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/default");

/// Installs all controllers and waits until they run.
pub(crate) async fn install(target: &Target) -> anyhow::Result<()> {
    let kubeconfig = target
        .kubeconfig
        .as_deref()
        .context("only a cluster that was started here can pull the images")?;
    apply(kubeconfig, &overlay(target.guard.folder())?).await?;
    for name in CONTROLLERS {
        install::available(&target.client, name).await?;
    }
    Ok(())
}

/// Writes a kustomization over deploy/default that names our images. Returns its folder.
fn overlay(folder: &Path) -> anyhow::Result<PathBuf> {
    let folder = folder.join("install");
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(&folder)?;
        let base = relative(&folder.canonicalize()?, &Path::new(DEFAULT).canonicalize()?);
        // JSON is YAML.
        let text = kustomization(&base).to_string();
        std::fs::write(folder.join("kustomization.yaml"), text)
    };
    write().with_context(|| format!("failed to write {}", folder.display()))?;
    Ok(folder)
}

/// The way from one absolute path to another: kustomize takes no absolute ones.
fn relative(from: &Path, to: &Path) -> String {
    let up = "../".repeat(from.components().count() - 1);
    format!("{up}{}", to.display().to_string().trim_start_matches('/'))
}

fn kustomization(base: &str) -> serde_json::Value {
    let replaced = CONTROLLERS.map(|name| {
        let (new_name, new_tag) = images::of(name);
        json!({"name": name, "newName": new_name, "newTag": new_tag})
    });
    let image = |name| {
        let (name, tag) = images::of(name);
        format!("{name}:{tag}")
    };
    let environment = |controller: &str, variables: serde_json::Value| {
        let patch = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": controller, "namespace": install::NAMESPACE},
            "spec": {"template": {"spec": {"containers": [{"name": controller, "env": variables}]}}},
        });
        json!({"patch": patch.to_string()})
    };
    json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [base],
        "images": replaced,
        "patches": [
            environment("node-labeller", json!([
                {"name": "DETECT_IMAGE", "value": image("node-labeller")},
            ])),
            environment("artifact-controller", json!([
                {"name": "WORKER_IMAGE", "value": image("artifact-controller")},
                // The registry of the cluster here has no TLS.
                {"name": "ALLOW_INSECURE_REGISTRIES", "value": "true"},
            ])),
        ],
    })
}

async fn apply(kubeconfig: &Path, folder: &Path) -> anyhow::Result<()> {
    let kubectl = tokio::task::spawn_blocking(|| assets::tool(Tool::Kubectl)).await??;
    let run = Command::new(kubectl)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(["apply", "--kustomize"])
        .arg(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(APPLY, run)
        .await
        .with_context(|| format!("`kubectl apply` did not end within {} s", APPLY.as_secs()))?
        .context("failed to start kubectl")?;
    if !output.status.success() {
        bail!(
            "failed to install the operator with `kubectl apply -k`: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_between_two_folders_leads_up_and_down() {
        let way = relative(Path::new("/tmp/run/install"), Path::new("/barn/deploy"));
        assert_eq!(way, "../../../barn/deploy");
    }

    #[test]
    fn each_component_of_the_default_gets_our_image() {
        let default = std::fs::read_to_string(format!("{DEFAULT}/kustomization.yaml")).unwrap();
        for name in CONTROLLERS {
            assert!(default.contains(&format!("- ../{name}\n")), "{name}");
        }
        assert_eq!(
            default.matches("- ../").count(),
            CONTROLLERS.len() + 1,
            "and the CRDs"
        );
    }
}

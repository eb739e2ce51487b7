//! All controllers as Pods, installed as a user installs them: with the Helm chart.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use e2e::chart;
use tokio::process::Command;

use crate::cluster::Target;
use crate::images::{self, CONTROLLERS};
use crate::install;

/// Longest time for `helm install`, which does not wait for the Pods.
const INSTALL: Duration = Duration::from_mins(2);

/// Installs all controllers and waits until they run.
pub(crate) async fn install(target: &Target) -> anyhow::Result<()> {
    let kubeconfig = target
        .kubeconfig
        .as_deref()
        .context("only a cluster that was started here can pull the images")?;
    // With its Pod Security level, which `helm install --create-namespace` would leave out.
    install::namespace(&target.client).await?;
    helm_install(kubeconfig, target.guard.folder()).await?;
    for name in CONTROLLERS {
        install::available(&target.client, name).await?;
    }
    Ok(())
}

/// What the command says after `helm`.
fn arguments(chart: &Path, kubeconfig: &Path) -> Vec<String> {
    let set = |name: &str, value: &str| format!("--set={name}={value}");
    vec![
        "install".to_owned(),
        install::NAMESPACE.to_owned(),
        chart.display().to_string(),
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--namespace={}", install::NAMESPACE),
        set("image.registry", images::PREFIX),
        // The registry of the cluster here has no TLS.
        set("artifact.allowInsecureRegistries", "true"),
    ]
}

async fn helm_install(kubeconfig: &Path, folder: &Path) -> anyhow::Result<()> {
    let home = folder.join("helm");
    let helm = tokio::task::spawn_blocking(move || chart::helm(&home)).await??;
    let run = Command::from(helm)
        .args(arguments(&chart::folder(), kubeconfig))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(INSTALL, run)
        .await
        .with_context(|| format!("`helm install` did not end within {} s", INSTALL.as_secs()))?
        .context("failed to start helm")?;
    if !output.status.success() {
        bail!(
            "failed to install the chart with `helm install`: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_names_the_images_that_the_demo_serves() {
        let all = arguments(&chart::folder(), Path::new("kubeconfig"));
        let set: Vec<&str> = all
            .iter()
            .map(String::as_str)
            .filter(|argument| argument.starts_with("--set="))
            .collect();
        let rendered = chart::template(&set).unwrap();
        for controller in CONTROLLERS {
            let (name, tag) = images::of(controller);
            assert!(
                rendered.contains(&format!("{name}:{tag}")),
                "{name}:{tag} is in no manifest of the chart"
            );
        }
    }
}

//! The controller as a process of this machine, under the token of its own ServiceAccount: it may do what its ClusterRole
//! says and nothing else.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use e2e::guard::{Guard, Process, ProcessHandle, Signal};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::NamedCluster;
use kube::{Api, Client};
use serde_json::json;

use crate::api::within;
use crate::install::{CONTROLLER, NAMESPACE, PRIORITY_CLASS};

/// How long the token is asked to last, in seconds; a cluster that is kept needs it longer than the run.
const TOKEN_SECONDS: i64 = 24 * 3600;

/// The running controller.
pub(crate) struct Controller {
    process: ProcessHandle,
}

impl Controller {
    /// Starts it against `cluster`.
    pub(crate) async fn start(
        client: &Client,
        cluster: &NamedCluster,
        guard: &Guard,
    ) -> anyhow::Result<Self> {
        let kubeconfig = guard.folder().join("controller.kubeconfig");
        write_private(
            &kubeconfig,
            &kubeconfig_text(cluster, &token(client).await?)?,
        )?;
        let program = program()?;
        let argv = [
            program.display().to_string(),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--lease-namespace={NAMESPACE}"),
            format!("--priority-class-name={PRIORITY_CLASS}"),
            // Nobody asks for it here, and a free port lets several demos run at once.
            "--admin-address=127.0.0.1:0".to_owned(),
        ];
        let process = guard.spawn(&Process::new(
            CONTROLLER,
            argv,
            guard.folder().join("controller.log"),
        ))?;
        Ok(Self { process })
    }

    /// Fails, with what it said last, when it no longer runs.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        match self.process.exit() {
            None => Ok(()),
            Some(exit) => bail!(
                "the controller ended by itself ({exit:?}):\n{}",
                self.process.log_tail(20)
            ),
        }
    }

    /// Where it writes its log.
    pub(crate) fn log(&self) -> &Path {
        self.process.log()
    }

    /// Lets it finish and release its Lease.
    pub(crate) async fn stop(&self) -> anyhow::Result<()> {
        self.process.signal(Signal::Terminate)?;
        match tokio::time::timeout(Duration::from_secs(30), self.process.wait()).await {
            Ok(exit) => exit.map(|_| ()),
            Err(_) => self.process.kill(),
        }
    }
}

/// The controller's binary: beside this one, where `cargo xtask demo` has just built it.
fn program() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("failed to find the running program")?;
    let program = own.with_file_name(CONTROLLER);
    if !program.is_file() {
        bail!(
            "failed to find {}: start the demo with `cargo xtask demo`, which builds it",
            program.display()
        );
    }
    Ok(program)
}

async fn token(client: &Client) -> anyhow::Result<String> {
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let what = format!("get a token of the ServiceAccount {NAMESPACE}/{CONTROLLER}");
    let parameters = PostParams::default();
    let answer = within(
        &what,
        api.create_token_request(CONTROLLER, &parameters, &request),
    )
    .await?;
    let token = answer.status.and_then(|status| status.token);
    token.with_context(|| format!("failed to {what}: the answer holds none"))
}

/// A kubeconfig for the same cluster and this token alone. JSON is YAML.
fn kubeconfig_text(cluster: &NamedCluster, token: &str) -> anyhow::Result<String> {
    let name = &cluster.name;
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [cluster],
        "users": [{"name": CONTROLLER, "user": {"token": token}}],
        "contexts": [{"name": CONTROLLER, "context": {"cluster": name, "user": CONTROLLER}}],
        "current-context": CONTROLLER,
    });
    serde_json::to_string_pretty(&config).context("failed to write the controller's kubeconfig")
}

/// Writes a file that only this user can read.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("failed to write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use kube::config::Kubeconfig;

    use super::*;

    #[test]
    fn the_controllers_kubeconfig_holds_the_cluster_and_no_other_credentials() {
        let admin = Kubeconfig::from_yaml(
            "{clusters: [{name: farm, cluster: {server: 'https://barn:6443', certificate-authority-data: QQ==}}], \
              users: [{name: boss, user: {token: secret}}]}",
        )
        .unwrap();
        let text = kubeconfig_text(&admin.clusters[0], "mine").unwrap();
        assert!(
            text.contains("https://barn:6443") && text.contains("QQ==") && text.contains("mine"),
            "{text}"
        );
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(
            Kubeconfig::from_yaml(&text)
                .unwrap()
                .current_context
                .as_deref(),
            Some(CONTROLLER)
        );
    }
}

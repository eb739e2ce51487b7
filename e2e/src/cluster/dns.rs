//! Names of Services: CoreDNS beside the control plane, behind the address that kubelets give to Pods.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use super::Cluster;
use crate::assets::{self, Tool};
use crate::guard::Process;
use crate::nodes::GATEWAY;

/// What kubelets write into the Pods' /etc/resolv.conf.
pub(super) const ADDRESS: &str = "10.96.0.10";

/// Port of CoreDNS' own answer that it has read the Services.
const READY_PORT: u16 = 8181;
/// How long that may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long one question of this process may take.
const QUESTION: Duration = Duration::from_secs(5);

impl Cluster {
    /// Starts CoreDNS, so that Pods on real nodes find Services by name. The first time, it is built.
    pub async fn start_dns(&self) -> anyhow::Result<()> {
        let namespace = self
            .network_namespace()
            .context("this cluster listens on loopback: build it with network_namespace() for DNS")?
            .to_owned();
        let program = tokio::task::spawn_blocking(|| assets::tool(Tool::CoreDns))
            .await
            .context("failed to wait for the build of CoreDNS")??;
        let kubeconfig = self.folder().join("coredns.kubeconfig");
        self.identities.write_kubeconfig(
            &kubeconfig,
            self.inner_url(),
            self.identities.admin_token(),
        )?;
        let config = self.folder().join("Corefile");
        let text = format!(
            "cluster.local:53 {{\n  bind {GATEWAY}\n  errors\n  ready {GATEWAY}:{READY_PORT}\n  kubernetes cluster.local {{\n    \
             kubeconfig {} e2e\n  }}\n}}\n",
            kubeconfig.display()
        );
        fs::write(&config, text)
            .with_context(|| format!("failed to write {}", config.display()))?;
        let argv = [
            program.display().to_string(),
            "-conf".to_owned(),
            config.display().to_string(),
        ];
        let running =
            self.spawn(Process::new("coredns", argv, "").network_namespace(&namespace))?;
        self.apply_yaml(&service()).await?;
        let deadline = Instant::now() + PATIENCE;
        let ready = format!("http://{GATEWAY}:{READY_PORT}/ready");
        while self.get(&ready).await.is_err() {
            if let Some(exit) = running.exit() {
                bail!("CoreDNS ended with {exit:?}: {}", running.log_tail(5));
            }
            if Instant::now() > deadline {
                bail!("CoreDNS was not ready within {} s", PATIENCE.as_secs());
            }
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// What is at an address of the cluster's own networks: a node, a NodePort, the control plane.
    pub async fn get(&self, url: &str) -> anyhow::Result<Vec<u8>> {
        let seconds = QUESTION.as_secs().to_string();
        self.within_network(&["curl", "-fsS", "--max-time", &seconds, url], QUESTION * 2)
            .await
    }

    /// Runs a program of this machine in the network of the control plane, and returns what it prints.
    pub async fn within_network(
        &self,
        argv: &[&str],
        patience: Duration,
    ) -> anyhow::Result<Vec<u8>> {
        let namespace = self
            .network_namespace()
            .context("this cluster has no network of its own")?;
        let what = argv.join(" ");
        let output = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{namespace}"))
            .args(argv)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = timeout(patience, output)
            .await
            .with_context(|| format!("{what} took more than {} s", patience.as_secs()))?
            .with_context(|| format!("failed to start {what}"))?;
        if !output.status.success() {
            bail!(
                "{what} ended with {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(output.stdout)
    }
}

/// A Service without Pods: behind it is a process.
fn service() -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: kube-dns, namespace: kube-system}}
spec:
  clusterIP: {ADDRESS}
  ports:
  - {{name: dns, port: 53, protocol: UDP}}
  - {{name: dns-tcp, port: 53, protocol: TCP}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: kube-dns, namespace: kube-system, labels: {{kubernetes.io/service-name: kube-dns}}}}
addressType: IPv4
endpoints:
- {{addresses: [\"{GATEWAY}\"], conditions: {{ready: true}}}}
ports:
- {{name: dns, port: 53, protocol: UDP}}
- {{name: dns-tcp, port: 53, protocol: TCP}}
"
    )
}

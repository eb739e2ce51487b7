//! A namespace of its own for each test, and what it held when the test failed.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::{Api, Client, Config};
use tokio::time::{sleep, timeout};

use super::identities::random_text;
use super::{REQUEST, dump};

/// Environment variable that keeps the namespaces of passed tests too, when it is 1.
const KEEP: &str = "KAIROS_E2E_KEEP";

/// How long the default ServiceAccount may take to appear.
const SERVICE_ACCOUNT: Duration = Duration::from_secs(30);

/// A namespace for one test.
///
/// When the test ends well, it is deleted (without waiting). When the test panics, its objects, Events and Pod logs are
/// written to a folder below `target/e2e-dumps`, whose path is printed, and it stays.
pub struct TempNamespace {
    name: String,
    config: Config,
}

impl TempNamespace {
    pub(super) async fn create(
        config: Config,
        prefix: &str,
        service_account: bool,
    ) -> anyhow::Result<Self> {
        let client = Client::try_from(config.clone()).context("failed to make a client")?;
        let name = format!("{prefix}-{}", &random_text()?[..6]);
        let failed = || format!("failed to create the namespace {name}");
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let api: Api<Namespace> = Api::all(client.clone());
        timeout(REQUEST, api.create(&PostParams::default(), &namespace))
            .await
            .with_context(failed)?
            .with_context(failed)?;
        if service_account {
            wait_for_service_account(&client, &name).await?;
        }
        Ok(Self { name, config })
    }

    /// The namespace's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Without it, the API server refuses Pods.
async fn wait_for_service_account(client: &Client, namespace: &str) -> anyhow::Result<()> {
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let deadline = Instant::now() + SERVICE_ACCOUNT;
    loop {
        let found = timeout(REQUEST, api.get_opt("default")).await;
        if found
            .context("failed to read a ServiceAccount")?
            .context("failed to read a ServiceAccount")?
            .is_some()
        {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "namespace {namespace} got no default ServiceAccount within {} s",
                SERVICE_ACCOUNT.as_secs()
            );
        }
        sleep(Duration::from_millis(50)).await;
    }
}

impl Drop for TempNamespace {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if !failed && std::env::var_os(KEEP).is_some_and(|value| value == "1") {
            crate::progress(format!("kept the namespace {}", self.name));
            return;
        }
        let (name, config) = (self.name.clone(), self.config.clone());
        // A thread with a runtime of its own: the test's runtime cannot wait inside a drop.
        let worker = std::thread::spawn(move || -> anyhow::Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let client = Client::try_from(config)?;
                if failed {
                    let folder = dump::write(&client, &name).await?;
                    crate::progress(format!(
                        "test failed; what its namespace held: {}",
                        folder.display()
                    ));
                } else {
                    let api: Api<Namespace> = Api::all(client);
                    timeout(REQUEST, api.delete(&name, &DeleteParams::default())).await??;
                }
                Ok(())
            })
        });
        match worker.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                crate::progress(format!("failed to end namespace {}: {error:#}", self.name));
            }
            Err(_) => crate::progress(format!(
                "failed to end namespace {}: its thread panicked",
                self.name
            )),
        }
    }
}

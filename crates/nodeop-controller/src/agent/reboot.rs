//! The reboot Pod: waits for the permission, asks the host to reboot, and ends well once the host has rebooted.
//!
//! A loop that looks at files, decides, and acts. It ends at SIGTERM, unless the host was already asked: then the reboot is
//! under way and whoever deletes the Pod must follow it.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use api_types::names::ANNOTATION_REBOOT_AUTHORIZED;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use super::annotations;
use super::decide::{Action, Observation, decide};
use super::host::HostRoot;
use super::power::{HostPower, Power};
use super::sentinel::{self, SentinelName};
use super::tell;

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// How many looks in a row may fail: the kubelet exchanges the annotations' folder while it is read.
const FAILED_LOOKS: u32 = 10;

/// What the `reboot` step needs to know.
#[derive(Clone, Debug, clap::Args)]
pub struct RebootArgs {
    /// Name of the sentinel, without a folder.
    #[arg(long)]
    pub name: SentinelName,

    /// The Pod's annotations, as the downward API writes them.
    #[arg(long)]
    pub annotations: PathBuf,

    /// Where the host's processes are seen, and its root through process 1.
    #[arg(long, default_value = "/proc")]
    pub proc: PathBuf,

    /// How many seconds the host may take to go down in order, before reboot(2) is called.
    #[arg(long, default_value_t = 300)]
    pub grace_seconds: u64,
}

/// How the step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The host has rebooted, or was already in another boot.
    Rebooted,
    /// The Pod is being deleted, and the host was not asked.
    Stopped,
}

/// Runs the step to its end.
pub fn run(args: &RebootArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let ending = runtime.block_on(async {
        let mut terminate =
            signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
        let power = HostPower {
            proc: args.proc.clone(),
        };
        Agent::new(args, power).run(terminate.recv()).await
    });
    // A sync that never ends must not hold up the end.
    runtime.shutdown_background();
    if ending? == Ending::Stopped {
        tell("ended on request, the host was not asked to reboot");
    }
    Ok(())
}

/// What the files say at one moment.
#[derive(Debug)]
struct Look {
    authorized: Option<String>,
    boot_id: String,
    sentinel: bool,
}

/// The loop and what it has done.
struct Agent<'a, P> {
    args: &'a RebootArgs,
    power: P,
    /// When the host was first asked to reboot.
    asked: Option<Instant>,
    /// What was said last, so that it is said once.
    told: Option<String>,
}

impl<'a, P: Power> Agent<'a, P> {
    fn new(args: &'a RebootArgs, power: P) -> Self {
        Self {
            args,
            power,
            asked: None,
            told: None,
        }
    }

    /// Goes round until the host has rebooted or `terminate` is ready.
    async fn run(mut self, terminate: impl Future) -> anyhow::Result<Ending> {
        tokio::pin!(terminate);
        let mut failed = 0;
        loop {
            let action = match look(self.args) {
                Ok(look) => {
                    failed = 0;
                    Some(self.next(&look))
                }
                Err(error) => {
                    failed += 1;
                    if failed >= FAILED_LOOKS {
                        return Err(error);
                    }
                    self.tell_once(format!("{error:#}; trying again"));
                    None
                }
            };
            match action {
                Some(Action::Finish) => return self.finish(),
                Some(Action::Ask) => {
                    tokio::select! {
                        biased;
                        _ = &mut terminate => return Ok(Ending::Stopped),
                        () = self.power.sync() => {}
                    }
                    self.asked = Some(Instant::now());
                    self.power.ask().await;
                }
                Some(Action::Force) => {
                    self.power.sync().await;
                    self.power.force()?;
                }
                _ => {}
            }
            if self.asked.is_some() {
                sleep(INTERVAL).await;
            } else {
                tokio::select! {
                    biased;
                    _ = &mut terminate => return Ok(Ending::Stopped),
                    () = sleep(INTERVAL) => {}
                }
            }
        }
    }

    /// Decides, and says what changes.
    fn next(&mut self, look: &Look) -> Action {
        let seen = Observation {
            authorized: look.authorized.as_deref(),
            boot_id: &look.boot_id,
            sentinel: look.sentinel,
            asked: self.asked.map(|asked| asked.elapsed()),
        };
        let grace = Duration::from_secs(self.args.grace_seconds);
        let action = decide(seen, grace);
        let boot_id = &look.boot_id;
        self.tell_once(match action {
            Action::AwaitPermission => format!(
                "waiting for the permission to leave boot {boot_id}: annotation {ANNOTATION_REBOOT_AUTHORIZED}"
            ),
            Action::AwaitProof => format!(
                "not rebooting from boot {boot_id}: it is permitted, but the host has no sentinel {}, so the command has \
                 not succeeded on it",
                self.args.name
            ),
            Action::Ask => format!("leaving boot {boot_id}: sync, then the host's own reboot"),
            Action::AwaitEffect => {
                format!("waiting for the host to go down; reboot(2) after {grace:?}")
            }
            Action::Force => format!("the host has not gone down within {grace:?}: reboot(2)"),
            Action::Finish => format!("the host has rebooted: its boot is {boot_id} now"),
        });
        action
    }

    fn finish(&self) -> anyhow::Result<Ending> {
        let host = HostRoot::open(&host_root(&self.args.proc))?;
        sentinel::remove(&host, &self.args.name)?;
        Ok(Ending::Rebooted)
    }

    fn tell_once(&mut self, line: String) {
        if self.told.as_ref() != Some(&line) {
            tell(&line);
            self.told = Some(line);
        }
    }
}

fn look(args: &RebootArgs) -> anyhow::Result<Look> {
    let text = std::fs::read_to_string(&args.annotations).with_context(|| {
        format!(
            "failed to read the Pod's annotations from {}",
            args.annotations.display()
        )
    })?;
    let authorized = annotations::value(&text, ANNOTATION_REBOOT_AUTHORIZED)
        .map_err(|error| anyhow::anyhow!(error))?;
    let host = HostRoot::open(&host_root(&args.proc))?;
    Ok(Look {
        authorized,
        boot_id: host.boot_id()?,
        sentinel: sentinel::exists(&host, &args.name)?,
    })
}

/// Opened anew at each look: process 1 may move to another root.
fn host_root(proc: &Path) -> PathBuf {
    proc.join("1/root")
}

#[cfg(test)]
mod tests;

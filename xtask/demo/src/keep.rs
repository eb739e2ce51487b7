//! `--keep`: the cluster outlives the demo.
//!
//! Everything that was started ends when the guard's pipe has no writer any more. So one process stays behind that holds
//! both pipes of the guard open; ending it ends the cluster, with every clean-up.

use std::fs;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::site::{Operator, Site};

/// Name of the guard's program, as the kernel shows it.
const GUARD: &str = "e2e-guard";

/// Writes to nobody and reads what nobody else reads: the guard would take a closed pipe for the end of the run. The guard
/// is the parent of the processes that the demo started, and a child of the demo.
const KEEPER: &str =
    "exec 3> /proc/$1/fd/0 4< /proc/$1/fd/1 && echo ready && exec cat <&4 > /dev/null";

/// Leaves the cluster running. Returns how to use and how to end it. The caller must exit without dropping anything.
pub(crate) fn keep(site: Site) -> anyhow::Result<String> {
    let guard = guard_process()?;
    let mut keeper = Command::new("sh")
        .args(["-c", KEEPER, "keeper", &guard.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // Not in the terminal's group: Ctrl-C is for what runs in it now.
        .process_group(0)
        .spawn()
        .context("failed to start the process that keeps the cluster")?;
    let mut answer = [0; 1];
    let stdout = keeper.stdout.as_mut().context("the keeper has no stdout")?;
    stdout
        .read_exact(&mut answer)
        .context("failed to keep the cluster: its guard is gone")?;
    let kubeconfig = site
        .target
        .kubeconfig
        .as_deref()
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    let log = match &site.operator {
        Operator::Here(controller) => controller.log().display().to_string(),
        Operator::All | Operator::Deployed => {
            "kubectl -n kairos-operator logs deployment/nodeop-controller".to_owned()
        }
    };
    let text = format!(
        "The cluster is left running.\n  use it:             export KUBECONFIG={kubeconfig}\n  \
         controller's log:   {log}\n  end it:             kill {}",
        keeper.id()
    );
    // Dropping it would end the cluster.
    std::mem::forget(site);
    Ok(text)
}

/// The process id of the guard, a child of this process.
fn guard_process() -> anyhow::Result<u32> {
    let mut threads = fs::read_dir("/proc/self/task").context("failed to read /proc/self/task")?;
    threads
        .find_map(|thread| {
            let children = fs::read_to_string(thread.ok()?.path().join("children")).ok()?;
            children
                .split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .find(|pid: &u32| {
                    fs::read_to_string(format!("/proc/{pid}/comm"))
                        .is_ok_and(|name| name.trim() == GUARD)
                })
        })
        .context("failed to find the guard among the children of this process")
}

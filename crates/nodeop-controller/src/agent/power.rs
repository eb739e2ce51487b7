//! What takes the host down: a sync, the host's own `reboot`, and reboot(2). Decides nothing.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::fs::{OFlags, fstat};
use rustix::system::{RebootCommand, reboot};
use tokio::process::Command;
use tokio::sync::oneshot;

use super::host::HostRoot;
use super::tell;

/// How long a sync may take: a file system of a server that is gone can make it wait for ever.
const SYNC: Duration = Duration::from_secs(30);
/// How long one program of the host may take until it has passed the request on.
const PROGRAM: Duration = Duration::from_secs(30);
/// What a host's own reboot may be, in the order in which it is tried.
const PROGRAMS: [&[&str]; 6] = [
    &["/sbin/reboot"],
    &["/usr/sbin/reboot"],
    &["/bin/reboot"],
    &["/usr/bin/reboot"],
    &["/bin/systemctl", "reboot"],
    &["/usr/bin/systemctl", "reboot"],
];

/// The ways to take a host down.
pub trait Power {
    /// Writes out what the kernel still holds, for a bounded time.
    fn sync(&self) -> impl Future<Output = ()>;
    /// Asks the host to reboot in order, by its own program, for a bounded time.
    fn ask(&self) -> impl Future<Output = ()>;
    /// reboot(2): comes back only with an error.
    fn force(&self) -> anyhow::Result<()>;
}

/// The host whose processes are seen at `proc`.
#[derive(Clone, Debug)]
pub struct HostPower {
    /// Usually /proc, with hostPID.
    pub proc: PathBuf,
}

impl Power for HostPower {
    async fn sync(&self) {
        let (done, synced) = oneshot::channel();
        let started = std::thread::Builder::new()
            .name("sync".to_owned())
            .spawn(move || {
                rustix::fs::sync();
                // Nobody listens any more when it took too long.
                done.send(()).ok();
            });
        match started {
            Err(error) => tell(&format!("going on without a sync: {error}")),
            Ok(_) => {
                if tokio::time::timeout(SYNC, synced).await.is_err() {
                    tell(&format!(
                        "going on without waiting longer for the sync, after {SYNC:?}"
                    ));
                }
            }
        }
    }

    async fn ask(&self) {
        let commands = match programs(&self.proc.join("1/root")) {
            Ok(commands) => commands,
            Err(error) => return tell(&format!("cannot look for the host's reboot: {error:#}")),
        };
        for command in &commands {
            let shown = command.join(" ");
            match self.run_on_host(command).await {
                Ok(()) => return tell(&format!("the host's {shown} has taken the request")),
                Err(error) => tell(&format!("the host's {shown}: {error:#}")),
            }
        }
        tell("the host has no program that takes a request to reboot");
    }

    fn force(&self) -> anyhow::Result<()> {
        reboot(RebootCommand::Restart).context("reboot(2) failed")
    }
}

impl HostPower {
    /// Runs a program in the namespaces of process 1 and waits for its end.
    async fn run_on_host(&self, command: &[&str]) -> anyhow::Result<()> {
        let mut child = Command::new("/proc/self/exe")
            .arg("enter")
            .arg("--proc")
            .arg(&self.proc)
            .arg("--")
            .args(command)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("failed to start")?;
        match tokio::time::timeout(PROGRAM, child.wait()).await {
            Err(_) => bail!("has not ended within {PROGRAM:?}"),
            Ok(ended) => {
                let status = ended.context("failed to wait for its end")?;
                if status.success() {
                    return Ok(());
                }
                bail!("ended with {status}")
            }
        }
    }
}

/// The programs that the host has, each once: `/sbin` is often a link to `/usr/sbin`.
fn programs(root: &Path) -> anyhow::Result<Vec<&'static [&'static str]>> {
    let host = HostRoot::open(root)?;
    let mut known = BTreeSet::new();
    let present = PROGRAMS.into_iter().filter(|command| {
        let file = command
            .first()
            .map(|path| host.open_file(path, OFlags::PATH));
        let Some(Ok(file)) = file else { return false };
        fstat(&file).is_ok_and(|stat| known.insert((stat.st_dev, stat.st_ino, command.len())))
    });
    Ok(present.collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn each_program_of_the_host_is_tried_once() {
        let root = tempfile::tempdir().unwrap();
        let path = |path: &str| root.path().join(path);
        assert_eq!(programs(root.path()).unwrap(), [] as [&[&str]; 0]);
        std::fs::create_dir_all(path("usr/bin")).unwrap();
        symlink("/usr/bin", path("bin")).unwrap();
        symlink("usr/bin", path("sbin")).unwrap();
        std::fs::write(path("usr/bin/systemctl"), "").unwrap();
        symlink("/bin/systemctl", path("usr/bin/reboot")).unwrap();
        let found = programs(root.path()).unwrap();
        assert_eq!(
            found,
            [&["/sbin/reboot"][..], &["/bin/systemctl", "reboot"]]
        );
    }
}

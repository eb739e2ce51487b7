//! A program of the host, run as the host runs it: in the namespaces of its process 1, as `nsenter -t 1 -m -u -i -n` does.
//!
//! A step of its own, because only a process with a single thread may enter a mount namespace. The PID namespace is not
//! entered: with hostPID this process is in it, else there would be no process 1 to follow.

use std::ffi::OsString;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The mount namespace comes last: the others' files are found through this one's /proc.
const NAMESPACES: [(&str, LinkNameSpaceType); 4] = [
    ("ipc", LinkNameSpaceType::InterProcessCommunication),
    ("uts", LinkNameSpaceType::HostNameAndNISDomainName),
    ("net", LinkNameSpaceType::Network),
    ("mnt", LinkNameSpaceType::Mount),
];

/// What to become.
#[derive(Clone, Debug, clap::Args)]
pub struct EnterArgs {
    /// Where the host's processes are seen.
    #[arg(long, default_value = "/proc")]
    pub proc: PathBuf,

    /// Absolute path of the host's program, and its arguments.
    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}

/// Becomes the program; comes back only with an error.
pub fn run(args: &EnterArgs) -> anyhow::Result<()> {
    let opened: Vec<(&str, LinkNameSpaceType, OwnedFd)> = NAMESPACES
        .into_iter()
        .map(|(name, kind)| {
            let path = args.proc.join("1/ns").join(name);
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let namespace = openat(CWD, &path, flags, Mode::empty())
                .with_context(|| format!("failed to open the namespace {}", path.display()))?;
            Ok((name, kind, namespace))
        })
        .collect::<anyhow::Result<_>>()?;
    for (name, kind, namespace) in &opened {
        move_into_link_name_space(namespace.as_fd(), Some(*kind))
            .with_context(|| format!("failed to enter the host's {name} namespace"))?;
    }
    let (program, arguments) = args
        .command
        .split_first()
        .context("there is no program to run")?;
    let error = Command::new(program)
        .args(arguments)
        // This container's variables mean nothing there.
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .exec();
    Err(error).with_context(|| format!("failed to run the host's {}", program.display()))
}

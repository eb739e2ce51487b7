//! Whether this machine can run real nodes. Where it cannot, simulated nodes do, and the reason is told.

use std::path::Path;
use std::process::{Command, Stdio};

use super::control_groups;

/// Why real nodes cannot run here, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The user is not root.
    #[error("real nodes need root: run as root, or use simulated nodes")]
    NotRoot,
    /// A program is not installed.
    #[error("real nodes need the program {program}: install Debian's package {package}")]
    MissingProgram {
        /// Name of the program.
        program: &'static str,
        /// Package that has it.
        package: &'static str,
    },
    /// Root, but in a container that may not make namespaces, mounts or an overlay.
    #[error(
        "real nodes need namespaces of their own with an overlay file system, and this machine refused: {0}"
    )]
    Namespaces(String),
    /// No control group hierarchy, or a read-only one.
    #[error("real nodes need a writable control group hierarchy below /sys/fs/cgroup")]
    ControlGroups,
}

/// What is called by name, and where it comes from.
const PROGRAMS: [(&str, &str); 6] = [
    ("ip", "iproute2"),
    ("mmdebstrap", "mmdebstrap"),
    ("mount", "mount"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("unshare", "util-linux"),
];

/// Does once, in a folder of its own, what each node does at its start.
const REHEARSAL: &str = "set -e; cd \"$1\"; mkdir lower upper work root
mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work node root
mkdir root/old-root; cd root; pivot_root . old-root";

/// Says whether real nodes can run here. Takes some milliseconds and leaves nothing behind.
pub fn supported() -> Result<(), Reason> {
    if !rustix::process::geteuid().is_root() {
        return Err(Reason::NotRoot);
    }
    for (program, package) in PROGRAMS {
        if !is_installed(program) {
            return Err(Reason::MissingProgram { program, package });
        }
    }
    let groups = control_groups::hierarchies();
    if groups.is_empty()
        || groups
            .iter()
            .any(|group| rustix::fs::access(group, rustix::fs::Access::WRITE_OK).is_err())
    {
        return Err(Reason::ControlGroups);
    }
    rehearse().map_err(Reason::Namespaces)
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([Path::new("/usr/sbin").into()])
        .any(|folder| folder.join(program).is_file())
}

fn rehearse() -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let output = Command::new("unshare")
        .args([
            "--mount",
            "--pid",
            "--fork",
            "--uts",
            "--ipc",
            "--net",
            "--kill-child",
            "--propagation",
            "private",
        ])
        .args(["sh", "-c", REHEARSAL, "rehearsal"])
        .arg(folder.path())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

//! The detection inside a Pod: reads the host's files and leaves the outcome as termination message.
//!
//! The host's /etc, /usr, /proc/cmdline and, where asked for, /run/cos are mounted read-only beneath one folder. The kernel
//! resolves every link as if that folder were the root, so no link of the host leads into this container or to other files
//! of the host. Talks to nobody, needs no token.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use crate::boot_state::{BootState, MODE_FILES, boot_state};
use crate::facts::{File, Findings, evaluate};
use crate::outcome::encode;
use crate::release::LARGEST_FILE;

/// Longest kernel command line that is read, in bytes; Linux allows 4096 on some architectures and less on others.
const LONGEST_COMMAND_LINE: usize = 16 * 1024;

/// Where to read and where to write.
#[derive(Clone, Debug, clap::Args)]
pub struct DetectArgs {
    /// Folder beneath which the host's /etc, /usr, /proc/cmdline and /run/cos are mounted.
    #[arg(long, default_value = "/host")]
    pub host: PathBuf,

    /// File that the kubelet takes the termination message from.
    #[arg(long, default_value = "/dev/termination-log")]
    pub termination_log: PathBuf,
}

/// Detects what the host is and writes it down. Files that say nothing usable are an outcome too; an error means that the
/// outcome could not be written.
pub fn run(args: &DetectArgs) -> anyhow::Result<()> {
    let outcome = evaluate(&find(&args.host));
    let message = encode(&outcome).context("failed to serialise the outcome")?;
    std::fs::write(&args.termination_log, message).with_context(|| {
        format!(
            "failed to write the outcome to {}",
            args.termination_log.display()
        )
    })
}

/// Reads everything that tells what the host is.
pub fn find(host: &Path) -> Findings {
    let mut os_release = read(host, "etc/os-release");
    // os-release(5): a distribution may have the second file only. A link into a folder that is not mounted counts as none.
    if !matches!(os_release, File::Content(_)) {
        let second = read(host, "usr/lib/os-release");
        if second != File::Missing || is_dangling(host, "etc/os-release") {
            os_release = second;
        }
    }
    let kairos_release = match read(host, "etc/kairos-release") {
        File::Missing if is_dangling(host, "etc/kairos-release") => {
            File::Unreadable("it is a link to nothing in /etc or /usr".to_owned())
        }
        found => found,
    };
    let modes: Vec<BootState> = MODE_FILES
        .iter()
        .filter(|(name, _)| open(host, &format!("run/cos/{name}")).is_ok())
        .map(|(_, state)| *state)
        .collect();
    Findings {
        kairos_release,
        os_release,
        boot_state: boot_state(&read_command_line(host), &modes),
    }
}

/// A host that hides its command line is not refused: marker files may still tell, else the boot state is unknown.
fn read_command_line(host: &Path) -> String {
    let mut bytes = Vec::new();
    let Ok(file) = open(host, "proc/cmdline") else {
        return String::new();
    };
    let limit = u64::try_from(LONGEST_COMMAND_LINE).unwrap_or(u64::MAX);
    match file.take(limit).read_to_end(&mut bytes) {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}

fn read(host: &Path, path: &str) -> File {
    let unreadable = |error: std::io::Error| File::Unreadable(error.to_string());
    let file = match open(host, path) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR) => return File::Missing,
        Err(error) => return unreadable(error.into()),
    };
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return File::Unreadable("it is no regular file".to_owned()),
        Err(error) => return unreadable(error),
    }
    let mut content = Vec::new();
    let limit = u64::try_from(LARGEST_FILE + 1).unwrap_or(u64::MAX);
    match file.take(limit).read_to_end(&mut content) {
        Ok(_) => File::Content(content),
        Err(error) => unreadable(error),
    }
}

/// Opens beneath the host folder as if it were the root. Never waits, as a pipe would make it.
fn open(host: &Path, path: &str) -> Result<std::fs::File, Errno> {
    open_with(
        host,
        path,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY,
    )
}

fn open_with(host: &Path, path: &str, flags: OFlags) -> Result<std::fs::File, Errno> {
    let folder = rustix::fs::openat(
        CWD,
        host,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::CLOEXEC;
    // EAGAIN: a rename on the host crossed the resolution; the kernel asks to try again.
    for _ in 0..16 {
        match openat2(&folder, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            result => return result.map(std::fs::File::from),
        }
    }
    Err(Errno::AGAIN)
}

/// Whether there is a link of that name whose target does not exist here.
fn is_dangling(host: &Path, path: &str) -> bool {
    let link = open_with(host, path, OFlags::PATH | OFlags::NOFOLLOW);
    let is_link = link
        .and_then(|link| rustix::fs::fstat(&link))
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_symlink());
    is_link && matches!(open(host, path), Err(Errno::NOENT | Errno::NOTDIR))
}

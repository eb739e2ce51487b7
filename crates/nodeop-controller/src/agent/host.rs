//! The host's files, beneath a folder that stands for its root. The kernel resolves every path and link as if that folder
//! were the root, so no link of the host leads into this container.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2};
use rustix::io::Errno;

/// Where a kernel tells its boot ID. The host's own /proc is read, not the container's: a host may show another one there,
/// and what the kubelet reports is that one.
const BOOT_ID: &str = "proc/sys/kernel/random/boot_id";
/// Longest boot ID that is believed, in bytes; a UUID has 36.
const LONGEST_BOOT_ID: u64 = 128;
/// How often a path is resolved again when a rename on the host crossed it.
const RESOLUTIONS: usize = 16;

/// The host's root.
#[derive(Debug)]
pub struct HostRoot {
    folder: OwnedFd,
    path: PathBuf,
}

impl HostRoot {
    /// The host's root at `path`: where it is mounted, or `/proc/1/root`.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(CWD, path, flags, Mode::empty())
            .with_context(|| format!("failed to open the host's root {}", path.display()))?;
        Ok(Self {
            folder,
            path: path.to_owned(),
        })
    }

    /// A path of the host as it is seen from here, for messages.
    pub fn display(&self, path: &str) -> String {
        self.path.join(path).display().to_string()
    }

    /// The boot ID of the host's present boot.
    pub fn boot_id(&self) -> anyhow::Result<String> {
        let failed = || format!("failed to read the boot ID from {}", self.display(BOOT_ID));
        let file = self
            .open_file(BOOT_ID, OFlags::RDONLY | OFlags::NONBLOCK)
            .with_context(failed)?;
        let mut text = String::new();
        File::from(file)
            .take(LONGEST_BOOT_ID)
            .read_to_string(&mut text)
            .with_context(failed)?;
        let boot_id = text.trim();
        if boot_id.is_empty() {
            bail!("{} is empty: it holds no boot ID", self.display(BOOT_ID));
        }
        Ok(boot_id.to_owned())
    }

    /// Opens `path`, which is relative to the host's root.
    pub fn open_file(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..RESOLUTIONS {
            match openat2(
                &self.folder,
                path,
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                resolve,
            ) {
                Err(Errno::AGAIN) => {}
                result => return result,
            }
        }
        Err(Errno::AGAIN)
    }

    /// Opens a folder, for entries to be made in it and for fsync.
    pub fn open_folder(&self, path: &str) -> Result<OwnedFd, Errno> {
        self.open_file(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// Opens a folder and makes what is missing of it, so that a power loss afterwards does not take it away again.
    pub fn make_folder(&self, path: &str) -> anyhow::Result<OwnedFd> {
        let mut parent = self
            .open_folder("/")
            .with_context(|| format!("failed to open {}", self.display("")))?;
        let ends = path.match_indices('/').map(|(end, _)| end);
        for end in ends.chain([path.len()]) {
            let so_far = &path[..end];
            let failed = || format!("failed to make the folder {}", self.display(so_far));
            let found = self.open_folder(so_far);
            let missing = matches!(found, Err(Errno::NOENT));
            if missing {
                let name = so_far.rsplit('/').next().unwrap_or(so_far);
                match mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                    // Somebody else made it in between; a link to nothing fails below.
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error).with_context(failed),
                }
            }
            // The last one may be there because an earlier try made it and was ended before this.
            if missing || end == path.len() {
                rustix::fs::fsync(&parent).with_context(failed)?;
            }
            parent = if missing {
                self.open_folder(so_far)
            } else {
                found
            }
            .with_context(failed)?;
        }
        Ok(parent)
    }
}

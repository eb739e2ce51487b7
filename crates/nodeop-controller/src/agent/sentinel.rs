//! The sentinel: a file on the host which says that a NodeOp's command has succeeded and that the reboot is still to come.
//!
//! It survives a power loss whole or not at all: written beside its place, synced, renamed, and the folder synced. Only
//! then does the Pod end well, so a Job that is complete has its sentinel on the disk.

use std::fmt;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context as _;
use api_types::names::SENTINEL_FOLDER;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, fsync, openat, renameat, unlinkat};
use rustix::io::Errno;
use rustix::path::Arg;

use super::host::HostRoot;
use super::tell;
use crate::build::names::SENTINEL_SUFFIX;

/// Most entries of the sentinels' folder that are looked at for old ones.
const MOST_ENTRIES: usize = 1000;
/// Bytes of a sentinel that are read: more than a boot ID has.
const LONGEST_CONTENT: u64 = 256;

/// What the `sentinel` step needs to know.
#[derive(Clone, Debug, clap::Args)]
pub struct SentinelArgs {
    /// Folder at which the host's root is mounted, writable.
    #[arg(long)]
    pub host_root: PathBuf,

    /// Name of the sentinel, without a folder.
    #[arg(long)]
    pub name: SentinelName,

    /// File that the kubelet takes the termination message from; the host's boot ID is written there at the end.
    #[arg(long, default_value = "/dev/termination-log")]
    pub termination_log: PathBuf,
}

/// The name of a sentinel: one plain file name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentinelName(String);

impl FromStr for SentinelName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The prefix and suffix of the unfinished file must fit into the 255 bytes of a file name.
        let fits = !text.is_empty() && text.len() <= 200;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if fits && !text.starts_with(['.', '-']) && text.chars().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(
                "write one file name of at most 200 letters, digits, '-', '_' and '.', beginning with a letter or digit"
                    .to_owned(),
            )
        }
    }
}

impl fmt::Display for SentinelName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Writes the sentinel, then the termination message.
pub fn run(args: &SentinelArgs) -> anyhow::Result<()> {
    let host = HostRoot::open(&args.host_root)?;
    let boot_id = host.boot_id()?;
    let folder = write(&host, &args.name, &boot_id)?;
    if let Err(error) = sweep(&folder, &boot_id) {
        tell(&format!("old sentinels may stay on the host: {error}"));
    }
    std::fs::write(&args.termination_log, &boot_id).with_context(|| {
        format!(
            "failed to write the boot ID to {}",
            args.termination_log.display()
        )
    })
}

/// Writes the sentinel so that it is on the disk when this returns; an earlier one of that name is replaced. It holds the
/// boot ID, for people who find it and for [`sweep`]. Returns the folder it is in.
pub fn write(host: &HostRoot, name: &SentinelName, boot_id: &str) -> anyhow::Result<OwnedFd> {
    let path = path_of(name);
    let failed = || format!("failed to write the sentinel {}", host.display(&path));
    let folder = host.make_folder(folder())?;
    let unfinished = format!(".{}.unfinished", name.0);
    // Left by a step that was ended half way; only one Pod of a Job runs at a time.
    remove_entry(&folder, &*unfinished).with_context(failed)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file =
        openat(&folder, &*unfinished, flags, Mode::from_raw_mode(0o644)).with_context(failed)?;
    let mut file = File::from(file);
    file.write_all(format!("{boot_id}\n").as_bytes())
        .with_context(failed)?;
    file.sync_all().with_context(failed)?;
    renameat(&folder, &*unfinished, &folder, &*name.0).with_context(failed)?;
    fsync(&folder).with_context(failed)?;
    Ok(folder)
}

/// Removes the sentinels of other operations that were left in an earlier boot, so that a host does not collect them: a
/// reboot Pod that is gone before its node is back removes none. What they waited for, the end of that boot, has come.
fn sweep(folder: &OwnedFd, boot_id: &str) -> Result<(), Errno> {
    for entry in Dir::read_from(folder)?.take(MOST_ENTRIES) {
        let entry = entry?;
        let name = entry.file_name();
        if !name.to_bytes().ends_with(SENTINEL_SUFFIX.as_bytes()) {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = openat(folder, name, flags, Mode::empty()) else {
            continue;
        };
        let mut content = Vec::new();
        let read = File::from(file)
            .take(LONGEST_CONTENT)
            .read_to_end(&mut content);
        if read.is_ok() && content.trim_ascii() != boot_id.as_bytes() {
            remove_entry(folder, name)?;
        }
    }
    Ok(())
}

/// Whether the host holds the sentinel. A folder or link of that name is none.
pub fn exists(host: &HostRoot, name: &SentinelName) -> anyhow::Result<bool> {
    let path = path_of(name);
    let failed = || format!("failed to look for the sentinel {}", host.display(&path));
    match host.open_file(&path, OFlags::PATH | OFlags::NOFOLLOW) {
        Ok(file) => {
            let kind = FileType::from_raw_mode(fstat(&file).with_context(failed)?.st_mode);
            Ok(kind.is_file())
        }
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(error) => Err(error).with_context(failed),
    }
}

/// Removes the sentinel. One that is not there is fine.
pub fn remove(host: &HostRoot, name: &SentinelName) -> anyhow::Result<()> {
    let path = path_of(name);
    let failed = || format!("failed to remove the sentinel {}", host.display(&path));
    let folder = match host.open_folder(folder()) {
        Ok(folder) => folder,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(error) => return Err(error).with_context(failed),
    };
    remove_entry(&folder, &*name.0).with_context(failed)?;
    fsync(&folder).with_context(failed)
}

fn remove_entry(folder: &OwnedFd, name: impl Arg) -> Result<(), Errno> {
    match unlinkat(folder.as_fd(), name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}

/// The sentinels' folder, relative to the host's root.
fn folder() -> &'static str {
    SENTINEL_FOLDER.trim_start_matches('/')
}

fn path_of(name: &SentinelName) -> String {
    format!("{}/{}", folder(), name.0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    /// A host with a boot ID, and a folder beside its root that no path of the host leads to.
    struct World {
        folder: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let boot_id = folder.path().join("host/proc/sys/kernel/random");
            fs::create_dir_all(&boot_id).unwrap();
            fs::write(boot_id.join("boot_id"), "boot-1\n").unwrap();
            fs::create_dir(folder.path().join("outside")).unwrap();
            Self { folder }
        }

        fn path(&self, path: &str) -> PathBuf {
            self.folder.path().join("host").join(path)
        }

        fn outside(&self) -> PathBuf {
            self.folder.path().join("outside")
        }

        fn host(&self) -> HostRoot {
            HostRoot::open(&self.path("")).unwrap()
        }

        fn run(&self) -> anyhow::Result<String> {
            let termination_log = self.folder.path().join("termination-log");
            fs::write(&termination_log, "").unwrap();
            let result = run(&SentinelArgs {
                host_root: self.path(""),
                name: name(),
                termination_log: termination_log.clone(),
            });
            let message = fs::read_to_string(termination_log).unwrap();
            match result {
                Ok(()) => Ok(message),
                Err(error) => {
                    assert_eq!(message, "", "a boot ID without a sentinel");
                    Err(error)
                }
            }
        }
    }

    fn name() -> SentinelName {
        "op-node-1-reboot-pending".parse().unwrap()
    }

    fn names_in(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn the_sentinel_is_written_where_folders_are_missing_and_the_boot_id_reported() {
        let world = World::new();
        assert!(!exists(&world.host(), &name()).unwrap());
        assert_eq!(world.run().unwrap(), "boot-1");
        assert!(exists(&world.host(), &name()).unwrap());
        let folder = world.path("usr/local/.kairos");
        assert_eq!(names_in(&folder), [name().0]);
        let content = fs::read_to_string(folder.join(name().0)).unwrap();
        assert_eq!(content, "boot-1\n");
    }

    #[test]
    fn what_a_retry_finds_does_not_hinder_it() {
        let world = World::new();
        world.run().unwrap();
        let folder = world.path("usr/local/.kairos");
        // As after a power loss between write and rename.
        fs::write(folder.join(format!(".{}.unfinished", name())), "bo").unwrap();
        fs::write(world.path("proc/sys/kernel/random/boot_id"), "boot-2\n").unwrap();
        assert_eq!(world.run().unwrap(), "boot-2");
        assert_eq!(names_in(&folder), [name().0]);
        let content = fs::read_to_string(folder.join(name().0)).unwrap();
        assert_eq!(content, "boot-2\n");
    }

    #[test]
    fn a_sentinel_is_removed_once_and_its_absence_is_fine() {
        let world = World::new();
        remove(&world.host(), &name()).unwrap();
        world.run().unwrap();
        remove(&world.host(), &name()).unwrap();
        assert!(!exists(&world.host(), &name()).unwrap());
        remove(&world.host(), &name()).unwrap();
    }

    #[test]
    fn sentinels_of_earlier_boots_go_and_nothing_else_does() {
        let world = World::new();
        let folder = world.path("usr/local/.kairos");
        fs::create_dir_all(folder.join("folder-reboot-pending")).unwrap();
        symlink("/nowhere", folder.join("link-reboot-pending")).unwrap();
        for (name, content) in [
            ("old-reboot-pending", "boot-0\n"),
            ("torn-reboot-pending", ""),
            ("other-reboot-pending", "boot-1\n"),
            ("reboot-pending-notes", "boot-0\n"),
            ("state.yaml", "boot-0\n"),
        ] {
            fs::write(folder.join(name), content).unwrap();
        }
        world.run().unwrap();
        let mut left = names_in(&folder);
        left.sort();
        let expected = [
            "folder-reboot-pending",
            "link-reboot-pending",
            "op-node-1-reboot-pending",
            "other-reboot-pending",
            "reboot-pending-notes",
            "state.yaml",
        ];
        assert_eq!(left, expected);
    }

    #[test]
    fn links_of_the_host_lead_to_files_of_the_host() {
        let world = World::new();
        fs::create_dir_all(world.path("usr")).unwrap();
        fs::create_dir_all(world.path("persistent/local")).unwrap();
        // An absolute link, as hosts have them, and one that climbs above the root.
        symlink("/persistent/local", world.path("usr/local")).unwrap();
        world.run().unwrap();
        let sentinel = world.path("persistent/local/.kairos").join(name().0);
        assert!(sentinel.is_file());
        fs::remove_file(world.path("usr/local")).unwrap();
        symlink("../../../../../persistent/local", world.path("usr/local")).unwrap();
        assert!(exists(&world.host(), &name()).unwrap());
    }

    #[test]
    fn no_link_leads_out_of_the_host() {
        for target in ["absolute", "climbing"] {
            let world = World::new();
            fs::create_dir_all(world.path("usr/local")).unwrap();
            let outside = world.outside();
            let link = match target {
                "absolute" => outside.clone(),
                _ => PathBuf::from("../../../outside"),
            };
            symlink(&link, world.path("usr/local/.kairos")).unwrap();
            let error = world.run().unwrap_err();
            assert!(
                format!("{error:#}").contains("usr/local/.kairos"),
                "{error:#}"
            );
            assert_eq!(names_in(&outside), [] as [&str; 0], "{target}");
            fs::write(outside.join(name().0), "forged").unwrap();
            assert!(!exists(&world.host(), &name()).unwrap(), "{target}");
            remove(&world.host(), &name()).unwrap();
            assert_eq!(names_in(&outside), [name().0], "{target}");
        }
    }

    #[test]
    fn a_link_in_place_of_the_file_is_replaced_and_never_written_through() {
        let world = World::new();
        let folder = world.path("usr/local/.kairos");
        fs::create_dir_all(&folder).unwrap();
        let victim = world.path("etc-passwd");
        fs::write(&victim, "precious").unwrap();
        for link in [name().0, format!(".{}.unfinished", name())] {
            symlink("/etc-passwd", folder.join(link)).unwrap();
        }
        assert!(
            !exists(&world.host(), &name()).unwrap(),
            "a link is no proof"
        );
        world.run().unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(names_in(&folder), [name().0]);
        assert!(exists(&world.host(), &name()).unwrap());
    }

    #[test]
    fn a_host_without_boot_id_gets_no_sentinel() {
        let world = World::new();
        for content in ["", "\n"] {
            fs::write(world.path("proc/sys/kernel/random/boot_id"), content).unwrap();
            let error = world.run().unwrap_err();
            assert!(error.to_string().contains("boot ID"), "{error:#}");
        }
        fs::remove_file(world.path("proc/sys/kernel/random/boot_id")).unwrap();
        world.run().unwrap_err();
        assert!(!world.path("usr").exists());
    }

    #[test]
    fn a_name_is_one_plain_file_name() {
        for right in ["a", "op-node-1.x_y", &"n".repeat(200)] {
            assert!(right.parse::<SentinelName>().is_ok(), "{right}");
        }
        for wrong in [
            "",
            ".",
            "..",
            "a/b",
            "../a",
            ".a",
            "-a",
            "a b",
            "a\0",
            "ä",
            &"n".repeat(201),
        ] {
            assert!(wrong.parse::<SentinelName>().is_err(), "{wrong:?}");
        }
    }
}

//! Clean-ups: what a guard does at its end, and what the next guard does for one that was killed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::mount::{UnmountFlags, unmount};

use super::protocol::Cleanup;

/// How long a control group may take to become empty after its processes were killed.
const EMPTY_GROUP: Duration = Duration::from_secs(5);

/// Runs one clean-up. What is already gone counts as done.
pub(super) fn run(cleanup: &Cleanup) -> io::Result<()> {
    match cleanup {
        Cleanup::RemoveFolder(path) => remove_folder(path),
        Cleanup::RemoveFile(path) => ignore_missing(fs::remove_file(path)),
        Cleanup::Unmount(path) => unmount_all(path),
        Cleanup::DeleteNetworkNamespace(name) => {
            let path = Path::new("/run/netns").join(name);
            unmount_all(&path)?;
            ignore_missing(fs::remove_file(path))
        }
        Cleanup::RemoveControlGroup(path) => remove_control_group(path),
    }
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn remove_folder(path: &Path) -> io::Result<()> {
    // A folder this high up is never ours, whoever asks.
    if !path.is_absolute() || path.components().count() < 3 {
        return Err(io::Error::other(format!(
            "refused to remove {}: not a folder of a run",
            path.display()
        )));
    }
    let mut mounted = mounts_below(path)?;
    mounted.reverse();
    for mount in &mounted {
        unmount(mount.as_path(), UnmountFlags::DETACH)?;
    }
    // Deleting through a mount would delete what is mounted.
    if let Some(mount) = mounts_below(path)?.first() {
        return Err(io::Error::other(format!(
            "kept {}: {} is still mounted",
            path.display(),
            mount.display()
        )));
    }
    ignore_missing(fs::remove_dir_all(path))
}

fn unmount_all(path: &Path) -> io::Result<()> {
    let mut mounted = mounts_below(path)?;
    mounted.reverse();
    for mount in mounted {
        unmount(mount.as_path(), UnmountFlags::DETACH)?;
    }
    Ok(())
}

/// Mount points at or below `path`, in the order they were mounted.
fn mounts_below(path: &Path) -> io::Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(mount_points(&table)
        .filter(|point| point.starts_with(path))
        .collect())
}

/// The fifth field of each line of a mountinfo file, unescaped.
fn mount_points(table: &str) -> impl Iterator<Item = PathBuf> {
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|field| {
            PathBuf::from(
                field
                    .replace("\\040", " ")
                    .replace("\\011", "\t")
                    .replace("\\012", "\n")
                    .replace("\\134", "\\"),
            )
        })
}

fn remove_control_group(path: &Path) -> io::Result<()> {
    let deadline = Instant::now() + EMPTY_GROUP;
    loop {
        match remove_groups(path) {
            Err(error)
                if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(50));
            }
            other => return ignore_missing(other),
        }
    }
}

/// Removes folders only: the files of a control group vanish with it.
fn remove_groups(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_groups(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_and_unescaped() {
        let table = "22 1 0:21 / /proc rw - proc proc rw\n30 1 0:30 / /run/a\\040b rw shared:1 - tmpfs tmpfs rw\n";
        let points: Vec<_> = mount_points(table).collect();
        assert_eq!(points, [PathBuf::from("/proc"), PathBuf::from("/run/a b")]);
    }

    #[test]
    fn folders_high_up_are_never_removed() {
        for path in ["/", "/var", "relative/path"] {
            assert!(run(&Cleanup::RemoveFolder(path.into())).is_err(), "{path}");
        }
    }

    #[test]
    fn what_is_already_gone_counts_as_done() {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("gone");
        for cleanup in [
            Cleanup::RemoveFolder(gone.clone()),
            Cleanup::RemoveFile(gone.clone()),
            Cleanup::Unmount(gone.clone()),
            Cleanup::RemoveControlGroup(gone.clone()),
        ] {
            run(&cleanup).unwrap();
        }
    }
}

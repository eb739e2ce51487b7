//! The control groups of test nodes: one per node and hierarchy, so that nodes do not meet in /kubepods.
//!
//! On a machine with cgroup v1 there is one hierarchy per controller, with cgroup v2 a single one. Both ways go through the
//! same code, here and in firmware.sh; only the way of v1 has been run so far.

use std::fs;
use std::path::{Path, PathBuf};

/// Mount points of all control group hierarchies of this machine.
pub(super) fn hierarchies() -> Vec<PathBuf> {
    in_table(&fs::read_to_string("/proc/self/mounts").unwrap_or_default())
}

/// The same in a table of mounts.
fn in_table(mounts: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (point, kind) = (Path::new(fields.next()?), fields.next()?);
            (matches!(kind, "cgroup" | "cgroup2") && point.starts_with("/sys/fs/cgroup"))
                .then(|| point.to_owned())
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hierarchy_of_version_1_is_found() {
        let table = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                     cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\ncgroup /elsewhere cgroup rw 0 0\n";
        assert_eq!(
            in_table(table),
            [
                PathBuf::from("/sys/fs/cgroup/cpu"),
                PathBuf::from("/sys/fs/cgroup/unified")
            ]
        );
    }

    #[test]
    fn version_2_has_one_hierarchy() {
        let table = "sysfs /sys sysfs rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n";
        assert_eq!(in_table(table), [PathBuf::from("/sys/fs/cgroup")]);
    }
}

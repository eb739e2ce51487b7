//! The folder of one run, its journal of clean-ups, and the sweep of folders whose guard no longer lives.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

use super::cleanup;
use super::protocol::{Cleanup, RUN_VARIABLE};

/// Name of the journal inside a run's folder: one clean-up per line.
const JOURNAL: &str = "cleanups.jsonl";

/// Folder that holds the folders of all runs of this machine.
pub(super) fn root() -> PathBuf {
    std::env::temp_dir().join("kairos-operator-e2e")
}

/// Makes this guard's folder, named with its process id and start time.
pub(super) fn create(root: &Path) -> io::Result<PathBuf> {
    let pid = std::process::id();
    let start = start_time(pid)
        .ok_or_else(|| io::Error::other("failed to read own start time from /proc"))?;
    let folder = root.join(format!("run-{pid}-{start}"));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Adds a clean-up to the journal before it is needed, so that it survives this guard.
pub(super) fn record(folder: &Path, cleanup: &Cleanup) -> io::Result<()> {
    let mut journal = fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join(JOURNAL))?;
    let mut line = serde_json::to_string(cleanup)?;
    line.push('\n');
    journal.write_all(line.as_bytes())
}

/// Ends what dead guards left behind: processes, then their journals in reverse, then the folder.
pub(super) fn sweep(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some((pid, start)) = name.to_str().and_then(parse_name) else {
            continue;
        };
        if start_time(pid) == Some(start) {
            continue;
        }
        let folder = entry.path();
        eprintln!(
            "e2e: cleaning up after a run that was killed ({})",
            folder.display()
        );
        for process in processes_of(&folder) {
            // Already gone is as good.
            kill_process(process, Signal::KILL).ok();
        }
        let journal = fs::read_to_string(folder.join(JOURNAL)).unwrap_or_default();
        let cleanups: Vec<Cleanup> = journal
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        run_all(&cleanups);
        run_all(&[Cleanup::RemoveFolder(folder)]);
    }
}

/// Runs clean-ups, last registered first; says what failed and goes on.
pub(super) fn run_all(cleanups: &[Cleanup]) {
    for cleanup in cleanups.iter().rev() {
        if let Err(error) = cleanup::run(cleanup) {
            eprintln!("e2e: failed to clean up {cleanup:?}: {error}");
        }
    }
}

/// Every process that carries the run's environment variable.
pub(super) fn processes_of(folder: &Path) -> Vec<Pid> {
    let marker = format!("{RUN_VARIABLE}={}", folder.display());
    let own = rustix::process::getpid();
    process_ids()
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
                environment
                    .split(|byte| *byte == 0)
                    .any(|entry| entry == marker.as_bytes())
            })
        })
        .filter_map(Pid::from_raw)
        .filter(|pid| *pid != own)
        .collect()
}

/// Ids of all processes.
pub(super) fn process_ids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Fields of `/proc/PID/stat` after the command, which may itself hold spaces and brackets. Index 0 is the state.
pub(super) fn stat_fields(pid: i32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// Start of a living process in clock ticks since boot; with the id it names a process for good.
fn start_time(pid: u32) -> Option<u64> {
    let fields = stat_fields(i32::try_from(pid).ok()?)?;
    // A dead process keeps its entry until its parent collects it.
    let alive = fields.first().is_some_and(|state| state != "Z");
    fields.get(19)?.parse().ok().filter(|_| alive)
}

fn parse_name(name: &str) -> Option<(u32, u64)> {
    let (pid, start) = name.strip_prefix("run-")?.split_once('-')?;
    Some((pid.parse().ok()?, start.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_runs_are_taken_for_such() {
        assert_eq!(parse_name("run-12-345"), Some((12, 345)));
        for other in ["run-12", "run-x-1", "keep", "12-345"] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }

    #[test]
    fn the_sweep_spares_living_runs_and_cleans_dead_ones() {
        let root = tempfile::tempdir().unwrap();
        let living = create(root.path()).unwrap();
        let dead = root.path().join(format!("run-{}-1", std::process::id()));
        fs::create_dir(&dead).unwrap();
        let left = root.path().join("left-behind");
        fs::create_dir(&left).unwrap();
        record(&dead, &Cleanup::RemoveFolder(left.clone())).unwrap();
        sweep(root.path());
        assert!(living.exists() && !dead.exists() && !left.exists());
    }
}

//! CPU time and memory of processes, as /proc tells.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

/// Clock ticks per second in /proc/PID/stat: the same on every Linux that we build for.
const TICKS: f64 = 100.0;

/// CPU seconds that a process has used, in user and kernel mode.
pub fn cpu_seconds(pid: i32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    ticks(&text)
        .map(|ticks| ticks / TICKS)
        .with_context(|| format!("failed to understand {path}"))
}

/// The most memory that a process has had resident, in MiB.
pub fn peak_mib(pid: i32) -> anyhow::Result<f64> {
    memory(pid, "VmHWM:")
}

/// The memory that a process has resident, in MiB.
pub fn resident_mib(pid: i32) -> anyhow::Result<f64> {
    memory(pid, "VmRSS:")
}

fn memory(pid: i32, field: &str) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    kib(&text, field)
        .map(|kib| kib / 1024.0)
        .with_context(|| format!("{path} has no {field}"))
}

/// CPU seconds by program, of every process whose working folder is `folder`: the programs of one cluster.
pub fn cpu_seconds_below(folder: &Path) -> anyhow::Result<BTreeMap<String, f64>> {
    let mut programs = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("failed to read /proc")? {
        let path = entry.context("failed to read /proc")?.path();
        // A process may end while it is looked at, and not every entry is one.
        if fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd == folder)
            && let Ok(text) = fs::read_to_string(path.join("stat"))
            && let (Some(name), Some(ticks)) = (name(&text), ticks(&text))
        {
            *programs.entry(name.to_owned()).or_default() += ticks / TICKS;
        }
    }
    Ok(programs)
}

/// The program's name: in parentheses, and it may hold any character, also those.
fn name(stat: &str) -> Option<&str> {
    Some(stat.rsplit_once(')')?.0.split_once('(')?.1)
}

/// utime and stime: the 14th and 15th field; the third follows the name.
fn ticks(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn kib(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find(|line| line.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "42 (a (b) c) S 1 42 42 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 3 0 100 1000 200 18446744073709551615";

    #[test]
    fn the_times_are_found_behind_a_name_with_spaces_and_parentheses() {
        assert_eq!(name(STAT), Some("a (b) c"));
        assert_eq!(ticks(STAT), Some(300.0));
        assert_eq!(ticks("42 (cut"), None);
    }

    #[test]
    fn memory_is_read_by_its_name() {
        let status = "VmPeak:\t  9 kB\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n";
        assert_eq!(kib(status, "VmHWM:"), Some(2048.0));
        assert_eq!(kib(status, "VmSwap:"), None);
    }

    #[test]
    fn this_process_has_memory_and_time() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(peak_mib(own).unwrap() >= resident_mib(own).unwrap() * 0.5);
        assert!(cpu_seconds(own).unwrap() >= 0.0);
    }
}

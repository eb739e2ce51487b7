//! Helpers of the self-tests: a process that plays a test which gets killed.
#![allow(clippy::unwrap_used, reason = "a helper of tests fails like a test")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Names the folder that a victim process writes to; its presence makes a test play the victim.
pub(crate) const VARIABLE: &str = "KAIROS_E2E_TEST_VICTIM";

/// A process of this test binary that runs only `the_victim_starts_processes_and_waits`.
pub(crate) struct Victim(Child);

impl Victim {
    pub(crate) fn start(folder: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_victim_starts_processes_and_waits"])
            .env(VARIABLE, folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Written by the victim: the guard's run folder, then one process id per line.
pub(crate) fn read_report(folder: &Path) -> (PathBuf, Vec<String>) {
    let report = folder.join("report");
    eventually("the victim reports", || report.exists());
    let text = std::fs::read_to_string(report).unwrap();
    let mut lines = text.lines().map(str::to_owned);
    (lines.next().unwrap().into(), lines.collect())
}

pub(crate) fn alive(pid: &str) -> bool {
    // A dead process that nobody collected yet is dead.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

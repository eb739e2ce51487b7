//! Self-tests of the embedded cluster: the library must be trustworthy before the tests that stand on it are.

mod control_plane;
mod victim;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use e2e::guard::{Cleanup, Exit, Guard, Process};
use victim::{Victim, alive, eventually, read_report};

/// Does nothing in an ordinary run: other tests start it as a process of its own and kill that.
#[test]
fn the_victim_starts_processes_and_waits() {
    let Some(folder) = std::env::var_os(victim::VARIABLE).map(PathBuf::from) else {
        return;
    };
    let guard = Guard::start().unwrap();
    guard
        .register(Cleanup::RemoveFile(folder.join("to-be-removed")))
        .unwrap();
    std::fs::write(folder.join("to-be-removed"), "").unwrap();
    let log = guard.folder().join("shell.log");
    // One child, one grandchild in a session of its own whose parent is gone.
    let script = format!(
        "setsid sh -c 'echo $$ > {0}/inner; exec sleep 600' & sleep 600",
        folder.display()
    );
    let child = guard
        .spawn(&Process::new("shell", ["sh", "-c", &script], log))
        .unwrap();
    eventually("the grandchild runs", || folder.join("inner").exists());
    let inner = std::fs::read_to_string(folder.join("inner")).unwrap();
    let report = format!(
        "{}\n{}\n{}\n",
        guard.folder().display(),
        child.pid(),
        inner.trim()
    );
    std::fs::write(folder.join("report.new"), report).unwrap();
    std::fs::rename(folder.join("report.new"), folder.join("report")).unwrap();
    std::thread::sleep(Duration::from_mins(10));
}

#[test]
fn killing_a_test_ends_everything_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let mut victim = Victim::start(folder.path());
    let (run, pids) = read_report(folder.path());
    assert!(
        run.exists() && pids.len() == 2 && pids.iter().all(|pid| alive(pid)),
        "{pids:?} run before the kill"
    );
    victim.kill();
    eventually("all processes are gone", || {
        !pids.iter().any(|pid| alive(pid))
    });
    eventually("the run's folder is gone", || !run.exists());
    assert!(!folder.path().join("to-be-removed").exists());
}

#[test]
fn killing_the_guard_ends_its_children_and_the_next_guard_cleans_up() {
    let folder = tempfile::tempdir().unwrap();
    let _victim = Victim::start(folder.path());
    let (run, pids) = read_report(folder.path());
    let guard = run
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .split('-')
        .nth(1)
        .unwrap()
        .to_owned();
    Command::new("kill").args(["-9", &guard]).status().unwrap();
    eventually("the guard's child is gone", || !alive(&pids[0]));
    let _next = Guard::start().unwrap();
    eventually("the grandchild is gone", || !alive(&pids[1]));
    assert!(!run.exists() && !folder.path().join("to-be-removed").exists());
}

#[tokio::test]
async fn the_end_of_a_process_is_reported() {
    let guard = Guard::start().unwrap();
    let log = guard.folder().join("log");
    let ended = guard
        .spawn(&Process::new(
            "ended",
            ["sh", "-c", "echo said; exit 3"],
            &log,
        ))
        .unwrap();
    assert_eq!(ended.wait().await.unwrap(), Exit::Code(3));
    assert_eq!(ended.log_tail(5), "said");
    let killed = guard
        .spawn(&Process::new("killed", ["sleep", "600"], &log))
        .unwrap();
    assert_eq!(killed.exit(), None);
    killed.kill().unwrap();
    assert_eq!(killed.wait().await.unwrap(), Exit::Signal(9));
    let error = guard
        .spawn(&Process::new("missing", ["/does/not/exist"], &log))
        .err()
        .unwrap();
    assert!(
        format!("{error:#}").contains("/does/not/exist does not exist"),
        "{error:#}"
    );
}

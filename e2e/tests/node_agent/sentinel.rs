//! The order in which the sentinel reaches the disk, by the agent's own system calls.

use std::fs;
use std::path::Path;
use std::process::Command;

use e2e::assets::apt_install;
use e2e::operator;

use super::SENTINEL;

/// System calls on the sentinel's folder and files, in their order, each as its name and the file names it is about.
fn calls(host: &Path) -> Vec<String> {
    apt_install(&["strace"]).unwrap();
    let trace = host.with_extension("trace");
    let status = Command::new("strace")
        .args(["--follow-forks", "--decode-fds=path", "--string-limit=200"])
        .arg("--trace=openat,openat2,mkdirat,write,fsync,fdatasync,rename,renameat,renameat2")
        .arg("--output")
        .arg(&trace)
        .arg(operator::static_agent().unwrap())
        .args(["sentinel", "--name", SENTINEL, "--host-root"])
        .arg(host)
        .arg("--termination-log")
        .arg(host.with_extension("message"))
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    let text = fs::read_to_string(&trace).unwrap();
    let root = fs::canonicalize(host).unwrap().display().to_string();
    let unfinished = format!(".{SENTINEL}.unfinished");
    let calls = text.lines().filter_map(|line| {
        // `PID call(arguments) = result`
        let (_, line) = line.split_once(' ')?;
        let (name, rest) = line.trim_start().split_once('(')?;
        let (arguments, result) = rest.rsplit_once(" = ")?;
        if result.starts_with('-') || name.starts_with("open") {
            return None;
        }
        let shown = arguments
            .replace(&root, "")
            .replace(&unfinished, "UNFINISHED")
            .replace(SENTINEL, "SENTINEL");
        let file = match name {
            "write" | "fsync" | "fdatasync" => between(&shown, '<', '>')?.to_owned(),
            _ => shown
                .split('"')
                .skip(1)
                .step_by(2)
                .collect::<Vec<_>>()
                .join(" to "),
        };
        Some(format!("{} {file}", name.trim_end_matches(['2'])))
    });
    calls.collect()
}

fn between(text: &str, start: char, end: char) -> Option<&str> {
    let (_, rest) = text.split_once(start)?;
    Some(rest.split_once(end)?.0)
}

#[test]
fn the_sentinel_is_on_the_disk_before_its_name_and_its_name_before_the_message() {
    let folder = tempfile::tempdir().unwrap();
    let host = folder.path().join("host");
    fs::create_dir_all(host.join("proc/sys/kernel/random")).unwrap();
    fs::create_dir_all(host.join("usr")).unwrap();
    fs::write(host.join("proc/sys/kernel/random/boot_id"), "boot-1\n").unwrap();
    let message = host.with_extension("message").display().to_string();
    let written = [
        "fsync /usr/local".to_owned(),
        "write /usr/local/.kairos/UNFINISHED".to_owned(),
        "fsync /usr/local/.kairos/UNFINISHED".to_owned(),
        "renameat UNFINISHED to SENTINEL".to_owned(),
        "fsync /usr/local/.kairos".to_owned(),
        format!("write {message}").replace(&host.display().to_string(), ""),
    ];
    let made = ["mkdirat local", "fsync /usr", "mkdirat .kairos"];
    let first: Vec<String> = made
        .map(str::to_owned)
        .into_iter()
        .chain(written.clone())
        .collect();
    assert_eq!(calls(&host), first);
    assert_eq!(calls(&host), written, "once more, over the first one");
}

//! A node's root, an image's root and stand-ins for what the script calls, in a folder of its own.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

const SCRIPT: &str = include_str!("../../src/build/upgrade.sh");
/// Environment variable with a busybox to test with, where none is installed.
const BUSYBOX: &str = "KAIROS_TEST_BUSYBOX";

/// Notes its arguments, each with its length, so that no two lists look alike.
const AGENT: &str = r#"#!/bin/sh
case $* in *--help*) cat "$FAKE/help"; exit ;; esac
for word in "$@"; do printf '%s:%s,' "${#word}" "$word"; done >> "$FAKE/agent"
printf '\n' >> "$FAKE/agent"
[ ! -e "$FAKE/fails" ] || { echo "no space left on device" >&2; exit 7; }
"#;
const MOUNT: &str = "#!/bin/sh\necho \"$@\" >> \"$FAKE/mounts\"\n";

/// The shells that can be found here. dash is Debian's sh and always there.
pub(crate) fn shells() -> Vec<Vec<String>> {
    let mut shells = vec![vec!["dash".to_owned()]];
    if is_there("bash") {
        shells.push(vec!["bash".to_owned()]);
    }
    let given = std::env::var(BUSYBOX).ok();
    let busybox = given.or_else(|| is_there("busybox").then(|| "busybox".to_owned()));
    match busybox.or_else(of_test_nodes) {
        Some(busybox) => shells.push(vec![busybox, "sh".to_owned()]),
        None => eprintln!("no busybox here: set {BUSYBOX} to test with one"),
    }
    shells
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--help").output().is_ok()
}

/// The one in the root file system of test nodes, when there is one on this machine.
fn of_test_nodes() -> Option<String> {
    let cache = PathBuf::from(std::env::var_os("HOME")?).join(".cache/kairos-operator-e2e");
    let roots = fs::read_dir(cache).ok()?.flatten();
    roots
        .map(|root| root.path().join("usr/bin/busybox"))
        .find(|path| path.is_file())
        .map(|path| path.display().to_string())
}

/// What a run came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) status: i32,
    pub(crate) termination: String,
    pub(crate) output: String,
    /// One line per call of the agent: LENGTH:ARGUMENT, and so on.
    pub(crate) agent: Vec<String>,
    pub(crate) mounts: Vec<String>,
}

pub(crate) struct Rig {
    folder: tempfile::TempDir,
}

impl Rig {
    /// A node of version v1 that booted active, and an image of version v2.
    pub(crate) fn new() -> Self {
        let rig = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        for folder in ["host/etc", "image/etc", "bin", "fake"] {
            fs::create_dir_all(rig.path(folder)).unwrap();
        }
        for (name, text) in [("kairos-agent", AGENT), ("mount", MOUNT)] {
            let path = rig.path("bin").join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        rig.agent_help("--source value  --recovery  --exclude-path value");
        rig.write("image/etc/kairos-release", "KAIROS_VERSION=v2\n");
        rig.write("image/etc/only-in-the-image", "KAIROS_VERSION=v2\n");
        rig.write("host/etc/kairos-release", "KAIROS_VERSION=v1\n");
        rig.boots("root=LABEL=COS_ACTIVE");
        rig
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn link(&self, path: &str, target: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    pub(crate) fn remove(&self, path: &str) {
        fs::remove_file(self.path(path)).unwrap();
    }

    pub(crate) fn boots(&self, command_line: &str) {
        self.write("host/proc/cmdline", &format!("quiet {command_line} ro\n"));
    }

    pub(crate) fn agent_help(&self, text: &str) {
        self.write("fake/help", text);
    }

    pub(crate) fn agent_fails(&self) {
        self.write("fake/fails", "");
    }

    /// Runs the script, and fails when a text of the node was executed.
    pub(crate) fn run(&self, shell: &[String], arguments: &[&str]) -> Outcome {
        for file in ["log", "fake/agent", "fake/mounts"] {
            fs::remove_file(self.path(file)).ok();
        }
        let canary = self.path("canary");
        let path = format!(
            "{}:{}",
            self.path("bin").display(),
            std::env::var("PATH").unwrap()
        );
        let output = Command::new(&shell[0])
            .args(&shell[1..])
            .args(["-c", SCRIPT, "upgrade"])
            .args(arguments)
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("HOST_DIR", self.path("host"))
            .env("KAIROS_UPGRADE_IMAGE_ROOT", self.path("image"))
            .env("KAIROS_UPGRADE_TERMINATION_LOG", self.path("log"))
            .env("KAIROS_UPGRADE_MOUNT", self.path("bin/mount"))
            .env("FAKE", self.path("fake"))
            .env("CANARY", &canary)
            .output()
            .unwrap();
        assert!(!canary.exists(), "a text of the node was run by {shell:?}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        Outcome {
            status: output.status.code().unwrap_or(-1),
            termination: read(&self.path("log")),
            output: text,
            agent: calls(&self.path("fake/agent")),
            mounts: read(&self.path("fake/mounts"))
                .lines()
                .map(str::to_owned)
                .collect(),
        }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn calls(path: &Path) -> Vec<String> {
    // An argument may hold a line feed: a call ends with a comma before it.
    read(path)
        .split_terminator(",\n")
        .map(|call| format!("{call},"))
        .collect()
}

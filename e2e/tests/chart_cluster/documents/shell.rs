//! A shell in a folder of its own, with the programs that the documentation names.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::assets::{self, Tool};
use e2e::chart;
use e2e::operator;

use crate::site::{self, Site};

/// kubectl, but for two things that simulated nodes cannot do: show the log of a container (that the Pod is known is what
/// counts; it may be gone a moment later), and finish an upgrade or a build.
const KUBECTL: &str = r#"#!/bin/sh
case " $* " in
*" logs "*)
  said=$("$REAL_KUBECTL" "$@" 2>&1) && { echo "$said"; echo "lease: failed"; exit 0; }
  case "$said" in
  *containerLogs*|*"waiting to start"*|*"previous terminated container"*|*"no preferred addresses"*|*"pods "*" not found"*) echo "no log: lease, failed"; exit 0 ;;
  esac
  echo "$said" >&2
  exit 1 ;;
*" wait "*nodeopupgrade/*|*" wait "*osartifact/*)
  said=$("$REAL_KUBECTL" "$@" --timeout=1s 2>&1) && exit 0
  case "$said" in *"timed out waiting"*) exit 0 ;; esac
  echo "$said" >&2
  exit 1 ;;
esac
exec "$REAL_KUBECTL" "$@"
"#;
/// Developers' commands: whether the words are understood. What those call in their turn runs.
const CARGO: &str = r#"#!/bin/sh
case "$1" in
xtask) shift; cd "$ROOT" && exec "$REAL_XTASK" "$@" --help ;;
test | build) exit 0 ;;
esac
exec "$REAL_CARGO" "$@"
"#;

pub(crate) struct Shell {
    folder: tempfile::TempDir,
    variables: Vec<(&'static str, PathBuf)>,
}

impl Shell {
    pub(crate) fn new(site: &Site) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        for name in ["deploy", "charts"] {
            symlink(
                chart::root().join(name).canonicalize().unwrap(),
                here.join(name),
            )
            .unwrap();
        }
        fs::copy(
            here.join("deploy/examples/osartifact.yaml"),
            here.join("my-artifact.yaml"),
        )
        .unwrap();
        let programs = here.join("programs");
        fs::create_dir(&programs).unwrap();
        for (name, text) in [("kubectl", KUBECTL), ("cargo", CARGO)] {
            let path = programs.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        symlink(assets::tool(Tool::Helm).unwrap(), programs.join("helm")).unwrap();
        let render = operator::binary("artifact-controller").unwrap();
        symlink(render, programs.join("artifact-controller")).unwrap();
        let variables = vec![
            ("KUBECONFIG", site.cluster.kubeconfig()),
            ("REAL_KUBECTL", assets::tool(Tool::Kubectl).unwrap()),
            ("REAL_XTASK", operator::binary("xtask").unwrap()),
            ("REAL_CARGO", std::env::var_os("CARGO").unwrap().into()),
            ("ROOT", chart::root()),
        ];
        Self { folder, variables }
    }

    /// Runs commands as they stand. The first that fails ends the test.
    pub(crate) async fn run(&self, page: &str, commands: &str) {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("set -e\n{commands}"));
        let said = site::run(self.surroundings(shell)).await;
        assert!(said.good, "{page}:\n{commands}\n{}", said.text);
    }

    /// Has the API server look at a manifest, without keeping it.
    pub(crate) async fn apply(&self, page: &str, manifest: &str) {
        let file = self.folder.path().join("manifest.yaml");
        fs::write(&file, manifest).unwrap();
        let mut kubectl = Command::new("sh");
        kubectl.args(["-c", "kubectl apply --dry-run=server -f manifest.yaml"]);
        let said = site::run(self.surroundings(kubectl)).await;
        assert!(said.good, "{page}:\n{manifest}\n{}", said.text);
    }

    fn surroundings(&self, mut command: Command) -> Command {
        let programs: &Path = &self.folder.path().join("programs");
        let path = std::env::var("PATH").unwrap();
        command.current_dir(self.folder.path());
        command.env("PATH", format!("{}:{path}", programs.display()));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

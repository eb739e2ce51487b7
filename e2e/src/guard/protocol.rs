//! What the library and its guard say to each other: one JSON object per line on the guard's stdin and stdout.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Raised whenever a message changes its shape, so that a guard of another build is noticed and not misunderstood.
pub(super) const PROTOCOL: u32 = 1;

/// Environment variable that every process of a run carries; its value is the run's folder.
///
/// It finds processes that outlived a guard which was itself killed.
pub const RUN_VARIABLE: &str = "KAIROS_E2E_RUN";

/// What to start. The process gets a process group of its own, no stdin, and dies with the guard.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Process {
    /// Short name for messages.
    pub name: String,
    /// Program and arguments. The program is looked up in `PATH` when it holds no slash.
    pub argv: Vec<String>,
    /// Set on top of the inherited environment.
    pub env: BTreeMap<String, String>,
    /// Working folder; the guard's own when absent.
    pub cwd: Option<PathBuf>,
    /// Receives standard output and error, appended.
    pub log: PathBuf,
    /// Name of a network namespace in `/run/netns` to start in.
    pub network_namespace: Option<String>,
}

impl Process {
    /// A process that runs `argv` and writes to `log`.
    pub fn new(
        name: impl Into<String>,
        argv: impl IntoIterator<Item = impl Into<String>>,
        log: impl Into<PathBuf>,
    ) -> Self {
        Self {
            name: name.into(),
            argv: argv.into_iter().map(Into::into).collect(),
            env: BTreeMap::new(),
            cwd: None,
            log: log.into(),
            network_namespace: None,
        }
    }

    /// Sets one environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sets the working folder.
    #[must_use]
    pub fn cwd(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cwd = Some(folder.into());
        self
    }

    /// Starts the process in the network namespace `/run/netns/NAME`.
    #[must_use]
    pub fn network_namespace(mut self, name: impl Into<String>) -> Self {
        self.network_namespace = Some(name.into());
        self
    }
}

/// What is done at the end of a run, after every process is dead, in reverse order of registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cleanup {
    /// Deletes a folder and everything in it; what is still mounted below is unmounted first, never deleted.
    RemoveFolder(PathBuf),
    /// Deletes one file.
    RemoveFile(PathBuf),
    /// Unmounts (lazily) what is mounted at this path.
    Unmount(PathBuf),
    /// Deletes the network namespace `/run/netns/NAME`.
    DeleteNetworkNamespace(String),
    /// Deletes a control group and the groups below it, waiting up to 5 s until they are empty.
    RemoveControlGroup(PathBuf),
}

/// The signals a process can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// SIGKILL
    Kill,
    /// SIGTERM
    Terminate,
    /// SIGINT
    Interrupt,
    /// SIGHUP
    Hangup,
    /// SIGSTOP
    Stop,
    /// SIGCONT
    Continue,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// It returned this code. 127: the program could not be started; its log says why.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl Exit {
    /// Whether the process returned 0.
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }
}

/// From the library to the guard.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Repeated in the answer.
    pub(crate) id: u64,
    /// What to do.
    pub(crate) action: Action,
}

/// What the library may ask.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Action {
    /// Start a process.
    Spawn(Process),
    /// Send a signal to a process, or to its whole group.
    Signal {
        pid: i32,
        signal: Signal,
        group: bool,
    },
    /// Remember a clean-up.
    Register(Cleanup),
    /// Run a registered clean-up now and forget it.
    RunNow(Cleanup),
}

/// From the guard to the library.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Message {
    /// First message: the run's folder exists.
    Hello { protocol: u32, folder: PathBuf },
    /// The answer to a request: the process id for a spawn, 0 otherwise.
    Answer {
        id: u64,
        result: Result<i32, String>,
    },
    /// A process that was asked for has ended.
    Exited { pid: i32, exit: Exit },
}

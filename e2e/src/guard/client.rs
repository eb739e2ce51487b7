//! The library's side of the guard.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tokio::sync::watch;

use super::locate;
use super::protocol::{Action, Cleanup, Exit, Message, PROTOCOL, Process, Request, Signal};

/// How long the guard may take for one request.
const ANSWER: Duration = Duration::from_secs(30);

type Answers = HashMap<u64, mpsc::Sender<Result<i32, String>>>;

/// A running guard. Cheap to clone; when the last clone is dropped, everything it started ends.
#[derive(Clone)]
pub struct Guard {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    next_request: AtomicU64,
    stdin: Mutex<Option<ChildStdin>>,
    shared: Arc<Shared>,
    child: Mutex<Child>,
}

/// What the reading thread shares with the callers.
#[derive(Default)]
struct Shared {
    answers: Mutex<Answers>,
    exits: Mutex<HashMap<i32, watch::Sender<Option<Exit>>>>,
}

impl Guard {
    /// Starts a guard and sweeps what killed runs left behind.
    pub fn start() -> anyhow::Result<Self> {
        let program = locate::guard_program()?;
        let mut child = Command::new(&program)
            .arg("supervise")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C in a terminal must not reach the guard: it ends when the pipe does.
            .process_group(0)
            .spawn()
            .with_context(|| format!("failed to start the guard {}", program.display()))?;
        let stdin = child.stdin.take();
        let mut stdout = BufReader::new(child.stdout.take().context("the guard has no stdout")?);
        let mut first = String::new();
        stdout
            .read_line(&mut first)
            .context("failed to read from the guard")?;
        let hello = serde_json::from_str(&first).with_context(|| {
            format!(
                "the guard {} did not start: its message above says why",
                program.display()
            )
        })?;
        let Message::Hello {
            protocol: PROTOCOL,
            folder,
        } = hello
        else {
            bail!(
                "the guard {} is of another build: run cargo build -p e2e",
                program.display()
            );
        };
        let shared = Arc::new(Shared::default());
        let reader = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("guard".to_owned())
            .spawn(move || reader.read(stdout))
            .context("failed to start the guard's reader")?;
        let inner = Inner {
            folder,
            next_request: AtomicU64::new(1),
            stdin: Mutex::new(stdin),
            shared,
            child: Mutex::new(child),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The run's own folder; it is removed at the end.
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// A short name that no other living run on this machine has; fit for namespaces, control groups and host names.
    pub fn run_name(&self) -> String {
        format!("kairos-{}", lock(&self.inner.child).id())
    }

    /// Starts a process.
    pub fn spawn(&self, process: &Process) -> anyhow::Result<ProcessHandle> {
        let name = process.name.clone();
        let pid = self
            .ask(Action::Spawn(process.clone()))
            .with_context(|| format!("failed to start {name}"))?;
        let exited = lock(&self.inner.shared.exits)
            .get(&pid)
            .map(watch::Sender::subscribe)
            .context("the guard is gone")?;
        Ok(ProcessHandle {
            guard: self.clone(),
            pid,
            name,
            log: process.log.clone(),
            exited,
        })
    }

    /// Registers what to do at the end of the run. Register before making the thing, so that nothing slips through.
    pub fn register(&self, cleanup: Cleanup) -> anyhow::Result<()> {
        self.ask(Action::Register(cleanup)).map(|_| ())
    }

    /// Runs a clean-up now and forgets its registration.
    pub fn run_now(&self, cleanup: Cleanup) -> anyhow::Result<()> {
        self.ask(Action::RunNow(cleanup)).map(|_| ())
    }

    /// Ends everything now and waits until it is done.
    pub fn stop(&self) {
        self.inner.stop();
    }

    fn ask(&self, action: Action) -> anyhow::Result<i32> {
        let id = self.inner.next_request.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel();
        lock(&self.inner.shared.answers).insert(id, sender);
        let mut line =
            serde_json::to_string(&Request { id, action }).context("failed to write a request")?;
        line.push('\n');
        lock(&self.inner.stdin)
            .as_mut()
            .context("the guard was stopped")?
            .write_all(line.as_bytes())
            .context("the guard is gone")?;
        let answer = receiver
            .recv_timeout(ANSWER)
            .map_err(|_| anyhow!("the guard did not answer: it was killed, or hangs"))?;
        answer.map_err(|message| anyhow!(message))
    }
}

impl Inner {
    fn stop(&self) {
        drop(lock(&self.stdin).take());
        if let Err(error) = lock(&self.child).wait() {
            eprintln!("e2e: failed to wait for the guard: {error}");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn read(&self, stdout: BufReader<ChildStdout>) {
        for line in stdout.lines() {
            let Ok(line) = line else { break };
            match serde_json::from_str(&line) {
                Ok(Message::Answer { id, result }) => {
                    // Made here, in the order of the messages, so that a process id that comes a second time starts anew.
                    if let Ok(pid @ 1..) = result {
                        lock(&self.exits).insert(pid, watch::channel(None).0);
                    }
                    if let Some(sender) = lock(&self.answers).remove(&id) {
                        // A caller that no longer waits has already failed with its own message.
                        sender.send(result).ok();
                    }
                }
                Ok(Message::Exited { pid, exit }) => {
                    if let Some(sender) = lock(&self.exits).get(&pid) {
                        sender.send_replace(Some(exit));
                    }
                }
                Ok(Message::Hello { .. }) | Err(_) => {
                    eprintln!("e2e: unexpected message from the guard: {line}");
                }
            }
        }
        // Whoever still waits learns that no answer comes.
        lock(&self.answers).clear();
        lock(&self.exits).clear();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The data of these mutexes is whole after every statement, so a panic elsewhere does not matter.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process that the guard started. Dropping the handle does not end the process; the guard does, at the end of the run.
#[derive(Clone)]
pub struct ProcessHandle {
    guard: Guard,
    pid: i32,
    name: String,
    log: PathBuf,
    exited: watch::Receiver<Option<Exit>>,
}

impl ProcessHandle {
    /// Process id; also the id of its process group.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The name it was started with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that receives its output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last `count` lines of its output.
    pub fn log_tail(&self, count: usize) -> String {
        let text = std::fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    /// How it ended, if it has.
    pub fn exit(&self) -> Option<Exit> {
        *self.exited.borrow()
    }

    /// Waits for the end of the process. Fails when the guard is gone.
    pub async fn wait(&self) -> anyhow::Result<Exit> {
        let mut exited = self.exited.clone();
        let exit = exited
            .wait_for(Option::is_some)
            .await
            .with_context(|| format!("the guard of {} is gone", self.name))?;
        exit.context("the process has not ended")
    }

    /// Sends a signal to the process alone. Nothing happens when it has ended.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.send(signal, false)
    }

    /// Kills (SIGKILL) the process and its group. When this returns, the signal was sent; [`Self::wait`] for its end.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.send(Signal::Kill, true)
    }

    fn send(&self, signal: Signal, group: bool) -> anyhow::Result<()> {
        self.guard
            .ask(Action::Signal {
                pid: self.pid,
                signal,
                group,
            })
            .map(|_| ())
            .with_context(|| format!("failed to send {signal:?} to {}", self.name))
    }
}

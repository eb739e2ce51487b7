//! The guard process itself: one thread, one loop, ends everything when its stdin ends.
//!
//! One thread matters: a child's parent-death signal fires when the *thread* that started it ends.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, WaitOptions, WaitStatus, getpid, kill_process, kill_process_group, pidfd_open,
    set_child_subreaper, wait,
};

use super::protocol::{
    Action, Cleanup, Exit, Message, PROTOCOL, Process, RUN_VARIABLE, Request, Signal,
};
use super::run_folder;

/// How often orphans that were handed to this process are collected.
const TICK: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// How long killed processes may take to vanish before the guard gives up waiting for them.
const DEATH: Duration = Duration::from_secs(10);

struct Supervisor {
    folder: PathBuf,
    /// Living children by process id.
    children: BTreeMap<i32, OwnedFd>,
    cleanups: Vec<Cleanup>,
}

/// Serves requests from stdin until it ends, then kills everything started and runs the clean-ups in reverse.
pub fn supervise() -> io::Result<()> {
    let root = run_folder::root();
    fs::create_dir_all(&root)?;
    run_folder::sweep(&root);
    // Descendants that lose their parent become children of this process and are found at the end.
    set_child_subreaper(Some(getpid()))?;
    let folder = run_folder::create(&root)?;
    let mut supervisor = Supervisor {
        cleanups: vec![Cleanup::RemoveFolder(folder.clone())],
        folder,
        children: BTreeMap::new(),
    };
    let served = supervisor.serve();
    supervisor.kill_everything();
    run_folder::run_all(&supervisor.cleanups);
    served
}

impl Supervisor {
    fn serve(&mut self) -> io::Result<()> {
        tell(&Message::Hello {
            protocol: PROTOCOL,
            folder: self.folder.clone(),
        })?;
        let stdin = io::stdin();
        let mut buffer = Vec::new();
        let mut chunk = vec![0_u8; 64 * 1024];
        loop {
            let readable = {
                let mut watched = vec![PollFd::new(&stdin, PollFlags::IN)];
                watched.extend(
                    self.children
                        .values()
                        .map(|child| PollFd::from_borrowed_fd(child.as_fd(), PollFlags::IN)),
                );
                match poll(&mut watched, Some(&TICK)) {
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
                watched
                    .first()
                    .is_some_and(|stdin| !stdin.revents().is_empty())
            };
            self.reap()?;
            if readable {
                // Straight from the descriptor: `Stdin` keeps a buffer of its own that `poll` does not see.
                let count = rustix::io::read(&stdin, &mut chunk)?;
                if count == 0 {
                    return Ok(());
                }
                buffer.extend_from_slice(&chunk[..count]);
                while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = buffer.drain(..=end).collect();
                    let request: Request = serde_json::from_slice(&line)?;
                    let result = self.act(request.action).map_err(|error| error.to_string());
                    tell(&Message::Answer {
                        id: request.id,
                        result,
                    })?;
                }
            }
        }
    }

    fn act(&mut self, action: Action) -> io::Result<i32> {
        match action {
            Action::Spawn(process) => self.spawn(process),
            Action::Signal { pid, signal, group } => self.signal(pid, signal, group).map(|()| 0),
            Action::Register(cleanup) => {
                run_folder::record(&self.folder, &cleanup)?;
                self.cleanups.push(cleanup);
                Ok(0)
            }
            Action::RunNow(cleanup) => {
                super::cleanup::run(&cleanup)?;
                self.cleanups.retain(|registered| *registered != cleanup);
                Ok(0)
            }
        }
    }

    fn spawn(&mut self, process: Process) -> io::Result<i32> {
        let Process {
            name,
            argv,
            env,
            cwd,
            log,
            network_namespace,
        } = process;
        let program = argv
            .first()
            .ok_or_else(|| io::Error::other(format!("{name}: no program given")))?;
        if program.contains('/') && !fs::exists(program)? {
            return Err(io::Error::other(format!(
                "{name}: {program} does not exist"
            )));
        }
        let log = fs::File::options().create(true).append(true).open(&log)?;
        // This program again: it ties the process to the guard's life and enters the namespace before it becomes `argv`.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg("exec")
            .arg("--parent")
            .arg(std::process::id().to_string());
        if let Some(namespace) = network_namespace {
            command.arg("--network-namespace").arg(namespace);
        }
        command
            .arg("--")
            .args(&argv)
            .envs(env)
            .env(RUN_VARIABLE, &self.folder);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        if let Some(cwd) = cwd {
            command.current_dir(cwd);
        }
        // Not waited for through this handle: `reap` collects every child, adopted ones too.
        let child = command.spawn()?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        let handle = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        self.children.insert(pid, handle);
        Ok(pid)
    }

    fn signal(&self, pid: i32, signal: Signal, group: bool) -> io::Result<()> {
        // An id that is no living child may already belong to somebody else.
        let target = Pid::from_raw(pid).filter(|_| self.children.contains_key(&pid));
        let Some(target) = target else { return Ok(()) };
        let signal = raw(signal);
        let sent = if group {
            kill_process_group(target, signal)
        } else {
            kill_process(target, signal)
        };
        match sent {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Collects every ended child and reports those that were asked for.
    fn reap(&mut self) -> io::Result<()> {
        while let Some((pid, status)) = collect()? {
            let pid = pid.as_raw_nonzero().get();
            if self.children.remove(&pid).is_some() {
                tell(&Message::Exited {
                    pid,
                    exit: exit_of(status),
                })?;
            }
        }
        Ok(())
    }

    /// Kills groups, descendants and marked processes until none is left.
    fn kill_everything(&mut self) {
        let deadline = Instant::now() + DEATH;
        for pid in self.children.keys().filter_map(|pid| Pid::from_raw(*pid)) {
            kill_process_group(pid, rustix::process::Signal::KILL).ok();
        }
        loop {
            let mut left: Vec<Pid> = descendants();
            left.extend(run_folder::processes_of(&self.folder));
            for pid in &left {
                kill_process(*pid, rustix::process::Signal::KILL).ok();
            }
            while let Ok(Some(_)) = collect() {}
            if left.is_empty() {
                return;
            }
            if Instant::now() > deadline {
                eprintln!(
                    "e2e: {} processes of {} did not die",
                    left.len(),
                    self.folder.display()
                );
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn tell(message: &Message) -> io::Result<()> {
    let mut line = serde_json::to_string(message)?;
    line.push('\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(line.as_bytes())?;
    stdout.flush()
}

fn collect() -> io::Result<Option<(Pid, WaitStatus)>> {
    match wait(WaitOptions::NOHANG) {
        Err(rustix::io::Errno::CHILD) => Ok(None),
        other => Ok(other?),
    }
}

fn exit_of(status: WaitStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Code(-1),
    }
}

fn raw(signal: Signal) -> rustix::process::Signal {
    match signal {
        Signal::Kill => rustix::process::Signal::KILL,
        Signal::Terminate => rustix::process::Signal::TERM,
        Signal::Interrupt => rustix::process::Signal::INT,
        Signal::Hangup => rustix::process::Signal::HUP,
        Signal::Stop => rustix::process::Signal::STOP,
        Signal::Continue => rustix::process::Signal::CONT,
    }
}

/// All processes below this one, by parent ids. Dead ones that wait to be collected are left out.
fn descendants() -> Vec<Pid> {
    let own = getpid().as_raw_nonzero().get();
    let table: Vec<(i32, i32)> = run_folder::process_ids()
        .filter_map(|pid| {
            let fields = run_folder::stat_fields(pid)?;
            let alive = fields.first().is_some_and(|state| state != "Z");
            Some((pid, fields.get(1)?.parse().ok()?)).filter(|_| alive)
        })
        .collect();
    let mut found = vec![own];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(
            table
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    found
        .into_iter()
        .skip(1)
        .filter_map(Pid::from_raw)
        .collect()
}

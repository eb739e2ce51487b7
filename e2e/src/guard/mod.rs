//! The guard: a process that starts everything a run needs and ends it when the run ends, however it ends.
//!
//! The library holds a pipe to the guard. When the pipe closes (drop, panic, kill -9 of the test), the guard kills every
//! process it started with all their descendants and runs the registered clean-ups, last registered first. When the guard
//! itself is killed, its children die by their parent-death signal, and the next guard on the machine runs its clean-ups.

mod cleanup;
mod client;
mod exec;
mod locate;
mod protocol;
mod run_folder;
mod supervisor;

pub use client::{Guard, ProcessHandle};
pub use protocol::{Cleanup, Exit, Process, RUN_VARIABLE, Signal};

/// What the `e2e-guard` program is made of.
pub mod program {
    pub use super::exec::{become_process, forward};
    pub use super::supervisor::supervise;
}

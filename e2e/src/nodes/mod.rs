//! Real Kubernetes nodes on this machine: kubelet, containerd and runc, with real Pods and a real reboot.
//!
//! Each node is a process tree in mount, PID, UTS, IPC and network namespaces of its own, behind a `pivot_root` onto a Debian root
//! file system of its own. Three scripts in `assets/node` make it up: `firmware.sh` outside (starts the node again when it
//! rebooted), `boot.sh` from the new namespaces to the new root, and `init.sh`, its PID 1. Everything that may call reboot(2) runs
//! in the node's PID namespace, where that ends the node and not the machine.
//!
//! A privileged Pod is as powerful as root here but sees only its node: file system, processes, network and a handful of harmless
//! devices. The kernel is shared, so that a test must not change what belongs to all: its clock, modules and sysrq.

mod authority;
mod config;
mod control_groups;
mod history;
mod network;
mod node;
mod root_file_system;
mod spec;
mod start;
mod supported;

pub use authority::{Authority, Credentials};
pub use history::{Boot, End};
pub use network::GATEWAY;
pub use node::Node;
pub use spec::{BootState, NodeSpec};
pub use start::{ControlPlane, RealNodes};
pub use supported::{Reason, supported};

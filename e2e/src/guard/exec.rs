//! What the guard's program does in other roles: become a supervised process, and carry connections into a namespace.

use std::fs::File;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Ties this process to the life of its parent `parent`, enters the namespace, and becomes `argv`. Returns only on failure.
pub fn become_process(parent: i32, network_namespace: Option<&str>, argv: &[String]) -> io::Error {
    let prepare = || -> io::Result<()> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before the line above took effect.
        if getppid() != Pid::from_raw(parent) {
            return Err(io::Error::other("the guard is gone"));
        }
        network_namespace.map_or(Ok(()), enter_network_namespace)
    };
    if let Err(error) = prepare() {
        return error;
    }
    let Some((program, arguments)) = argv.split_first() else {
        return io::Error::other("no program given");
    };
    Command::new(program).args(arguments).exec()
}

/// Moves the calling thread into the network namespace `/run/netns/NAME`.
fn enter_network_namespace(name: &str) -> io::Result<()> {
    let file = File::open(Path::new("/run/netns").join(name))?;
    Ok(move_into_link_name_space(
        file.as_fd(),
        Some(LinkNameSpaceType::Network),
    )?)
}

/// Listens on `listen` where it was started and connects each connection to `to` inside the namespace, for ever.
pub fn forward(listen: SocketAddr, network_namespace: &str, to: SocketAddr) -> io::Result<()> {
    // A socket stays in the namespace in which it was made; threads started later inherit the new one.
    let listener = TcpListener::bind(listen)?;
    enter_network_namespace(network_namespace)?;
    for connection in listener.incoming() {
        let inbound = match connection {
            Ok(connection) => connection,
            Err(error) => {
                eprintln!("failed to accept on {listen}: {error}");
                thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        thread::spawn(move || {
            if let Err(error) = carry(&inbound, to) {
                eprintln!("connection to {to} ended: {error}");
            }
        });
    }
    Ok(())
}

fn carry(inbound: &TcpStream, to: SocketAddr) -> io::Result<()> {
    let outbound = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
    inbound.set_nodelay(true)?;
    outbound.set_nodelay(true)?;
    thread::scope(|scope| {
        scope.spawn(|| one_way(inbound, &outbound));
        one_way(&outbound, inbound);
    });
    Ok(())
}

/// Copies until the source ends, then tells the sink so; a broken side ends both.
fn one_way(mut source: &TcpStream, mut sink: &TcpStream) {
    let copied = io::copy(&mut source, &mut sink);
    let how = if copied.is_ok() {
        Shutdown::Write
    } else {
        Shutdown::Both
    };
    sink.shutdown(how).ok();
    if copied.is_err() {
        source.shutdown(Shutdown::Both).ok();
    }
}

//! A controller as a process of its own: with real signals, a real admin port, and an API server that comes late.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "everything here is a test"
)]

use clap::Parser;
use operator_runtime::args::RuntimeArgs;
use operator_runtime::run::{ControllerInfo, run};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Set in the child process, to the arguments of the controller.
const ARGUMENTS: &str = "OPERATOR_RUNTIME_TEST_ARGUMENTS";
const VERSION: &str = r#"{"major":"1","minor":"36","gitVersion":"v1.36.0","gitCommit":"","gitTreeState":"","buildDate":"","goVersion":"","compiler":"","platform":""}"#;
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    runtime: RuntimeArgs,
}

/// The child process: a controller that finishes its work one second after it was asked to stop. In a usual test run it
/// has nothing to do.
#[test]
fn controller_process() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else {
        return;
    };
    let arguments =
        Arguments::parse_from(std::iter::once("controller").chain(arguments.split(' ')));
    let info = ControllerInfo {
        name: "sample-controller",
        version: "1.2.3",
        yields_to: &[],
    };
    let result = run(info, &arguments.runtime, |chassis| async move {
        let cache = chassis.readiness.register("cache");
        chassis.leadership.acquired().await;
        cache.set_ready();
        chassis.shutdown.requested().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        eprintln!("the running work is finished");
        Ok(())
    });
    // The exit code of the test harness tells nothing of the error.
    if let Err(error) = result {
        eprintln!("error: {error:#}");
        std::process::exit(3);
    }
}

/// Ends the process it started, whatever happens to the test.
struct Controller {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStderr>>,
}

impl Controller {
    fn start(arguments: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "controller_process", "--nocapture"])
            .env(ARGUMENTS, arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Reads log lines up to the one that contains the text.
    fn line_with(&mut self, text: &str) -> String {
        let mut before = String::new();
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            if line.contains(text) {
                return line;
            }
            before.push_str(&line);
            before.push('\n');
        }
        panic!("no line with \"{text}\" in\n{before}");
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    fn exit_code(&mut self) -> Option<i32> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the process does not end");
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A kubeconfig for a server at that port, kept as long as the file.
fn kubeconfig(port: u16) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(
        file,
        r#"{{"apiVersion":"v1","kind":"Config","current-context":"c",
            "clusters":[{{"name":"c","cluster":{{"server":"http://127.0.0.1:{port}"}}}}],
            "users":[{{"name":"c","user":{{"token":"t"}}}}],
            "contexts":[{{"name":"c","context":{{"cluster":"c","user":"c"}}}}]}}"#
    )
    .unwrap();
    file
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn wait_until_ready(address: &str) {
    let begun = Instant::now();
    loop {
        let answer = get(address, "/readyz");
        if answer.starts_with("HTTP/1.1 200") {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "never ready: {answer}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn admin_address(line: &str) -> String {
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    line["admin_address"].as_str().unwrap().to_owned()
}

#[test]
fn a_controller_waits_for_the_api_server_and_ends_in_order() {
    let port = free_port();
    let file = kubeconfig(port);
    let mut controller = Controller::start(&format!(
        "--log-format=json --admin-address=127.0.0.1:0 --leader-elect=false --lease-namespace=system --kubeconfig={}",
        file.path().display()
    ));
    let address = admin_address(&controller.line_with("starting"));
    controller.line_with("API server not reached");
    assert!(get(&address, "/livez").starts_with("HTTP/1.1 200"));
    assert!(get(&address, "/readyz").ends_with("waiting for: api-server\n"));

    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"GET /version "));
            let length = VERSION.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{VERSION}"
            )
            .unwrap();
        }
    });
    controller.line_with("API server reached");
    wait_until_ready(&address);
    let metrics = get(&address, "/metrics");
    assert!(
        metrics.contains("\nleader_election_leading{controller=\"sample-controller\"} 1\n"),
        "{metrics}"
    );

    controller.signal("-TERM");
    controller.line_with("the running work is finished");
    assert_eq!(controller.exit_code(), Some(0));
}

#[test]
fn a_controller_that_waits_for_the_api_server_can_be_stopped() {
    let file = kubeconfig(free_port());
    let mut controller = Controller::start(&format!(
        "--log-format=json --admin-address=127.0.0.1:0 --lease-namespace=system --kubeconfig={}",
        file.path().display()
    ));
    controller.line_with("API server not reached");
    controller.signal("-INT");
    assert_eq!(controller.exit_code(), Some(0));
}

#[test]
fn arguments_that_cannot_work_end_the_process_with_a_sentence() {
    let mut controller =
        Controller::start("--log-format=json --lease-namespace=system --lease-duration-seconds=5");
    let line = controller.line_with("error: ");
    assert!(
        line.contains("--lease-duration-seconds (5) must be greater than"),
        "{line}"
    );
    assert_eq!(controller.exit_code(), Some(3));
}

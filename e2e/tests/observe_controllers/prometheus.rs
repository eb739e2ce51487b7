//! A Prometheus that collects the controllers' metrics each second and knows our alerts.

use std::time::Duration;

use e2e::assets::debian_program;
use e2e::guard::{Process, ProcessHandle};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::rules::rule_files;
use crate::world::{World, eventually};

/// The longest that any answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Prometheus {
    address: String,
    _running: ProcessHandle,
}

impl Prometheus {
    pub(crate) async fn start(world: &World) -> Self {
        let folder = world.cluster.folder().join("prometheus");
        std::fs::create_dir_all(&folder).unwrap();
        let targets: Vec<Value> = world
            .controllers
            .iter()
            .map(|controller| {
                json!({"job_name": controller.name, "static_configs": [{"targets": [controller.address]}]})
            })
            .collect();
        let rules: Vec<String> = rule_files()
            .map(|path| path.display().to_string())
            .collect();
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": rules, "scrape_configs": targets,
        });
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, config.to_string()).unwrap();
        // Whoever asks for port 0 is not told which one it got.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let program = debian_program("prometheus", "prometheus").unwrap();
        let argv = [
            program.display().to_string(),
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", folder.join("data").display()),
            format!("--web.listen-address={address}"),
        ];
        let log = folder.join("prometheus.log");
        let running = world
            .cluster
            .spawn(Process::new("prometheus", argv, log))
            .unwrap();
        let prometheus = Self {
            address,
            _running: running,
        };
        eventually("Prometheus answers", async || {
            let answer = http(&prometheus.address, "/-/ready", "*/*").await?;
            answer.contains("Ready").then_some(())
        })
        .await;
        prometheus
    }

    async fn ask(&self, path: &str) -> Value {
        let answer = http(&self.address, path, "*/*").await;
        let answer: Value = serde_json::from_str(&answer.unwrap()).unwrap();
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    /// The series that an expression gives now, each with its value.
    pub(crate) async fn query(&self, expression: &str) -> Vec<Value> {
        let data = self
            .ask(&format!("/api/v1/query?query={}", encoded(expression)))
            .await;
        data["result"].as_array().unwrap().clone()
    }

    /// The series that an expression gave over a span of time, each with its values.
    pub(crate) async fn query_range(&self, expression: &str, from: f64, to: f64) -> Vec<Value> {
        let query = encoded(expression);
        let path = format!("/api/v1/query_range?query={query}&start={from}&end={to}&step=1");
        let data = self.ask(&path).await;
        data["result"].as_array().unwrap().clone()
    }

    /// Waits until every controller was collected several times, so that what happens next is an increase.
    pub(crate) async fn has_seen_everybody(&self, world: &World) {
        let all = world.controllers.len();
        eventually("every controller is collected", async || {
            let seen = self.query("count_over_time(up[1m]) > 2 and up == 1").await;
            (seen.len() == all).then_some(())
        })
        .await;
    }

    /// Every rule could be evaluated.
    pub(crate) async fn rules_are_healthy(&self) {
        let data = self.ask("/api/v1/rules").await;
        let groups = data["groups"].as_array().unwrap();
        let rules: Vec<&Value> = groups
            .iter()
            .flat_map(|group| group["rules"].as_array().unwrap())
            .collect();
        assert!(rules.len() >= 20, "{rules:#?}");
        for rule in rules {
            assert_eq!(rule["health"], "ok", "{rule:#}");
            let is_of_absence = ["Down", "NoLeader"]
                .iter()
                .any(|end| rule["name"].as_str().unwrap().ends_with(end));
            assert!(!is_of_absence || rule["state"] == "inactive", "{rule:#}");
        }
    }
}

/// The body of the answer to a plain request. Nothing when nobody answers.
pub(crate) async fn http(address: &str, path: &str, accept: &str) -> Option<String> {
    let ask = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nhost: {address}\r\naccept: {accept}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        Some(body.to_owned())
    };
    tokio::time::timeout(PATIENCE, ask).await.ok()?
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

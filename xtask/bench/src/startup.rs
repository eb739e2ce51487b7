//! Each controller from its start until it is ready, and while it has nothing to do.

use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;

use crate::labeller::STAGES;
use crate::process;
use crate::report;
use crate::site::Site;
use crate::{figures, progress};

/// The controllers and the arguments that they need.
const CONTROLLERS: [(&str, &[&str]); 4] = [
    ("nodeop-controller", &[]),
    ("upgrade-controller", &[]),
    ("artifact-controller", &["--worker-image=worker"]),
    ("node-labeller", &["--detect-image=simulated"]),
];

/// One controller.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Start {
    /// Its name.
    pub controller: &'static str,
    /// Nodes in the cluster.
    pub nodes: usize,
    /// Seconds from its start until /readyz said yes, with full caches.
    pub ready_seconds: f64,
    /// Memory that it had resident when idle, in MiB.
    pub idle_mib: f64,
    /// The most that it had resident, in MiB.
    pub peak_mib: f64,
    /// Requests per second while idle, those for its lease included.
    pub idle_requests_per_second: f64,
    /// CPU seconds per minute while idle.
    pub idle_cpu_seconds_per_minute: f64,
}

/// Starts one controller after the other on a cluster with `nodes`, and looks at each for `idle`.
pub async fn run(nodes: usize, idle: Duration) -> anyhow::Result<Vec<Start>> {
    let names: Vec<&str> = CONTROLLERS.iter().map(|(name, _)| *name).collect();
    let site = Site::start(nodes, Some(STAGES), &names).await?;
    let mut starts = Vec::new();
    for (controller, arguments) in CONTROLLERS {
        progress(&format!("starting {controller}"));
        let running = site.controller(controller, arguments).await?;
        // What there is to do at first (the labeller looks at each node) is not idling.
        running.settle(&site).await?;
        let requests = running.requests_made(&site)?;
        let cpu = process::cpu_seconds(running.pid())?;
        progress(&format!(
            "{controller} was ready after {:.1} s; looking at it for {} s",
            running.ready_after.as_secs_f64(),
            idle.as_secs()
        ));
        sleep(idle).await;
        let seconds = idle.as_secs_f64();
        starts.push(Start {
            controller,
            nodes,
            ready_seconds: running.ready_after.as_secs_f64(),
            idle_mib: process::resident_mib(running.pid())?,
            peak_mib: process::peak_mib(running.pid())?,
            idle_requests_per_second: figures::number(running.requests_made(&site)? - requests)
                / seconds,
            idle_cpu_seconds_per_minute: (process::cpu_seconds(running.pid())? - cpu) * 60.0
                / seconds,
        });
        running.stop().await?;
    }
    Ok(starts)
}

/// As a table.
pub fn table(starts: &[Start]) -> String {
    let header = [
        "controller",
        "nodes",
        "ready s",
        "idle MiB",
        "peak MiB",
        "requests/s idle",
        "CPU s/min idle",
    ];
    let rows: Vec<Vec<String>> = starts
        .iter()
        .map(|start| {
            vec![
                start.controller.to_owned(),
                start.nodes.to_string(),
                format!("{:.2}", start.ready_seconds),
                format!("{:.1}", start.idle_mib),
                format!("{:.1}", start.peak_mib),
                format!("{:.2}", start.idle_requests_per_second),
                format!("{:.2}", start.idle_cpu_seconds_per_minute),
            ]
        })
        .collect();
    report::table(&header, &rows)
}

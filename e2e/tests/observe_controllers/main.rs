//! What can be seen of the controllers: the list of metrics against what they show, alerts against made-up series, and every
//! expression of the dashboards on a real Prometheus that has watched all four controllers at work on simulated nodes.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first surprise"
)]

mod dashboards;
mod listed;
mod prometheus;
mod rules;
mod world;

use prometheus::Prometheus;
use world::World;

/// Where the values behind the panels are written to, as one JSON file per dashboard, for who wants to draw them.
const OUT: &str = "KAIROS_OBSERVE_OUT";

/// One run for all of it, because what is expensive is the cluster and the work on it.
#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_metrics_is_true_and_every_panel_shows_something_when_the_controllers_have_worked()
 {
    let world = World::start().await;
    for controller in &world.controllers {
        let text = controller.metrics(true).await;
        listed::check_at_the_start(controller.name, &text);
        listed::check_lint(controller.name, &controller.metrics(false).await);
    }
    let prometheus = Prometheus::start(&world).await;
    prometheus.has_seen_everybody(&world).await;

    let begun = std::time::SystemTime::now();
    Box::pin(world.work()).await;

    for controller in &world.controllers {
        listed::check_bounds(controller.name, &controller.metrics(true).await);
    }
    prometheus.rules_are_healthy().await;
    let empty = dashboards::panels_without_data(&prometheus).await;
    if let Some(folder) = std::env::var_os(OUT) {
        dashboards::write_values(&prometheus, begun, folder.as_ref()).await;
    }
    assert!(empty.is_empty(), "no data for:\n{}", empty.join("\n"));
}

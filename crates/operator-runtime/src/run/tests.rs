//! How a controller and its lease end together.

use super::supervise;
use crate::shutdown::Shutdown;
use crate::testing::lease_server::{LeaseServer, Mood};
use std::cell::Cell;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(25);

/// Sets its flag when dropped.
struct OnDrop<'a>(&'a Cell<bool>);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

#[tokio::test(start_paused = true)]
async fn running_work_is_finished_before_the_lease_is_released() {
    let server = LeaseServer::start();
    let (lease, leadership, _) = server.contender("a");
    let (trigger, shutdown) = Shutdown::pair();
    let holder_at_the_end = Cell::new(String::new());
    let controller = async {
        leadership.acquired().await;
        shutdown.requested().await;
        // Longer than the lease: it must be renewed meanwhile.
        sleep(20 * SECOND).await;
        assert!(leadership.is_leading());
        holder_at_the_end.set(server.spec()["holderIdentity"].to_string());
        Ok(())
    };
    let stop = async {
        sleep(SECOND).await;
        trigger.request();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = supervise(controller, Some(lease), &shutdown, GRACE) => result.unwrap(),
        () = stop => {}
    }
    assert_eq!(holder_at_the_end.take(), "\"a\"");
    assert_eq!(server.spec()["holderIdentity"], "");
}

#[tokio::test(start_paused = true)]
async fn work_past_the_grace_period_is_cut_off() {
    let server = LeaseServer::start();
    let (lease, leadership, _) = server.contender("a");
    let (trigger, shutdown) = Shutdown::pair();
    let controller = async {
        leadership.acquired().await;
        trigger.request();
        std::future::pending().await
    };
    let begun = Instant::now();
    supervise(controller, Some(lease), &shutdown, GRACE)
        .await
        .unwrap();
    assert_eq!(begun.elapsed(), GRACE);
    assert_eq!(server.spec()["holderIdentity"], "");
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_ends_the_grace_period() {
    let server = LeaseServer::start();
    let (lease, leadership, _) = server.contender("a");
    let (trigger, shutdown) = Shutdown::pair();
    let controller = async {
        leadership.acquired().await;
        trigger.request();
        sleep(SECOND).await;
        trigger.request();
        std::future::pending().await
    };
    let begun = Instant::now();
    supervise(controller, Some(lease), &shutdown, GRACE)
        .await
        .unwrap();
    assert_eq!(begun.elapsed(), SECOND);
    assert_eq!(server.spec()["holderIdentity"], "");
}

#[tokio::test(start_paused = true)]
async fn loss_of_the_lease_stops_the_controller_at_once() {
    let server = LeaseServer::start();
    let (lease, leadership, _) = server.contender("a");
    let (_trigger, shutdown) = Shutdown::pair();
    let dropped = Cell::new(false);
    let controller = async {
        let _guard = OnDrop(&dropped);
        leadership.acquired().await;
        server.set_mood(Mood::Deaf);
        std::future::pending().await
    };
    let begun = Instant::now();
    let error = supervise(controller, Some(lease), &shutdown, GRACE)
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(begun.elapsed(), 10 * SECOND);
    assert!(dropped.get());
    assert_eq!(
        error,
        "stopped at once: the lease could not be renewed in time"
    );
    assert_eq!(server.spec()["holderIdentity"], "a");
}

#[tokio::test(start_paused = true)]
async fn loss_of_the_lease_during_shutdown_stops_running_work() {
    let server = LeaseServer::start();
    let (lease, leadership, _) = server.contender("a");
    let (trigger, shutdown) = Shutdown::pair();
    let controller = async {
        leadership.acquired().await;
        server.set_mood(Mood::Deaf);
        trigger.request();
        std::future::pending().await
    };
    let begun = Instant::now();
    assert!(
        supervise(controller, Some(lease), &shutdown, GRACE)
            .await
            .is_err()
    );
    assert_eq!(begun.elapsed(), 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_standby_ends_at_once_and_leaves_the_lease_alone() {
    let server = LeaseServer::start();
    let (mut leader, _, _) = server.contender("a");
    assert!(timeout(SECOND, leader.hold()).await.is_err());
    let (lease, leadership, _) = server.contender("b");
    let (trigger, shutdown) = Shutdown::pair();
    let controller = async {
        sleep(SECOND).await;
        trigger.request();
        leadership.acquired().await;
        Ok(())
    };
    let begun = Instant::now();
    supervise(controller, Some(lease), &shutdown, GRACE)
        .await
        .unwrap();
    assert_eq!(begun.elapsed(), SECOND);
    assert_eq!(server.spec()["holderIdentity"], "a");
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_ends_by_itself_is_an_error() {
    let (_trigger, shutdown) = Shutdown::pair();
    let error = supervise(async { Ok(()) }, None, &shutdown, GRACE)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "the controller ended by itself");
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_controller_releases_the_lease_and_is_passed_on() {
    let server = LeaseServer::start();
    let (lease, leadership, _) = server.contender("a");
    let (_trigger, shutdown) = Shutdown::pair();
    let controller = async {
        leadership.acquired().await;
        anyhow::bail!("no such resource")
    };
    let error = supervise(controller, Some(lease), &shutdown, GRACE)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "no such resource");
    assert_eq!(server.spec()["holderIdentity"], "");
}

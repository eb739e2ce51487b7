//! A hundred nodes: requests per node and doubled work, never seconds, so that a busy machine changes nothing.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use bench::nodeop::{CONTROLLER, Measured, measure};
use bench::site::Site;
use bench::work::Work;

const NODES: usize = 100;

async fn run(site: &Site, concurrency: usize) -> Measured {
    let work = Work {
        nodes: NODES,
        concurrency,
        pods_per_node: 0,
        drain: false,
        reboot: false,
    };
    let measured = measure(site, work).await.unwrap();
    eprintln!(
        "{}: {:.2} requests per node, {:?}",
        work.words(),
        measured.requests_per_node,
        measured.requests
    );
    measured
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_operation_takes_one_job_and_little_more_than_one_request_for_each_node() {
    let site = Site::start(NODES, None, &[CONTROLLER]).await.unwrap();
    // Reservation and result share a write where slots are given out one by one.
    for (concurrency, most) in [(0, 1.1), (50, 1.2), (10, 2.2)] {
        let measured = run(&site, concurrency).await;
        let requests = &measured.requests;
        // Where all start at once, progress is written once a second: a slow machine has more of it to write.
        let slow = match concurrency {
            0 => measured.seconds / bench::figures::number(NODES),
            _ => 0.0,
        };
        assert_eq!(
            requests.by_kind.get("create jobs"),
            Some(&NODES),
            "{requests:?}"
        );
        assert_eq!(measured.doubled, 0);
        assert!(
            measured.requests_per_node <= most + slow,
            "{concurrency} at once: {:.2} requests per node, more than {most}, in {:.1} s: {requests:?}",
            measured.requests_per_node,
            measured.seconds
        );
        // One for each node, and the beginning and the end of the operation.
        assert!(requests.events <= NODES + 2, "{requests:?}");
    }
}

//! A contender beside another operator's Lease, in paused time.

use super::{LeaseHolder, LeaseStore, Loss, Others, Terms};
use crate::testing::lease_server::{LeaseServer, PATH};
use crate::testing::{Answer, ApiServer};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
const TERMS: Terms = Terms {
    duration: Duration::from_secs(15),
    renew_deadline: Duration::from_secs(10),
    retry: Duration::from_secs(2),
};

fn store(api: &ApiServer) -> LeaseStore {
    LeaseStore::new(api.client(), "system", "sample", 2 * SECOND)
}

/// The other operator renews its Lease every two seconds for that long.
async fn others_renew(server: &LeaseServer, span: Duration) {
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < span {
        count += 1;
        let lease = json!({
            "metadata": {"name": "sample", "namespace": "system", "resourceVersion": count.to_string()},
            "spec": {"holderIdentity": "former", "leaseDurationSeconds": 15, "renewTime": format!("2026-01-01T00:00:{:02}.000000Z", count % 60)},
        });
        *server.lease.lock().unwrap() = Some(lease);
        sleep(2 * SECOND).await;
    }
}

async fn run_for(holder: &mut LeaseHolder, span: Duration) -> Option<Loss> {
    timeout(span, holder.hold()).await.ok()
}

#[tokio::test(start_paused = true)]
async fn nobody_leads_while_another_operator_does_and_somebody_does_when_it_has_ended() {
    let (own, former) = (LeaseServer::start(), LeaseServer::start());
    let (holder, leadership, _) = own.contender("a");
    let mut holder = holder.yielding_to(Others::new([store(&former.api)], TERMS));
    let waits = async {
        others_renew(&former, 60 * SECOND).await;
        assert!(!leadership.is_leading());
        // It was killed: its Lease stays, and is not renewed.
        let killed_at = Instant::now();
        timeout(60 * SECOND, leadership.acquired()).await.unwrap();
        killed_at.elapsed()
    };
    let waited = tokio::select! {
        loss = holder.hold() => panic!("{loss}"),
        waited = waits => waited,
    };
    assert!(waited >= 12 * SECOND && waited <= 20 * SECOND, "{waited:?}");
    let writes = former.api.requests();
    assert!(writes.iter().all(|request| request.method == "GET"));
}

#[tokio::test(start_paused = true)]
async fn a_leader_gives_way_when_another_operator_begins() {
    let (own, former) = (LeaseServer::start(), LeaseServer::start());
    let (holder, leadership, _) = own.contender("a");
    let mut holder = holder.yielding_to(Others::new([store(&former.api)], TERMS));
    assert_eq!(run_for(&mut holder, 40 * SECOND).await, None);
    assert!(
        leadership.is_leading(),
        "without that Lease it leads at once"
    );
    let begun = Instant::now();
    let loss = tokio::select! {
        loss = holder.hold() => loss,
        () = others_renew(&former, 60 * SECOND) => panic!("it went on leading"),
    };
    assert!(begun.elapsed() <= 20 * SECOND, "{:?}", begun.elapsed());
    assert!(
        matches!(&loss, Loss::Yielded(held) if held == "system/sample of former"),
        "{loss}"
    );
    assert!(!leadership.is_leading());
}

#[tokio::test(start_paused = true)]
async fn the_deletion_of_a_lease_that_nobody_renews_disturbs_nobody() {
    let (own, former) = (LeaseServer::start(), LeaseServer::start());
    let (holder, leadership, _) = own.contender("a");
    let mut holder = holder.yielding_to(Others::new([store(&former.api)], TERMS));
    others_renew(&former, SECOND).await;
    assert_eq!(run_for(&mut holder, 40 * SECOND).await, None);
    assert!(leadership.is_leading());
    *former.lease.lock().unwrap() = None;
    assert_eq!(run_for(&mut holder, 60 * SECOND).await, None);
    assert!(leadership.is_leading());
    let looks = former.api.requests().len();
    assert!(looks < 20, "it is asked for {looks} times in 100 s");
}

#[tokio::test(start_paused = true)]
async fn who_may_not_look_leads_and_who_gets_no_answer_waits() {
    let own = LeaseServer::start();
    let refusing = ApiServer::start(|_| Answer::status(403, "Forbidden"));
    let (holder, leadership, _) = own.contender("a");
    let mut holder = holder.yielding_to(Others::new([store(&refusing)], TERMS));
    assert_eq!(run_for(&mut holder, 5 * SECOND).await, None);
    assert!(leadership.is_leading());

    let own = LeaseServer::start();
    let silent = ApiServer::start(|_| Answer::Never);
    let (holder, leadership, _) = own.contender("a");
    let mut holder = holder.yielding_to(Others::new([store(&silent)], TERMS));
    assert_eq!(run_for(&mut holder, 30 * SECOND).await, None);
    assert!(!leadership.is_leading());
    assert!(
        own.api
            .requests()
            .iter()
            .all(|request| request.path != PATH)
    );
}

use super::super::metrics::OutcomeLabel;
use super::super::mock::{ApiServer, Reply, accepted, blocked, error, list, metrics, order, pod};
use super::*;
use operator_runtime::lease::Leadership;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Drains `worker` of those Pods once; each eviction is answered by `answer`.
fn server_with(
    pods: Vec<Value>,
    mut answer: impl FnMut(&str) -> Reply + Send + 'static,
) -> ApiServer {
    ApiServer::start(move |seen| {
        if seen.is_list() {
            list(&pods)
        } else {
            answer(seen.pod())
        }
    })
}

fn pods(count: usize) -> Vec<Value> {
    (0..count)
        .map(|index| pod(&format!("web-{index:02}"), json!({})))
        .collect()
}

async fn drain(flow: &Flow, carry: &mut Carry) -> DrainReport {
    run(flow, "worker", &order(Mode::Drain), carry, &|_| {}).await
}

fn message(report: &DrainReport) -> &str {
    match &report.state {
        DrainState::Waiting { message, .. } => message,
        other => panic!("not waiting but {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_is_consistent_of_one_node_and_followed_to_its_last_page() {
    let server = ApiServer::start(|seen| {
        if !seen.is_list() {
            return accepted();
        }
        let (next, name) = if seen.query.contains("continue=") {
            ("", "second")
        } else {
            ("page-2", "first")
        };
        Reply::Json(
            200,
            json!({"metadata": {"continue": next}, "items": [pod(name, json!({}))]}),
        )
    });
    drain(&server.flow(), &mut Carry::default()).await;
    let lists: Vec<_> = server
        .seen()
        .into_iter()
        .filter(super::super::mock::Seen::is_list)
        .collect();
    assert_eq!(lists.len(), 2);
    for list in &lists {
        assert_eq!(list.path, "/api/v1/pods");
        assert!(
            list.query.contains("fieldSelector=spec.nodeName%3Dworker"),
            "{}",
            list.query
        );
        assert!(list.query.contains("limit=500"), "{}", list.query);
        assert!(!list.query.contains("resourceVersion"), "{}", list.query);
    }
    assert!(lists[1].query.contains("continue=page-2"));
    assert_eq!(server.ended(), ["first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn evictions_and_deletions_name_the_uid() {
    let done = pod("done", json!({"status": {"phase": "Succeeded"}}));
    let server = server_with(vec![pod("web", json!({})), done], |_| accepted());
    let flow = server.flow();
    drain(&flow, &mut Carry::default()).await;
    let writes: Vec<_> = server.seen().into_iter().skip(1).collect();
    assert_eq!(writes.len(), 2);
    assert_eq!(writes[0].method, "POST");
    assert_eq!(writes[0].path, "/api/v1/namespaces/shop/pods/web/eviction");
    assert_eq!(
        writes[0].body["deleteOptions"]["preconditions"]["uid"],
        "uid-of-web"
    );
    assert_eq!(writes[1].method, "DELETE");
    assert_eq!(writes[1].path, "/api/v1/namespaces/shop/pods/done");
    assert_eq!(writes[1].body["preconditions"]["uid"], "uid-of-done");
    let label = OutcomeLabel {
        outcome: crate::drain::answer::Outcome::Accepted,
    };
    assert_eq!(flow.metrics.evictions.get_or_create(&label).get(), 1);
    assert_eq!(flow.metrics.finished_pods_deleted.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_forbidden_pod_keeps_every_pod_where_it_is() {
    let bare = pod("bare", json!({"metadata": {"ownerReferences": []}}));
    let server = server_with(vec![pod("web", json!({})), bare], |_| accepted());
    for mode in [Mode::Check, Mode::Drain] {
        let mut order = order(mode);
        order.options.force = false;
        let carry = &mut Carry::default();
        let report = run(&server.flow(), "worker", &order, carry, &|_| {}).await;
        let DrainState::Forbidden(message) = report.state else {
            panic!("must be forbidden");
        };
        assert!(
            message.contains("shop/bare (drainOptions.force is false)"),
            "{message}"
        );
    }
    assert!(server.ended().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_check_only_looks() {
    let server = server_with(pods(5), |_| accepted());
    let carry = &mut Carry::default();
    let report = run(
        &server.flow(),
        "worker",
        &order(Mode::Check),
        carry,
        &|_| {},
    )
    .await;
    assert_eq!(
        message(&report),
        "5 Pods have to go: shop/web-00, shop/web-01, shop/web-02 and 2 more"
    );
    assert!(server.ended().is_empty());
}

#[tokio::test(start_paused = true)]
async fn only_an_empty_list_is_drained() {
    let mirror = pod(
        "static",
        json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}),
    );
    let server = server_with(vec![mirror], |_| accepted());
    let report = drain(&server.flow(), &mut Carry::default()).await;
    assert_eq!(report.state, DrainState::Drained);
    let server = server_with(pods(1), |_| error(404));
    let report = drain(&server.flow(), &mut Carry::default()).await;
    assert_eq!(message(&report), "all Pods are gone, looking once more");
    assert_eq!(report.next_after, SOON);
}

#[tokio::test(start_paused = true)]
async fn what_goes_without_a_grace_period_is_looked_at_again_soon() {
    let done = pod("done", json!({"status": {"phase": "Failed"}}));
    let server = server_with(vec![done.clone()], |_| accepted());
    let report = drain(&server.flow(), &mut Carry::default()).await;
    assert_eq!(report.next_after, SOON);
    let server = server_with(vec![done, pod("web", json!({}))], |_| accepted());
    let report = drain(&server.flow(), &mut Carry::default()).await;
    assert_eq!(report.next_after, PAUSES[0]);
    let mut order = order(Mode::Drain);
    order.options.grace_period_seconds = Some(0);
    let carry = &mut Carry::default();
    let report = run(&server.flow(), "worker", &order, carry, &|_| {}).await;
    assert_eq!(report.next_after, SOON);
}

#[tokio::test(start_paused = true)]
async fn a_terminating_pod_is_waited_for_and_never_evicted_again() {
    let dying = pod(
        "dying",
        json!({"metadata": {"deletionTimestamp": "2020-01-01T00:00:00Z", "finalizers": ["x/y"]}}),
    );
    let server = server_with(vec![dying], |_| accepted());
    let report = drain(&server.flow(), &mut Carry::default()).await;
    assert!(
        message(&report).contains("shop/dying (terminating for ")
            && message(&report).ends_with("finalizers: x/y)"),
        "{}",
        message(&report)
    );
    assert!(server.ended().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_budget_holds_back_its_pods_and_no_others() {
    let server = server_with(pods(3), |pod| match pod {
        "web-01" => blocked(),
        _ => accepted(),
    });
    let report = drain(&server.flow(), &mut Carry::default()).await;
    assert_eq!(server.ended().len(), 3);
    let expected = DrainState::Waiting {
        message:
            "waiting for 3 Pods: shop/web-01 (PodDisruptionBudget shop/db allows 0 disruptions), \
                  shop/web-00 (terminating), shop/web-02 (terminating)"
                .to_owned(),
        blocked: 1,
        remaining: 3,
    };
    assert_eq!(report.state, expected);
    assert_eq!(
        report.blockers.unwrap(),
        "1 Pod: shop/web-01 (PodDisruptionBudget shop/db allows 0 disruptions)"
    );
}

#[tokio::test(start_paused = true)]
async fn throttling_stops_the_evictions_of_all_nodes_for_as_long_as_it_says() {
    let server = server_with(pods(40), |_| {
        let details = json!({"retryAfterSeconds": 9});
        Reply::Json(
            429,
            json!({"code": 429, "status": "Failure", "details": details}),
        )
    });
    let flow = server.flow();
    let report = drain(&flow, &mut Carry::default()).await;
    let asked = server.ended().len();
    assert!(asked <= WRITES_IN_FLIGHT, "{asked} evictions");
    assert!(report.next_after > Duration::from_secs(8));
    assert!(
        message(&report).contains("the API server asks to slow down"),
        "{}",
        message(&report)
    );
    drain(&flow, &mut Carry::default()).await;
    assert_eq!(server.ended().len(), asked);
    tokio::time::advance(Duration::from_secs(9)).await;
    drain(&flow, &mut Carry::default()).await;
    assert!(server.ended().len() > asked);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_named_after_a_few_times_and_holds_no_other_pod_up() {
    let server = server_with(pods(40), |pod| match pod {
        "web-00" => error(500),
        _ => accepted(),
    });
    let (flow, mut carry) = (server.flow(), Carry::default());
    let first = drain(&flow, &mut carry).await;
    assert!(!message(&first).contains("no luck"), "{first:?}");
    assert_eq!(server.ended()[0], "web-00");
    drain(&flow, &mut carry).await;
    let third = drain(&flow, &mut carry).await;
    assert!(
        message(&third).starts_with(
            "waiting for 40 Pods: shop/web-00 (eviction failed 3 times: no luck (500))"
        ),
        "{third:?}"
    );
    assert_eq!(server.ended().last().unwrap(), "web-00");
}

#[tokio::test(start_paused = true)]
async fn an_eviction_without_an_answer_ends_by_its_deadline_and_the_rest_is_told_before() {
    let server = server_with(pods(2), |pod| match pod {
        "web-00" => Reply::Never,
        _ => blocked(),
    });
    let begin = Instant::now();
    let told = Mutex::new(Vec::new());
    let interim = |report: DrainReport| told.lock().unwrap().push((begin.elapsed(), report));
    let carry = &mut Carry::default();
    let report = run(
        &server.flow(),
        "worker",
        &order(Mode::Drain),
        carry,
        &interim,
    )
    .await;
    assert_eq!(begin.elapsed(), Duration::from_secs(30));
    assert!(matches!(
        report.state,
        DrainState::Waiting {
            blocked: 1,
            remaining: 2,
            ..
        }
    ));
    let told = told.into_inner().unwrap();
    let [(after, early)] = told.as_slice() else {
        panic!("told {} times", told.len());
    };
    assert_eq!(*after, INTERIM);
    assert!(
        message(early).contains("shop/web-01 (PodDisruptionBudget"),
        "{early:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_round_begins_nothing_new_after_its_time() {
    let server = server_with(pods(400), |_| {
        Reply::Later(Duration::from_secs(4), 201, json!({}))
    });
    let begin = Instant::now();
    let report = drain(&server.flow(), &mut Carry::default()).await;
    assert_eq!(begin.elapsed(), Duration::from_secs(12));
    assert_eq!(server.ended().len(), 3 * WRITES_IN_FLIGHT);
    assert!(matches!(
        report.state,
        DrainState::Waiting { remaining: 400, .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn sixteen_writes_are_in_flight_at_most_in_all_rounds_together() {
    let server = server_with(pods(40), |_| {
        Reply::Later(Duration::from_millis(10), 201, json!({}))
    });
    let flow = server.flow();
    let round = || async { drain(&flow, &mut Carry::default()).await };
    tokio::join!(round(), round(), round());
    assert_eq!(server.most_open(), WRITES_IN_FLIGHT);
    assert_eq!(server.ended().len(), 120);
}

#[tokio::test(start_paused = true)]
async fn without_the_lease_nothing_is_written() {
    let server = server_with(pods(3), |_| accepted());
    let (_sender, follower) = Leadership::pair();
    let flow = Flow::new(server.requests(follower), metrics());
    let report = drain(&flow, &mut Carry::default()).await;
    assert!(matches!(report.state, DrainState::Unknown(_)), "{report:?}");
    assert!(server.ended().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failed_list_says_nothing_about_the_node() {
    let server = ApiServer::start(|_| error(500));
    let flow = server.flow();
    let report = drain(&flow, &mut Carry::default()).await;
    let DrainState::Unknown(why) = report.state else {
        panic!("must be unknown");
    };
    assert!(
        why.starts_with("failed to list the pods of node worker: no luck"),
        "{why}"
    );
    assert_eq!(flow.metrics.rounds_failed.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_to_five_seconds_and_start_anew_when_a_budget_lets_a_pod_go() {
    let mut evictions = 0;
    let server = server_with(pods(1), move |_| {
        evictions += 1;
        if evictions == 6 {
            accepted()
        } else {
            blocked()
        }
    });
    let (flow, mut carry) = (server.flow(), Carry::default());
    let mut pauses = Vec::new();
    for _ in 0..7 {
        pauses.push(drain(&flow, &mut carry).await.next_after.as_secs());
    }
    assert_eq!(pauses, [1, 2, 4, 5, 5, 1, 2]);
}

/// A Pod of some kind, and whether it is to be evicted.
fn any_pod() -> impl Strategy<Value = (Value, bool)> {
    prop_oneof![
        4 => Just((json!({}), true)),
        1 => Just((json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}), false)),
        1 => Just((json!({"metadata": {"deletionTimestamp": "2020-01-01T00:00:00Z"}}), false)),
        1 => Just((json!({"status": {"phase": "Failed"}}), false)),
        1 => Just((json!({"metadata": {"ownerReferences": [
            {"apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOp", "name": "n", "uid": "n", "controller": true}]}}), false)),
    ]
}

proptest! {
    #![proptest_config(crate::testing::cases(64))]

    #[test]
    fn every_pod_that_may_go_is_evicted_once_per_round_whatever_is_answered(
        kinds in prop::collection::vec(any_pod(), 0..60), codes in prop::collection::vec(prop_oneof![Just(201_u16), Just(404), Just(409), Just(500)], 60),
    ) {
        let named: Vec<(Value, bool)> = kinds.into_iter().enumerate()
            .map(|(index, (change, evicted))| (pod(&format!("web-{index:02}"), change), evicted)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let seen = runtime.block_on(async {
            let mut codes = codes.into_iter();
            let server = server_with(named.iter().map(|(pod, _)| pod.clone()).collect(), move |_| error(codes.next().unwrap()));
            drain(&server.flow(), &mut Carry::default()).await;
            server.seen()
        });
        let mut evicted: Vec<String> = seen.iter().filter(|seen| seen.method == "POST").map(|seen| seen.pod().to_owned()).collect();
        evicted.sort_unstable();
        let expected: Vec<String> = named.iter().filter(|(_, evicted)| *evicted)
            .map(|(pod, _)| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect();
        prop_assert_eq!(evicted, expected);
    }
}

use super::super::DrainState;
use super::super::mock::{ApiServer, Reply, accepted, list, metrics, order, pod};
use super::*;
use futures::StreamExt as _;
use operator_runtime::lease::Leadership;
use serde_json::json;
use std::pin::Pin;

type News = Pin<Box<dyn Stream<Item = (String, String)> + Send>>;

fn rounds(server: &ApiServer) -> (Rounds, News) {
    let (rounds, news) = Rounds::new(server.requests(Leadership::always()), metrics());
    (rounds, Box::pin(news))
}

fn key(node: &str) -> DrainKey {
    DrainKey {
        uid: "uid".to_owned(),
        namespace: "shop".to_owned(),
        name: "op".to_owned(),
        node: node.to_owned(),
    }
}

/// A server with one Pod per node that is never gone.
fn stubborn() -> ApiServer {
    ApiServer::start(|seen| {
        if seen.is_list() {
            list(&[pod("web", json!({}))])
        } else {
            accepted()
        }
    })
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_round_is_news_and_its_report_is_there() {
    let server = stubborn();
    let (rounds, mut news) = rounds(&server);
    let drain = order(Mode::Drain);
    let options = drain.options.clone();
    rounds.ask(&key("a"), drain);
    assert_eq!(rounds.latest(&key("a"), Mode::Drain, &options), None);
    assert_eq!(
        news.next().await.unwrap(),
        ("shop".to_owned(), "op".to_owned())
    );
    let latest = rounds.latest(&key("a"), Mode::Drain, &options).unwrap();
    assert!(matches!(
        latest.report.state,
        DrainState::Waiting { remaining: 1, .. }
    ));
    assert_eq!(rounds.latest(&key("a"), Mode::Check, &options), None);
    assert_eq!(rounds.latest(&key("b"), Mode::Drain, &options), None);
}

#[tokio::test(start_paused = true)]
async fn asking_too_early_or_twice_starts_nothing() {
    let server = stubborn();
    let (rounds, mut news) = rounds(&server);
    rounds.ask(&key("a"), order(Mode::Drain));
    rounds.ask(&key("a"), order(Mode::Drain));
    news.next().await.unwrap();
    assert_eq!(server.lists(), 1);
    for _ in 0..100 {
        rounds.ask(&key("a"), order(Mode::Drain));
    }
    tokio::time::advance(Duration::from_millis(900)).await;
    rounds.ask(&key("a"), order(Mode::Drain));
    assert_eq!(server.lists(), 1);
    tokio::time::advance(Duration::from_millis(100)).await;
    rounds.ask(&key("a"), order(Mode::Drain));
    news.next().await.unwrap();
    assert_eq!(server.lists(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_drain_follows_the_check_at_once() {
    let server = stubborn();
    let (rounds, mut news) = rounds(&server);
    rounds.ask(&key("a"), order(Mode::Check));
    news.next().await.unwrap();
    assert!(server.ended().is_empty());
    rounds.ask(&key("a"), order(Mode::Drain));
    news.next().await.unwrap();
    assert_eq!(server.ended(), ["web"]);
}

#[tokio::test(start_paused = true)]
async fn other_options_are_another_question() {
    let server = ApiServer::start(|seen| {
        assert!(seen.is_list(), "a forbidden Pod was touched");
        list(&[pod("bare", json!({"metadata": {"ownerReferences": []}}))])
    });
    let (rounds, mut news) = rounds(&server);
    let mut careful = order(Mode::Check);
    careful.options.force = false;
    rounds.ask(&key("a"), careful.clone());
    news.next().await.unwrap();
    let latest = rounds.latest(&key("a"), Mode::Check, &careful.options);
    assert!(matches!(
        latest.unwrap().report.state,
        DrainState::Forbidden(_)
    ));
    let forced = order(Mode::Check);
    assert_eq!(rounds.latest(&key("a"), Mode::Check, &forced.options), None);
    rounds.ask(&key("a"), forced.clone());
    news.next().await.unwrap();
    let latest = rounds.latest(&key("a"), Mode::Check, &forced.options);
    assert!(matches!(
        latest.unwrap().report.state,
        DrainState::Waiting { .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_round_ends_and_says_nothing() {
    let server = ApiServer::start(|_| {
        Reply::Later(
            Duration::from_secs(5),
            200,
            json!({"items": [pod("web", json!({}))]}),
        )
    });
    let (rounds, mut news) = rounds(&server);
    rounds.ask(&key("a"), order(Mode::Drain));
    tokio::time::sleep(Duration::from_secs(1)).await;
    rounds.forget(&key("a"));
    assert!(rounds.is_empty());
    let nothing = tokio::time::timeout(Duration::from_mins(5), news.next()).await;
    assert!(nothing.is_err());
    assert!(rounds.is_empty());
    assert!(server.ended().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_after_forgetting_is_answered_by_its_own_round() {
    let mut lists = 0;
    let server = ApiServer::start(move |_| {
        lists += 1;
        if lists == 1 { Reply::Never } else { list(&[]) }
    });
    let (rounds, mut news) = rounds(&server);
    let drain = order(Mode::Drain);
    rounds.ask(&key("a"), drain.clone());
    tokio::time::sleep(Duration::from_secs(1)).await;
    rounds.forget(&key("a"));
    rounds.ask(&key("a"), drain.clone());
    news.next().await.unwrap();
    let latest = rounds.latest(&key("a"), Mode::Drain, &drain.options);
    assert_eq!(latest.unwrap().report.state, DrainState::Drained);
}

#[tokio::test(start_paused = true)]
async fn an_old_report_is_not_told() {
    let server = ApiServer::start(|_| list(&[]));
    let (rounds, mut news) = rounds(&server);
    let drain = order(Mode::Drain);
    rounds.ask(&key("a"), drain.clone());
    news.next().await.unwrap();
    assert!(
        rounds
            .latest(&key("a"), Mode::Drain, &drain.options)
            .is_some()
    );
    tokio::time::advance(REPORT_AGE).await;
    assert_eq!(rounds.latest(&key("a"), Mode::Drain, &drain.options), None);
}

#[tokio::test(start_paused = true)]
async fn nodes_take_turns_in_the_order_they_were_asked_for() {
    let server = ApiServer::start(|seen| {
        if seen.is_list() {
            list(&[pod(
                seen.query
                    .rsplit("%3D")
                    .next()
                    .unwrap()
                    .split('&')
                    .next()
                    .unwrap(),
                json!({}),
            )])
        } else {
            Reply::Later(Duration::from_millis(10), 201, json!({}))
        }
    });
    let (rounds, mut news) = rounds(&server);
    let nodes: Vec<String> = (0..100).map(|index| format!("node-{index:03}")).collect();
    for node in &nodes {
        rounds.ask(&key(node), order(Mode::Drain));
    }
    while server.ended().len() < nodes.len() {
        news.next().await.unwrap();
    }
    assert_eq!(server.ended(), nodes);
    assert!(
        server.most_open() <= ROUNDS_IN_FLIGHT,
        "{} requests at once",
        server.most_open()
    );
    rounds.retain(|key| key.node == "node-007");
    assert_eq!(rounds.len(), 1);
}

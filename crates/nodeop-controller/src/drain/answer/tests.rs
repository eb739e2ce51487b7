//! The recorded bodies are compared with a real API server's by the end-to-end tests.

use super::*;
use std::time::Duration;

fn refused(status: Status) -> Answer {
    let error = CallError::Failed {
        what: "evict pod shop/db-0".to_owned(),
        source: Box::new(kube::Error::Api(Box::new(status))),
    };
    Answer::of(&Err::<(), _>(error), "shop")
}

fn recorded(body: &str) -> Answer {
    refused(serde_json::from_str(body).unwrap())
}

fn words(answer: Answer) -> String {
    match answer {
        Answer::Blocked { why } => why,
        other => panic!("not blocked but {other:?}"),
    }
}

#[test]
fn a_budget_is_named_without_numbers_that_change() {
    let answer = recorded(include_str!("bodies/blocked.json"));
    assert_eq!(
        words(answer),
        "PodDisruptionBudget shop/db allows 0 disruptions"
    );
}

#[test]
fn a_budget_that_its_controller_has_not_seen_yet_is_named() {
    let answer = recorded(include_str!("bodies/still_processed.json"));
    assert_eq!(
        words(answer),
        "PodDisruptionBudget shop/db is still being processed by the API server"
    );
}

#[test]
fn a_budget_that_cannot_be_computed_tells_why() {
    let answer = recorded(include_str!("bodies/failed_sync.json"));
    assert_eq!(
        words(answer),
        "PodDisruptionBudget shop/db allows 0 disruptions, its status could not be computed: found no controllers for pod \"db-0\""
    );
}

#[test]
fn a_budget_whose_bookkeeping_is_full_blocks() {
    let answer = recorded(include_str!("bodies/too_many_disrupted.json"));
    assert_eq!(
        words(answer),
        "PodDisruptionBudget shop/db allows no eviction: DisruptedPods map too big - too many evictions not confirmed by PDB controller"
    );
}

#[test]
fn two_budgets_on_one_pod_block_and_the_way_out_is_told() {
    let answer = recorded(include_str!("bodies/several_budgets.json"));
    assert_eq!(
        words(answer),
        "more than one PodDisruptionBudget selects it, which the Eviction API refuses; leave it one"
    );
}

#[test]
fn a_cause_in_words_of_another_version_still_blocks() {
    let answer = refused(
        serde_json::from_value(serde_json::json!({
            "code": 429, "status": "Failure", "reason": "TooManyRequests",
            "details": {"causes": [{"reason": "DisruptionBudget", "message": "budget db says no"}]},
        }))
        .unwrap(),
    );
    assert_eq!(
        words(answer),
        "a PodDisruptionBudget allows 0 disruptions: budget db says no"
    );
}

#[test]
fn gone_changed_and_a_dying_namespace_are_told_apart() {
    let gone = recorded(include_str!("bodies/gone.json"));
    assert_eq!(gone, Answer::Gone);
    let other = recorded(include_str!("bodies/other_pod.json"));
    assert_eq!(other, Answer::Changed);
    let dying = recorded(include_str!("bodies/namespace_terminating.json"));
    assert_eq!(dying, Answer::NamespaceTerminating);
    assert_eq!(Answer::of(&Ok(()), "shop"), Answer::Accepted);
}

#[test]
fn a_429_without_a_budget_is_throttling_for_as_long_as_it_says_within_bounds() {
    let throttled = |seconds: u32| {
        refused(
            serde_json::from_value(serde_json::json!({
                "code": 429, "status": "Failure", "reason": "TooManyRequests", "details": {"retryAfterSeconds": seconds},
            }))
            .unwrap(),
        )
    };
    for (asked, after) in [(0, 1), (7, 7), (100_000, 30)] {
        let after = Duration::from_secs(after);
        assert_eq!(throttled(asked), Answer::Throttled { after });
    }
    // API Priority and Fairness answers in plain text, which the client wraps like this.
    let text = "Too many requests, please try again later.";
    let plain = Status::failure(text, "Failed to parse error data").with_code(429);
    let after = Duration::from_secs(1);
    assert_eq!(refused(plain), Answer::Throttled { after });
}

#[test]
fn missing_rights_are_a_failure_in_the_servers_words() {
    let status = Status::failure(
        "pods \"db-0\" is forbidden: User \"x\" cannot create resource \"pods/eviction\"",
        "Forbidden",
    )
    .with_code(403);
    let Answer::Failed { why } = refused(status) else {
        panic!("must fail");
    };
    assert_eq!(
        why,
        "pods \"db-0\" is forbidden: User \"x\" cannot create resource \"pods/eviction\" (403)"
    );
}

#[test]
fn no_answer_is_a_failure_that_names_the_limit() {
    let error = CallError::TimedOut {
        what: "evict pod shop/db-0".to_owned(),
        limit: Duration::from_secs(30),
    };
    let why = "no answer within 30 s".to_owned();
    assert_eq!(
        Answer::of(&Err::<(), _>(error), "shop"),
        Answer::Failed { why }
    );
}

#[test]
fn long_words_are_cut() {
    let status = Status::failure(&"x".repeat(5000), "Invalid").with_code(422);
    let Answer::Failed { why } = refused(status) else {
        panic!("must fail");
    };
    assert!(why.len() < WORDS + 10, "{}", why.len());
}

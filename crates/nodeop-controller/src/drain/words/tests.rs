use super::*;
use crate::drain::pod::Deletion;
use proptest::prelude::*;

fn left(pod: &str, reason: Reason) -> Left {
    Left {
        reason,
        pod: pod.to_owned(),
    }
}

fn blocked(pod: &str) -> Left {
    let why = "PodDisruptionBudget shop/db allows 0 disruptions";
    left(pod, Reason::Blocked(why.to_owned()))
}

#[test]
fn blockers_come_first_and_are_named_with_their_budget() {
    let text = waiting(&[
        left("shop/web-1", Reason::Terminating),
        blocked("shop/db-0"),
    ]);
    assert_eq!(
        text,
        "waiting for 2 Pods: shop/db-0 (PodDisruptionBudget shop/db allows 0 disruptions), shop/web-1 (terminating)"
    );
}

#[test]
fn one_pod_is_one_pod() {
    let text = waiting(&[left("shop/a", Reason::NotYet)]);
    assert_eq!(text, "waiting for 1 Pod: shop/a (not evicted yet)");
}

#[test]
fn three_are_named_and_the_others_counted_in_a_stable_order() {
    let mut all: Vec<Left> = (0..500)
        .map(|index| left(&format!("shop/a-{index:03}"), Reason::Terminating))
        .collect();
    let text = waiting(&all);
    assert_eq!(
        text,
        "waiting for 500 Pods: shop/a-000 (terminating), shop/a-001 (terminating), shop/a-002 (terminating) and 497 more"
    );
    all.reverse();
    assert_eq!(waiting(&all), text);
}

#[test]
fn only_what_budgets_hold_back_is_a_blocker() {
    assert_eq!(blockers(&[left("shop/a", Reason::Terminating)]), None);
    let text = blockers(&[left("shop/a", Reason::Terminating), blocked("shop/b")]).unwrap();
    assert!(
        text.starts_with("1 Pod: shop/b (Pod") && !text.contains("shop/a"),
        "{text}"
    );
}

#[test]
fn what_is_forbidden_is_told_by_option() {
    let pod = |pod: &str, why| Forbidden {
        pod: pod.to_owned(),
        why,
    };
    let text = forbidden(&[
        pod("shop/b", Refusal::EmptyDir),
        pod("shop/bare", Refusal::NoController),
        pod("shop/a", Refusal::EmptyDir),
        pod("kube-system/agent", Refusal::DaemonSet),
    ]);
    assert_eq!(
        text,
        "Pods are there that may not be evicted: of a DaemonSet kube-system/agent (drainOptions.ignoreDaemonSets is false); \
         without a controller shop/bare (drainOptions.force is false); \
         with emptyDir data shop/a, shop/b (drainOptions.deleteEmptyDirData is false)"
    );
}

fn terminating(seconds_ago: i64, grace: i64, finalizers: &[&str]) -> Reason {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let begun = now - SignedDuration::from_secs(seconds_ago);
    let pod = DrainPod {
        deletion: Some(Deletion {
            due: begun + SignedDuration::from_secs(grace),
            grace: SignedDuration::from_secs(grace),
        }),
        finalizers: finalizers.iter().map(|name| (*name).to_owned()).collect(),
        ..DrainPod::default()
    };
    Reason::of_deletion(&pod, now)
}

#[test]
fn within_its_grace_period_a_pod_just_ends() {
    assert_eq!(terminating(29, 30, &["x/y"]), Reason::Terminating);
}

#[test]
fn after_it_what_holds_the_pod_is_named() {
    assert_eq!(
        terminating(47, 0, &["x/y"]).to_string(),
        "terminating for 40 s, finalizers: x/y"
    );
    assert_eq!(
        terminating(150, 30, &[]).to_string(),
        "terminating for 2 min, its kubelet has not confirmed the end"
    );
    assert_eq!(
        terminating(7300, 30, &["a/b", "c/d", "e/f"]).to_string(),
        "terminating for 2 h, finalizers: a/b, c/d and 1 more"
    );
}

#[test]
fn the_words_about_a_stuck_pod_change_rarely() {
    let texts: std::collections::BTreeSet<String> = (35..3600)
        .map(|seconds| terminating(seconds, 30, &[]).to_string())
        .collect();
    assert!(texts.len() <= 63, "{} texts in an hour", texts.len());
}

proptest! {
    #![proptest_config(crate::testing::cases(64))]

    #[test]
    fn every_text_is_bounded_whatever_the_names(
        names in prop::collection::vec("[a-zé]{1,63}/[a-z0-9é]{1,253}", 1..20), whys in prop::collection::vec("[a-zé ]{0,400}", 20),
    ) {
        let all: Vec<Left> = names.iter().zip(&whys).map(|(name, why)| left(name, Reason::Blocked(why.clone()))).collect();
        prop_assert!(waiting(&all).len() <= LONGEST);
        prop_assert!(blockers(&all).unwrap().len() <= LONGEST);
        prop_assert!(found(&names).len() <= LONGEST);
        let refusals = [Refusal::DaemonSet, Refusal::NoController, Refusal::EmptyDir];
        let all: Vec<Forbidden> = names.iter().flat_map(|name| refusals.map(|why| Forbidden { pod: name.clone(), why })).collect();
        let text = forbidden(&all);
        prop_assert!(text.len() <= LONGEST, "{}", text.len());
        for option in ["ignoreDaemonSets", "force", "deleteEmptyDirData"] {
            prop_assert!(text.contains(option), "{text}");
        }
    }
}

use super::*;
use crate::drain::pod::Deletion;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Options that forbid nothing.
fn all() -> DrainOptions {
    DrainOptions {
        enabled: true,
        force: true,
        delete_empty_dir_data: true,
        ignore_daemon_sets: true,
        ..DrainOptions::default()
    }
}

fn pod(controller: Controller) -> DrainPod {
    DrainPod {
        namespace: "shop".to_owned(),
        name: "pod".to_owned(),
        uid: "uid".to_owned(),
        controller,
        ..DrainPod::default()
    }
}

fn ended(mut pod: DrainPod) -> DrainPod {
    pod.finished = true;
    pod
}

fn deleted(mut pod: DrainPod) -> DrainPod {
    pod.deletion = Some(Deletion {
        due: Timestamp::UNIX_EPOCH,
        grace: SignedDuration::from_secs(30),
    });
    pod
}

fn with_empty_dir(mut pod: DrainPod) -> DrainPod {
    pod.empty_dir = true;
    pod
}

/// One word for what becomes of one Pod.
fn fate(pod: DrainPod, options: &DrainOptions) -> String {
    let own = OwnObjects {
        jobs: ["our-job".to_owned()].into(),
    };
    let Classified {
        forbidden,
        evict,
        delete,
        terminating,
    } = classify([pod], options, &own);
    let mut fate: Vec<String> = forbidden
        .iter()
        .map(|forbidden| format!("{:?}", forbidden.why))
        .collect();
    let counted = [
        ("evict", evict.len()),
        ("delete", delete.len()),
        ("wait", terminating.len()),
    ];
    for (word, count) in counted {
        fate.extend(std::iter::repeat_n(word.to_owned(), count));
    }
    fate.join(" ")
}

#[test]
fn a_pod_that_a_controller_replaces_is_evicted() {
    assert_eq!(fate(pod(Controller::Other), &all()), "evict");
    let others_job = Controller::Job("another".to_owned());
    assert_eq!(fate(pod(others_job), &all()), "evict");
    let careful = DrainOptions::default();
    assert_eq!(fate(pod(Controller::Other), &careful), "evict");
}

#[test]
fn a_mirror_pod_stays_whatever_else_it_is() {
    let mirror = DrainPod {
        mirror: true,
        ..with_empty_dir(pod(Controller::None))
    };
    assert_eq!(fate(mirror.clone(), &DrainOptions::default()), "");
    assert_eq!(fate(deleted(mirror), &all()), "");
}

#[test]
fn our_own_pods_stay() {
    for controller in [Controller::NodeOp, Controller::Job("our-job".to_owned())] {
        let own = with_empty_dir(pod(controller));
        assert_eq!(fate(own.clone(), &DrainOptions::default()), "");
        assert_eq!(fate(ended(own), &all()), "");
    }
}

#[test]
fn a_daemon_sets_pod_stays_or_forbids() {
    let of_daemon_set = with_empty_dir(pod(Controller::DaemonSet));
    let refusing = DrainOptions {
        ignore_daemon_sets: false,
        ..all()
    };
    assert_eq!(fate(of_daemon_set.clone(), &all()), "");
    assert_eq!(fate(of_daemon_set.clone(), &DrainOptions::default()), "");
    assert_eq!(fate(of_daemon_set.clone(), &refusing), "DaemonSet");
    assert_eq!(fate(ended(of_daemon_set.clone()), &refusing), "delete");
    assert_eq!(fate(ended(of_daemon_set.clone()), &all()), "");
    assert_eq!(fate(deleted(of_daemon_set), &all()), "");
}

#[test]
fn a_pod_without_a_controller_needs_force() {
    let careful = DrainOptions {
        force: false,
        ..all()
    };
    assert_eq!(fate(pod(Controller::None), &careful), "NoController");
    assert_eq!(fate(pod(Controller::None), &all()), "evict");
    assert_eq!(fate(ended(pod(Controller::None)), &careful), "delete");
}

#[test]
fn an_empty_dir_needs_the_option_that_gives_its_data_up() {
    let careful = DrainOptions {
        delete_empty_dir_data: false,
        ..all()
    };
    let with_data = with_empty_dir(pod(Controller::Other));
    assert_eq!(fate(with_data.clone(), &careful), "EmptyDir");
    assert_eq!(fate(with_data.clone(), &all()), "evict");
    assert_eq!(fate(ended(with_data), &careful), "delete");
}

#[test]
fn a_pod_that_two_options_forbid_names_both() {
    let pod = with_empty_dir(pod(Controller::None));
    assert_eq!(fate(pod, &DrainOptions::default()), "NoController EmptyDir");
}

#[test]
fn a_pod_that_is_terminating_is_waited_for_and_forbids_nothing() {
    let pod = with_empty_dir(deleted(pod(Controller::None)));
    assert_eq!(fate(pod.clone(), &DrainOptions::default()), "wait");
    assert_eq!(fate(ended(pod), &all()), "wait");
}

fn any_pod() -> impl Strategy<Value = DrainPod> {
    let controller = prop_oneof![
        Just(Controller::None),
        Just(Controller::DaemonSet),
        Just(Controller::NodeOp),
        Just(Controller::Job("our-job".to_owned())),
        Just(Controller::Job("another".to_owned())),
        Just(Controller::Other),
    ];
    let flags = any::<(bool, bool, bool, bool)>();
    (controller, flags).prop_map(|(controller, (mirror, dying, finished, empty_dir))| {
        let pod = DrainPod {
            mirror,
            finished,
            empty_dir,
            ..pod(controller)
        };
        if dying { deleted(pod) } else { pod }
    })
}

fn any_options() -> impl Strategy<Value = DrainOptions> {
    any::<(bool, bool, bool)>().prop_map(|(force, daemon_sets, empty_dir)| DrainOptions {
        force,
        ignore_daemon_sets: daemon_sets,
        delete_empty_dir_data: empty_dir,
        ..all()
    })
}

proptest! {
    #![proptest_config(crate::testing::cases(64))]

    #[test]
    fn no_pod_is_touched_that_must_not_be_and_each_has_one_fate(
        pods in prop::collection::vec(any_pod(), 0..40), options in any_options(),
    ) {
        let pods: Vec<DrainPod> = pods.into_iter().enumerate().map(|(index, pod)| DrainPod {
            name: format!("pod-{index}"), uid: format!("uid-{index}"), ..pod
        }).collect();
        let own = OwnObjects { jobs: ["our-job".to_owned()].into() };
        let classified = classify(pods.clone(), &options, &own);

        let forbidden: Vec<&str> = classified.forbidden.iter().map(|forbidden| forbidden.pod.as_str()).collect();
        let mut fates: BTreeMap<String, usize> = BTreeMap::new();
        let touched = classified.evict.iter().chain(&classified.delete);
        for pod in touched.clone().chain(&classified.terminating) {
            *fates.entry(pod.uid.clone()).or_default() += 1;
            prop_assert!(!forbidden.contains(&pod.to_string().as_str()), "{pod} is forbidden");
        }
        for pod in touched {
            prop_assert!(!pod.mirror && pod.deletion.is_none() && pod.controller != Controller::NodeOp);
            prop_assert!(pod.controller != Controller::Job("our-job".to_owned()));
        }
        for pod in &classified.evict {
            prop_assert!(!pod.finished);
            prop_assert!(options.force || pod.controller != Controller::None);
            prop_assert!(options.delete_empty_dir_data || !pod.empty_dir);
            prop_assert!(pod.controller != Controller::DaemonSet);
        }
        for pod in &pods {
            let left_alone = pod.mirror
                || matches!(&pod.controller, Controller::NodeOp)
                || pod.controller == Controller::Job("our-job".to_owned())
                || (pod.controller == Controller::DaemonSet && options.ignore_daemon_sets);
            let fate = fates.get(&pod.uid).copied().unwrap_or(0) + usize::from(forbidden.contains(&pod.to_string().as_str()));
            prop_assert_eq!(fate, usize::from(!left_alone), "{}", pod);
        }
    }
}

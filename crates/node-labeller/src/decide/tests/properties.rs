//! What holds for every snapshot.

use proptest::prelude::*;

use super::*;

/// A node in some state, with or without a record and a Pod.
fn any_case() -> impl Strategy<Value = (WatchedNode, Option<WatchedPod>, Option<Busy>)> {
    let told = prop_oneof![
        Just(None),
        (any::<bool>(), -100_000_i64..100_000, 0_usize..4).prop_map(Some)
    ];
    let flags = (any::<bool>(), any::<bool>());
    let pod = (0_usize..5, any::<bool>(), any::<bool>());
    let busy = prop_oneof![
        3 => Just(None),
        1 => Just(Some(Busy::Creating)),
        1 => Just(Some(Busy::Ending))
    ];
    ("[a-z]{1,8}", flags, told, pod, busy).prop_map(
        |(name, (ready, linux), told, (kind, markers, same), busy)| {
            let mut node = node(&name);
            node.has_linux = linux;
            if !ready {
                node.status.conditions.clear();
            }
            node.record = told.map(|(current, second, which)| Record {
                of: if current {
                    node.state.clone()
                } else {
                    String::new()
                },
                markers: [
                    None,
                    Some(Markers::Wanted),
                    Some(Markers::Read),
                    Some(Markers::Missing),
                ][which],
                ..record(&node, at(second))
            });
            let probe = if markers {
                Probe::FilesAndMarkers
            } else {
                Probe::Files
            };
            let mut of = node.clone();
            if !same {
                "earlier".clone_into(&mut of.state);
            }
            let pod = match kind {
                0 | 1 => None,
                2 => Some(pending(&of, probe, at(0))),
                3 => Some(ended(&of, probe, r#""not-kairos""#)),
                _ => Some(ended(&of, probe, "void")),
            };
            (node, pod, busy)
        },
    )
}

proptest! {
    #[test]
    fn never_two_steps_per_pod_never_more_than_the_limit_and_never_a_busy_one(
        cases in proptest::collection::vec(any_case(), 0..20), now in 0_i64..200
    ) {
        let mut world = World::default();
        for (node, pod, busy) in cases {
            if world.nodes.iter().any(|known| known.name() == node.name()) {
                continue;
            }
            if let Some(busy) = busy {
                world.busy.insert(node.pod_name.clone(), busy);
            }
            world.nodes.push(Arc::new(node));
            if let Some(pod) = pod {
                world.pods.insert(pod.name().to_owned(), Arc::new(pod));
            }
        }
        let plan = world.decide(at(now));
        let mut names: Vec<String> = plan.steps.iter().map(Step::pod_name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        prop_assert_eq!(names.len(), count);
        for step in &plan.steps {
            prop_assert!(!world.busy.contains_key(&step.pod_name()));
            if let Step::Create { node, .. } = step {
                prop_assert!(node.is_ready() && node.has_linux);
                prop_assert!(!world.pods.contains_key(&step.pod_name()));
            }
        }
        let active = world
            .pods
            .values()
            .filter(|pod| !pod.has_ended())
            .map(|pod| pod.name().to_owned());
        let creating = world
            .busy
            .iter()
            .filter(|(_, busy)| **busy == Busy::Creating)
            .map(|(name, _)| name.clone());
        let before: BTreeSet<String> = active.chain(creating).collect();
        let started = starts(&plan).len();
        prop_assert!(started == 0 || before.len() + started <= LIMITS.pods_in_flight);
    }
}

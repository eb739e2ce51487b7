//! What is remembered, and for how long.

use super::*;

fn version(version: &str) -> Arc<NodeOp> {
    let mut node_op = NodeOp::new("op", api_types::nodeop::NodeOpSpec::default());
    node_op.metadata.resource_version = Some(version.to_owned());
    Arc::new(node_op)
}

#[test]
fn a_watch_that_lags_behind_own_writes_is_no_reason_to_read_again() {
    let memory = Memory::default();
    for written in ["7", "9", "12"] {
        memory.remember("uid", &version(written));
    }
    for shown in ["7", "9", "12"] {
        let latest = memory.latest("uid", shown).unwrap();
        assert_eq!(latest.resource_version().as_deref(), Some("12"));
    }
    assert!(
        memory.latest("uid", "13").is_none(),
        "somebody else has written"
    );
    assert!(
        memory.latest("uid", "8").is_none(),
        "a version that was never seen"
    );
    memory.forget_latest("uid");
    assert!(memory.latest("uid", "9").is_none());
}

#[test]
fn few_older_versions_are_remembered() {
    let memory = Memory::default();
    for written in 0..100 {
        memory.remember("uid", &version(&written.to_string()));
    }
    assert!(memory.latest("uid", "98").is_some());
    assert!(memory.latest("uid", "1").is_none());
}

#[test]
fn what_is_gone_is_forgotten_before_it_adds_up() {
    let memory = Memory::default();
    for index in 0..1000 {
        memory.ended(&format!("uid-{index}"));
        memory.prune(1, || ["uid-0".to_owned()].into());
    }
    assert!(memory.lock().ended.len() <= 2 + SPARE);
    assert!(memory.has_ended("uid-0"), "what still exists is kept");
}

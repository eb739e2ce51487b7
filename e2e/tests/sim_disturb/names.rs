//! The longest names that Kubernetes allows.

use api_types::nodeop::Phase;

use crate::world::World;

#[tokio::test]
async fn names_of_253_characters_that_differ_only_at_their_end_are_kept_apart_also_in_reboots() {
    let world = World::new("long").await;
    let head = format!("{}.{}", world.name(), "n".repeat(60));
    let long = |end: &str| {
        let mut name = head.clone();
        while name.len() + 62 < 253 {
            name.push('.');
            name.push_str(&"n".repeat(61));
        }
        let rest = 253 - name.len() - 1 - end.len();
        format!("{name}.{}{end}", "n".repeat(rest))
    };
    let nodes = vec![long("a"), long("b")];
    for node in &nodes {
        assert_eq!(node.len(), 253);
        world.create_node(node, &[]).await;
    }
    for node in &nodes {
        world.wait_until_ready(node).await;
    }
    let op = "o".repeat(253);
    let spec = "command: [run]\nrebootOnSuccess: true\ncordon: true\n\
                preflight: {command: [look]}\nverify: {command: [check]}\n\
                drainOptions: {enabled: true}";
    world.node_op(&op, spec).await;
    let mut boots = Vec::new();
    for node in &nodes {
        boots.push(world.play_reboot(node).await);
    }
    assert_ne!(boots[0].0, boots[1].0);
    let status = world.ended(&op).await;
    assert_eq!(status.phase, Some(Phase::Completed), "{status:#?}");
    assert_eq!(status.node_statuses.len(), 2);
    assert_eq!(world.jobs_created().await, 2);
    world.clean_within(crate::TEN, &op, &nodes).await;
    world.event(&op, "Completed", "2").await;
}

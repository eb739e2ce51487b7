//! An operation that is deleted after its agent has asked the host to reboot.

use std::time::Duration;

use e2e::nodes::End;
use serde_json::json;

use crate::NODES;
use crate::site::Site;

/// How long the host takes to go down: longer than a Pod usually has to end.
const GOES_DOWN_SECONDS: u32 = 12;

/// The node looks as if it were up and its Pod were no longer needed, and nobody may work on it: it goes down.
pub(crate) async fn a_node_that_goes_down_for_a_deleted_operation_is_kept_until_it_is_back(
    site: &Site<'_>,
) {
    let name = NODES[2];
    let node = site.node(name);
    let before = site.ends(name).len();
    let boot = node.boot_id().unwrap();
    // A host whose `reboot` answers at once and takes its time, as under systemd. It is as before after that.
    let reboot = format!(
        "#!/bin/sh\nln -sf /usr/bin/busybox /usr/sbin/reboot\necho asked > /var/lib/asked\n\
         (sleep {GOES_DOWN_SECONDS}; exec /usr/sbin/reboot) > /dev/null 2>&1 < /dev/null &\n"
    );
    let script = "rm /host/usr/sbin/reboot && printf '%s' \"$0\" > /host/usr/sbin/reboot && chmod 755 /host/usr/sbin/reboot";
    let spec = json!({
        "command": ["sh", "-c", script, reboot], "cordon": true, "rebootOnSuccess": true,
        "nodeSelector": {"matchLabels": {"kubernetes.io/hostname": name}},
    });
    site.create("given-up", spec).await;
    site.wait_for_file(name, "/var/lib/asked").await;
    site.delete("given-up").await;
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    while node.boot_id().unwrap() == boot {
        assert!(tokio::time::Instant::now() < deadline, "never went down");
        let cordoned = site.is_cordoned(name).await;
        // It may have come back between the two looks.
        assert!(
            cordoned || node.boot_id().unwrap() != boot,
            "given back while it was going down"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    node.wait_ready(Duration::from_mins(1)).await.unwrap();
    site.is_gone("given-up").await;
    let ends = &site.ends(name)[before - 1..];
    assert_eq!(ends, [Some(End::Reboot), None], "one reboot");
    assert!(
        !site.is_cordoned(name).await,
        "given back when it is up again"
    );
    assert!(site.reboot_pods("given-up").await.is_empty());
}

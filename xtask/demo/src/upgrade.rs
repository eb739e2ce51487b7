//! The NodeOpUpgrade: created from the example file, followed through the reboot of each node.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context as _, bail};
use api_types::nodeop::{NodeOpStatus, Phase};
use api_types::nodeopupgrade::{NodeOpUpgrade, NodeOpUpgradeStatus, UpgradePhase};
use e2e::nodes::RealNodes;
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};

use crate::api::within;
use crate::operation::{follow, without_comments};
use crate::site::{Outcome, Site};
use crate::view::{View, seconds};
use crate::{images, labels, report};

/// The README's example.
const EXAMPLE: &str = include_str!("../../../deploy/examples/nodeopupgrade.yaml");
/// The version of the stand-in that is served under the name of the example's image.
const VERSION: &str = "v3.6.0";

/// Upgrades each node, one after the other.
pub(crate) async fn tell(site: &Site) -> anyhow::Result<Outcome> {
    let nodes = site
        .target
        .nodes
        .as_ref()
        .context("there are no real nodes")?;
    let upgrade = example()?;
    let image = &upgrade.spec.image;
    tokio::task::block_in_place(|| images::kairos(nodes, image, VERSION))?;
    // The example selects by them.
    labels::labelled(&site.target.client, None).await?;
    let before = boots(nodes)?;
    site.step(&format!(
        "applying deploy/examples/nodeopupgrade.yaml:\n\n{}\n",
        without_comments(EXAMPLE)
    ));
    let (namespace, name) = (upgrade.namespace().unwrap_or_default(), upgrade.name_any());
    let api: Api<NodeOpUpgrade> = Api::namespaced(site.target.client.clone(), &namespace);
    let parameters = PostParams::default();
    within(
        "create the NodeOpUpgrade",
        api.create(&parameters, &upgrade),
    )
    .await?;

    let began = Instant::now();
    let what = format!("get the NodeOpUpgrade {namespace}/{name}");
    let status = follow(
        &format!("the NodeOpUpgrade {namespace}/{name}"),
        &mut View::new(),
        async || {
            let upgrade = within(&what, api.get(&name)).await?;
            Ok(as_operation(upgrade.status.unwrap_or_default()))
        },
        || site.operator.check(),
    )
    .await?;
    let took = seconds(began.elapsed());
    println!("\nFinal status:\n\n{}\n", report::table(&status));
    let mut outcome = Outcome {
        sentence: report::summary(&format!("NodeOpUpgrade {name}"), &status, &took),
        is_good: status.phase == Some(Phase::Completed),
    };
    if outcome.is_good {
        rebooted_once(&before, &boots(nodes)?)?;
        site.step("waiting for the node labeller to look at what runs now");
        let known = labels::labelled(&site.target.client, Some(VERSION)).await?;
        println!("\n{}", labels::table(&known));
        outcome.sentence.push_str(", each rebooted once");
    }
    Ok(outcome)
}

fn example() -> anyhow::Result<NodeOpUpgrade> {
    serde_saphyr::from_str(EXAMPLE).context("failed to read deploy/examples/nodeopupgrade.yaml")
}

/// How often each node has booted.
fn boots(nodes: &RealNodes) -> anyhow::Result<BTreeMap<String, usize>> {
    let nodes = nodes.all().iter();
    nodes
        .map(|node| Ok((node.name().to_owned(), node.boots()?.len())))
        .collect()
}

/// The firmware of the nodes counts, not the operator.
fn rebooted_once(
    before: &BTreeMap<String, usize>,
    after: &BTreeMap<String, usize>,
) -> anyhow::Result<()> {
    for (name, boots) in before {
        let reboots = after.get(name).map_or(0, |after| after - boots);
        if reboots != 1 {
            bail!(
                "the upgrade is completed, and the node {name} has rebooted {reboots} times, not once"
            );
        }
    }
    Ok(())
}

/// In the words of the NodeOp that does the work.
fn as_operation(status: NodeOpUpgradeStatus) -> NodeOpStatus {
    NodeOpStatus {
        phase: status.phase.map(|phase| match phase {
            UpgradePhase::Initializing | UpgradePhase::Pending => Phase::Pending,
            UpgradePhase::Running => Phase::Running,
            UpgradePhase::Completed => Phase::Completed,
            UpgradePhase::Failed => Phase::Failed,
        }),
        message: status.message,
        summary: status.summary,
        node_statuses: status.node_statuses,
        ..NodeOpStatus::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_goes_to_the_version_of_the_stand_in() {
        let example = example().unwrap();
        assert!(example.spec.image.contains(&format!("-{VERSION}-")));
        let selector = example.spec.node_selector.unwrap().match_labels.unwrap();
        assert!(selector.contains_key("kairos.io/managed"));
    }

    #[test]
    fn a_node_that_did_not_reboot_or_did_so_twice_is_named() {
        let boots = |count| BTreeMap::from([("barn".to_owned(), count)]);
        assert!(rebooted_once(&boots(1), &boots(2)).is_ok());
        for after in [1, 3] {
            let error = rebooted_once(&boots(1), &boots(after)).unwrap_err();
            assert!(error.to_string().contains("barn"), "{error}");
        }
    }
}

//! Where stories are told: a cluster, and whoever runs the operator on it.

use std::time::Instant;

use crate::arguments::Arguments;
use crate::cluster::Target;
use crate::controller::Controller;
use crate::{everything, images, install};

/// A cluster with the operator on it.
pub(crate) struct Site {
    pub(crate) target: Target,
    pub(crate) operator: Operator,
    pub(crate) start: Instant,
}

/// How a story ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) sentence: String,
    pub(crate) is_good: bool,
}

/// Who runs the operator.
pub(crate) enum Operator {
    /// All four controllers run as Pods.
    All,
    /// The nodeop-controller runs as a Pod.
    Deployed,
    /// The nodeop-controller runs here, as a process.
    Here(Controller),
}

impl Operator {
    /// Fails when it is known to have ended.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        match self {
            Self::Here(controller) => controller.check(),
            Self::All | Self::Deployed => Ok(()),
        }
    }
}

impl Site {
    /// Installs the operator in the way that fits the cluster.
    pub(crate) async fn prepare(
        target: Target,
        arguments: &Arguments,
        start: Instant,
    ) -> anyhow::Result<Self> {
        let operator = operator(&target, arguments, start).await?;
        Ok(Self {
            target,
            operator,
            start,
        })
    }

    /// Says what comes next.
    pub(crate) fn step(&self, what: &str) {
        step(self.start, what);
    }
}

async fn operator(
    target: &Target,
    arguments: &Arguments,
    start: Instant,
) -> anyhow::Result<Operator> {
    let client = &target.client;
    if let Some(nodes) = &target.nodes {
        step(start, "installing the operator: four controllers, as Pods");
        tokio::task::block_in_place(|| images::controllers(nodes))?;
        everything::install(target).await?;
        return Ok(Operator::All);
    }
    if arguments.agent_image.is_none() && install::is_deployed(client).await? {
        step(start, "the operator is installed there already");
        return Ok(Operator::Deployed);
    }
    step(
        start,
        "installing the CRDs and the rights of the controller",
    );
    install::crds(client).await?;
    install::rights(client).await?;
    if let Some(image) = &arguments.agent_image {
        step(
            start,
            &format!("installing the controller as a Deployment with the image {image}"),
        );
        install::deployment(client, image).await?;
        return Ok(Operator::Deployed);
    }
    step(
        start,
        "starting the controller here, under the token of its own ServiceAccount",
    );
    let controller = Controller::start(client, &target.entry, &target.guard).await?;
    Ok(Operator::Here(controller))
}

fn step(start: Instant, what: &str) {
    println!("{:>6.1} s  {what}", start.elapsed().as_secs_f64());
}

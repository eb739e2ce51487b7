//! Carries out a plan: the NodeOp's creation, its edits, the status write. Decides nothing.

use std::future::Future;
use std::time::Duration;

use api_types::nodeop::NodeOp;
use api_types::nodeopupgrade::{NodeOpUpgrade, NodeOpUpgradeStatus};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use operator_runtime::client::{Clients, deadline};
use operator_runtime::lease::Leadership;

use crate::decide::{Action, Edit};
use crate::error::{Error, Result};
use crate::observe;
use crate::status::patch_body;

/// Field manager of our writes.
const MANAGER: &str = "upgrade-controller";

/// How requests are made.
#[derive(Clone)]
pub struct Requests {
    /// Clients for the API server.
    pub clients: Clients,
    /// The longest wait for one answer.
    pub timeout: Duration,
    /// Whether this replica may write.
    pub leadership: Leadership,
}

impl Requests {
    /// Refuses to go on with a write when this replica has lost the lease, as after a long freeze.
    fn may_write(&self, action: &str) -> Result<()> {
        if self.leadership.is_leading() {
            return Ok(());
        }
        Err(Error::NotLeader {
            action: action.to_owned(),
        })
    }
}

/// Awaits one request for at most the timeout.
pub async fn within<T>(
    requests: &Requests,
    action: &str,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T> {
    Ok(deadline(requests.timeout, action, request).await?)
}

/// What came of an action.
#[derive(Debug)]
pub enum Done {
    /// The NodeOp was created.
    Created(Box<NodeOp>),
    /// The NodeOp as it is now, whoever owns it.
    NodeOp(Box<NodeOp>),
    /// Somebody else has written or deleted it since: decide anew.
    Changed,
    /// The API server refuses, with its words.
    Refused(String),
}

/// Makes the request.
pub async fn act(requests: &Requests, action: &Action) -> Result<Done> {
    match action {
        Action::Create(node_op) => create(requests, node_op).await,
        Action::Edit(edit) => carry_over(requests, edit).await,
    }
}

/// Creates a NodeOp whose name is derived, so that it exists once: a name that is taken brings the object that has it.
async fn create(requests: &Requests, node_op: &NodeOp) -> Result<Done> {
    let (namespace, name) = (node_op.namespace().unwrap_or_default(), node_op.name_any());
    let action = format!("create nodeop {namespace}/{name}");
    requests.may_write(&action)?;
    let api: Api<NodeOp> = Api::namespaced(requests.clients.api.clone(), &namespace);
    let params = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    let error = match within(requests, &action, api.create(&params, node_op)).await {
        Ok(created) => return Ok(Done::Created(Box::new(created))),
        Err(error) => error,
    };
    match refusal(&error) {
        Some((409, _)) => match observe::node_op(requests, &namespace, &name).await? {
            Some(found) => Ok(Done::NodeOp(Box::new(found))),
            // It was there and is gone. The next pass tries again.
            None => Err(Error::Crossed {
                name: format!("{namespace}/{name}"),
            }),
        },
        Some((400 | 403 | 422, message)) => Ok(Done::Refused(message.to_owned())),
        _ => Err(error),
    }
}

async fn carry_over(requests: &Requests, edit: &Edit) -> Result<Done> {
    let Edit {
        namespace,
        name,
        patch,
    } = edit;
    let action = format!("edit nodeop {namespace}/{name}");
    requests.may_write(&action)?;
    let api: Api<NodeOp> = Api::namespaced(requests.clients.api.clone(), namespace);
    let patch = Patch::Merge(patch);
    match within(requests, &action, api.patch(name, &patch_params(), &patch)).await {
        Ok(edited) => Ok(Done::NodeOp(Box::new(edited))),
        Err(error) => match refusal(&error) {
            Some((404 | 409, _)) => Ok(Done::Changed),
            Some((400 | 403 | 422, message)) => Ok(Done::Refused(message.to_owned())),
            _ => Err(error),
        },
    }
}

/// Writes `after` over the status of `upgrade`. `None`: somebody else has written since, decide anew.
pub async fn write_status(
    requests: &Requests,
    upgrade: &NodeOpUpgrade,
    after: &NodeOpUpgradeStatus,
) -> Result<Option<NodeOpUpgrade>> {
    let display = display(upgrade);
    let action = format!("write the status of nodeopupgrade {display}");
    requests.may_write(&action)?;
    let body = patch_body(upgrade, after).map_err(|source| Error::Serialise {
        name: display,
        source,
    })?;
    let namespace = upgrade.namespace().unwrap_or_default();
    let api: Api<NodeOpUpgrade> = Api::namespaced(requests.clients.api.clone(), &namespace);
    let name = upgrade.name_any();
    let patch = Patch::Merge(&body);
    match within(
        requests,
        &action,
        api.patch_status(&name, &patch_params(), &patch),
    )
    .await
    {
        Ok(written) => Ok(Some(written)),
        // 404: deleted meanwhile. 409: changed meanwhile.
        Err(error) => match refusal(&error) {
            Some((404 | 409, _)) => Ok(None),
            _ => Err(error),
        },
    }
}

fn patch_params() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// The status code and message, if the API server answered with an error.
fn refusal(error: &Error) -> Option<(u16, &str)> {
    match error {
        Error::Request(call) => call
            .status()
            .map(|status| (status.code, status.message.as_str())),
        Error::Crossed { .. } | Error::Serialise { .. } | Error::NotLeader { .. } => None,
    }
}

/// Namespace and name, for texts.
pub fn display(upgrade: &NodeOpUpgrade) -> String {
    format!(
        "{}/{}",
        upgrade.namespace().unwrap_or_default(),
        upgrade.name_any()
    )
}

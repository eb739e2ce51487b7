//! Reads what one pass needs, each time from the API server: two small requests spare every doubt about a cache, and there
//! are few upgrades at a time.

use api_types::nodeop::NodeOp;
use api_types::nodeopupgrade::NodeOpUpgrade;
use kube::{Api, ResourceExt as _};

use crate::apply::{Requests, within};
use crate::error::Result;

/// The NodeOpUpgrade as the API server holds it. Nothing when it is gone, or when another one of that name is there.
pub async fn upgrade(
    requests: &Requests,
    namespace: &str,
    name: &str,
    uid: &str,
) -> Result<Option<NodeOpUpgrade>> {
    let api: Api<NodeOpUpgrade> = Api::namespaced(requests.clients.api.clone(), namespace);
    let action = format!("get nodeopupgrade {namespace}/{name}");
    let found = within(requests, &action, api.get_opt(name)).await?;
    Ok(found.filter(|found| found.uid().as_deref() == Some(uid)))
}

/// The NodeOp of that name, whoever owns it.
pub async fn node_op(requests: &Requests, namespace: &str, name: &str) -> Result<Option<NodeOp>> {
    let api: Api<NodeOp> = Api::namespaced(requests.clients.api.clone(), namespace);
    let action = format!("get nodeop {namespace}/{name}");
    within(requests, &action, api.get_opt(name)).await
}

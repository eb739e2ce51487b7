//! What the controllers cost: seconds, requests, CPU and memory, on an embedded cluster with simulated nodes, against what
//! the same work costs with bare requests in the same run.
//!
//! - [`site`]: the cluster. [`work`]: what is to be done, and the objects that it takes.
//! - [`floor`]: the work by bare requests. [`nodeop`]: both, one after the other.
//! - [`startup`], [`labeller`]: what has no floor.
//! - [`journal`], [`process`], [`requests`]: what is looked at. [`figures`]: what follows from it, pure.
//! - [`report`]: the tables and the JSON file.

pub mod arguments;
pub mod figures;
pub mod floor;
pub mod journal;
pub mod labeller;
pub mod load;
pub mod nodeop;
pub mod process;
pub mod report;
pub mod requests;
pub mod site;
pub mod startup;
pub mod work;

use std::future::Future;
use std::time::Duration;

use anyhow::Context as _;

/// How long one request of the bench may take: the API server is kept as busy as it can be.
const REQUEST: Duration = Duration::from_mins(2);

/// Awaits one request for at most [`REQUEST`]. `what` completes "failed to".
pub(crate) async fn within<T>(
    what: &str,
    request: impl Future<Output = kube::Result<T>>,
) -> anyhow::Result<T> {
    let failed = || format!("failed to {what}");
    tokio::time::timeout(REQUEST, request)
        .await
        .with_context(failed)?
        .with_context(failed)
}

/// Says on standard error how far the run is.
pub(crate) fn progress(line: &str) {
    eprintln!("bench: {line}");
}

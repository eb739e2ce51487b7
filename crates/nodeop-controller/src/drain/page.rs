//! The Pods of one node, as the API server holds them at this moment.

use k8s_openapi::api::core::v1::Pod;
use kube::Resource as _;
use kube::api::{ListParams, Request};
use operator_runtime::client::deadline;
use serde::Deserialize;

use super::pod::DrainPod;
use crate::apply::Requests;
use crate::error::{Error, Result};

/// Pods per page. A node rarely holds more (kubelets allow 110 by default), so one request is the rule: only a first
/// page is served from the API server's cache by an index on `spec.nodeName` on every supported version.
const PAGE: u32 = 500;
/// Pods of one node beyond which the round is given up: no kubelet runs that many.
const MOST: usize = 20_000;

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: PageMetadata,
    items: Vec<DrainPod>,
}

#[derive(Default, Deserialize)]
struct PageMetadata {
    #[serde(default, rename = "continue")]
    next: String,
}

/// Lists the Pods that are bound to `node`. Consistent: no resourceVersion is given, so what was written before is seen.
pub(super) async fn pods_of(requests: &Requests, node: &str) -> Result<Vec<DrainPod>> {
    let mut params = ListParams::default()
        .fields(&format!("spec.nodeName={node}"))
        .limit(PAGE);
    let mut pods = Vec::new();
    loop {
        let page = page(requests, node, &params).await?;
        if pods.is_empty() {
            pods = page.items;
        } else {
            pods.extend(page.items);
        }
        if page.metadata.next.is_empty() {
            return Ok(pods);
        }
        if pods.len() > MOST {
            return Err(Error::TooManyPods {
                node: node.to_owned(),
                most: MOST,
            });
        }
        params = params.continue_token(&page.metadata.next);
    }
}

async fn page(requests: &Requests, node: &str, params: &ListParams) -> Result<Page> {
    let call = async {
        let request = Request::new(Pod::url_path(&(), None))
            .list(params)
            .map_err(kube::Error::BuildRequest)?;
        // Parsed here: the client's own parser logs a body that it cannot read, in full.
        let text = requests.clients.api.request_text(request).await?;
        serde_json::from_str(&text).map_err(kube::Error::SerdeError)
    };
    let action = format!("list the pods of node {node}");
    Ok(deadline(requests.timeout, action, call).await?)
}

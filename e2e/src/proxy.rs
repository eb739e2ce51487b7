//! A proxy between one client and the API server that numbers the client's writes and lets a test act around each.
//!
//! Plain HTTP on loopback towards the client, TLS towards the API server. Answers are passed on as they come, so watches
//! work; the client's own Authorization header is passed through.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use kube::Client;
use kube::client::Body;
use kube::config::AuthInfo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::cluster::Cluster;

/// One write of the client.
#[derive(Clone, Debug)]
pub struct Write {
    /// Its number, from 1.
    pub number: usize,
    /// `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: Method,
    /// Path and query.
    pub path: String,
}

/// When a hook is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The API server has not seen the write.
    Before,
    /// The API server has answered, the client has not seen the answer.
    After,
}

/// What a hook lets happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Pass it on.
    Pass,
    /// Drop the connection's request: neither the API server (before) nor the client (after) sees it.
    Cut,
}

type Hook = dyn Fn(&Write, Moment) -> Verdict + Send + Sync;

/// A running proxy; it ends when this is dropped.
pub struct FaultProxy {
    address: SocketAddr,
    task: JoinHandle<()>,
    writes: Arc<AtomicUsize>,
}

struct Shared {
    upstream: Client,
    writes: Arc<AtomicUsize>,
    counts: Box<dyn Fn(&str) -> bool + Send + Sync>,
    hook: Box<Hook>,
}

impl FaultProxy {
    /// Starts a proxy. `counts` says by path which writes are numbered (leases are usually not), `hook` is called before
    /// and after each of those.
    pub async fn start(
        cluster: &Cluster,
        counts: impl Fn(&str) -> bool + Send + Sync + 'static,
        hook: impl Fn(&Write, Moment) -> Verdict + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("failed to listen")?;
        let address = listener.local_addr()?;
        let writes = Arc::new(AtomicUsize::new(0));
        let shared = Arc::new(Shared {
            upstream: anonymous(cluster)?,
            writes: Arc::clone(&writes),
            counts: Box::new(counts),
            hook: Box::new(hook),
        });
        let task = tokio::spawn(accept(listener, shared));
        Ok(Self {
            address,
            task,
            writes,
        })
    }

    /// URL for the client.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Writes seen so far.
    pub fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A client without credentials of its own and without retries: the proxied client brings the first and decides on the
/// second.
fn anonymous(cluster: &Cluster) -> anyhow::Result<Client> {
    let mut config = cluster.config();
    config.auth_info = AuthInfo::default();
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(move |request| serve(Arc::clone(&shared), request));
            // A connection that breaks is the client's end, or a cut that a test asked for.
            drop(
                auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
        });
    }
}

async fn serve(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, BrokenOff> {
    let write = number(&shared, &request);
    if let Some(write) = &write
        && (shared.hook)(write, Moment::Before) == Verdict::Cut
    {
        return Err(BrokenOff);
    }
    let answer = match forward(&shared.upstream, request).await {
        Ok(answer) => answer,
        Err(error) => {
            let text = format!("the proxy got no answer: {error:#}");
            let mut answer = Response::new(Body::from(text.into_bytes()));
            *answer.status_mut() = StatusCode::BAD_GATEWAY;
            answer
        }
    };
    match &write {
        Some(write) if (shared.hook)(write, Moment::After) == Verdict::Cut => Err(BrokenOff),
        _ => Ok(answer),
    }
}

/// Ends the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the test cut this request")]
struct BrokenOff;

fn number(shared: &Shared, request: &Request<Incoming>) -> Option<Write> {
    let changes =
        [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(request.method());
    let path = request
        .uri()
        .path_and_query()
        .map(ToString::to_string)
        .unwrap_or_default();
    (changes && (shared.counts)(&path)).then(|| Write {
        number: shared.writes.fetch_add(1, Ordering::SeqCst) + 1,
        method: request.method().clone(),
        path,
    })
}

async fn forward(upstream: &Client, request: Request<Incoming>) -> anyhow::Result<Response<Body>> {
    let (mut parts, body) = request.into_parts();
    let path = parts
        .uri
        .path_and_query()
        .context("a request without a path")?
        .clone();
    parts.uri = Uri::from(path);
    parts.headers.remove(http::header::HOST);
    parts.version = http::Version::HTTP_11;
    let body = body.collect().await?.to_bytes();
    Ok(upstream
        .send(Request::from_parts(parts, Body::from(body.to_vec())))
        .await?)
}

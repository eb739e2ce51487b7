//! The admin server: /livez, /readyz, /metrics and, for loopback peers, /loglevel.
//!
//! It asks nobody who they are, so it shows nothing secret, and everything about it is bounded: connections, their
//! lifetime and the size of a body.

use crate::logging::LogControl;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use axum::Router;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::{IncomingStream, Listener};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

const MAX_CONNECTIONS: usize = 64;
const CONNECTION_LIFETIME: Duration = Duration::from_secs(20);
const MAX_BODY_BYTES: usize = 1024;
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC_METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the server shows.
#[derive(Debug, Clone)]
pub struct AdminState {
    /// The conditions behind /readyz.
    pub readiness: Readiness,
    /// The registry behind /metrics.
    pub metrics: Metrics,
    /// What /loglevel changes.
    pub log: LogControl,
}

/// A server that listens, and serves once [`AdminServer::serve`] runs.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl AdminServer {
    /// Listens on the address; port 0 takes a free one.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            io::Error::new(
                error.kind(),
                format!(
                    "failed to listen on the admin address {address}: {error}; set --admin-address"
                ),
            )
        })?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The address with the actual port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until dropped.
    pub async fn serve(self, state: AdminState) -> io::Result<()> {
        let listener = BoundedListener {
            listener: self.listener,
            slots: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        };
        let service = router(state).into_make_service_with_connect_info::<Peer>();
        axum::serve(listener, service).await
    }
}

fn router(state: AdminState) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/loglevel", get(log_level).put(set_log_level))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(state)
}

async fn readyz(State(state): State<AdminState>) -> Response {
    let missing = state.readiness.missing();
    if missing.is_empty() {
        return "ok\n".into_response();
    }
    let text = format!("waiting for: {}\n", missing.join(", "));
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

/// Whoever does not ask for `OpenMetrics`, such as `curl … | promtool check metrics`, gets the older format.
async fn metrics(State(state): State<AdminState>, headers: HeaderMap) -> Response {
    let asks_for_open_metrics = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("application/openmetrics-text"));
    let (kind, text) = if asks_for_open_metrics {
        (OPEN_METRICS, state.metrics.encode())
    } else {
        (CLASSIC_METRICS, state.metrics.encode_classic())
    };
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(error) => {
            let text = format!("failed to encode the metrics: {error}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
    }
}

async fn log_level(State(state): State<AdminState>) -> String {
    format!("{}\n", state.log.level())
}

async fn set_log_level(
    State(state): State<AdminState>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    level: String,
) -> (StatusCode, String) {
    if !peer.ip().to_canonical().is_loopback() {
        let text = "the log level is changed from loopback only: use kubectl port-forward\n";
        return (StatusCode::FORBIDDEN, text.to_owned());
    }
    match state.log.set_level(&level) {
        Ok(()) => {
            tracing::info!(level = state.log.level(), "log level changed");
            (StatusCode::OK, format!("{}\n", state.log.level()))
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}

/// The peer's address, for what is allowed from loopback only.
#[derive(Debug, Clone, Copy)]
struct Peer(SocketAddr);

impl Connected<IncomingStream<'_, BoundedListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, BoundedListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// Accepts a bounded number of connections, each for a bounded time: a peer that says nothing cannot hold one for long.
struct BoundedListener {
    listener: TcpListener,
    slots: Arc<Semaphore>,
}

impl Listener for BoundedListener {
    type Io = BoundedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (BoundedStream, SocketAddr) {
        // Acquiring fails only when the semaphore is closed, which never happens; the connection is then merely uncounted.
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let stream = BoundedStream {
            stream,
            end: Box::pin(tokio::time::sleep(CONNECTION_LIFETIME)),
            _slot: slot,
        };
        (stream, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

struct BoundedStream {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl BoundedStream {
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end.as_mut().poll(context).map(|()| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the connection's lifetime is over",
            ))
        })
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(end) = self.poll_end(context) {
            return Poll::Ready(end);
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(end) = self.poll_end(context) {
            return Poll::Ready(end.map(|()| 0));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    fn state() -> AdminState {
        AdminState {
            readiness: Readiness::default(),
            metrics: Metrics::new("sample-controller", "1.2.3"),
            log: crate::logging::detached("info"),
        }
    }

    async fn serve(state: AdminState) -> SocketAddr {
        let server = AdminServer::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let address = server.address();
        tokio::spawn(server.serve(state));
        address
    }

    /// The whole answer to one request.
    async fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> String {
        ask_for(address, method, path, "*/*", body).await
    }

    async fn ask_for(
        address: SocketAddr,
        method: &str,
        path: &str,
        accept: &str,
        body: &str,
    ) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn ready_only_when_every_condition_holds() {
        let state = state();
        let nodes = state.readiness.register("nodes");
        let address = serve(state).await;
        let answer = ask(address, "GET", "/readyz", "").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.ends_with("waiting for: nodes\n"), "{answer}");
        assert!(
            ask(address, "GET", "/livez", "")
                .await
                .starts_with("HTTP/1.1 200")
        );
        nodes.set_ready();
        assert!(
            ask(address, "GET", "/readyz", "")
                .await
                .starts_with("HTTP/1.1 200")
        );
    }

    #[tokio::test]
    async fn metrics_are_open_metrics_for_who_asks_for_them_and_prometheus_text_otherwise() {
        let address = serve(state()).await;
        let accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
        let answer = ask_for(address, "GET", "/metrics", accept, "").await;
        assert!(
            answer.contains("content-type: application/openmetrics-text"),
            "{answer}"
        );
        assert!(answer.ends_with("# EOF\n"), "{answer}");
        let answer = ask(address, "GET", "/metrics", "").await;
        assert!(
            answer.contains("content-type: text/plain; version=0.0.4"),
            "{answer}"
        );
        assert!(
            answer.contains("# TYPE leader_election_transitions_total counter\n"),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn the_log_level_is_changed_from_loopback() {
        let state = state();
        let address = serve(state.clone()).await;
        let answer = ask(address, "PUT", "/loglevel", "debug").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(state.log.level(), "debug");
        let answer = ask(address, "PUT", "/loglevel", "loud=very").await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(
            ask(address, "GET", "/loglevel", "")
                .await
                .ends_with("debug\n")
        );
    }

    #[tokio::test]
    async fn the_log_level_is_not_changed_from_elsewhere() {
        let state = state();
        for peer in ["10.0.0.1:1", "[::ffff:10.0.0.1]:1"] {
            let peer = ConnectInfo(Peer(peer.parse().unwrap()));
            let (code, text) = set_log_level(State(state.clone()), peer, "debug".to_owned()).await;
            assert_eq!(code, StatusCode::FORBIDDEN, "{text}");
        }
        let peer = ConnectInfo(Peer("[::ffff:127.0.0.1]:1".parse().unwrap()));
        assert_eq!(state.log.level(), "info");
        assert_eq!(
            set_log_level(State(state), peer, "debug".to_owned())
                .await
                .0,
            StatusCode::OK
        );
    }

    #[tokio::test]
    async fn a_long_body_is_refused() {
        let address = serve(state()).await;
        let answer = ask(address, "PUT", "/loglevel", &"x".repeat(MAX_BODY_BYTES + 1)).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn silent_connections_give_way() {
        let address = serve(state()).await;
        let begun = Instant::now();
        let mut silent = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let answer = ask(address, "GET", "/livez", "").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(
            begun.elapsed() >= CONNECTION_LIFETIME,
            "{:?}",
            begun.elapsed()
        );
    }

    #[tokio::test]
    async fn a_taken_address_is_named() {
        let address = serve(state()).await;
        let error = AdminServer::bind(address).await.unwrap_err().to_string();
        assert!(
            error.contains(&address.to_string()) && error.contains("--admin-address"),
            "{error}"
        );
    }
}

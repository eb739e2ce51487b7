//! Clients of the API server, with timeouts; and a deadline for each call.
//!
//! kube's own client repeats a request of any verb up to 15 times when the answer is 429, 503 or 504, honouring
//! Retry-After. An eviction that a PodDisruptionBudget refuses is a 429 too, and would block for minutes. Hence two clients.

use axum::http::{HeaderValue, header::USER_AGENT};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest silence on a connection that has a request running.
///
/// Watches get a bookmark about every minute, so two minutes of silence mean a dead connection; a watch that was only
/// quiet starts again where it was.
const READ_TIMEOUT: Duration = Duration::from_mins(2);

/// Two clients of one API server.
#[derive(Clone)]
pub struct Clients {
    /// For reads, watches, and writes that may be repeated: answers 429, 503 and 504 are retried.
    pub api: Client,
    /// For evictions, lease renewals and creations that must not be repeated: one call is one request.
    pub without_retry: Client,
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Clients").finish_non_exhaustive()
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file given by flag cannot be used.
    #[error("failed to use the kubeconfig {path}: {source}")]
    Kubeconfig {
        /// The file, as given.
        path: String,
        /// What is wrong with it.
        source: Box<KubeconfigError>,
    },
    /// There is no configuration.
    #[error(
        "failed to find out how to reach the API server: {0}; set --kubeconfig or KUBECONFIG, or run in a Pod with a service account token"
    )]
    Infer(Box<kube::config::InferConfigError>),
    /// The configuration makes no client.
    #[error("failed to make an API client: {}", describe(.0))]
    Build(Box<kube::Error>),
    /// The user agent is no header value.
    #[error("failed to use \"{0}\" as user agent: it must be printable ASCII")]
    UserAgent(String),
}

impl Clients {
    /// Clients for the given kubeconfig file, else for what the environment tells (KUBECONFIG, ~/.kube/config, the Pod's
    /// service account). Reads files, sends nothing.
    pub async fn new(kubeconfig: Option<&Path>, user_agent: &str) -> Result<Self, ClientError> {
        Self::from_config(configuration(kubeconfig).await?, user_agent)
    }

    /// Clients for a configuration, whose timeouts are overwritten.
    pub fn from_config(mut config: Config, user_agent: &str) -> Result<Self, ClientError> {
        let agent = HeaderValue::from_str(user_agent)
            .map_err(|_| ClientError::UserAgent(crate::names::cut_text(user_agent, 128)))?;
        config.headers.retain(|(name, _)| name != USER_AGENT);
        config.headers.push((USER_AGENT, agent));
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.write_timeout = Some(WRITE_TIMEOUT);
        config.read_timeout = Some(READ_TIMEOUT);
        config.reset_reader_on_write = true;

        let mut once = config.clone();
        once.default_retry = false;
        config.default_retry = true;
        Ok(Self {
            api: Client::try_from(config).map_err(|error| ClientError::Build(Box::new(error)))?,
            without_retry: Client::try_from(once)
                .map_err(|error| ClientError::Build(Box::new(error)))?,
        })
    }
}

async fn configuration(kubeconfig: Option<&Path>) -> Result<Config, ClientError> {
    let Some(path) = kubeconfig else {
        return Config::infer()
            .await
            .map_err(|error| ClientError::Infer(Box::new(error)));
    };
    let unusable = |source| ClientError::Kubeconfig {
        path: path.display().to_string(),
        source: Box::new(source),
    };
    let file = Kubeconfig::read_from(path).map_err(unusable)?;
    Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .map_err(unusable)
}

/// Why a call to the API server brought no result. The text says which call.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No answer in time. Whether a write has happened is unknown.
    #[error("failed to {what}: no answer from the API server within {} s", .limit.as_secs_f32())]
    TimedOut {
        /// The call, as an infinitive with its object: `create job default/a`.
        what: String,
        /// The deadline that passed.
        limit: Duration,
    },
    /// An answer that is an error, or none because the connection failed.
    #[error("failed to {what}: {}", describe(.source))]
    Failed {
        /// The call, as an infinitive with its object: `create job default/a`.
        what: String,
        /// What the client reported.
        source: Box<kube::Error>,
    },
}

impl CallError {
    /// The API server's answer, if it gave one.
    pub fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Failed { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            Self::TimedOut { .. } => None,
        }
    }

    /// The object does not exist.
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_not_found)
    }

    /// The object was changed since it was read (and not: a creation whose name is taken).
    pub fn is_conflict(&self) -> bool {
        self.status()
            .is_some_and(|status| status.is_conflict() && !status.is_already_exists())
    }

    /// A creation whose name is taken.
    pub fn is_already_exists(&self) -> bool {
        self.status()
            .is_some_and(kube::core::Status::is_already_exists)
    }

    /// The API server forbids the request: missing rights, quota, Pod Security or an admission policy.
    pub fn is_forbidden(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_forbidden)
    }

    /// The API server finds the object invalid.
    pub fn is_invalid(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_invalid)
    }
}

/// Awaits an API call for at most `limit`.
///
/// `what` completes "failed to …" in the error's text: an infinitive with its object, such as `create job default/a`.
pub async fn deadline<T>(
    limit: Duration,
    what: impl Display,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(limit, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(CallError::Failed {
            what: what.to_string(),
            source: Box::new(source),
        }),
        Err(_) => Err(CallError::TimedOut {
            what: what.to_string(),
            limit,
        }),
    }
}

/// An API error as a short text: the answer's message and code, or the chain of causes of a failed connection.
pub fn describe(error: &kube::Error) -> String {
    const LONGEST: usize = 1024;
    let text = match error {
        kube::Error::Api(status) if !status.message.is_empty() => {
            format!("{} ({} {})", status.message, status.code, status.reason)
        }
        kube::Error::Api(status) => format!("{} {}", status.code, status.reason),
        other => {
            let mut text = other.to_string();
            let mut cause = std::error::Error::source(other);
            while let Some(error) = cause {
                let next = error.to_string();
                // Many wrappers print their source too.
                if !text.contains(&next) {
                    text.push_str(": ");
                    text.push_str(&next);
                }
                cause = error.source();
            }
            text
        }
    };
    crate::names::cut_text(&text, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const VERSION: &str = r#"{"major":"1","minor":"36","gitVersion":"v1.36.0","gitCommit":"","gitTreeState":"","buildDate":"","goVersion":"","compiler":"","platform":""}"#;

    /// An HTTP server that refuses the first `refusals` requests as too many; returns its clients and the requests it saw.
    async fn throttling_server(refusals: usize) -> (Clients, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                let length = stream.read(&mut request).await.unwrap();
                let earlier = log.lock().unwrap().len();
                log.lock()
                    .unwrap()
                    .push(String::from_utf8_lossy(&request[..length]).into_owned());
                let (status, body) = if earlier < refusals {
                    (
                        "429 Too Many Requests",
                        r#"{"kind":"Status","apiVersion":"v1","code":429,"reason":"TooManyRequests","message":"slow down"}"#,
                    )
                } else {
                    ("200 OK", VERSION)
                };
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let config = Config::new(format!("http://{address}").parse().unwrap());
        (
            Clients::from_config(config, "sample-controller/1.2.3").unwrap(),
            seen,
        )
    }

    #[tokio::test]
    async fn the_usual_client_repeats_what_was_throttled() {
        let (clients, seen) = throttling_server(2).await;
        let version = deadline(
            Duration::from_secs(20),
            "ask",
            clients.api.apiserver_version(),
        )
        .await
        .unwrap();
        assert_eq!(version.git_version, "v1.36.0");
        assert_eq!(seen.lock().unwrap().len(), 3);
    }

    #[tokio::test]
    async fn the_client_without_retry_sends_one_request() {
        let (clients, seen) = throttling_server(2).await;
        let error = deadline(
            Duration::from_secs(20),
            "ask",
            clients.without_retry.apiserver_version(),
        )
        .await
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to ask: slow down (429 TooManyRequests)"
        );
        assert_eq!(seen.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn requests_say_who_sends_them() {
        let (clients, seen) = throttling_server(0).await;
        deadline(
            Duration::from_secs(20),
            "ask",
            clients.api.apiserver_version(),
        )
        .await
        .unwrap();
        let request = seen.lock().unwrap()[0].to_ascii_lowercase();
        assert!(
            request.contains("user-agent: sample-controller/1.2.3\r\n"),
            "{request}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_says_what_got_no_answer() {
        let call = std::future::pending::<Result<(), kube::Error>>();
        let error = deadline(Duration::from_secs(30), "create job team/first", call)
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to create job team/first: no answer from the API server within 30 s"
        );
        assert!(error.status().is_none());
    }

    #[tokio::test]
    async fn a_taken_name_is_no_conflict() {
        let refused = |reason: &str| {
            let status = kube::core::Status {
                code: 409,
                reason: reason.to_owned(),
                ..kube::core::Status::default()
            };
            async { Err::<(), _>(kube::Error::Api(Box::new(status))) }
        };
        let taken = deadline(Duration::from_secs(1), "create", refused("AlreadyExists"))
            .await
            .unwrap_err();
        assert!(taken.is_already_exists() && !taken.is_conflict());
        let changed = deadline(Duration::from_secs(1), "patch", refused("Conflict"))
            .await
            .unwrap_err();
        assert!(changed.is_conflict() && !changed.is_already_exists());
    }

    #[tokio::test]
    async fn a_kubeconfig_that_does_not_exist_is_named() {
        let error = Clients::new(Some(Path::new("/does/not/exist")), "sample/1")
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("failed to use the kubeconfig /does/not/exist: "),
            "{error}"
        );
    }

    #[test]
    fn a_user_agent_with_a_line_break_is_refused() {
        let config = Config::new("http://127.0.0.1:1".parse().unwrap());
        let error = Clients::from_config(config, "sample\n1")
            .unwrap_err()
            .to_string();
        assert!(error.contains("printable ASCII"), "{error}");
    }
}

//! The read side of a container registry (OCI distribution specification) over a [`Store`]: enough to pull, nothing to push.
//!
//! containerd sends the host of the image as the query `ns` when it pulls through a mirror, so that one server stands for all
//! registries of the world, each with its own images and passwords.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::json;

use super::store::Store;

/// Serves the store in `folder` on `listen` until the process ends.
pub fn serve(listen: SocketAddr, folder: &Path) -> anyhow::Result<()> {
    let store = Store::open(folder)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(accept(listen, store))?;
    Ok(())
}

async fn accept(listen: SocketAddr, store: Store) -> io::Result<()> {
    let listener = tokio::net::TcpListener::bind(listen).await?;
    loop {
        let (connection, client) = listener.accept().await?;
        let store = store.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer(&store, &Question::of(&request));
                eprintln!(
                    "{client} {} {} {}",
                    request.method(),
                    request.uri(),
                    answer.status()
                );
                async move { Ok::<_, std::convert::Infallible>(answer) }
            });
            let served = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(connection), service)
                .await;
            if let Err(error) = served {
                eprintln!("{client}: {error}");
            }
        });
    }
}

/// What of a request matters.
struct Question<'a> {
    method: &'a Method,
    path: &'a str,
    /// The registry that the client believes to talk to.
    host: &'a str,
    authorization: Option<&'a str>,
}

impl<'a> Question<'a> {
    fn of<B>(request: &'a Request<B>) -> Self {
        let header = |name| {
            request
                .headers()
                .get(name)
                .and_then(|value: &hyper::header::HeaderValue| value.to_str().ok())
        };
        let namespace = request
            .uri()
            .query()
            .into_iter()
            .flat_map(|query| query.split('&'))
            .find_map(|pair| pair.strip_prefix("ns="));
        Self {
            method: request.method(),
            path: request.uri().path(),
            host: namespace
                .or_else(|| header(hyper::header::HOST))
                .unwrap_or_default(),
            authorization: header(AUTHORIZATION),
        }
    }
}

fn answer(store: &Store, question: &Question<'_>) -> Response<Full<Bytes>> {
    if !matches!(*question.method, Method::GET | Method::HEAD) {
        return failure(
            StatusCode::METHOD_NOT_ALLOWED,
            "UNSUPPORTED",
            "this registry is read-only",
        );
    }
    if !may_enter(store, question) {
        let mut answer = failure(
            StatusCode::UNAUTHORIZED,
            "UNAUTHORIZED",
            "authentication required",
        );
        answer.headers_mut().insert(
            WWW_AUTHENTICATE,
            hyper::header::HeaderValue::from_static("Basic realm=\"e2e\""),
        );
        return answer;
    }
    let Some(path) = question.path.strip_prefix("/v2/") else {
        return failure(StatusCode::NOT_FOUND, "UNSUPPORTED", "only /v2/ is served");
    };
    if path.is_empty() {
        return content(question.method, "application/json", b"{}".to_vec());
    }
    if let Some((repository, reference)) = path.rsplit_once("/manifests/") {
        let digest = if reference.starts_with("sha256:") {
            Some(reference.to_owned())
        } else {
            store.resolve(question.host, repository, reference)
        };
        let Some((digest, manifest)) =
            digest.and_then(|digest| Some((digest.clone(), store.blob(&digest)?)))
        else {
            return failure(
                StatusCode::NOT_FOUND,
                "MANIFEST_UNKNOWN",
                "manifest unknown",
            );
        };
        let mut answer = content(question.method, oci_image::MANIFEST_TYPE, manifest);
        if let Ok(value) = digest.try_into() {
            answer.headers_mut().insert("docker-content-digest", value);
        }
        return answer;
    }
    match path
        .rsplit_once("/blobs/")
        .and_then(|(_, digest)| store.blob(digest))
    {
        Some(blob) => content(question.method, "application/octet-stream", blob),
        None => failure(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "blob unknown"),
    }
}

fn may_enter(store: &Store, question: &Question<'_>) -> bool {
    store
        .password(question.host)
        .is_none_or(|expected| question.authorization == Some(&format!("Basic {expected}")))
}

fn content(method: &Method, kind: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let length = body.len();
    let body = if method == Method::HEAD {
        Bytes::new()
    } else {
        Bytes::from(body)
    };
    let mut answer = Response::new(Full::new(body));
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    answer.headers_mut().insert(CONTENT_LENGTH, length.into());
    answer
}

fn failure(status: StatusCode, code: &str, message: &str) -> Response<Full<Bytes>> {
    let body = json!({ "errors": [{ "code": code, "message": message }] }).to_string();
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static("application/json"),
    );
    answer
}

#[cfg(test)]
mod tests {
    use oci_image::{Image, ImageConfig};

    use super::*;

    fn get<'a>(path: &'a str, host: &'a str, authorization: Option<&'a str>) -> Question<'a> {
        Question {
            method: &Method::GET,
            path,
            host,
            authorization,
        }
    }

    fn store() -> (tempfile::TempDir, Store, String) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let digest = store
            .put(
                "private.example.com/team/tool:v1",
                Image::new(ImageConfig::default()),
            )
            .unwrap();
        (folder, store, digest)
    }

    #[test]
    fn an_image_is_found_by_tag_and_by_digest_only_at_its_host() {
        let (_folder, store, digest) = store();
        let by_tag = answer(
            &store,
            &get("/v2/team/tool/manifests/v1", "private.example.com", None),
        );
        assert_eq!(by_tag.status(), StatusCode::OK);
        assert_eq!(by_tag.headers()["docker-content-digest"], digest.as_str());
        let by_digest = format!("/v2/team/tool/manifests/{digest}");
        assert_eq!(
            answer(&store, &get(&by_digest, "private.example.com", None)).status(),
            StatusCode::OK
        );
        for (path, host) in [
            ("/v2/team/tool/manifests/v2", "private.example.com"),
            ("/v2/team/tool/manifests/v1", "quay.io"),
        ] {
            assert_eq!(
                answer(&store, &get(path, host, None)).status(),
                StatusCode::NOT_FOUND,
                "{host}{path}"
            );
        }
    }

    #[test]
    fn a_private_host_asks_for_its_password() {
        let (_folder, store, _) = store();
        store
            .require_password("private.example.com", "kairos", "open sesame")
            .unwrap();
        let ask = |authorization| {
            answer(
                &store,
                &get(
                    "/v2/team/tool/manifests/v1",
                    "private.example.com",
                    authorization,
                ),
            )
            .status()
        };
        assert_eq!(ask(None), StatusCode::UNAUTHORIZED);
        assert_eq!(
            ask(Some("Basic d3Jvbmc6d3Jvbmc=")),
            StatusCode::UNAUTHORIZED
        );
        assert_eq!(ask(Some("Basic a2Fpcm9zOm9wZW4gc2VzYW1l")), StatusCode::OK);
        assert_eq!(
            answer(&store, &get("/v2/", "quay.io", None)).status(),
            StatusCode::OK
        );
    }

    #[test]
    fn no_path_leads_out_of_the_store() {
        let (_folder, store, _) = store();
        for path in [
            "/v2/../../manifests/passwd",
            "/v2/x/blobs/sha256:../../etc/passwd",
            "/v2/x/manifests/..",
        ] {
            assert_eq!(
                answer(&store, &get(path, "private.example.com", None)).status(),
                StatusCode::NOT_FOUND,
                "{path}"
            );
        }
    }
}

//! The two requests that end a Pod. Each names the Pod's UID, so that a Pod that has come under the same name is safe.

use api_types::nodeop::DrainOptions;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use kube::Resource as _;
use kube::api::{DeleteParams, ObjectMeta, PostParams, Request};
use operator_runtime::client::deadline;

use super::answer::Answer;
use super::pod::DrainPod;
use crate::apply::Requests;

/// Asks for the eviction of one Pod, once: the client does not repeat what is refused.
pub(super) async fn evict(requests: &Requests, pod: &DrainPod, options: &DrainOptions) -> Answer {
    if planted!(EvictByDelete) {
        return delete(requests, pod).await;
    }
    let body = eviction(pod, options);
    let call = async {
        let body = serde_json::to_vec(&body).map_err(kube::Error::SerdeError)?;
        // Not `Api::evict`: kube 5.0 writes `delete_options`, which the API server skips, UID and grace period with it.
        let request = Request::new(Pod::url_path(&(), Some(&pod.namespace)))
            .create_subresource("eviction", &pod.name, &PostParams::default(), body)
            .map_err(kube::Error::BuildRequest)?;
        requests.clients.without_retry.request_text(request).await
    };
    let answer = deadline(requests.timeout, format!("evict pod {pod}"), call).await;
    Answer::of(&answer, &pod.namespace)
}

/// Deletes one finished Pod.
pub(super) async fn delete(requests: &Requests, pod: &DrainPod) -> Answer {
    let params = DeleteParams {
        preconditions: Some(kube::api::Preconditions {
            uid: Some(pod.uid.clone()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let call = async {
        let request = Request::new(Pod::url_path(&(), Some(&pod.namespace)))
            .delete(&pod.name, &params)
            .map_err(kube::Error::BuildRequest)?;
        requests.clients.without_retry.request_text(request).await
    };
    let what = format!("delete finished pod {pod}");
    let answer = deadline(requests.timeout, what, call).await;
    Answer::of(&answer, &pod.namespace)
}

fn eviction(pod: &DrainPod, options: &DrainOptions) -> Eviction {
    Eviction {
        metadata: ObjectMeta {
            name: Some(pod.name.clone()),
            namespace: Some(pod.namespace.clone()),
            ..ObjectMeta::default()
        },
        delete_options: Some(DeleteOptions {
            // Negative means the Pod's own, as in kubectl.
            grace_period_seconds: options
                .grace_period_seconds
                .filter(|seconds| *seconds >= 0)
                .map(i64::from),
            preconditions: Some(Preconditions {
                uid: Some(pod.uid.clone()),
                resource_version: None,
            }),
            ..DeleteOptions::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use operator_runtime::client::Clients;
    use operator_runtime::lease::Leadership;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// A real HTTP server, because what must not happen would happen in the client's own layers.
    #[tokio::test]
    async fn a_refused_eviction_is_one_request() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                counted.fetch_add(1, Ordering::SeqCst);
                let body = include_str!("answer/bodies/blocked.json");
                let answer = format!(
                    "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let config = kube::Config::new(format!("http://{address}").parse().unwrap());
        let requests = Requests {
            lease_namespace: "kairos-operator".to_owned(),
            clock: crate::clock::Clock::default(),
            clients: Clients::from_config(config, "test/1").unwrap(),
            timeout: Duration::from_secs(20),
            leadership: Leadership::always(),
        };
        let pod = DrainPod {
            namespace: "shop".to_owned(),
            name: "db-0".to_owned(),
            ..DrainPod::default()
        };
        let answer = evict(&requests, &pod, &DrainOptions::default()).await;
        assert!(matches!(answer, Answer::Blocked { .. }), "{answer:?}");
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    fn body(grace_period_seconds: Option<i32>) -> serde_json::Value {
        let pod = DrainPod {
            namespace: "shop".to_owned(),
            name: "db-0".to_owned(),
            uid: "uid-of-db-0".to_owned(),
            ..DrainPod::default()
        };
        let options = DrainOptions {
            grace_period_seconds,
            ..DrainOptions::default()
        };
        serde_json::to_value(eviction(&pod, &options)).unwrap()
    }

    #[test]
    fn an_eviction_names_the_uid_and_the_grace_period() {
        let expected = serde_json::json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": "db-0", "namespace": "shop"},
            "deleteOptions": {"gracePeriodSeconds": 7, "preconditions": {"uid": "uid-of-db-0"}},
        });
        assert_eq!(body(Some(7)), expected);
        assert_eq!(body(Some(0))["deleteOptions"]["gracePeriodSeconds"], 0);
    }

    #[test]
    fn without_a_grace_period_of_its_own_it_leaves_the_pods() {
        for none in [None, Some(-1)] {
            assert!(
                body(none)["deleteOptions"]
                    .get("gracePeriodSeconds")
                    .is_none()
            );
        }
    }
}

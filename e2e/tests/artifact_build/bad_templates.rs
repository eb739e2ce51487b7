//! Templates that cannot be rendered: what the worker says of each in a real Pod becomes phase and message.

use std::time::{Duration, Instant};

use api_types::osartifact::{ArtifactPhase, OSArtifactStatus};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use e2e::cluster::Cluster;
use e2e::operator;
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::site::{PATIENCE, Site};

/// How soon after the API server knows of its Pod's end an artifact has to tell.
const PROMPT: Duration = Duration::from_secs(10);

/// Builder Pods at once: with all of them, what is measured is how busy the kubelet is.
const AT_ONCE: usize = 4;

/// A template, inline values for it, and what the message says.
struct Bad {
    name: &'static str,
    dockerfile: String,
    values: Value,
    told: &'static str,
}

fn bad(name: &'static str, dockerfile: &str, told: &'static str) -> Bad {
    Bad {
        name,
        dockerfile: dockerfile.to_owned(),
        values: json!({"A": "x"}),
        told,
    }
}

/// One of each kind, and each limit that the template of a Secret, which is no larger than 1 MiB, can reach.
fn all() -> Vec<Bad> {
    let nested = format!(
        "FROM a\n{}x{}\n",
        "{{ if 1 }}".repeat(1_001),
        "{{ end }}".repeat(1_001)
    );
    // As large as a Secret can be, with the fault at its very end.
    let (begin, end) = ("FROM a\n# ", "\n{{ .A.B }}");
    let filling = "x".repeat((1 << 20) - begin.len() - end.len());
    vec![
        bad(
            "bad-at-the-end",
            &format!("{begin}{filling}{end}"),
            "template: ocispec:3:5: executing \"ocispec\" at <.A.B>: can't evaluate field B in type string",
        ),
        bad(
            "bad-function",
            "FROM a\n\nRUN {{ upper .A }}\n",
            "template: ocispec:3: function \"upper\" not defined",
        ),
        bad(
            "bad-end",
            "FROM a\n{{ if .A }}\nRUN x\n",
            "template: ocispec:4: unexpected EOF",
        ),
        bad(
            "bad-field",
            "FROM a\nRUN {{ .A.B }}\n",
            "template: ocispec:2:9: executing \"ocispec\" at <.A.B>: can't evaluate field B in type string",
        ),
        // The error quotes the value: what is cut off must not be the place.
        Bad {
            values: json!({"A": "long ".repeat(2_000)}),
            ..bad(
                "bad-long",
                "FROM a\n{{ range .A }}{{ end }}\n",
                "template: ocispec:2:9: executing \"ocispec\" at <.A>: range can't iterate over long long ",
            )
        },
        bad(
            "bad-define",
            "FROM a\n{{ define \"x\" }}{{ end }}\n",
            "template: ocispec:2: {{define}} is refused: define, template and block are not available here",
        ),
        bad(
            "bad-template",
            "FROM a\n\n{{- template \"x\" . }}\n",
            "template: ocispec:3: {{template}} is refused: define, template and block are not available here",
        ),
        bad(
            "bad-block",
            "{{ block \"x\" . }}FROM a{{ end }}\n",
            "template: ocispec:1: {{block}} is refused: define, template and block are not available here",
        ),
        bad(
            "bad-steps",
            "FROM a\nRUN {{ range 1000000000 }}{{ end }}\n",
            "template: ocispec:2:13: executing \"ocispec\" at <1000000000>: the template takes too many steps",
        ),
        bad(
            "bad-output",
            "FROM a\n{{ range 1000000 }}0123456789{{ end }}\n",
            "template: ocispec:2:19: executing \"ocispec\" at <>: the output is larger than 8388608 bytes",
        ),
        bad(
            "bad-nesting",
            &nested,
            "template: ocispec:2: actions are nested more than 1000 deep",
        ),
    ]
}

fn reports(name: &str, status: &OSArtifactStatus, told: &str) {
    assert_eq!(
        status.phase,
        Some(ArtifactPhase::Error),
        "{name}: {status:#?}"
    );
    let message = status.message.as_deref().unwrap_or_default();
    assert!(message.contains(told), "{name}: {message}");
    eprintln!("{name}: {message:.400}");
}

/// Each needs the first step of its builder Pod only.
pub(crate) async fn each_kind_is_told_with_its_place(site: &Site) {
    let binary = BASE64_STANDARD.encode(b"\xff\xfesecret");
    site.create_secret(json!({"metadata": {"name": "binary-values"}, "data": {"KEY": binary}}))
        .await;
    site.secret("plain", "Opaque", json!({"Dockerfile": "FROM a\n"}))
        .await;
    let binary_value = async {
        let spec = json!({
            "baseImageDockerfile": {"name": "plain"}, "dockerfileTemplateValuesFrom": {"name": "binary-values"}, "iso": true,
        });
        site.create("bad-binary", spec).await;
        let told = "the entry \"KEY\" of the Secret \"binary-values\" is binary";
        ends(site, "bad-binary", told).await
    };
    let templates = stream::iter(all()).map(async |bad| {
        let entries = json!({"Dockerfile": bad.dockerfile});
        site.secret(bad.name, "Opaque", entries).await;
        let spec = json!({
            "baseImageDockerfile": {"name": bad.name}, "dockerfileTemplateValues": bad.values, "iso": true,
        });
        site.create(bad.name, spec).await;
        ends(site, bad.name, bad.told).await
    });
    let templates = templates.buffer_unordered(AT_ONCE).collect::<Vec<_>>();
    let (binary_value, mut delays) = futures::join!(binary_value, templates);
    delays.push(binary_value);
    eprintln!(
        "{} bad templates, told at most {:.1} s after the end of their Pods",
        delays.len(),
        delays.iter().max().unwrap().as_secs_f32()
    );
}

/// Waits for the artifact's end, checks it and returns how long after its Pod's it was seen.
async fn ends(site: &Site, name: &str, told: &str) -> Duration {
    let pod_end = async {
        loop {
            let pods = builder_pods(site, name).await;
            let phase = pods
                .first()
                .and_then(|pod| pod.status.as_ref()?.phase.clone());
            if phase.as_deref() == Some("Failed") {
                return Instant::now();
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let told_at = async { (site.end(name).await, Instant::now()) };
    let (pod_end, (status, told_at)) =
        tokio::time::timeout(PATIENCE, async { futures::join!(pod_end, told_at) })
            .await
            .unwrap();
    reports(name, &status, told);
    let [pod] = &builder_pods(site, name).await[..] else {
        panic!("{name}: one builder Pod")
    };
    check_first_step(pod);
    let delay = told_at.saturating_duration_since(pod_end);
    assert!(delay <= PROMPT, "{name}: told after {delay:?}");
    delay
}

async fn builder_pods(site: &Site, name: &str) -> Vec<Pod> {
    let selected = ListParams::default().labels(&format!("build.kairos.io/artifact={name}"));
    site.pods().list(&selected).await.unwrap().items
}

/// The first step ran once, and failed.
fn check_first_step(pod: &Pod) {
    let status = pod.status.as_ref().unwrap();
    let first = &status.init_container_statuses.as_ref().unwrap()[0];
    assert_eq!((first.name.as_str(), first.restart_count), ("prepare", 0));
    let ended = first.state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!(ended.exit_code, 1);
}

/// One Pod each was ever created, and nothing of the status has changed since.
pub(crate) async fn none_was_tried_again(site: &Site, cluster: &Cluster) {
    let audit = cluster.audit().unwrap();
    let created = audit
        .service_account(operator::NAMESPACE, "artifact-controller")
        .verb("create")
        .resource("pods")
        .succeeded();
    let names = all().into_iter().map(|bad| bad.name);
    for name in names.chain(["bad-binary"]) {
        let status = site
            .artifacts()
            .get(name)
            .await
            .unwrap()
            .status
            .unwrap_or_default();
        assert_eq!(
            (status.phase, status.attempt),
            (Some(ArtifactPhase::Error), Some(1)),
            "{name}"
        );
        let [pod] = &builder_pods(site, name).await[..] else {
            panic!("{name}: one builder Pod")
        };
        check_first_step(pod);
        let pods = created.clone().filter(|event| {
            let suffix = event.object_ref.name.strip_prefix(name);
            suffix.is_some_and(|suffix| suffix.starts_with('-'))
        });
        assert_eq!(pods.count(), 1, "{name}: {:?}", created.events());
    }
}

//! `deploy/nginx` as it is installed, and the upload exporter as kairos-operator's README has it: by the Service's name, and
//! back out by the Service and by the NodePort.

use std::path::Path;
use std::time::Duration;

use api_types::osartifact::{ArtifactPhase, OSArtifact, OSArtifactStatus};
use e2e::cluster::Cluster;
use e2e::images::Store;
use e2e::nodes::Node;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{ListParams, LogParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::site::{PATIENCE, Site, sha256, until};
use crate::{REGISTRY, images};

const NAME: &str = "kairos-operator-nginx";
const CURL: &str = "curlimages/curl";
/// `kubectl apply -k deploy/nginx`
const MANIFESTS: [&str; 5] = [
    include_str!("../../../deploy/nginx/config-map.yaml"),
    include_str!("../../../deploy/nginx/claim.yaml"),
    include_str!("../../../deploy/nginx/deployment.yaml"),
    include_str!("../../../deploy/nginx/service.yaml"),
    include_str!("../../../deploy/nginx/role.yaml"),
];
const UPLOAD: &str = include_str!("../data/compat/osartifact-nginx-upload.yaml");
/// As kubelets say it, with a pull secret that the example does not have.
const KAIROS_IMAGE: &str = "quay.io/kairos/opensuse:leap-15.6-core-amd64-generic-v3.6.0";

/// The server, seen from outside.
pub(crate) struct Server<'a> {
    cluster: &'a Cluster,
    site: &'a Site,
    /// Address of the NodePort, without a path.
    address: String,
}

/// Puts the images of the server and of the uploader where the manifests name them. Blocking.
pub(crate) fn put_images(store: &Store) {
    let image = images::web().finish().unwrap();
    for name in [
        "docker.io/nginxinc/nginx-unprivileged:1.29-alpine",
        "docker.io/curlimages/curl:latest",
    ] {
        store.put_blobs(name, &image).unwrap();
    }
}

/// Installs the server and waits until it answers.
pub(crate) async fn install<'a>(cluster: &'a Cluster, site: &'a Site, node: &Node) -> Server<'a> {
    volume(site, node).await;
    for text in MANIFESTS {
        cluster.apply_yaml_in(&site.namespace, text).await.unwrap();
    }
    let deployments: Api<Deployment> = Api::namespaced(site.client.clone(), &site.namespace);
    until("the server is available", PATIENCE, async || {
        let status = deployments.get(NAME).await.unwrap().status?;
        (status.available_replicas == Some(1)).then_some(())
    })
    .await;
    let services: Api<Service> = Api::namespaced(site.client.clone(), &site.namespace);
    let spec = services.get(NAME).await.unwrap().spec.unwrap();
    let port = spec.ports.unwrap()[0].node_port.unwrap();
    let server = Server {
        cluster,
        site,
        address: format!("http://{}:{port}", node.address()),
    };
    until("the NodePort answers", PATIENCE, async || {
        server.get("").await.ok()
    })
    .await;
    server
}

/// What a provisioner would make: a folder on the node, which the Pod's group is given by the kubelet.
async fn volume(site: &Site, node: &Node) {
    let folder = format!("/var/lib/{NAME}");
    let make = json!({
        "containers": [{
            "name": "make", "image": "busybox", "command": ["mkdir", &folder],
            "volumeMounts": [{"name": "lib", "mountPath": "/var/lib"}],
        }],
        "restartPolicy": "Never",
        "volumes": [{"name": "lib", "hostPath": {"path": "/var/lib"}}],
    });
    site.run("make-folder", make).await;
    site.create_volume(json!({
        "metadata": {"name": NAME},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "50Gi"}, "storageClassName": "",
            "claimRef": {"namespace": site.namespace, "name": NAME},
            "local": {"path": folder},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": [node.name()]},
            ]}]}},
        },
    }))
    .await;
}

/// Builds the README's example, whose exporter uploads; then the files come back as they were built.
pub(crate) async fn what_the_readme_s_exporter_uploads_is_downloaded_unchanged(
    server: &Server<'_>,
) {
    let site = server.site;
    let text = UPLOAD.replace(KAIROS_IMAGE, &format!("{REGISTRY}/kairos:v1"));
    assert_ne!(text, UPLOAD, "the example names the image");
    let artifact: OSArtifact = serde_saphyr::from_str(&text).unwrap();
    let mut spec = serde_json::to_value(&artifact.spec).unwrap();
    // The only other change: the test's registry wants a password.
    spec["imagePullSecrets"] = json!([{"name": "registry"}]);
    let name = artifact.name_any();
    site.create(&name, spec).await;
    let status = site.end(&name).await;
    assert_eq!(status.phase, Some(ArtifactPhase::Ready), "{status:#?}");
    let expected = iso_checksum(&status);

    let iso = format!("{name}.iso");
    assert_eq!(sha256(&server.get(&iso).await.unwrap()), expected);
    let sum = server.get(&format!("{iso}.sha256")).await.unwrap();
    assert_eq!(
        String::from_utf8(sum).unwrap(),
        format!("{expected}  {iso}\n")
    );
    let listing = String::from_utf8(server.get("").await.unwrap()).unwrap();
    assert!(listing.contains(&format!("href=\"{iso}\"")), "{listing}");

    let download = format!("curl -fsS http://{NAME}/{iso} -o /tmp/iso; sha256sum /tmp/iso");
    let spec = json!({
        "containers": [{"name": "get", "image": CURL, "command": ["sh", "-ec", download]}],
        "restartPolicy": "Never",
    });
    let log = site.run("download", spec).await;
    assert!(log.starts_with(&expected), "by the Service: {log}");
}

fn iso_checksum(status: &OSArtifactStatus) -> String {
    let files = status.artifacts.iter();
    let extension = |name: &str| {
        Path::new(name)
            .extension()
            .is_some_and(|found| found == "iso")
    };
    let mut isos = files.filter(|file| extension(&file.file));
    isos.next().unwrap().sha256.clone()
}

/// Neither under a new name nor in place of a file that is there.
pub(crate) async fn an_interrupted_upload_leaves_no_half_file(server: &Server<'_>) {
    server.put("kept.iso", "whole", 5).await;
    assert_eq!(server.get("kept.iso").await.unwrap(), b"whole");
    for name in ["kept.iso", "half.iso"] {
        server.put(name, "half", 1_000_000).await;
        // The server notes a request when it is over, with 400 where the body was cut short.
        let noted = format!("\"PUT /{name} HTTP/1.1\" 400");
        until("the server has noticed", PATIENCE, async || {
            server.log().await.contains(&noted).then_some(())
        })
        .await;
    }
    assert_eq!(server.get("kept.iso").await.unwrap(), b"whole");
    let error = server.get("half.iso").await.unwrap_err().to_string();
    assert!(error.contains("404"), "{error}");
    let listing = String::from_utf8(server.get("").await.unwrap()).unwrap();
    assert!(!listing.contains("half"), "{listing}");
    let error = server.get(".uploads/").await.unwrap_err().to_string();
    assert!(
        error.contains("403"),
        "what is under way is not served: {error}"
    );
}

impl Server<'_> {
    async fn get(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        self.cluster.get(&format!("{}/{path}", self.address)).await
    }

    /// Says that `length` bytes will come, sends `body`, and ends its side when the server has had it.
    async fn put(&self, path: &str, body: &str, length: usize) {
        let (host, port) = self
            .address
            .trim_start_matches("http://")
            .split_once(':')
            .unwrap();
        let script = format!(
            "exec 3<>/dev/tcp/{host}/{port}; printf 'PUT /{path} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\
             Content-Length: {length}\\r\\n\\r\\n{body}' >&3; test {length} -gt {} || cat <&3",
            body.len()
        );
        self.cluster
            .within_network(&["bash", "-c", &script], Duration::from_secs(30))
            .await
            .unwrap();
    }

    async fn pod(&self) -> Pod {
        let selected = ListParams::default().labels(&format!("app.kubernetes.io/name={NAME}"));
        let mut pods = self.site.pods().list(&selected).await.unwrap().items;
        pods.pop().unwrap()
    }

    async fn log(&self) -> String {
        let name = self.pod().await.name_any();
        let pods = self.site.pods();
        pods.logs(&name, &LogParams::default()).await.unwrap()
    }
}

/// With the Role of `deploy/nginx` and nothing else, `kubectl cp` puts a file into the server.
pub(crate) async fn the_role_for_copying_suffices_and_shows_no_secret(server: &Server<'_>) {
    let (cluster, site) = (server.cluster, server.site);
    let binding = format!(
        "apiVersion: v1
kind: ServiceAccount
metadata: {{name: copier}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: copier}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: artifactCopier}}
subjects: [{{kind: ServiceAccount, name: copier, namespace: {}}}]
",
        site.namespace
    );
    cluster
        .apply_yaml_in(&site.namespace, &binding)
        .await
        .unwrap();
    let kubeconfig = cluster
        .service_account_kubeconfig(&site.namespace, "copier")
        .await
        .unwrap();
    let file = cluster.folder().join("copied.txt");
    std::fs::write(&file, "copied").unwrap();
    let kubectl = tokio::task::spawn_blocking(|| e2e::assets::tool(e2e::assets::Tool::Kubectl))
        .await
        .unwrap()
        .unwrap();
    let kubectl = |arguments: Vec<String>| {
        let mut command = tokio::process::Command::new(&kubectl);
        command
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--namespace={}", site.namespace))
            .args(arguments)
            .kill_on_drop(true);
        async move {
            let output = tokio::time::timeout(PATIENCE, command.output());
            let output = output.await.unwrap().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if output.status.success() {
                Ok(String::from_utf8_lossy(&output.stdout).into_owned())
            } else {
                Err(said)
            }
        }
    };
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let select = format!("get pods --selector=app.kubernetes.io/name={NAME} --output=name");
    let pod = kubectl(words(&select)).await.unwrap();
    let pod = pod.trim().trim_start_matches("pod/");
    let target = format!("{pod}:/usr/share/nginx/html/copied.txt");
    kubectl(vec!["cp".into(), file.display().to_string(), target])
        .await
        .unwrap();
    assert_eq!(server.get("copied.txt").await.unwrap(), b"copied");
    let refused = kubectl(words("get secrets")).await.unwrap_err();
    assert!(refused.contains("forbidden"), "{refused}");
}

/// The controller has done all of this test with its own rights, and they show it no Secret.
pub(crate) async fn the_controller_s_rights_suffice_and_show_no_secret(
    site: &Site,
    cluster: &Cluster,
) {
    let namespace = e2e::operator::NAMESPACE;
    let refused = cluster
        .audit()
        .unwrap()
        .service_account(namespace, "artifact-controller")
        .code(403);
    assert_eq!(refused.count(), 0, "{:?}", refused.events());
    let reviews: Api<k8s_openapi::api::authorization::v1::SubjectAccessReview> =
        Api::all(site.client.clone());
    for verb in [
        "get", "list", "watch", "create", "update", "patch", "delete",
    ] {
        for namespace_asked in ["", &site.namespace] {
            let review = serde_json::from_value(json!({"spec": {
                "user": format!("system:serviceaccount:{namespace}:artifact-controller"),
                "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{namespace}"), "system:authenticated"],
                "resourceAttributes": {"verb": verb, "resource": "secrets", "namespace": namespace_asked},
            }}))
            .unwrap();
            let answer = reviews
                .create(&PostParams::default(), &review)
                .await
                .unwrap();
            assert!(
                !answer.status.unwrap().allowed,
                "{verb} secrets in {namespace_asked:?}"
            );
        }
    }
}

//! The smallest control plane that real nodes can join, so that the self-test of nodes depends on nothing but nodes.

use std::net::TcpListener;
use std::time::Duration;

use e2e::assets::{self, Tool};
use e2e::guard::{Cleanup, Guard, Process};
use e2e::nodes::{Authority, ControlPlane, GATEWAY};
use kube::Client;

/// A control plane in a network namespace of its own.
pub(crate) struct TestControlPlane {
    pub(crate) guard: Guard,
    pub(crate) client: Client,
    network_namespace: String,
    authority: Authority,
}

const ETCD: &str = "--unsafe-no-fsync --data-dir etcd";

const API_SERVER: &str = "--etcd-servers http://127.0.0.1:2379 --bind-address 10.99.0.1 --secure-port 6443 \
    --tls-cert-file server.crt --tls-private-key-file server.key --client-ca-file ca.crt --token-auth-file tokens.csv \
    --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged=true \
    --service-account-key-file server.crt --service-account-signing-key-file server.key \
    --service-account-issuer https://kubernetes.default.svc --service-cluster-ip-range 10.96.0.0/16 \
    --kubelet-certificate-authority ca.crt --kubelet-client-certificate client.crt --kubelet-client-key client.key \
    --kubelet-preferred-address-types InternalIP";

const CONTROLLER_MANAGER: &str = "--kubeconfig kubeconfig --use-service-account-credentials --root-ca-file ca.crt \
    --service-account-private-key-file server.key";

const SCHEDULER: &str = "--kubeconfig kubeconfig";

const KUBECONFIG: &str = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "e2e",
"clusters": [{"name": "e2e", "cluster": {"server": "https://10.99.0.1:6443", "certificate-authority": "ca.crt"}}],
"users": [{"name": "admin", "user": {"token": "admin-token"}}],
"contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "admin"}}]}"#;

impl TestControlPlane {
    /// Starts it and waits until the API server answers.
    pub(crate) async fn start() -> Self {
        let guard = Guard::start().unwrap();
        let network_namespace = format!("{}-control", guard.run_name());
        guard
            .register(Cleanup::DeleteNetworkNamespace(network_namespace.clone()))
            .unwrap();
        ip(&["netns", "add", &network_namespace]);
        for line in [
            "link set lo up",
            "link add nodes type bridge",
            "address add 10.99.0.1/24 dev nodes",
            "link set nodes up",
        ] {
            let arguments: Vec<&str> = ["-netns", &network_namespace]
                .into_iter()
                .chain(line.split(' '))
                .collect();
            ip(&arguments);
        }

        let authority = Authority::new().unwrap();
        let addresses = [
            GATEWAY.into(),
            "127.0.0.1".parse().unwrap(),
            "10.96.0.1".parse().unwrap(),
        ];
        let server = authority.issue("kube-apiserver", None, &addresses).unwrap();
        let client = authority
            .issue("kube-apiserver-kubelet-client", Some("system:masters"), &[])
            .unwrap();
        for (name, content) in [
            ("ca.crt", authority.certificate().as_str()),
            ("server.crt", &server.certificate),
            ("server.key", &server.key),
            ("client.crt", &client.certificate),
            ("client.key", &client.key),
            ("tokens.csv", "admin-token,admin,1,\"system:masters\"\n"),
            ("kubeconfig", KUBECONFIG),
        ] {
            std::fs::write(guard.folder().join(name), content).unwrap();
        }

        let start = |tool: Tool, arguments: &str| {
            let program = assets::tool(tool).unwrap().display().to_string();
            let argv = std::iter::once(program.as_str()).chain(arguments.split_whitespace());
            let name = format!("{tool:?}");
            let log = guard.folder().join(format!("{name}.log"));
            guard
                .spawn(
                    &Process::new(name, argv, log)
                        .cwd(guard.folder())
                        .network_namespace(&network_namespace),
                )
                .unwrap();
        };
        start(Tool::Etcd, ETCD);
        start(Tool::KubeApiServer, API_SERVER);
        start(Tool::KubeControllerManager, CONTROLLER_MANAGER);
        start(Tool::KubeScheduler, SCHEDULER);

        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let listen = format!("127.0.0.1:{port}");
        let forward = [
            "/proc/self/exe",
            "forward",
            "--listen",
            &listen,
            "--network-namespace",
            &network_namespace,
            "--to",
            "10.99.0.1:6443",
        ];
        guard
            .spawn(&Process::new(
                "forward",
                forward,
                guard.folder().join("forward.log"),
            ))
            .unwrap();
        let mut config = kube::Config::new(format!("https://{listen}").parse().unwrap());
        config.auth_info.token = Some("admin-token".to_owned().into());
        config.root_cert = Some(vec![der(&authority.certificate())]);
        let client = Client::try_from(config).unwrap();
        for _ in 0..150 {
            if client.apiserver_version().await.is_ok() {
                return Self {
                    guard,
                    client,
                    network_namespace,
                    authority,
                };
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let log = std::fs::read_to_string(guard.folder().join("KubeApiServer.log")).unwrap();
        panic!("the API server does not answer:\n{log}");
    }

    /// What nodes need to know.
    pub(crate) fn as_control_plane(&self) -> ControlPlane<'_> {
        ControlPlane {
            guard: &self.guard,
            client: self.client.clone(),
            network_namespace: &self.network_namespace,
            api_server: "https://10.99.0.1:6443",
            cluster_dns: "10.96.0.10",
            authority: &self.authority,
        }
    }
}

fn ip(arguments: &[&str]) {
    let output = std::process::Command::new("ip")
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "ip {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn der(pem: &str) -> Vec<u8> {
    use base64::Engine;
    let body: String = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    base64::prelude::BASE64_STANDARD.decode(body).unwrap()
}

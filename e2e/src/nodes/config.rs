//! The configuration files of one node, as data: what lies below /etc when it boots.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::authority::Credentials;
use super::spec::NodeSpec;
use crate::images::PAUSE;

/// What the files of a node are made from.
pub(super) struct NodeConfig<'a> {
    pub(super) spec: &'a NodeSpec,
    pub(super) address: Ipv4Addr,
    /// The node's part of the Pod network, in CIDR form.
    pub(super) pod_range: String,
    /// The node's own group, relative to each hierarchy's root.
    pub(super) control_group: String,
    /// 32 hexadecimal digits, the same over all boots.
    pub(super) machine_id: String,
    /// URL of the API server as nodes reach it.
    pub(super) api_server: &'a str,
    /// `HOST:PORT` of the registry that stands for all registries.
    pub(super) registry: String,
    pub(super) cluster_dns: &'a str,
    pub(super) authority: String,
    pub(super) kubelet: Credentials,
    pub(super) proxy: Credentials,
}

/// Path below the node's root, and content.
pub(super) type Files = Vec<(&'static str, String)>;

impl NodeConfig<'_> {
    pub(super) fn files(&self) -> Files {
        let name = &self.spec.name;
        let mut files = vec![
            ("etc/hostname", format!("{name}\n")),
            (
                "etc/hosts",
                format!("127.0.0.1 localhost\n{} {name}\n", self.address),
            ),
            // There is no name server outside the cluster; the file must exist for containerd.
            ("etc/resolv.conf", String::new()),
            ("etc/machine-id", format!("{}\n", self.machine_id)),
            ("etc/node/address", self.address.to_string()),
            ("etc/kubernetes/pki/ca.crt", self.authority.clone()),
            (
                "etc/kubernetes/pki/kubelet.crt",
                self.kubelet.certificate.clone(),
            ),
            ("etc/kubernetes/pki/kubelet.key", self.kubelet.key.clone()),
            (
                "etc/kubernetes/pki/kube-proxy.crt",
                self.proxy.certificate.clone(),
            ),
            ("etc/kubernetes/pki/kube-proxy.key", self.proxy.key.clone()),
            // JSON is YAML.
            (
                "etc/kubernetes/kubelet.kubeconfig",
                self.kubeconfig("kubelet").to_string(),
            ),
            (
                "etc/kubernetes/kube-proxy.kubeconfig",
                self.kubeconfig("kube-proxy").to_string(),
            ),
            ("etc/kubernetes/kubelet.yaml", self.kubelet().to_string()),
            ("etc/kubernetes/kube-proxy.yaml", kube_proxy().to_string()),
            ("etc/containerd/config.toml", containerd()),
            ("etc/containerd/certs.d/_default/hosts.toml", self.mirror()),
            (
                "etc/cni/net.d/10-node.conflist",
                self.pod_network().to_string(),
            ),
        ];
        if let Some(release) = &self.spec.kairos_release {
            files.push(("etc/kairos-release", release.clone()));
        }
        files
    }

    fn kubeconfig(&self, user: &str) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "e2e", "cluster": { "server": self.api_server, "certificate-authority": "/etc/kubernetes/pki/ca.crt" } }],
            "users": [{ "name": user, "user": {
                "client-certificate": format!("/etc/kubernetes/pki/{user}.crt"),
                "client-key": format!("/etc/kubernetes/pki/{user}.key"),
            } }],
            "contexts": [{ "name": "e2e", "context": { "cluster": "e2e", "user": user } }],
            "current-context": "e2e",
        })
    }

    fn kubelet(&self) -> Value {
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": { "enabled": false },
                "webhook": { "enabled": true },
                "x509": { "clientCAFile": "/etc/kubernetes/pki/ca.crt" },
            },
            "authorization": { "mode": "Webhook" },
            "tlsCertFile": "/etc/kubernetes/pki/kubelet.crt",
            "tlsPrivateKeyFile": "/etc/kubernetes/pki/kubelet.key",
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": self.control_group,
            "failCgroupV1": false,
            "failSwapOn": false,
            // All nodes share one machine's memory and disk: neither may look short to them.
            "enforceNodeAllocatable": [],
            "evictionHard": {
                "memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%",
                "imagefs.available": "0%", "imagefs.inodesFree": "0%",
            },
            "imageGCHighThresholdPercent": 100,
            "clusterDNS": [self.cluster_dns],
            "clusterDomain": "cluster.local",
            // Tests wait for these: soon seen, soon tested.
            "nodeStatusUpdateFrequency": "2s",
            "serializeImagePulls": false,
        })
    }

    fn mirror(&self) -> String {
        let registry = format!("http://{}", self.registry);
        format!(
            "server = \"{registry}\"\n[host.\"{registry}\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
        )
    }

    /// Point-to-point links instead of a bridge: Pods of one node reach each other through the node's own routes and rules, so
    /// that Services work between them without the bridge-netfilter module.
    fn pod_network(&self) -> Value {
        json!({
            "cniVersion": "1.0.0",
            "name": "e2e",
            "plugins": [
                { "type": "ptp", "ipam": {
                    "type": "host-local",
                    // Below /run, so that a reboot frees the addresses.
                    "dataDir": "/run/cni",
                    "subnet": self.pod_range,
                    "routes": [{ "dst": "0.0.0.0/0" }],
                } },
                { "type": "portmap", "capabilities": { "portMappings": true } },
            ],
        })
    }
}

fn kube_proxy() -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": { "kubeconfig": "/etc/kubernetes/kube-proxy.kubeconfig" },
        "mode": "iptables",
        "clusterCIDR": super::network::ALL_PODS,
        // The connection table is the machine's.
        "conntrack": { "maxPerCore": 0 },
    })
}

/// `restrict_oom_score_adj`: without `CAP_SYS_RESOURCE` every sandbox would fail at `/proc/self/oom_score_adj`.
fn containerd() -> String {
    format!(
        r#"version = 3
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE}"
[plugins."io.containerd.cri.v1.images".registry]
config_path = "/etc/containerd/certs.d"
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "/etc/cni/net.d"
"#
    )
}

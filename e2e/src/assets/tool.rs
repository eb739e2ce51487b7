//! The list of tools: where each comes from and how it is built.

/// A program of the embedded cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tool {
    /// The API server's database.
    Etcd,
    /// `kube-apiserver`
    KubeApiServer,
    /// `kube-controller-manager`
    KubeControllerManager,
    /// `kube-scheduler`
    KubeScheduler,
    /// `kubelet`
    Kubelet,
    /// `kube-proxy`
    KubeProxy,
    /// `kubectl`
    Kubectl,
    /// Simulates nodes and Pods.
    Kwok,
    /// The container runtime of real nodes.
    Containerd,
    /// What containerd starts for each Pod.
    ContainerdShim,
    /// containerd's own command.
    Ctr,
    /// Starts containers. Needs the Debian packages `libseccomp-dev` and `pkg-config`.
    Runc,
    /// Moves and inspects images.
    Crane,
    /// A registry in memory.
    Registry,
    /// Renders and installs charts.
    Helm,
    /// Answers Pods that ask for Services by name.
    CoreDns,
}

/// How one tool is built.
pub(super) struct Recipe {
    /// File name of the program.
    pub(super) program: &'static str,
    /// Folder below `e2e/tools`.
    pub(super) module: &'static str,
    /// Go package of the program.
    pub(super) package: &'static str,
    /// Go build tags, separated by commas.
    pub(super) tags: &'static str,
    /// Whether it needs C.
    pub(super) cgo: bool,
    /// How long the first build takes on two cores, in words.
    pub(super) duration: &'static str,
}

impl Tool {
    pub(super) fn recipe(self) -> Recipe {
        match self {
            Self::Etcd => recipe("etcd", "etcd", "go.etcd.io/etcd/server/v3", "half a minute"),
            Self::KubeApiServer => kubernetes(
                "kube-apiserver",
                "k8s.io/kubernetes/cmd/kube-apiserver",
                "4 minutes",
            ),
            Self::KubeControllerManager => kubernetes(
                "kube-controller-manager",
                "k8s.io/kubernetes/cmd/kube-controller-manager",
                "1 minute",
            ),
            Self::KubeScheduler => kubernetes(
                "kube-scheduler",
                "k8s.io/kubernetes/cmd/kube-scheduler",
                "10 seconds",
            ),
            Self::Kubelet => {
                kubernetes("kubelet", "k8s.io/kubernetes/cmd/kubelet", "half a minute")
            }
            Self::KubeProxy => kubernetes(
                "kube-proxy",
                "k8s.io/kubernetes/cmd/kube-proxy",
                "10 seconds",
            ),
            Self::Kubectl => kubernetes("kubectl", "k8s.io/kubernetes/cmd/kubectl", "20 seconds"),
            Self::Kwok => recipe("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok", "80 seconds"),
            Self::Containerd => containerd(
                "containerd",
                "github.com/containerd/containerd/v2/cmd/containerd",
                "1 minute",
            ),
            Self::ContainerdShim => containerd(
                "containerd-shim-runc-v2",
                "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
                "10 seconds",
            ),
            Self::Ctr => containerd(
                "ctr",
                "github.com/containerd/containerd/v2/cmd/ctr",
                "10 seconds",
            ),
            Self::Runc => Recipe {
                tags: "seccomp,netgo,osusergo",
                cgo: true,
                ..recipe(
                    "runc",
                    "runc",
                    "github.com/opencontainers/runc",
                    "15 seconds",
                )
            },
            Self::Crane => registry("crane", "github.com/google/go-containerregistry/cmd/crane"),
            Self::Registry => registry(
                "registry",
                "github.com/google/go-containerregistry/cmd/registry",
            ),
            Self::CoreDns => recipe("coredns", "coredns", ".", "1 minute"),
            Self::Helm => recipe("helm", "helm", "helm.sh/helm/v4/cmd/helm", "4 minutes"),
        }
    }
}

const fn recipe(
    program: &'static str,
    module: &'static str,
    package: &'static str,
    duration: &'static str,
) -> Recipe {
    Recipe {
        program,
        module,
        package,
        tags: "",
        cgo: false,
        duration,
    }
}

const fn kubernetes(
    program: &'static str,
    package: &'static str,
    duration: &'static str,
) -> Recipe {
    recipe(program, "kubernetes", package, duration)
}

const fn containerd(
    program: &'static str,
    package: &'static str,
    duration: &'static str,
) -> Recipe {
    Recipe {
        tags: "no_btrfs,no_zfs,no_devmapper,no_aufs",
        ..recipe(program, "containerd", package, duration)
    }
}

const fn registry(program: &'static str, package: &'static str) -> Recipe {
    recipe(program, "go-containerregistry", package, "10 seconds")
}

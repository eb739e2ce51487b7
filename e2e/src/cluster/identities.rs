//! Who may talk to the API server: certificates, the token file, and kubeconfigs.

use std::fmt::Write;
use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::Context;
use rcgen::KeyPair;
use serde_json::json;

use crate::nodes::Authority;

/// First address of the range of Services: the API server's own.
const KUBERNETES_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

/// User, and group, of each token; the first one is the tests' own.
const USERS: [(&str, &str); 4] = [
    ("admin", "system:masters"),
    ("kwok", "system:masters"),
    ("system:kube-controller-manager", ""),
    ("system:kube-scheduler", ""),
];

/// The written identities of one cluster.
pub(super) struct Identities {
    authority_file: PathBuf,
    admin_token: String,
}

impl Identities {
    /// Writes keys, certificates, tokens and one kubeconfig per user into `folder`; `url` is the API server's for these.
    pub(super) fn create(folder: &Path, authority: &Authority, url: &str) -> anyhow::Result<Self> {
        let write = |name: &str, content: &str| {
            let path = folder.join(name);
            fs::write(&path, content).with_context(|| format!("failed to write {}", path.display()))
        };
        write("ca.crt", &authority.certificate())?;
        let addresses: Vec<IpAddr> = vec![
            Ipv4Addr::LOCALHOST.into(),
            crate::nodes::GATEWAY.into(),
            KUBERNETES_SERVICE.into(),
        ];
        let server = authority.issue("kube-apiserver", None, &addresses)?;
        write("server.crt", &server.certificate)?;
        write("server.key", &server.key)?;
        let kubelet_client =
            authority.issue("kube-apiserver-kubelet-client", Some("system:masters"), &[])?;
        write("kubelet-client.crt", &kubelet_client.certificate)?;
        write("kubelet-client.key", &kubelet_client.key)?;
        let key = KeyPair::generate().context("failed to make the key of ServiceAccount tokens")?;
        write("service-account.key", &key.serialize_pem())?;
        write("service-account.pub", &key.public_key_pem())?;

        let mut identities = Self {
            authority_file: folder.join("ca.crt"),
            admin_token: String::new(),
        };
        let mut lines = String::new();
        for (user, group) in USERS {
            let token = random_text()?;
            // Writing to a string cannot fail.
            writeln!(lines, "{token},{user},{user},\"{group}\"").ok();
            let short = user.rsplit(':').next().unwrap_or(user);
            identities.write_kubeconfig(
                &folder.join(format!("{short}.kubeconfig")),
                url,
                &token,
            )?;
            if user == "admin" {
                identities.admin_token = token;
            }
        }
        write("tokens.csv", &lines)?;
        Ok(identities)
    }

    pub(super) fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// Writes a kubeconfig that reaches `url` with `token`.
    pub(super) fn write_kubeconfig(
        &self,
        path: &Path,
        url: &str,
        token: &str,
    ) -> anyhow::Result<()> {
        let cluster = if url.starts_with("https:") {
            json!({"server": url, "certificate-authority": self.authority_file})
        } else {
            json!({"server": url})
        };
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "e2e", "cluster": cluster}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "user"}}],
            "current-context": "e2e",
        });
        fs::write(path, format!("{kubeconfig:#}\n"))
            .with_context(|| format!("failed to write {}", path.display()))
    }
}

/// 128 random bits as text.
pub(super) fn random_text() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 16];
    let mut source = fs::File::open("/dev/urandom").context("failed to open /dev/urandom")?;
    source
        .read_exact(&mut bytes)
        .context("failed to read /dev/urandom")?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

//! The certificate authority of a cluster's nodes: each kubelet has its own identity, as in life, so that the Node authorizer
//! and the `NodeRestriction` admission plugin treat it like a real one.

use std::net::IpAddr;

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};

/// A certificate authority that lives as long as its cluster. The API server trusts it for clients, kubelets trust it for the
/// API server as client, and everybody trusts it for servers.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, both in PEM; good for a server and for a client.
#[derive(Clone)]
pub struct Credentials {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Authority {
    /// A new authority with a new key.
    pub fn new() -> anyhow::Result<Self> {
        let failed = "failed to make the cluster's certificate authority";
        let mut parameters = CertificateParams::default();
        parameters
            .distinguished_name
            .push(DnType::CommonName, "kairos-operator-e2e");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let issuer = CertifiedIssuer::self_signed(parameters, KeyPair::generate().context(failed)?)
            .context(failed)?;
        Ok(Self { issuer })
    }

    /// The authority's own certificate in PEM.
    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// The same in DER.
    pub fn certificate_der(&self) -> Vec<u8> {
        self.issuer.der().to_vec()
    }

    /// Issues a certificate. To the API server `user` is the user's name and `group` the group; as a server it is known by
    /// `addresses`.
    pub fn issue(
        &self,
        user: &str,
        group: Option<&str>,
        addresses: &[IpAddr],
    ) -> anyhow::Result<Credentials> {
        let failed = || format!("failed to issue a certificate for {user}");
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, user);
        if let Some(group) = group {
            parameters
                .distinguished_name
                .push(DnType::OrganizationName, group);
        }
        parameters.subject_alt_names = addresses.iter().copied().map(SanType::IpAddress).collect();
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        let key = KeyPair::generate().with_context(failed)?;
        let certificate = parameters
            .signed_by(&key, &self.issuer)
            .with_context(failed)?;
        Ok(Credentials {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

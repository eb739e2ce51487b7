//! Fixtures for this crate's tests: minimal YAML through the real types.

use api_types::osartifact::OSArtifact;

/// An `OSArtifact` in namespace `shop` with uid `uid-1` and that spec.
pub(crate) fn artifact(name: &str, spec: &str) -> OSArtifact {
    let spec: serde_json::Value = serde_saphyr::from_str(spec).unwrap();
    serde_json::from_value(serde_json::json!({
        "apiVersion": "build.kairos.io/v1alpha2", "kind": "OSArtifact",
        "metadata": {"name": name, "namespace": "shop", "uid": "uid-1", "resourceVersion": "1", "generation": 1},
        "spec": spec,
    }))
    .unwrap()
}

/// Settings with images that no product has.
pub(crate) fn settings() -> crate::build::BuildSettings {
    crate::build::BuildSettings {
        worker_image: "worker-image".into(),
        auroraboot_image: "auroraboot-image".into(),
        buildah_image: "buildah-image".into(),
        kairos_init_image: "kairos-init-image".into(),
        default_version: crate::plan::Version::parse("v9.9.9").unwrap(),
        insecure_registries: false,
        image_pull_secrets: Vec::new(),
        priority_class_name: None,
        node_selector: std::collections::BTreeMap::new(),
        tolerations: Vec::new(),
        affinity: None,
        resources: k8s_openapi::api::core::v1::ResourceRequirements::default(),
    }
}

/// A status as YAML.
pub(crate) fn status(yaml: &str) -> api_types::osartifact::OSArtifactStatus {
    serde_saphyr::from_str(yaml).unwrap()
}

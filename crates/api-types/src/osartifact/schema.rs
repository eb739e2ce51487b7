//! Schemas of the OSArtifact's embedded parts, with the rules that belong to them.

use k8s_openapi::api::core::v1::Volume;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::json;

use crate::schema::{embedded, into_schema, set};

/// User volumes: bounded, with unique names that are not the builder's own.
pub(super) fn volumes(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = embedded::<Vec<Volume>>(generator).to_value();
    set(&mut schema, "", "maxItems", 64);
    set(&mut schema, "/items/properties/name", "maxLength", 63);
    let rules = json!([
        {
            "rule": "self.all(volume, !(volume.name in ['artifacts', 'rootfs', 'config', 'dockerfile', 'cloudconfig']))",
            "message": "the volume names artifacts, rootfs, config, dockerfile and cloudconfig belong to the build; \
                        give the volume another name",
        },
        {
            "rule": "self.all(volume, self.exists_one(other, other.name == volume.name))",
            "message": "two volumes have the same name; give each volume a name of its own",
        },
    ]);
    set(&mut schema, "", "x-kubernetes-validations", rules);
    into_schema(schema)
}

/// `spec.image` of the nested form.
pub(super) fn nested_image(_: &mut SchemaGenerator) -> Schema {
    nested(
        "spec.image is a form of OSArtifact that this operator does not build; write imageName for a Kairos image, \
         baseImageName for another image, or baseImageDockerfile for a Dockerfile in a Secret",
    )
}

/// `spec.artifacts` of the nested form.
pub(super) fn nested_artifacts(_: &mut SchemaGenerator) -> Schema {
    nested(
        "spec.artifacts is a form of OSArtifact that this operator does not build; write its fields directly below \
         spec, for example spec.iso: true",
    )
}

/// Kept whatever it holds; refused unless the stored object has it already. Without optionalOldSelf the rule would
/// not be asked at all where there is no old value, which is the case it is for.
fn nested(message: &str) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "x-kubernetes-validations": [{
            "rule": "oldSelf.hasValue()",
            "message": message,
            "optionalOldSelf": true,
        }],
    })
}

//! The NodeOp, NodeOpUpgrade and OSArtifact resources and the names they put on the wire.
//!
//! What stands here is read by people's tools: field names, defaults, labels, annotations, condition types and
//! reasons. It is the only thing that the controllers share about each other. There is no client and no decision
//! here, only types, their schemas and the rules by which the API server refuses a wrong manifest.

#![allow(
    clippy::doc_markdown,
    clippy::doc_link_with_quotes,
    clippy::struct_excessive_bools,
    reason = "the comments are what kubectl explain shows, and the switches are the users' manifests"
)]
#![allow(
    unreachable_pub,
    reason = "KubeSchema copies each struct, with its pub, into a function of its own"
)]

pub mod concurrency;
pub mod conditions;
pub mod crds;
pub mod names;
pub mod nodeop;
pub mod nodeopupgrade;
pub mod osartifact;
mod schema;

pub use nodeop::{NodeOp, NodeOpSpec, NodeOpStatus};
pub use nodeopupgrade::{NodeOpUpgrade, NodeOpUpgradeSpec, NodeOpUpgradeStatus};
pub use osartifact::{OSArtifact, OSArtifactSpec, OSArtifactStatus};

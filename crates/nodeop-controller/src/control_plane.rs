//! The one place for a disturbed control-plane node: a Lease in the controller's namespace, across all NodeOps.
//!
//! It is not renewed and does not expire: whoever holds it may be rebooting the node that this controller runs on. It ends
//! with its holder: a NodeOp that is gone, or that has a result for the node, holds nothing any more.

use std::fmt;

use crate::claim::Holder;

/// The Lease's name.
pub const LEASE: &str = "nodeop-control-plane";

/// Who holds the place, and for which node: `namespace/name@uid node`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The operation.
    pub holder: Holder,
    /// The control-plane node that it disturbs.
    pub node: String,
}

impl Place {
    /// Reads a holder identity. Anything else is nobody of ours, and free.
    pub fn parse(identity: &str) -> Option<Self> {
        let (holder, node) = identity.split_once(' ')?;
        Some(Self {
            holder: Holder::parse(holder)?,
            node: node.to_owned(),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.holder, self.node)
    }
}

/// What is known of the place in one pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It was not asked for: the operation disturbs no control-plane node now.
    #[default]
    Unknown,
    /// Nobody holds it, or a holder that is dead.
    Free,
    /// This operation holds it, for that node, which it works on.
    Ours(String),
    /// A living operation holds it.
    Held(Place),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back_what_it_writes() {
        let place = Place {
            holder: Holder::parse("shop/rollout@uid-1").unwrap(),
            node: "control-1".to_owned(),
        };
        assert_eq!(Place::parse(&place.to_string()), Some(place));
        assert_eq!(Place::parse(""), None);
        assert_eq!(Place::parse("somebody"), None);
    }
}

//! Will turn a NodeOpUpgrade into a NodeOp; holds nothing yet.

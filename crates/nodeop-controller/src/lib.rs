//! The NodeOp controller.

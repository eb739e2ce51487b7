//! What deterministic simulations of the controllers share. Only tests use it.
//!
//! A schedule is a list of [`Choices`]: who moves next, what gets lost, who dies. The same choices make the same schedule.
//! [`search`] runs many of them, [`small`] makes one that breaks a rule short, and [`Kept`] reads those that are kept as
//! tests.

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    reason = "only tests use this crate: what fails here is a test"
)]

mod choices;
mod kept;
mod outcome;
mod patch;
mod search;

pub use choices::Choices;
pub use kept::Kept;
pub use outcome::Outcome;
pub use patch::merge;
pub use search::{Search, number, search, small, tell};

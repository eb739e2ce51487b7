//! The chassis that every controller shares, without a word of any controller's own field.
//!
//! A controller's `main` parses its arguments (with [`args::RuntimeArgs`] flattened into them) and calls [`run::run`] with a
//! function from a [`run::Chassis`] to the controller's future. The chassis brings:
//!
//! | room | what for |
//! | --- | --- |
//! | [`args`] | the flags and environment variables all controllers have in common |
//! | [`logging`] | text or JSON logs, level changeable while running |
//! | [`client`] | API clients with timeouts, one of them without retry; [`client::deadline`] |
//! | [`admin`] | /livez, /readyz, /metrics, /loglevel |
//! | [`readiness`] | the conditions behind /readyz |
//! | [`metrics`] | the registry behind /metrics |
//! | [`lease`] | leader election: a pure decision and writes guarded by resourceVersion |
//! | [`backoff`] | how long to wait after an object's n-th failure |
//! | [`shutdown`] | SIGTERM and SIGINT as a token |
//! | [`events`] | Events with names that make repetition harmless |
//! | [`merge_patch`] | patches that hold only what changed |
//! | [`names`] | short hashes, and names cut to a length |
//! | [`namespaces`] | watches of all namespaces or of a few |
//! | [`run`] | the order in which all this starts and ends |
//!
//! Invariant: this crate depends on no other crate of the workspace, and names no custom resource.

pub mod admin;
pub mod args;
pub mod backoff;
pub mod client;
pub mod events;
pub mod lease;
pub mod logging;
pub mod merge_patch;
pub mod metrics;
pub mod names;
pub mod namespaces;
pub mod readiness;
pub mod run;
pub mod shutdown;

#[cfg(test)]
mod testing;

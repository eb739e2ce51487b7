//! The chart and the kustomization on a real API server: installed, upgraded, taken back, removed; with work under way.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first surprise"
)]

mod documents;
mod git;
mod kustomize;
mod lifecycle;
mod migration;
mod removal;
mod site;
mod strict;
mod sweep;
mod watched;

//! Builds `OSArtifact`s.

pub mod args;
pub mod build;
pub mod paths;
pub mod plan;
pub mod recipe;
pub mod render;
pub mod steps;
pub mod template;
pub mod texts;
pub mod tools;
pub mod worker;

#[cfg(test)]
mod testing;

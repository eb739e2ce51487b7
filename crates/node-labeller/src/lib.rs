//! Finds out what a node is: the facts of a Kairos node, as the labels and annotations of its Node object.
//!
//! What exists: the detection that a short Pod runs on a node. [`detect`] reads the host's files, [`release`] and
//! [`boot_state`] understand them, [`facts`] makes labels and annotations of them, [`outcome`] carries the result in the
//! Pod's termination message and checks it on the reading side.
//!
//! What does not exist yet: the controller that makes those Pods and writes to Nodes. Until it does, no node is labelled.

pub mod boot_state;
pub mod detect;
pub mod facts;
pub mod outcome;
pub mod release;

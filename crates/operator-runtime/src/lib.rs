//! The chassis.

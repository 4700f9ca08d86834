//! The tool as a whole, against a server whose faults are known.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod behaviour;
mod checker;
mod stub;
mod targets;
mod tool;
mod usage;

//! The tool as a whole, against a server whose faults are known.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod behaviour;
mod bridge;
mod checker;
mod honest;
mod http2;
mod stub;
mod targets;
mod tool;
mod usage;

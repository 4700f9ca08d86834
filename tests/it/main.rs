//! Postern's integration tests. Each module is named after the behaviour that it guards.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod harness;

//! Postern's integration tests. Each module is named after the behaviour that it guards.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod browser;
mod browser_client;
mod catch_up;
mod config;
mod contention;
mod contract;
mod cors;
mod crash;
mod damage;
mod disconnect;
mod durability;
mod embedded;
mod examples;
mod expiry;
mod feed;
mod feed_amqp;
mod feed_loss;
mod feed_scale;
mod foreign;
mod harness;
mod http2;
mod limits;
mod mailbox;
mod malformed;
mod page;
mod poison;
mod publish;
mod publisher;
mod refusal;
mod roaming;
mod scale;
mod shutdown;
mod sse;

//! The load tool: simulates clients and publishers of a push server, and proves what each client got.
//!
//! It shares a machine with what it measures, so it does little: one event loop, one read and one write for each answer, and of an
//! answer only what a client needs.

mod addresses;
mod clock;
mod crowd;
mod failure;
mod http;
mod ledger;
mod number;
mod record;
mod stamp;
mod streams;
mod tally;
mod target;
mod timers;

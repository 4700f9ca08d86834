//! The benchmark of feeds: the gateway beside nginx with the nchan module, and what it costs to wake one watcher of
//! many.
//!
//! Both servers stand in front of the same load client, in turn within one run, because the machine's load moves every
//! number: only what stands beside each other counts.
//!
//! * `server` is either of them; `nchan` starts nginx, with nothing of the system's.
//! * `broadcast` gives one event after the other to all clients; `wakeup` to one of them, while others wait.
//!
//! A client that misses an event, or gets one twice, ends the run with an error.

mod broadcast;
mod nchan;
mod options;
mod server;
mod wakeup;

use anyhow::ensure;
use clap::Parser;

use self::options::Options;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    ensure!(!cfg!(debug_assertions), "this is a debug build: run it with `cargo run --release`");
    broadcast::run(&options).await?;
    wakeup::run(&options).await
}

#[expect(clippy::print_stdout, reason = "the output of a program")]
fn print(text: &dyn std::fmt::Display) {
    println!("{text}");
}

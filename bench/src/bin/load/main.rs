//! The load client: one thread that holds thousands of long-polls and proves what each of them got.
//!
//! It shares a machine with what it measures, so it does little: one event loop, one read and one write for each
//! answer, and of an answer only what a client needs. Yet every client checks that it gets each event exactly once and
//! in order, by the number in the payload; the first mistake ends the run with an error.
//!
//! * `crowd` is the loop over all clients; a `watcher` is one of them, on a `connection` of its own; an `answer` is
//!   what it gets.
//! * `target` is how the server wants to be asked: Postern, or nginx with nchan.
//! * `publisher` publishes, if no other program does; `run` is what happens, in which order; `report` says what came of
//!   it.
//!
//! On standard output it says `waiting` when every client waits, `reached N` whenever every client has had N events and
//! waits again (if it publishes itself: `done` when they have had all), and at the end a line of JSON.

mod answer;
mod connection;
mod crowd;
mod options;
mod publisher;
mod report;
mod run;
mod target;
mod watcher;

use clap::Parser;

use self::options::Options;

fn main() -> anyhow::Result<()> {
    run::run(&Options::parse())
}

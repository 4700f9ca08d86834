//! The command line.

use clap::Parser;

use crate::server::ServerOptions;

const EXAMPLES: &str = "\
Examples:
  tests/bench feed
  tests/bench feed --without-nchan --clients 1000 --rounds 1

How to read it:
  A delivery is one event at one client, which has polled again before the next event is published.
  The machine's load moves every number, so the servers take turns and only their ratio within one run counts.";

/// Measures deliveries per second of a broadcast beside nginx with nchan, memory for each waiting client, and how the
/// cost of waking one watcher grows with the number of others. Needs 20,000 open files; takes some three minutes.
#[derive(Debug, Clone, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// How many clients watch the same topic in a broadcast
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) clients: u32,

    /// Events of a broadcast
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) events: u32,

    /// Rounds; in each every server takes its turn, started anew
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,

    /// How many clients get events of their own; 0 leaves that out
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) own: u32,

    /// Leave nginx out
    #[arg(long)]
    pub(crate) without_nchan: bool,

    #[command(flatten)]
    pub(crate) servers: ServerOptions,

    /// How often one watcher is woken for each number of others; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 3000)]
    pub(crate) wakeups: u32,
}

//! The command line.

use std::net::SocketAddr;

use clap::Parser;

use super::target::Style;

const EXAMPLES: &str = "\
Examples:
  load --address 127.0.0.1:8080 --watch /topics/a/events --clients 10000 --events 100
      waits for 100 events that another program publishes with the payloads {\"n\":1}, {\"n\":2}, …
  load --address 127.0.0.1:8080 --watch /topics/a/events --clients 10000 --events 100 --publish /topics/a/events
      publishes each itself, as soon as every client waits; Enter starts it
  load --address 127.0.0.1:8080 --watch '/topics/own.{}/events' --clients 100 --events 9 --publish '/topics/own.{}/events'
      each client watches its own topic; 9 events for one after the other";

/// Holds long-polls of a feed and checks that every client gets every event once, in order.
#[derive(Debug, Clone, Parser)]
#[command(name = "load", version, after_help = EXAMPLES, max_term_width = 120)]
pub(crate) struct Options {
    /// Where the server listens
    #[arg(long)]
    pub(crate) address: SocketAddr,

    /// Which path to poll; `{}` stands for the number of the client, and then each has events of its own
    #[arg(long, value_name = "PATH")]
    pub(crate) watch: String,

    /// How many clients
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) clients: u32,

    /// How many events there are, numbered from 1; with 0 it only waits, for ever
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) events: u32,

    /// Publish them to this path, each when every client waits, once a line comes on standard input; else another
    /// publishes them, at any pace
    #[arg(long, value_name = "PATH")]
    pub(crate) publish: Option<String>,

    /// Only the first so many clients get events, if each has its own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) among: Option<u32>,

    /// How the server wants to be asked
    #[arg(long, value_enum, default_value_t = Style::Postern)]
    pub(crate) style: Style,
}

impl Options {
    /// Tells whether each client has events of its own.
    pub(crate) fn is_each_its_own(&self) -> bool {
        self.watch.contains("{}")
    }
}

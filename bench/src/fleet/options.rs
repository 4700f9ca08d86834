//! The command line.

use amqp::AmqpUrl;
use clap::{Parser, ValueEnum};
use postern_tests::ProxyProgram;

const EXAMPLES: &str = "\
Examples:
  tests/bench fleet
  tests/bench fleet --proxy nginx --clients 200 --rate 100

How to read it:
  The machine's load moves every number, so the sides take turns and only their ratio within one run counts.
  Lost, out of order and refused have to be 0 on both sides.";

/// Measures what it costs that each poll of a client comes to another gateway: three gateways behind a proxy that takes
/// the next one for each request, and behind one that keeps a client at its gateway. Starts a private RabbitMQ, the
/// gateways and the proxies; takes five minutes.
#[derive(Debug, Clone, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// How many clients there are, after a run with one
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) clients: u32,

    /// Events per second for all of these clients together
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: u32,

    /// Events per second for the one client
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate_of_one: u32,

    /// How long each side is measured in a round, in seconds
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) seconds: u32,

    /// How often both sides are measured
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,

    /// The proxy before the gateways
    #[arg(long, value_enum, default_value_t = Before::Haproxy)]
    pub(crate) proxy: Before,

    /// Use this RabbitMQ instead of a private one; its CPU time cannot be seen then
    #[arg(long, env = "AMQP_URL", value_name = "URL", hide_env_values = true)]
    pub(crate) amqp_url: Option<AmqpUrl>,

    /// Measure a debug build, whose figures mean little
    #[arg(long)]
    pub(crate) debug_build: bool,
}

/// A proxy that can stand before a fleet.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Before {
    Haproxy,
    Nginx,
}

impl Before {
    /// Returns the program.
    pub(crate) const fn program(self) -> ProxyProgram {
        match self {
            Self::Haproxy => ProxyProgram::Haproxy,
            Self::Nginx => ProxyProgram::Nginx,
        }
    }
}

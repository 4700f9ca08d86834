//! The command line.

use amqp::AmqpUrl;
use clap::Parser;

const EXAMPLES: &str = "\
Examples:
  tests/bench mailbox
  tests/bench mailbox --clients 100 --events 20 --rounds 1 --memory-polls 0

How to read it:
  The machine's load moves every number, so the sides take turns and only their ratio within one run counts.
  Look at the CPU seconds too: when the bench itself takes the most, it is what you measured.";

/// Measures the gateway against a bare AMQP consumer of the same queues: deliveries per second, latency, and memory
/// for each waiting reader. Starts a private RabbitMQ and the release build of the gateway; takes some four minutes.
#[derive(Debug, Clone, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// How many clients read at once, each its own mailbox
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) clients: u32,

    /// Events for each client in a throughput round; they are published as fast as the broker confirms
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) events: u32,

    /// Rounds of throughput, then as many of latency; in each both sides take their turn
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,

    /// Events per second over all clients in a latency round; well below what the machine can do
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: u32,

    /// How long a latency round takes
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) seconds: u32,

    /// How many held polls the memory is measured with; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub(crate) memory_polls: u32,

    /// Use this RabbitMQ instead of a private one; its CPU time and memory cannot be seen then
    #[arg(long, env = "AMQP_URL", value_name = "URL", hide_env_values = true)]
    pub(crate) amqp_url: Option<AmqpUrl>,
}

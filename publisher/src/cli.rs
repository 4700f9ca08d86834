//! Flags and environment: the only file that knows their names.
//!
//! Everything is checked here, so that wrong usage ends the process (exit code 64) before anything is read or sent.

use std::{path::PathBuf, time::Duration};

use clap::{
    ArgGroup, Args, CommandFactory, Parser, Subcommand, builder::FalseyValueParser, error::ErrorKind, value_parser,
};
use events::{ContentType, EventId, Topic, amqp::AmqpUrl};

use crate::{emit, pipe, publish::Command, sender, simulate};

/// Everything that the command line says.
pub(crate) struct Options {
    pub(crate) command: Command,
    pub(crate) url: AmqpUrl,
    pub(crate) sender: sender::Options,
    pub(crate) quiet: bool,
    pub(crate) log: String,
}

const EXAMPLES: &str = "\
Examples:
  publisher emit jobs.42.status '{\"state\":\"passed\"}'
  publisher emit reports.daily --file report.pdf --content-type application/pdf
  tail -F build.ndjson | publisher pipe jobs.42.log
  publisher pipe --topic-from meta.topic < events.ndjson
  publisher simulate --rate 50 --jobs 20

Exit codes:
  0    everything was confirmed by the broker
  1    something was not confirmed; standard error lists what and why
  64   wrong flags or environment
  69   the broker was never reached; nothing was published
  130  ended by SIGINT before everything was published (143: by SIGTERM)

When the connection is lost, what is not confirmed is sent again under the same id and
marked as resent: nothing is lost, and readers can tell.";

/// Publishes events to Postern through the broker, and makes sure that each of them is stored.
#[derive(Parser)]
#[command(name = "publisher", version, after_help = EXAMPLES, max_term_width = 110, subcommand_required = true)]
struct Cli {
    #[command(subcommand)]
    command: Subcommands,
    #[command(flatten)]
    common: Common,
}

#[allow(rustdoc::broken_intra_doc_links, reason = "these are the texts of --help, which is not Markdown")]
#[derive(Args)]
#[command(next_help_heading = "Broker and output")]
struct Common {
    // A text: clap repeats a wrong value in its error, and this one may hold a password.
    /// Where the broker is: amqp[s]://user:password@host:port/vhost.
    #[arg(long, global = true, env = "AMQP_URL", value_name = "URL", hide_env_values = true)]
    #[arg(default_value = "amqp://127.0.0.1:5672/%2f")]
    amqp_url: String,

    /// How many events may be on their way without a confirm, 1 to 65535.
    #[arg(long, global = true, env = "POSTERN_IN_FLIGHT", value_name = "EVENTS", default_value_t = 256)]
    #[arg(value_parser = value_parser!(u16).range(1..))]
    in_flight: u16,

    /// How long to keep trying without any confirm before giving up, also for the first connection.
    #[arg(long, global = true, env = "POSTERN_TIMEOUT", value_name = "TIME", default_value = "30s")]
    #[arg(value_parser = positive_duration)]
    timeout: Duration,

    /// Write nothing but results and errors.
    #[arg(long, short, global = true, env = "POSTERN_QUIET", value_parser = FalseyValueParser::new())]
    quiet: bool,

    /// What to log to standard error, for example "debug" or "lapin=trace".
    #[arg(long, global = true, env = "POSTERN_LOG", value_name = "FILTER", default_value = "off")]
    log: String,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Publish one event and print its id.
    ///
    /// The id goes to standard output once the broker has confirmed. An event that nobody has subscribed to is
    /// confirmed all the same.
    #[command(group(ArgGroup::new("payload").args(["data", "file"])))]
    Emit {
        /// What the event is about: words of A-Z a-z 0-9 _ - joined by dots.
        topic: Topic,
        /// The payload; "-" or nothing: standard input, to its end, byte for byte.
        data: Option<String>,
        /// Take the payload from this file.
        #[arg(long, short, value_name = "PATH")]
        file: Option<PathBuf>,
        /// Say what the payload is [default: JSON if it parses, else text if it is UTF-8, else bytes].
        #[arg(long, value_name = "TYPE", value_parser = ContentType::new)]
        content_type: Option<ContentType>,
        /// Publish under this id, marked as resent: repeats an emit that was not confirmed.
        #[arg(long, value_name = "ID")]
        repeat_of: Option<EventId>,
    },
    /// Publish each line of standard input as one event.
    ///
    /// A line's bytes are the payload, without the line's end (\n or \r\n). Empty lines are skipped. A line that is not
    /// JSON is sent as text or bytes. A line that cannot be sent is reported by its number; the others go on, and the
    /// exit code is 1.
    // A group, so that what clap says when there is neither names both.
    #[command(group(ArgGroup::new("topics").args(["topic", "topic_from"]).required(true)))]
    Pipe {
        /// The topic of every event.
        topic: Option<Topic>,
        /// Take the topic from this field of each line's JSON; dots lead into nested objects ("meta.topic").
        #[arg(long, value_name = "FIELD")]
        topic_from: Option<String>,
        /// Say what every payload is [default: JSON if it parses, else text if it is UTF-8, else bytes].
        #[arg(long, value_name = "TYPE", value_parser = ContentType::new)]
        content_type: Option<ContentType>,
        /// The longest line, in bytes or with KiB or MiB; a longer one is reported and not sent.
        #[arg(long, env = "POSTERN_MAX_LINE", value_name = "SIZE", default_value = "8MiB", value_parser = byte_size)]
        max_line: usize,
    },
    /// Publish status events of made-up jobs: queued, running with progress, passed or failed.
    ///
    /// Topics are jobs.1.status, jobs.2.status and so on; payloads look like
    /// {"job":17,"state":"running","progress":40}. Goes on until Ctrl-C, which is then a normal end (exit code 0),
    /// unless --count or --duration ends it.
    Simulate {
        /// Events per second in all, 0.001 to 1000000.
        #[arg(long, env = "POSTERN_RATE", value_name = "EVENTS", default_value = "10", value_parser = rate)]
        rate: f64,
        /// How many jobs are going on at once, 1 to 1000000.
        #[arg(long, env = "POSTERN_JOBS", value_name = "JOBS", default_value_t = 10)]
        #[arg(value_parser = value_parser!(u32).range(1..=1_000_000))]
        jobs: u32,
        /// End after this many events.
        #[arg(long, env = "POSTERN_COUNT", value_name = "EVENTS")]
        count: Option<u64>,
        /// End after this time, for example 90s or 10m.
        #[arg(long, env = "POSTERN_DURATION", value_name = "TIME", value_parser = positive_duration)]
        duration: Option<Duration>,
        /// What stands before the job's number in the topic, at most 200 bytes.
        #[arg(long, env = "POSTERN_PREFIX", value_name = "TOPIC", default_value = "jobs", value_parser = prefix)]
        prefix: Topic,
        /// Equal numbers make equal runs [default: a random one].
        #[arg(long, env = "POSTERN_SEED", value_name = "NUMBER")]
        seed: Option<u64>,
    },
}

/// Reads the command line and the environment of this process.
pub(crate) fn parse() -> Result<Options, clap::Error> {
    Cli::try_parse().and_then(Options::try_from)
}

impl TryFrom<Cli> for Options {
    type Error = clap::Error;

    fn try_from(cli: Cli) -> Result<Self, Self::Error> {
        let Common { amqp_url, in_flight, timeout, quiet, log } = cli.common;
        let url: AmqpUrl = amqp_url.parse().map_err(|error| {
            let message = format!("--amqp-url, or AMQP_URL in the environment: {error}");
            Cli::command().error(ErrorKind::ValueValidation, message)
        })?;
        let sender = sender::Options { in_flight: in_flight.into(), timeout };
        Ok(Self { command: cli.command.into(), url, sender, quiet, log })
    }
}

impl From<Subcommands> for Command {
    fn from(command: Subcommands) -> Self {
        match command {
            Subcommands::Emit { topic, data, file, content_type, repeat_of } => {
                let payload = match (file, data) {
                    (Some(path), _) => emit::Payload::File(path),
                    (None, Some(data)) if data != "-" => emit::Payload::Argument(data),
                    (None, _) => emit::Payload::StandardInput,
                };
                Self::Emit(emit::Options { topic, payload, content_type, repeat_of })
            }
            Subcommands::Pipe { topic, topic_from, content_type, max_line } => {
                let field = || topic_from.unwrap_or_default().split('.').map(str::to_owned).collect();
                let topic = topic.map_or_else(|| pipe::TopicOf::Field(field()), pipe::TopicOf::All);
                Self::Pipe(pipe::Options { topic, content_type, max_line })
            }
            Subcommands::Simulate { rate, jobs, count, duration, prefix, seed } => {
                let seed = seed.unwrap_or_else(rand::random);
                Self::Simulate(simulate::Options { rate, jobs, count, duration, prefix, seed })
            }
        }
    }
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("it must be longer than nothing".to_owned()),
        Ok(duration) if duration > Duration::from_hours(366 * 24) => Err("it is longer than a year".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("it is no time with a unit, such as 500ms, 30s or 10m".to_owned()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    if (0.001..=1e6).contains(&rate) { Ok(rate) } else { Err("it is not within 0.001 to 1000000".to_owned()) }
}

fn prefix(text: &str) -> Result<Topic, String> {
    if text.len() > simulate::MAX_PREFIX {
        return Err(format!("it has more than {} bytes", simulate::MAX_PREFIX));
    }
    text.parse().map_err(|error: events::TopicError| error.to_string())
}

fn byte_size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: usize = match &text[digits.len()..] {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return Err("the unit is none of B, KiB, MiB".to_owned()),
    };
    match digits.parse::<usize>().ok().and_then(|number| number.checked_mul(factor)) {
        // RabbitMQ takes at most 512 MiB in one message, whatever it is told.
        Some(size) if (1..=512 << 20).contains(&size) => Ok(size),
        _ => Err("it is no size from 1 to 512MiB, such as 65536 or 8MiB".to_owned()),
    }
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;

//! Flags and environment: the only file that knows their names.
//!
//! Everything is checked here, so that wrong usage ends the process (exit code 64) before anything is read or sent.

mod broker_tls;
mod values;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{
    ArgGroup, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
    builder::{EnumValueParser, PathBufValueParser, StringValueParser},
    error::ErrorKind,
    parser::ValueSource,
};
use events::{ContentType, EventId, Topic};
use settings::{Setting, boolean, byte_size, open_to_others, unknown_variables, whole_number};

use self::{
    broker_tls::BrokerTls,
    values::{file_type, positive_duration, prefix, rate},
};
use crate::{
    destination::{Destination, Files, Given},
    emit, pipe,
    publish::Command,
    sender, simulate, source, watch,
};

/// Everything that the command line says.
pub(crate) struct Options {
    pub(crate) command: Command,
    pub(crate) destination: Destination,
    pub(crate) sender: sender::Options,
    pub(crate) quiet: bool,
    pub(crate) log: String,
    /// Variables that no setting has, with what they may be meant for.
    pub(crate) unknown: Vec<String>,
    /// What is wrong with the file of the broker's URL, though it can be read.
    pub(crate) open_file: Option<String>,
}

/// Longer than any outage: a hundred years.
const NO_TIMEOUT: Duration = Duration::from_hours(100 * 366 * 24);

/// RabbitMQ takes at most 512 MiB in one message, with any setting.
const MAX_LINE: u64 = 512 << 20;

/// The variables of the gateway, which often stand in the same file of settings.
const OF_THE_GATEWAY: &[&str] = &[
    "POSTERN_ADMIN_LISTEN",
    "POSTERN_ALLOW_ANONYMOUS",
    "POSTERN_ALLOW_ORIGIN",
    "POSTERN_ANONYMOUS_MAILBOXES",
    "POSTERN_ANONYMOUS_PUBLISH",
    "POSTERN_ANONYMOUS_READ",
    "POSTERN_CONFIRM_DEADLINE",
    "POSTERN_DATA_DIR",
    "POSTERN_FAILURE_RATE",
    "POSTERN_FEED_CACHE",
    "POSTERN_FEED_INDEX",
    "POSTERN_FEED_REPLICAS",
    "POSTERN_FEED_TOPICS",
    "POSTERN_FEED_WINDOW",
    "POSTERN_FEED_WINDOW_AGE",
    "POSTERN_HEADER_TIMEOUT",
    "POSTERN_HOST",
    "POSTERN_IDLE_TIMEOUT",
    "POSTERN_JWKS_URL",
    "POSTERN_LINGER",
    "POSTERN_LISTEN",
    "POSTERN_LOG_FORMAT",
    "POSTERN_MAILBOX_BURST",
    "POSTERN_MAILBOX_EXPIRY",
    "POSTERN_MAILBOX_RATE",
    "POSTERN_MAX_BODY",
    "POSTERN_MAX_CONNECTIONS",
    "POSTERN_MAX_CONNECTIONS_PER_PEER",
    "POSTERN_MAX_KEPT_MAILBOXES",
    "POSTERN_MAX_MAILBOXES",
    "POSTERN_MAX_MEMORY",
    "POSTERN_MAX_POLLS_PER_PEER",
    "POSTERN_MAX_POLLS_PER_TOKEN",
    "POSTERN_MAX_STREAMS",
    "POSTERN_MAX_TRANSIT",
    "POSTERN_MEMORY",
    "POSTERN_PUBLISH_BURST",
    "POSTERN_PUBLISH_RATE",
    "POSTERN_RETENTION_AGE",
    "POSTERN_RETENTION_BYTES",
    "POSTERN_SHUTDOWN_DELAY",
    "POSTERN_SHUTDOWN_GRACE",
    "POSTERN_THREADS",
    "POSTERN_TLS_CERT",
    "POSTERN_TLS_KEY",
    "POSTERN_TOKEN_AUDIENCE",
    "POSTERN_TOKEN_CLAIM",
    "POSTERN_TOKEN_COOKIE",
    "POSTERN_TOKEN_ISSUER",
    "POSTERN_TOKEN_KEY",
    "POSTERN_TOKEN_LIFETIME",
    "POSTERN_TOKEN_SECRET_FILE",
    "POSTERN_TRUSTED_PROXY",
    "POSTERN_UNCONFIRMED_MAILBOX_EXPIRY",
    "POSTERN_WINDOW",
];

const EXAMPLES: &str = "\
Examples:
  publisher emit jobs.42.status '{\"state\":\"passed\"}'
  publisher emit reports.daily --file a.pdf --content-type application/pdf
  tail -F build.ndjson | publisher pipe jobs.42.log
  publisher pipe --topic-from meta.topic < events.ndjson
  publisher watch /etc/app/config.json config.app
  publisher simulate --rate 50 --jobs 20
  publisher emit jobs.42.status 1 --amqp-url-file /run/secrets/amqp-url

Exit codes:
  0    everything was confirmed: stored for all subscribers
  1    something was not confirmed; standard error lists what and why
  64   wrong flags or environment
  69   neither gateway nor broker was there; nothing was published
  130  ended by SIGINT before everything was published (143: by SIGTERM)

An event that is not confirmed is sent again under the same id, in order, until
--timeout. So no event is lost, and readers can tell: repeats are marked.

Over HTTP, several requests at once could overtake one another. So pipe and
simulate send batches: what comes while one is on its way goes with the next. An
older gateway gets line after line, or with --order topic 64 topics side by side.
Over AMQP, --in-flight events are on their way at any time, always in order.";

/// Publishes events to Postern, through a gateway or through the broker, and makes sure that each of them is stored.
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
#[command(next_help_heading = "Destination and output")]
struct Common {
    // Texts: clap repeats a wrong value in its error, and these may hold a password.
    /// Publish over HTTP to this gateway: http[s]://[user:password@]host[:port][/prefix] [default: port 8080 of this
    /// machine].
    #[arg(long, global = true, env = "POSTERN_GATEWAY", value_name = "URL", hide_env_values = true)]
    #[arg(value_parser = Setting(StringValueParser::new()))]
    gateway: Option<String>,

    /// A file whose one line is the token by which the gateway knows who publishes. Read again when the gateway refuses
    /// the token. Only over https, or on this machine.
    #[arg(long, global = true, env = "POSTERN_TOKEN_FILE", value_name = "FILE")]
    #[arg(value_parser = Setting(PathBufValueParser::new()))]
    token_file: Option<PathBuf>,

    /// Trust the authorities in this file (PEM), and no others, to say who the gateway is [default: those that this
    /// system trusts].
    #[arg(long, global = true, env = "POSTERN_TLS_CA", value_name = "FILE")]
    #[arg(value_parser = Setting(PathBufValueParser::new()))]
    tls_ca: Option<PathBuf>,

    /// Publish over AMQP to this broker: amqp[s]://user:password@host:port/vhost. Repeatable, or separated by spaces, for
    /// the nodes of a cluster: any of them will do. A command line is seen in the list of processes (ps), so give a
    /// password by the variable or by --amqp-url-file.
    #[arg(long, global = true, env = "AMQP_URL", value_name = "URL", hide_env_values = true)]
    #[arg(value_parser = Setting(StringValueParser::new()))]
    amqp_url: Vec<String>,

    /// Publish over AMQP to the broker whose URL is in this file, or several, separated by spaces or line ends.
    #[arg(long, global = true, env = "AMQP_URL_FILE", value_name = "FILE")]
    #[arg(value_parser = Setting(StringValueParser::new()))]
    amqp_url_file: Option<String>,

    #[command(flatten)]
    broker_tls: BrokerTls,

    /// How many events may be taken from the input and not confirmed, 1 to 65535.
    #[arg(long, global = true, env = "POSTERN_IN_FLIGHT", value_name = "EVENTS", default_value_t = 256)]
    #[arg(value_parser = Setting(whole_number(1..=u16::MAX)))]
    in_flight: u16,

    /// How long to keep trying without any confirm before giving up, also for the first connection; watch goes on for
    /// ever unless this is given.
    #[arg(long, global = true, env = "POSTERN_TIMEOUT", value_name = "TIME", default_value = "30s")]
    #[arg(value_parser = Setting(positive_duration))]
    timeout: Duration,

    /// Write nothing but results and errors.
    #[arg(long, short, global = true, env = "POSTERN_QUIET", value_parser = Setting(boolean))]
    quiet: bool,

    /// What to log to standard error, for example "debug" or "lapin=debug".
    #[arg(long, global = true, env = "POSTERN_LOG", value_name = "FILTER", default_value = "off")]
    #[arg(value_parser = Setting(StringValueParser::new()))]
    log: String,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Publish one event and print its id.
    ///
    /// The id goes to standard output once the event is confirmed. An event without subscribers is confirmed
    /// all the same.
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
    ///
    /// Readers get the lines in order, over all topics.
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
        /// The longest line: 65536, 500kB, 8MiB; a longer one is reported and not sent.
        #[arg(long, env = "POSTERN_MAX_LINE", value_name = "SIZE", default_value = "8MiB")]
        #[arg(value_parser = Setting(byte_size::<usize>(1..=MAX_LINE)))]
        max_line: usize,
        /// Which lines have to stay in order. All of them do in any case over AMQP, and to a gateway that takes batches.
        #[arg(long, env = "POSTERN_ORDER", value_name = "ORDER", value_enum, default_value_t = Order::Input)]
        #[arg(value_parser = Setting(EnumValueParser::<Order>::new()))]
        order: Order,
    },
    /// Publish a file now and whenever its content changes.
    ///
    /// The topic's newest event is the file's content: it is published at the start and then when it is another than
    /// before, by hash, and has held still for --debounce; a file that is still open for writing is waited for (on
    /// Linux, until nothing was written for 10 s). So a half-written file is never published, nor is one that was
    /// written again with the same content. Renaming over the file, turning a link on the way to it, deleting it and
    /// making it again are all seen. That it is gone is an event too: an empty one of the type
    /// application/vnd.postern.deleted.
    ///
    /// The file's name says what it holds: .json (content that is not JSON is not published), .yaml, .toml, .txt and
    /// the like are text; else it is JSON if it parses, text if it is UTF-8, or bytes.
    ///
    /// Goes on until Ctrl-C or SIGTERM, which is a normal end (exit code 0 if everything was confirmed). While events
    /// cannot be stored it tries again; when they can, the newest content is sent, and older content that was never
    /// sent is left out.
    Watch {
        /// The file; it need not be there yet, its folder must.
        file: PathBuf,
        /// The topic of its events.
        topic: Topic,
        /// How long the content must hold still before it is published.
        #[arg(long, env = "POSTERN_DEBOUNCE", value_name = "TIME", default_value = "200ms")]
        #[arg(value_parser = Setting(positive_duration))]
        debounce: Duration,
        /// How often to look without being told of a change, for file systems that do not tell.
        #[arg(long, env = "POSTERN_RECHECK", value_name = "TIME", default_value = "5s")]
        #[arg(value_parser = Setting(positive_duration))]
        recheck: Duration,
        /// Say what the content is [default: as its name says].
        #[arg(long, value_name = "TYPE", value_parser = file_type)]
        content_type: Option<ContentType>,
    },
    /// Publish status events of made-up jobs: queued, running with progress, passed or failed.
    ///
    /// Topics are jobs.1.status, jobs.2.status and so on; payloads look like
    /// {"job":17,"state":"running","progress":40}. Goes on until Ctrl-C, which is then a normal end (exit code 0),
    /// unless --count or --duration ends it.
    Simulate {
        /// Events per second in all, 0.001 to 1000000.
        #[arg(long, env = "POSTERN_RATE", value_name = "EVENTS", default_value = "10", value_parser = Setting(rate))]
        rate: f64,
        /// How many jobs are going on at once, 1 to 1000000.
        #[arg(long, env = "POSTERN_JOBS", value_name = "JOBS", default_value_t = 10)]
        #[arg(value_parser = Setting(whole_number(1..=1_000_000_u32)))]
        jobs: u32,
        /// End after this many events.
        #[arg(long, env = "POSTERN_COUNT", value_name = "EVENTS", value_parser = Setting(whole_number(0..=u64::MAX)))]
        count: Option<u64>,
        /// End after this time, for example 90s or 10m.
        #[arg(long, env = "POSTERN_DURATION", value_name = "TIME", value_parser = Setting(positive_duration))]
        duration: Option<Duration>,
        /// What stands before the job's number in the topic, at most 200 bytes.
        #[arg(long, env = "POSTERN_PREFIX", value_name = "TOPIC", default_value = "jobs", value_parser = Setting(prefix))]
        prefix: Topic,
        /// Equal numbers make equal runs [default: a random one].
        #[arg(long, env = "POSTERN_SEED", value_name = "NUMBER", value_parser = Setting(whole_number(0..=u64::MAX)))]
        seed: Option<u64>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Order {
    /// All lines; over HTTP one at a time.
    Input,
    /// Those of each topic; over HTTP up to 64 topics at a time.
    Topic,
}

/// Reads the command line and the environment of this process.
pub(crate) fn parse() -> Result<Options, clap::Error> {
    read(std::env::args_os())
}

fn read(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Options, clap::Error> {
    let matches = settings::matches(Cli::command(), arguments)?;
    let Cli { command, common } = Cli::from_arg_matches(&matches)?;
    let Common { gateway, token_file, tls_ca, amqp_url, amqp_url_file, broker_tls, in_flight, timeout, quiet, log } =
        common;
    let urls = (!amqp_url.is_empty()).then(|| amqp_url.join(" "));
    let amqp_url = given(&matches, "amqp_url", urls);
    let files = Files { broker: broker_tls.files(), ca: tls_ca.as_deref(), token: token_file.as_deref() };
    let open_file = amqp_url_file.as_ref().and_then(|path| open_to_others(path.as_ref()));
    let destination = amqp_url
        .or_file(given(&matches, "amqp_url_file", amqp_url_file))
        .and_then(|amqp_url| Destination::choose(&amqp_url, &given(&matches, "gateway", gateway), &files))
        .map_err(|message| Cli::command().error(ErrorKind::ValueValidation, message))?;
    // A watcher outlasts the gateway or broker that it publishes to.
    let is_default = matches.value_source("timeout") == Some(ValueSource::DefaultValue);
    let timeout = if is_default && matches!(command, Subcommands::Watch { .. }) { NO_TIMEOUT } else { timeout };
    let sender = sender::Options { in_flight: in_flight.into(), timeout };
    let unknown = unknown_variables(&Cli::command(), OF_THE_GATEWAY);
    Ok(Options { command: command.into(), destination, sender, quiet, log, unknown, open_file })
}

fn given(matches: &ArgMatches, name: &str, value: Option<String>) -> Given {
    match (value, matches.value_source(name)) {
        (Some(text), Some(ValueSource::EnvVariable)) => Given::Environment(text),
        (Some(text), Some(ValueSource::CommandLine)) => Given::Flag(text),
        _ => Given::Unset,
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
            Subcommands::Pipe { topic, topic_from, content_type, max_line, order } => {
                let field = || topic_from.unwrap_or_default().split('.').map(str::to_owned).collect();
                let topic = topic.map_or_else(|| pipe::TopicOf::Field(field()), pipe::TopicOf::All);
                let order = match order {
                    Order::Input => source::Order::Source,
                    Order::Topic => source::Order::Topic,
                };
                Self::Pipe(pipe::Options { topic, content_type, max_line, order })
            }
            Subcommands::Watch { file, topic, debounce, recheck, content_type } => {
                Self::Watch(watch::Options { file, topic, content_type, debounce, recheck })
            }
            Subcommands::Simulate { rate, jobs, count, duration, prefix, seed } => {
                let seed = seed.unwrap_or_else(rand::random);
                Self::Simulate(simulate::Options { rate, jobs, count, duration, prefix, seed })
            }
        }
    }
}

#[cfg(test)]
mod tests;

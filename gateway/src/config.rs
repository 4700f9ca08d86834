//! Flags and environment: the only place that knows their names.
//!
//! Every setting can also be given as `POSTERN_` and its name in capitals; only the broker's URL is `AMQP_URL`, as
//! everywhere.

mod admin;
mod feed_topics;
mod hosts;
mod kept_mailboxes;
mod limits;
mod listen;
mod options;
mod rabbitmq;
mod tls;
mod tokens;
mod values;

use std::{ffi::OsString, path::PathBuf, process::ExitCode, time::Duration};

use clap::{
    CommandFactory, FromArgMatches, Parser,
    builder::{EnumValueParser, PathBufValueParser, StringValueParser},
};
use settings::{Setting, boolean, byte_size, whole_number};

use self::{
    admin::AdminArgs,
    feed_topics::FeedTopic,
    hosts::Hosts,
    kept_mailboxes::MailboxesKept,
    limits::LimitArgs,
    listen::{Listen, listen},
    rabbitmq::RabbitMqArgs,
    tls::TlsArgs,
    tokens::TokenArgs,
    values::{MAX_NUMBER, cache_time, duration, positive_duration},
};
pub use self::{
    listen::PassedSocketError,
    options::{BrokerSettings, ConfigError, Settings},
    rabbitmq::RabbitMqConfigError,
    tokens::AccessConfigError,
};
use crate::{http::Origin, telemetry::LogFormat};

/// Exit code for a wrong command line or environment (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;

/// Beyond this a number of threads is a slip: each waits for a core, and takes memory.
const MAX_THREADS: usize = 1024;

/// More than the nodes of any cluster.
const MAX_REPLICAS: u8 = 255;

/// Beyond this a size is a slip: 4 EiB, half of what RabbitMQ can be told.
const MAX_SIZE: u64 = 1 << 62;

const DEFAULT_DATA_DIR: &str = "./postern-data";

const EXAMPLES: &str = "\
Examples:
  gateway                 keeps events in ./postern-data and needs nothing else
  AMQP_URL=amqp://guest:guest@127.0.0.1:5672/%2f gateway
  gateway --amqp-url-file /run/amqp --listen 0.0.0.0:8080 --token-key keys.pem

Then open http://127.0.0.1:8080/, or in another terminal:
  curl 'http://127.0.0.1:8080/clients/alice/events?topics=jobs.%23&wait=30'
  publisher emit jobs.1.status '{\"state\":\"running\"}'

Durations are written 500ms, 15s, 5m, 24h; sizes 65536 (bytes), 500kB, 64MiB.
A variable that is empty counts as one that is not set.

Exit codes: 0 after SIGTERM or SIGINT, 64 for a wrong configuration, else 1.";

#[allow(
    clippy::doc_markdown,
    rustdoc::bare_urls,
    rustdoc::broken_intra_doc_links,
    reason = "these are the texts of --help, which is not Markdown"
)]
/// Holds HTTP long-polls of web clients and answers them from a message broker. An event leaves the broker only when
/// its client has said that it saw it.
#[derive(Debug, Parser)]
#[command(name = "gateway", version, after_help = EXAMPLES, max_term_width = 120)]
pub struct Config {
    #[command(flatten)]
    rabbitmq: RabbitMqArgs,

    /// Without RabbitMQ: the folder that events are kept in. One gateway at a time can use it [default: ./postern-data]
    #[arg(long, env = "POSTERN_DATA_DIR", value_name = "FOLDER", help_heading = "Broker",
          value_parser = Setting(PathBufValueParser::new()))]
    data_dir: Option<PathBuf>,

    /// Without RabbitMQ: keep events in memory only. A restart loses all of them
    #[arg(long, env = "POSTERN_MEMORY", value_parser = Setting(boolean), help_heading = "Broker")]
    memory: bool,

    /// How long events are kept, confirmed or not; on RabbitMQ only those of feeds. A client that comes too late is
    /// told with "reset"
    #[arg(long, env = "POSTERN_RETENTION_AGE", value_name = "DURATION", default_value = "7days",
          value_parser = Setting(positive_duration), help_heading = "Broker")]
    retention_age: Duration,

    /// How much is kept, all events together, the oldest going first; on RabbitMQ only of feeds. Without RabbitMQ an
    /// event counts as its payload and 128 bytes
    #[arg(long, env = "POSTERN_RETENTION_BYTES", value_name = "SIZE", default_value = "1GiB",
          value_parser = Setting(byte_size::<u64>(1..=MAX_SIZE)), help_heading = "Broker")]
    retention_bytes: u64,

    #[command(flatten)]
    kept: MailboxesKept,

    /// Where to listen: 127.0.0.1:8080, [::1]:8080, localhost:8080, 0.0.0.0:8080 (all addresses), 8080 (loopback),
    /// unix:/run/postern/gateway.sock (a socket file), systemd:NAME (sockets of that name that systemd passes) or systemd
    /// (the others of them). Port 0 takes a free one. Repeatable, or separated by commas
    #[arg(long, env = "POSTERN_LISTEN", value_name = "ADDRESS", value_delimiter = ',',
          default_value = "127.0.0.1:8080", value_parser = Setting(listen), help_heading = "HTTP")]
    listen: Vec<Listen>,

    /// A request without a token may do everything: use any mailbox whose id it knows, read and publish all topics. That
    /// is the default where only this machine can connect
    #[arg(long, env = "POSTERN_ALLOW_ANONYMOUS", value_parser = Setting(boolean), help_heading = "HTTP")]
    allow_anonymous: bool,

    #[command(flatten)]
    tokens: TokenArgs,

    #[command(flatten)]
    hosts: Hosts,

    #[command(flatten)]
    admin: AdminArgs,

    #[command(flatten)]
    tls: TlsArgs,

    #[command(flatten)]
    limits: LimitArgs,

    /// A web origin whose pages may use the gateway, also with cookies, e.g. https://app.example; or * for any, without
    /// cookies. Repeatable, or separated by commas
    #[arg(long, env = "POSTERN_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',',
          value_parser = Setting(str::parse::<Origin>), help_heading = "HTTP")]
    allow_origin: Vec<Origin>,

    /// Maximum of client connections at once; on a few more, polls get 503 and everything else is served
    #[arg(long, env = "POSTERN_MAX_CONNECTIONS", value_name = "N", default_value_t = 10_000,
          value_parser = Setting(whole_number(1..=MAX_NUMBER)), help_heading = "HTTP")]
    max_connections: usize,

    /// Maximum size of a published event, or of a batch of events; more gets 413
    #[arg(long, env = "POSTERN_MAX_BODY", value_name = "SIZE", default_value = "1MiB",
          value_parser = Setting(byte_size::<usize>(0..=MAX_SIZE)), help_heading = "HTTP")]
    max_body: usize,

    /// How much of published events may be on its way in, and as much of answers on its way out to clients that take
    /// them slowly; more get 503
    #[arg(long, env = "POSTERN_MAX_TRANSIT", value_name = "SIZE", default_value = "256MiB",
          value_parser = Setting(byte_size::<usize>(1..=MAX_SIZE)), help_heading = "HTTP")]
    max_transit: usize,

    /// How long a client may take for the head of a request (three times as long for a body)
    #[arg(long, env = "POSTERN_HEADER_TIMEOUT", value_name = "DURATION", default_value = "20s",
          value_parser = Setting(positive_duration), help_heading = "HTTP")]
    header_timeout: Duration,

    /// How long a connection is kept on which nothing is asked; above the idle time of the load balancer in front,
    /// which could otherwise use it in the moment that it ends
    #[arg(long, env = "POSTERN_IDLE_TIMEOUT", value_name = "DURATION", default_value = "75s",
          value_parser = Setting(positive_duration), help_heading = "HTTP")]
    idle_timeout: Duration,

    /// How long everything is still served after the gateway is told to stop, while /ready says 503: the time in which
    /// a load balancer that asks /ready leaves it
    #[arg(long, env = "POSTERN_SHUTDOWN_DELAY", value_name = "DURATION", default_value = "0s",
          value_parser = Setting(duration), help_heading = "HTTP")]
    shutdown_delay: Duration,

    /// How long open requests may take once the gateway stops, but at least 1 ms for each mailbox that is read
    #[arg(long, env = "POSTERN_SHUTDOWN_GRACE", value_name = "DURATION", default_value = "10s",
          value_parser = Setting(duration), help_heading = "HTTP")]
    shutdown_grace: Duration,

    /// How long a mailbox stays reserved for its client between two polls
    #[arg(long, env = "POSTERN_LINGER", value_name = "DURATION", default_value = "15s",
          value_parser = Setting(duration), help_heading = "Mailboxes")]
    linger: Duration,

    /// How long an event may stay unconfirmed before it goes back to the broker; far below the broker's own 30m
    #[arg(long, env = "POSTERN_CONFIRM_DEADLINE", value_name = "DURATION", default_value = "5m",
          value_parser = Setting(positive_duration), help_heading = "Mailboxes")]
    confirm_deadline: Duration,

    /// Maximum of unconfirmed events of one client (AMQP prefetch), 1 to 65535
    #[arg(long, env = "POSTERN_WINDOW", value_name = "N", default_value_t = 64,
          value_parser = Setting(whole_number(1..=u16::MAX)), help_heading = "Mailboxes")]
    window: u16,

    /// Maximum of mailboxes that are read at once; more get 503
    #[arg(long, env = "POSTERN_MAX_MAILBOXES", value_name = "N", default_value_t = 10_000,
          value_parser = Setting(whole_number(1..=MAX_NUMBER)), help_heading = "Mailboxes")]
    max_mailboxes: usize,

    /// How much payload all unconfirmed events together should hold; near it, mailboxes get a smaller window
    #[arg(long, env = "POSTERN_MAX_MEMORY", value_name = "SIZE", default_value = "1GiB",
          value_parser = Setting(byte_size::<usize>(0..=MAX_SIZE)), help_heading = "Mailboxes")]
    max_memory: usize,

    /// A topic or pattern whose events can be followed as feeds; none for no feeds. Repeatable, or separated by commas.
    /// RabbitMQ keeps only those in its stream
    #[arg(long, env = "POSTERN_FEED_TOPICS", value_name = "TOPIC", value_delimiter = ',', default_value = "#",
          value_parser = Setting(str::parse::<FeedTopic>), help_heading = "Feeds")]
    feed_topics: Vec<FeedTopic>,

    /// On how many nodes of a RabbitMQ cluster a new stream is kept: with 3, any one may be lost. By default on all that
    /// the cluster has at that time
    #[arg(long, env = "POSTERN_FEED_REPLICAS", value_name = "N", value_parser = Setting(whole_number(1..=MAX_REPLICAS)),
          help_heading = "Feeds")]
    feed_replicas: Option<u8>,

    /// Of how many topics the newest event is known at once. Those of topics that were quiet for longer are looked up
    /// in the log. A topic takes about 250 bytes of memory, and one of more than 64 bytes counts as several
    #[arg(long, env = "POSTERN_FEED_INDEX", value_name = "N", default_value_t = 100_000,
          value_parser = Setting(whole_number(1..=MAX_NUMBER)), help_heading = "Feeds")]
    feed_index: usize,

    /// How much memory the newest events of feeds may take; clients that lag further read the log
    #[arg(long, env = "POSTERN_FEED_WINDOW", value_name = "SIZE", default_value = "64MiB",
          value_parser = Setting(byte_size::<usize>(0..=MAX_SIZE)), help_heading = "Feeds")]
    feed_window: usize,

    /// How long the newest events are kept in memory
    #[arg(long, env = "POSTERN_FEED_WINDOW_AGE", value_name = "DURATION", default_value = "1h",
          value_parser = Setting(duration), help_heading = "Feeds")]
    feed_window_age: Duration,

    /// How long an HTTP cache that many clients share may keep an answer of a feed, e.g. 60s: then it asks once for all of
    /// them. Only answers to polls without credentials; not for a gateway whose proxy checks who asks and does not pass that
    /// on, unless the cache is behind the check. By default none may be kept
    #[arg(long, env = "POSTERN_FEED_CACHE", value_name = "DURATION", value_parser = Setting(cache_time),
          help_heading = "Feeds")]
    feed_cache: Option<Duration>,

    /// How many threads serve clients. By default one for every two cores: the broker, or the load balancer in front,
    /// needs the other; on one thread nothing has to be handed from core to core
    #[arg(long, env = "POSTERN_THREADS", value_name = "N", value_parser = Setting(whole_number(1..=MAX_THREADS)),
          help_heading = "Process")]
    pub threads: Option<usize>,

    /// What to log: a level (error, warn, info, debug, trace) or directives such as info,mailboxes=debug. The directive
    /// postern::access=info adds a line for each request
    #[arg(long, env = "POSTERN_LOG", value_name = "FILTER", default_value = "info,lapin=off",
          value_parser = Setting(StringValueParser::new()), help_heading = "Logs")]
    pub log: String,

    /// How to write logs
    #[arg(long, env = "POSTERN_LOG_FORMAT", value_name = "FORMAT", default_value_t = LogFormat::Auto, value_enum,
          value_parser = Setting(EnumValueParser::<LogFormat>::new()), help_heading = "Logs")]
    pub log_format: LogFormat,

    /// Do not serve: ask this URL and exit with 0 if it answers 200, e.g. http://127.0.0.1:8080/ready. Only in the clear:
    /// with TLS, ask the address of --admin-listen
    #[arg(long, value_name = "URL", help_heading = "Health")]
    pub check: Option<String>,
}

impl Config {
    /// Reads flags and environment. What is wrong is printed, and so are `--help` and `--version`; then there is only a
    /// code to exit with.
    pub fn read() -> Result<Self, ExitCode> {
        Self::parsed(std::env::args_os()).map_err(|error| {
            // Nothing is left to be done if standard error is closed.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { EXIT_USAGE } else { 0 })
        })
    }

    fn parsed(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Self, clap::Error> {
        let matches = settings::matches(Self::command(), arguments)?;
        let mut config = Self::from_arg_matches(&matches)?;
        config.rabbitmq.settle(&matches);
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Config::command().debug_assert();
    }

    #[test]
    fn the_page_of_settings_has_every_flag() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/configuration.md");
        let is_update = std::env::var_os("UPDATE_DOCS").is_some();
        let tables = settings::tables::tables(&Config::command());
        settings::tables::compare(&page, "gateway", &tables, is_update).unwrap();
    }

    #[test]
    fn wrong_values_are_refused_by_the_parser() {
        for wrong in [
            ["--window", "0"],
            ["--window", "65536"],
            ["--linger", "15"],
            ["--max-connections", "0"],
            ["--threads", "100000"],
            ["--listen", "localhost"],
            ["--host", "push.example:443"],
            ["--host", "*.example"],
            ["--trusted-proxy", "proxy.example"],
            ["--publish-burst", "0"],
            ["--mailbox-rate", "-1"],
            ["--max-body", "-1"],
            ["--retention-bytes", "0"],
            ["--max-memory", "99999999999 EiB"],
            ["--feed-cache", "0s"],
            ["--feed-cache", "1500ms"],
            ["--feed-cache", "2h"],
        ] {
            let error = Config::parsed([&["gateway"], &wrong[..]].concat()).unwrap_err();
            assert_eq!(error.kind(), clap::error::ErrorKind::ValueValidation, "{wrong:?}: {error}");
        }
    }
}

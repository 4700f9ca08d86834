//! Flags and environment: the one file that knows their names.
//!
//! Every setting can also be given as `POSTERN_` and its name in capitals; only the broker's URL is `AMQP_URL`, as everywhere.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, builder::FalseyValueParser};
use events::{TopicPattern, amqp::AmqpUrlError};

use crate::{
    broker::{
        amqp::{AmqpOptions, FeedRetention},
        embedded::{EmbeddedOptions, Retention},
    },
    feed::{FeedOptions, WindowLimits},
    http::{AllowedOrigins, HttpOptions, Origin},
    mailbox::MailboxOptions,
    telemetry::LogFormat,
};

/// Exit code for a wrong command line or environment (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;

/// Beyond this a number is a slip: no machine has so many connections.
const MOST: usize = 1_000_000_000;

/// Beyond this a duration is a slip, and added to a clock's time it could overflow.
const LONGEST: Duration = Duration::from_hours(366 * 24);

const EXAMPLES: &str = "\
Examples:
  gateway                                          events in ./postern-data, nothing else needed
  AMQP_URL=amqp://guest:guest@127.0.0.1:5672/%2f gateway
  gateway --amqp-url amqps://user:password@broker.example/jobs --listen 0.0.0.0:8080 --allow-anonymous

Then open http://127.0.0.1:8080/, or in another terminal:
  curl 'http://127.0.0.1:8080/clients/alice/events?topics=jobs.%23&wait=30'
  publisher emit jobs.1.status '{\"state\":\"running\"}'

Durations are written 500ms, 15s, 5m, 24h; sizes in bytes. Exit codes: 0 after SIGTERM or SIGINT, 64 for a wrong configuration, 1 otherwise.";

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
    /// The RabbitMQ broker: amqp[s]://user:password@host:port/vhost. Without it the gateway keeps events itself
    #[arg(long, env = "AMQP_URL", value_name = "URL", hide_env_values = true, help_heading = "Broker")]
    amqp_url: Option<String>,

    /// Without RabbitMQ: the folder that events are kept in. One gateway at a time can use it
    #[arg(
        long,
        env = "POSTERN_DATA_DIR",
        value_name = "FOLDER",
        default_value = "./postern-data",
        help_heading = "Broker"
    )]
    data_dir: PathBuf,

    /// Without RabbitMQ: keep events in memory only. A restart loses all of them
    #[arg(long, env = "POSTERN_MEMORY", value_parser = FalseyValueParser::new(), help_heading = "Broker")]
    memory: bool,

    /// How long events are kept, confirmed or not; on RabbitMQ only those of feeds. A client that comes too late is told
    /// with "reset"
    #[arg(long, env = "POSTERN_RETENTION_AGE", value_name = "DURATION", default_value = "7days",
          value_parser = positive_duration, help_heading = "Broker")]
    retention_age: Duration,

    /// How much is kept, all events together, the oldest going first; on RabbitMQ only of feeds. Without RabbitMQ an event
    /// counts as its payload and 128 bytes
    #[arg(long, env = "POSTERN_RETENTION_BYTES", value_name = "BYTES", default_value_t = 1024 * 1024 * 1024,
          value_parser = clap::value_parser!(u64).range(1..), help_heading = "Broker")]
    retention_bytes: u64,

    /// How long the broker keeps a mailbox that nobody reads, ±10 %. Far above the longest absence of a client
    #[arg(long, env = "POSTERN_MAILBOX_EXPIRY", value_name = "DURATION", default_value = "24h",
          value_parser = positive_duration, help_heading = "Broker")]
    mailbox_expiry: Duration,

    /// Where to listen. Port 0 takes a free one
    #[arg(
        long,
        env = "POSTERN_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080",
        help_heading = "HTTP"
    )]
    listen: SocketAddr,

    /// Serve everybody who can reach a --listen address that is not loopback: there is no authentication
    #[arg(long, env = "POSTERN_ALLOW_ANONYMOUS", value_parser = FalseyValueParser::new(), help_heading = "HTTP")]
    allow_anonymous: bool,

    /// A web origin whose pages may use the gateway, e.g. https://app.example, or * for any. Repeatable
    #[arg(long, env = "POSTERN_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',', help_heading = "HTTP")]
    allow_origin: Vec<Origin>,

    /// Maximum of client connections at once; on a few more, polls get 503 and everything else is served
    #[arg(long, env = "POSTERN_MAX_CONNECTIONS", value_name = "N", default_value_t = 10_000,
          value_parser = at_least_one, help_heading = "HTTP")]
    max_connections: usize,

    /// Largest published event in bytes; more gets 413
    #[arg(long, env = "POSTERN_MAX_BODY", value_name = "BYTES", default_value_t = 1024 * 1024, help_heading = "HTTP")]
    max_body: usize,

    /// Bytes of published events that may be on their way in, and as many of answers on their way out to clients that take them
    /// slowly; more get 503
    #[arg(long, env = "POSTERN_MAX_TRANSIT", value_name = "BYTES", default_value_t = 256 * 1024 * 1024,
          help_heading = "HTTP")]
    max_transit: usize,

    /// How long a client may take for the head of a request (three times as long for a body)
    #[arg(long, env = "POSTERN_HEADER_TIMEOUT", value_name = "DURATION", default_value = "20s",
          value_parser = positive_duration, help_heading = "HTTP")]
    header_timeout: Duration,

    /// How long a connection is kept on which nothing is asked; above the idle time of the load balancer in front, which could
    /// otherwise use it in the moment that it ends
    #[arg(long, env = "POSTERN_IDLE_TIMEOUT", value_name = "DURATION", default_value = "75s",
          value_parser = positive_duration, help_heading = "HTTP")]
    idle_timeout: Duration,

    /// How long open requests may take once the gateway is told to stop
    #[arg(long, env = "POSTERN_SHUTDOWN_GRACE", value_name = "DURATION", default_value = "10s",
          value_parser = duration, help_heading = "HTTP")]
    shutdown_grace: Duration,

    /// How long a mailbox stays reserved for its client between two polls
    #[arg(long, env = "POSTERN_LINGER", value_name = "DURATION", default_value = "15s",
          value_parser = duration, help_heading = "Mailboxes")]
    linger: Duration,

    /// How long an event may stay unconfirmed before it goes back to the broker; far below the broker's own 30m
    #[arg(long, env = "POSTERN_CONFIRM_DEADLINE", value_name = "DURATION", default_value = "5m",
          value_parser = positive_duration, help_heading = "Mailboxes")]
    confirm_deadline: Duration,

    /// Most unconfirmed events of one client (AMQP prefetch), 1 to 65535
    #[arg(long, env = "POSTERN_WINDOW", value_name = "N", default_value_t = 64,
          value_parser = clap::value_parser!(u16).range(1..), help_heading = "Mailboxes")]
    window: u16,

    /// Most mailboxes read at once; more get 503
    #[arg(long, env = "POSTERN_MAX_MAILBOXES", value_name = "N", default_value_t = 10_000,
          value_parser = at_least_one, help_heading = "Mailboxes")]
    max_mailboxes: usize,

    /// Payload bytes that all unconfirmed events together should hold; near it, mailboxes get a smaller window
    #[arg(long, env = "POSTERN_MAX_MEMORY", value_name = "BYTES", default_value_t = 1024 * 1024 * 1024,
          help_heading = "Mailboxes")]
    max_memory: usize,

    /// A topic or pattern whose events can be followed as feeds. Repeatable. RabbitMQ keeps only those in its stream
    #[arg(
        long,
        env = "POSTERN_FEED_TOPICS",
        value_name = "TOPIC",
        value_delimiter = ',',
        default_value = "#",
        help_heading = "Feeds"
    )]
    feed_topics: Vec<TopicPattern>,

    /// Of how many topics the newest event is known at once. Those of topics that were quiet for longer are looked up in the
    /// log. A topic takes about 250 bytes of memory, and one of more than 64 bytes counts as several
    #[arg(long, env = "POSTERN_FEED_INDEX", value_name = "N", default_value_t = 100_000, value_parser = at_least_one,
          help_heading = "Feeds")]
    feed_index: usize,

    /// Payload bytes of the newest events that are kept in memory for feeds; clients that are further behind read the log
    #[arg(long, env = "POSTERN_FEED_WINDOW", value_name = "BYTES", default_value_t = 64 * 1024 * 1024,
          help_heading = "Feeds")]
    feed_window: usize,

    /// How long they are kept in memory
    #[arg(long, env = "POSTERN_FEED_WINDOW_AGE", value_name = "DURATION", default_value = "1h",
          value_parser = duration, help_heading = "Feeds")]
    feed_window_age: Duration,

    /// How many threads serve clients. By default one for every two cores: the broker, or the load balancer in front, needs the
    /// other; on one thread nothing has to be handed from core to core
    #[arg(long, env = "POSTERN_THREADS", value_name = "N", value_parser = at_least_one, help_heading = "Process")]
    pub threads: Option<usize>,

    /// What to log: a level (error, warn, info, debug, trace) or directives such as info,gateway::mailbox=debug. The directive
    /// postern::access=info adds a line for each request
    #[arg(long, env = "POSTERN_LOG", value_name = "FILTER", default_value = "info,lapin=off", help_heading = "Logs")]
    pub log: String,

    /// How to write logs; auto: for people on a terminal, JSON otherwise
    #[arg(long, env = "POSTERN_LOG_FORMAT", value_enum, value_name = "FORMAT", default_value_t = LogFormat::Auto,
          help_heading = "Logs")]
    pub log_format: LogFormat,

    /// Do not serve: ask this URL and exit with 0 if it answers 200, e.g. http://127.0.0.1:8080/ready
    #[arg(long, value_name = "URL", help_heading = "Health")]
    pub check: Option<String>,
}

/// Why a configuration that parses is wrong all the same.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Two brokers.
    #[error("--memory and a RabbitMQ URL (--amqp-url or AMQP_URL) are two brokers: give one of them")]
    TwoBrokers,
    /// The broker's URL is none. It is not left to the parser of flags, which would repeat its password.
    #[error("--amqp-url or AMQP_URL: {0}")]
    Url(#[from] AmqpUrlError),
    /// A listener that others can reach.
    #[error(
        "--listen {0} can be reached from other machines and there is no authentication: \
         listen on 127.0.0.1, or give --allow-anonymous"
    )]
    OpenToAll(SocketAddr),
}

/// What the parts of the gateway are told.
#[derive(Debug)]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Which broker, and how.
    pub broker: BrokerSettings,
    /// For mailboxes.
    pub mailboxes: MailboxOptions,
    /// For feeds.
    pub feeds: FeedOptions,
    /// For HTTP.
    pub http: HttpOptions,
}

/// Which broker to use.
#[derive(Debug)]
pub enum BrokerSettings {
    /// RabbitMQ.
    Amqp(AmqpOptions),
    /// The gateway's own.
    Embedded(EmbeddedOptions),
}

impl Config {
    /// Reads flags and environment. What is wrong is printed, and so are `--help` and `--version`; then there is only a code
    /// to exit with.
    pub fn read() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|error| {
            // Nobody is left to tell if standard error is closed.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { EXIT_USAGE } else { 0 })
        })
    }

    /// Checks what no single flag can know and sorts everything by its reader.
    pub fn settings(self) -> Result<Settings, ConfigError> {
        // An empty variable is how compose files say that there is none.
        let broker = match self.amqp_url.filter(|url| !url.is_empty()) {
            Some(_) if self.memory => return Err(ConfigError::TwoBrokers),
            Some(url) => BrokerSettings::Amqp(AmqpOptions {
                url: url.parse()?,
                name: format!("postern gateway {}", self.listen),
                mailbox_expiry: self.mailbox_expiry,
                max_leases: self.max_mailboxes,
                feed_topics: self.feed_topics,
                feed_retention: FeedRetention { age: self.retention_age, bytes: self.retention_bytes },
                feed_linger: self.linger,
            }),
            None => BrokerSettings::Embedded(EmbeddedOptions {
                data_dir: (!self.memory).then_some(self.data_dir),
                mailbox_expiry: self.mailbox_expiry,
                retention: Retention { age: self.retention_age, bytes: self.retention_bytes },
                feed_topics: self.feed_topics,
            }),
        };
        if !self.listen.ip().is_loopback() && !self.allow_anonymous {
            return Err(ConfigError::OpenToAll(self.listen));
        }
        Ok(Settings {
            listen: self.listen,
            broker,
            mailboxes: MailboxOptions {
                linger: self.linger,
                confirm_deadline: self.confirm_deadline,
                window: self.window,
                max_mailboxes: self.max_mailboxes,
                memory: self.max_memory,
            },
            feeds: FeedOptions {
                // What is in memory goes no later than what is stored.
                window: WindowLimits { bytes: self.feed_window, age: self.feed_window_age.min(self.retention_age) },
                topics: self.feed_index,
            },
            http: HttpOptions {
                max_connections: self.max_connections,
                max_body: self.max_body,
                max_transit: self.max_transit,
                header_timeout: self.header_timeout,
                idle_timeout: self.idle_timeout,
                shutdown_grace: self.shutdown_grace,
                allowed_origins: AllowedOrigins::new(self.allow_origin),
            },
        })
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=MOST).contains(&number) => Ok(number),
        _ => Err(format!("a whole number from 1 to {MOST}")),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration > LONGEST => Err("a duration of at most a year".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(error.to_string()),
    }
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text) {
        Ok(duration) if duration.is_zero() => Err("a duration above zero, e.g. 5s".to_owned()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn settings(flags: &[&str]) -> Result<Settings, ConfigError> {
        Config::parse_from([&["gateway"], flags].concat()).settings()
    }

    #[test]
    fn the_command_line_is_sound() {
        Config::command().debug_assert();
    }

    #[test]
    fn a_listener_that_others_can_reach_must_be_meant() {
        assert!(settings(&[]).is_ok());
        assert!(settings(&["--listen", "[::1]:0"]).is_ok());
        assert!(matches!(settings(&["--listen", "0.0.0.0:8080"]), Err(ConfigError::OpenToAll(_))));
        assert!(settings(&["--listen", "0.0.0.0:8080", "--allow-anonymous"]).is_ok());
    }

    #[test]
    fn a_url_chooses_the_broker() {
        let broker = |flags: &[&str]| settings(flags).map(|settings| settings.broker);
        assert!(matches!(broker(&["--amqp-url", "amqp://broker"]), Ok(BrokerSettings::Amqp(_))));
        assert!(matches!(broker(&["--amqp-url", "amqp://broker", "--memory"]), Err(ConfigError::TwoBrokers)));
        let folder = |flags: &[&str]| match broker(flags) {
            Ok(BrokerSettings::Embedded(options)) => options.data_dir,
            other => panic!("{other:?}"),
        };
        assert_eq!(folder(&[]), Some("./postern-data".into()));
        assert_eq!(folder(&["--amqp-url", "", "--data-dir", "/var/lib/postern"]), Some("/var/lib/postern".into()));
        assert_eq!(folder(&["--memory"]), None);
    }

    #[test]
    fn the_window_of_feeds_is_no_older_than_what_is_kept() {
        let age = |flags: &[&str]| settings(flags).unwrap().feeds.window.age;
        assert_eq!(age(&["--retention-age", "10m"]), Duration::from_mins(10));
        assert_eq!(age(&["--retention-age", "10m", "--feed-window-age", "1m"]), Duration::from_mins(1));
    }

    #[test]
    fn a_wrong_url_does_not_show_its_password() {
        let error = settings(&["--amqp-url", "amqp://alice:hunter2@broker:port/"]).unwrap_err();
        assert!(matches!(error, ConfigError::Url(_)) && !error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn wrong_values_are_refused_by_the_parser() {
        for wrong in [["--window", "0"], ["--linger", "15"], ["--max-connections", "0"], ["--listen", "8080"]] {
            assert!(Config::try_parse_from([&["gateway"], &wrong[..]].concat()).is_err(), "{wrong:?}");
        }
    }
}

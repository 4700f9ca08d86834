//! What the parts of the gateway are told, sorted by its reader.

use std::{net::SocketAddr, time::Duration};

use broker_embedded::{EmbeddedOptions, Retention};
use broker_rabbitmq::{AmqpOptions, FeedRetention};
use clap::CommandFactory;
use feeds::{FeedOptions, WindowLimits};
use mailboxes::MailboxOptions;
use settings::unknown_variables;
use tracing::warn;

use super::{
    AccessConfigError, Config, DEFAULT_DATA_DIR, RabbitMqConfigError, feed_topics,
    listen::{Listen, PassedSocketError, addresses},
};
use crate::{
    http::{AllowedHosts, AllowedOrigins, HttpOptions, ListenAddress},
    process::Hangup,
    tls::{Tls, TlsError},
};

/// After how long without a follower a gateway on RabbitMQ reads the stream no more. A page in the background, or on a
/// telephone, polls less often than once a minute; to stop and to begin again costs a tenth of a second.
const FEED_REST_AFTER: Duration = Duration::from_mins(10);

/// The variables of the publisher, which often stand in the same file of settings.
const OF_THE_PUBLISHER: [&str; 16] = [
    "POSTERN_COUNT",
    "POSTERN_DEBOUNCE",
    "POSTERN_DURATION",
    "POSTERN_GATEWAY",
    "POSTERN_IN_FLIGHT",
    "POSTERN_JOBS",
    "POSTERN_MAX_LINE",
    "POSTERN_ORDER",
    "POSTERN_PREFIX",
    "POSTERN_QUIET",
    "POSTERN_RATE",
    "POSTERN_RECHECK",
    "POSTERN_SEED",
    "POSTERN_TIMEOUT",
    "POSTERN_TLS_CA",
    "POSTERN_TOKEN_FILE",
];

/// Why a configuration that parses is wrong all the same.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Two brokers.
    #[error("--memory and a RabbitMQ URL (--amqp-url or AMQP_URL) are two brokers: give one of them")]
    TwoBrokers,
    /// Two stores of the embedded broker.
    #[error(
        "--memory keeps no event on a disk, --data-dir (or POSTERN_DATA_DIR) does: give one of them \
         (POSTERN_MEMORY is the variable of --memory)"
    )]
    TwoStores,
    /// The broker cannot be as it is configured.
    #[error(transparent)]
    RabbitMq(#[from] RabbitMqConfigError),
    /// Access cannot be as it is configured.
    #[error(transparent)]
    Access(#[from] AccessConfigError),
    /// The files of TLS cannot be used.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// A socket that should be passed is not.
    #[error("{0}")]
    PassedSocket(#[from] PassedSocketError),
    /// No feeds, and some.
    #[error("--feed-topics none switches feeds off; give it alone, or the topics without it")]
    NoFeedsAndSome,
    /// A listener that others can reach.
    #[error(
        "--listen {0} can be reached from other machines and there is no authentication: give the keys that tokens are \
         checked by (--token-key, --token-secret-file or --jwks-url), or listen on 127.0.0.1:{port}, or give \
         --allow-anonymous", port = .0.port()
    )]
    OpenToAll(SocketAddr),
    /// A port without an address, and a flag that only an address that others can reach needs.
    #[error(
        "--listen {0} is loopback alone, for which --allow-anonymous is not needed: \
         give --listen 0.0.0.0:{0} for all addresses, or no --allow-anonymous"
    )]
    PortAlone(u16),
}

/// What the parts of the gateway are told.
#[derive(Debug)]
pub struct Settings {
    /// Where to listen.
    pub listen: Vec<ListenAddress>,
    /// Where to listen for operators.
    pub admin_listen: Vec<ListenAddress>,
    /// What clients are shown over TLS, if it is spoken.
    pub tls: Option<Tls>,
    /// Which broker, and how.
    pub broker: BrokerSettings,
    /// For mailboxes.
    pub mailboxes: MailboxOptions,
    /// For feeds.
    pub feeds: FeedOptions,
    /// For HTTP.
    pub http: HttpOptions,
}

impl Settings {
    /// Returns what SIGHUP does: where there are files to read again, it asks for that.
    #[must_use]
    pub fn hangup(&self) -> Hangup {
        if self.tls.is_some() || self.http.access.takes_tokens() { Hangup::Reloads } else { Hangup::Stops }
    }
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
    /// Checks what no single flag can know and sorts everything by its reader. Warns of variables that have no effect.
    pub fn settings(self) -> Result<Settings, ConfigError> {
        let unknown = unknown_variables(&Self::command(), &OF_THE_PUBLISHER);
        if !unknown.is_empty() {
            warn!(variables = unknown.join(", "), "no setting has these environment variables; they have no effect");
        }
        let urls = self.rabbitmq.urls()?;
        let port_alone = self.listen.iter().find_map(|listen| match listen {
            Listen::PortAlone(port) => Some(*port),
            _ => None,
        });
        // One for operators that other machines can reach is the operator's choice: the answers hold no events.
        let [admin_listen, listen] =
            addresses([("--admin-listen", self.admin.admin_listen), ("--listen", self.listen)])?;
        let open = listen.iter().find_map(ListenAddress::open);
        if let Some(port) = port_alone.filter(|_| self.allow_anonymous && open.is_none()) {
            return Err(ConfigError::PortAlone(port));
        }
        let feed_topics = feed_topics::patterns(self.feed_topics).ok_or(ConfigError::NoFeedsAndSome)?;
        let broker = match urls {
            Some(_) if self.memory => return Err(ConfigError::TwoBrokers),
            Some(urls) => BrokerSettings::Amqp(AmqpOptions {
                urls,
                name: format!("postern gateway {}", listen.first().map_or_else(String::new, ToString::to_string)),
                mailbox_expiry: self.kept.mailbox_expiry,
                max_leases: self.max_mailboxes,
                feed_topics: feed_topics.clone(),
                feed_retention: FeedRetention { age: self.retention_age, bytes: self.retention_bytes },
                feed_replicas: self.feed_replicas,
                feed_linger: self.linger,
            }),
            None if self.memory && self.data_dir.is_some() => return Err(ConfigError::TwoStores),
            None => BrokerSettings::Embedded(EmbeddedOptions {
                data_dir: (!self.memory).then(|| self.data_dir.unwrap_or_else(|| DEFAULT_DATA_DIR.into())),
                mailboxes: self.kept.embedded(),
                retention: Retention { age: self.retention_age, bytes: self.retention_bytes },
                feed_topics: feed_topics.clone(),
            }),
        };
        let is_amqp = matches!(broker, BrokerSettings::Amqp(_));
        let is_local = open.is_none();
        if let Some(address) = open.filter(|_| !self.allow_anonymous && !self.tokens.is_restricted()) {
            return Err(ConfigError::OpenToAll(address));
        }
        let access = self.tokens.access(self.allow_anonymous, is_local && self.hosts.host.is_empty())?;
        Ok(Settings {
            listen,
            tls: self.tls.load()?,
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
                rest_after: is_amqp.then_some(FEED_REST_AFTER),
            },
            http: HttpOptions {
                max_connections: self.max_connections,
                max_body: self.max_body,
                max_transit: self.max_transit,
                header_timeout: self.header_timeout,
                idle_timeout: self.idle_timeout,
                shutdown_delay: self.shutdown_delay,
                shutdown_grace: self.shutdown_grace,
                has_public_metrics: admin_listen.is_empty() && !access.access.takes_tokens(),
                access: access.access,
                token_cookies: access.cookies,
                key_set: access.key_set,
                hosts: AllowedHosts::new(self.hosts.host),
                max_streams: self.limits.max_streams(),
                limits: self.limits.options(),
                allowed_origins: AllowedOrigins::new(self.allow_origin),
                feed_topics,
                feed_cache: self.feed_cache,
            },
            admin_listen,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(flags: &[&str]) -> Result<Settings, ConfigError> {
        Config::parsed([&["gateway"], flags].concat()).unwrap_or_else(|error| panic!("{error}")).settings()
    }

    #[test]
    fn a_listener_that_others_can_reach_must_be_meant() {
        assert!(settings(&[]).is_ok());
        assert!(settings(&["--listen", "[::1]:0"]).is_ok());
        assert!(matches!(settings(&["--listen", "0.0.0.0:8080"]), Err(ConfigError::OpenToAll(_))));
        assert!(settings(&["--listen", "0.0.0.0:8080", "--allow-anonymous"]).is_ok());
        let several = ["--listen", "127.0.0.1:1,unix:/run/postern.sock", "--listen", "0.0.0.0:8080"];
        assert!(matches!(settings(&several), Err(ConfigError::OpenToAll(_))));
        let listen = settings(&[&several[..], &["--allow-anonymous"]].concat()).unwrap().listen;
        assert_eq!(
            listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            "127.0.0.1:1 unix:/run/postern.sock 0.0.0.0:8080"
        );
    }

    #[test]
    fn a_port_alone_is_loopback_and_nothing_else() {
        let listen = settings(&["--listen", ":8080"]).unwrap().listen;
        assert_eq!(listen, [ListenAddress::Tcp("127.0.0.1:8080".parse().unwrap())]);
        let error = settings(&["--listen", ":8080", "--allow-anonymous"]).unwrap_err();
        assert!(error.to_string().contains("--listen 0.0.0.0:8080"), "{error}");
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
        assert!(matches!(broker(&["--memory", "--data-dir", "x"]), Err(ConfigError::TwoStores)));
        let both = ["--amqp-url", "amqp://broker", "--amqp-url-file", "x"];
        assert!(matches!(broker(&both), Err(ConfigError::RabbitMq(RabbitMqConfigError::TwoUrls))));
    }

    #[test]
    fn the_window_of_feeds_is_no_older_than_what_is_kept() {
        let age = |flags: &[&str]| settings(flags).unwrap().feeds.window.age;
        assert_eq!(age(&["--retention-age", "10m"]), Duration::from_mins(10));
        assert_eq!(age(&["--retention-age", "10m", "--feed-window-age", "1m"]), Duration::from_mins(1));
    }

    #[test]
    fn feeds_are_of_some_topics_or_none() {
        let topics = |flags: &[&str]| settings(flags).map(|settings| settings.http.feed_topics);
        assert_eq!(topics(&[]).unwrap(), ["#".parse().unwrap()]);
        assert_eq!(topics(&["--feed-topics", "a.#,none.b"]).unwrap().len(), 2);
        assert!(topics(&["--feed-topics", "none"]).unwrap().is_empty());
        assert!(topics(&["--feed-topics", "none", "--feed-topics", "none"]).unwrap().is_empty());
        assert!(matches!(topics(&["--feed-topics", "none,a"]), Err(ConfigError::NoFeedsAndSome)));
    }

    #[test]
    fn a_wrong_url_does_not_show_its_password() {
        let error = settings(&["--amqp-url", "amqp://alice:hunter2@broker:port/"]).unwrap_err();
        assert!(
            matches!(error, ConfigError::RabbitMq(RabbitMqConfigError::Url(_)))
                && !error.to_string().contains("hunter2"),
            "{error}"
        );
    }
}

//! Where to publish: a gateway or a broker, as flags and environment say.
//!
//! Pure. A flag comes before the environment; two of the same rank are a mistake that only the user can resolve, for
//! the events would go astray.

use std::path::Path;

use amqp::{AmqpUrls, TlsFiles};
use settings::read_urls;

use crate::{
    amqp::Broker,
    http::{DEFAULT_GATEWAY, Gateway},
};

/// Where to publish.
#[derive(Debug)]
pub(crate) enum Destination {
    Broker(Broker),
    Gateway(Gateway),
}

/// A setting, and where it was made.
#[derive(Debug, Clone)]
pub(crate) enum Given {
    Flag(String),
    Environment(String),
    Unset,
}

impl Given {
    /// Returns these URLs, or those that are in a file.
    pub(crate) fn or_file(self, file: Self) -> Result<Self, String> {
        let read = |path: &str| {
            read_urls(path.as_ref())
                .map_err(|error| format!("--amqp-url-file, or AMQP_URL_FILE in the environment: {error}"))
        };
        match (self, file) {
            (Self::Flag(_), Self::Flag(_)) => {
                Err("--amqp-url and --amqp-url-file name two places; give one of them".to_owned())
            }
            (Self::Environment(_), Self::Environment(_)) => {
                Err("AMQP_URL and AMQP_URL_FILE name two places; choose with --amqp-url or --amqp-url-file".to_owned())
            }
            (_, Self::Flag(path)) => read(&path).map(Self::Flag),
            (Self::Unset, Self::Environment(path)) => read(&path).map(Self::Environment),
            (url, _) => Ok(url),
        }
    }
}

/// What the other side is met with.
#[derive(Debug, Default)]
pub(crate) struct Files<'a> {
    /// TLS to a broker.
    pub(crate) broker: TlsFiles,
    /// The authority of a gateway's certificate.
    pub(crate) ca: Option<&'a Path>,
    /// The token by which a gateway knows who publishes.
    pub(crate) token: Option<&'a Path>,
}

impl Destination {
    /// Decides, or says what is wrong without repeating a URL, which may hold a password.
    pub(crate) fn choose(amqp_url: &Given, gateway: &Given, files: &Files<'_>) -> Result<Self, String> {
        use Given::{Environment, Flag, Unset};
        match (amqp_url, gateway) {
            (Flag(_), Flag(_)) => Err("--amqp-url and --gateway name two places; give one of them".to_owned()),
            (Environment(_), Environment(_)) => {
                Err("AMQP_URL and POSTERN_GATEWAY name two places; choose with --amqp-url or --gateway".to_owned())
            }
            (Flag(urls), _) | (Environment(urls), Unset) => Self::over_amqp(urls, files),
            (_, Flag(url)) | (Unset, Environment(url)) => Self::over_http(url, files),
            (Unset, Unset) => Self::over_http(DEFAULT_GATEWAY, files),
        }
    }

    fn over_amqp(urls: &str, files: &Files<'_>) -> Result<Self, String> {
        let urls = AmqpUrls::read([urls], &files.broker)
            .map_err(|error| format!("--amqp-url, or AMQP_URL in the environment: {error}"))?;
        Ok(Self::Broker(Broker::new(urls)))
    }

    fn over_http(url: &str, files: &Files<'_>) -> Result<Self, String> {
        Gateway::new(url, files.ca, files.token).map(Self::Gateway)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Given::{Environment, Flag, Unset},
        *,
    };

    #[test]
    fn a_flag_comes_first_and_two_of_a_kind_are_a_mistake() {
        const BROKER: &str = "amqp://u:s3cret@b:1/v";
        const GATEWAY: &str = "http://u:s3cret@g:2";
        let (broker, gateway) = ("u@b:1 (vhost v)", "u@g:2");
        for (amqp_url, http_url, expected) in [
            (Unset, Unset, "http://127.0.0.1:8080"),
            (Flag(BROKER.to_owned()), Unset, broker),
            (Environment(BROKER.to_owned()), Unset, broker),
            (Unset, Flag(GATEWAY.to_owned()), gateway),
            (Unset, Environment(GATEWAY.to_owned()), gateway),
            (Flag(BROKER.to_owned()), Environment(GATEWAY.to_owned()), broker),
            (Environment(BROKER.to_owned()), Flag(GATEWAY.to_owned()), gateway),
            (Flag(BROKER.to_owned()), Flag(GATEWAY.to_owned()), "--amqp-url and --gateway"),
            (Environment(BROKER.to_owned()), Environment(GATEWAY.to_owned()), "AMQP_URL and POSTERN_GATEWAY"),
            (Flag("amqp:/u:s3cret@b".to_owned()), Unset, "AMQP_URL in the environment: not an AMQP URL"),
            (Unset, Flag("https:/u:s3cret@g".to_owned()), "POSTERN_GATEWAY in the environment: not a gateway's URL"),
        ] {
            let chosen = format!("{:?}", Destination::choose(&amqp_url, &http_url, &Files::default()));
            assert!(chosen.contains(expected) && !chosen.contains("s3cret"), "{amqp_url:?} {http_url:?}: {chosen}");
        }
    }
}

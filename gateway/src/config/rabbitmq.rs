//! The settings of the connections to RabbitMQ.

use std::path::{Path, PathBuf};

use amqp::{AmqpUrls, AmqpUrlsError, TlsFiles};
use clap::{
    ArgMatches, Args,
    builder::{PathBufValueParser, StringValueParser},
    parser::ValueSource,
};
use settings::{ReadUrlError, Setting, open_to_others, read_urls};
use tracing::warn;

/// Why RabbitMQ cannot be connected to as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum RabbitMqConfigError {
    /// Two places that name the broker.
    #[error("--amqp-url and --amqp-url-file (or AMQP_URL and AMQP_URL_FILE) are two brokers: give one of them")]
    TwoUrls,
    /// The broker's URL is none, or cannot be used. It is not left to the parser of flags, which would repeat its
    /// password.
    #[error("--amqp-url or AMQP_URL: {0}")]
    Url(#[from] AmqpUrlsError),
    /// The file that should hold the broker's URL does not.
    #[error("--amqp-url-file or AMQP_URL_FILE: {0}")]
    UrlFile(#[from] ReadUrlError),
}

#[allow(clippy::doc_markdown, rustdoc::bare_urls, reason = "these are the texts of --help, which is not Markdown")]
/// See the module.
#[expect(clippy::struct_field_names, reason = "they are the names of the flags")]
#[derive(Debug, Args)]
pub(super) struct RabbitMqArgs {
    /// The RabbitMQ broker: amqp[s]://user:password@host:port/vhost. Without it the gateway keeps events itself.
    /// Repeatable, or separated by spaces, for the nodes of a cluster: any of them will do. A command line is seen in
    /// the list of processes (ps), so give a password by the variable or by --amqp-url-file
    #[arg(long, env = "AMQP_URL", value_name = "URL", hide_env_values = true, help_heading = "Broker",
          value_parser = Setting(StringValueParser::new()))]
    amqp_url: Vec<String>,

    /// A file with the URL of the RabbitMQ broker, or with several, separated by spaces or line ends
    #[arg(long, env = "AMQP_URL_FILE", value_name = "FILE", help_heading = "Broker",
          value_parser = Setting(PathBufValueParser::new()))]
    amqp_url_file: Option<PathBuf>,

    /// Over amqps: trust the authorities in this file (PEM), and no others, to say who the broker is [default: those
    /// that this system trusts]
    #[arg(long, env = "POSTERN_AMQP_CA_FILE", value_name = "FILE", help_heading = "Broker",
          value_parser = Setting(PathBufValueParser::new()))]
    amqp_ca_file: Option<PathBuf>,

    /// Over amqps: show the broker the certificate in this file, and those between it and the root (PEM)
    #[arg(long, env = "POSTERN_AMQP_CERT_FILE", value_name = "FILE", help_heading = "Broker",
          value_parser = Setting(PathBufValueParser::new()))]
    amqp_cert_file: Option<PathBuf>,

    /// The private key of that certificate (PEM, without a passphrase)
    #[arg(long, env = "POSTERN_AMQP_KEY_FILE", value_name = "FILE", help_heading = "Broker",
          value_parser = Setting(PathBufValueParser::new()))]
    amqp_key_file: Option<PathBuf>,
}

impl RabbitMqArgs {
    /// Lets a flag come before a variable, and takes an empty URL for none, also as a flag: scripts pass on what they
    /// have.
    pub(super) fn settle(&mut self, matches: &ArgMatches) {
        self.amqp_url.retain(|url| !url.trim().is_empty());
        match (matches.value_source("amqp_url"), matches.value_source("amqp_url_file")) {
            (Some(ValueSource::CommandLine), Some(ValueSource::EnvVariable)) => self.amqp_url_file = None,
            (Some(ValueSource::EnvVariable), Some(ValueSource::CommandLine)) => self.amqp_url.clear(),
            _ => {}
        }
    }

    /// Returns where the broker is; `None` if none is named.
    pub(super) fn urls(self) -> Result<Option<AmqpUrls>, RabbitMqConfigError> {
        let texts = match &self.amqp_url_file {
            Some(_) if !self.amqp_url.is_empty() => return Err(RabbitMqConfigError::TwoUrls),
            Some(path) => vec![read(path)?],
            None if self.amqp_url.is_empty() => return Ok(None),
            None => self.amqp_url,
        };
        let tls = TlsFiles { ca: self.amqp_ca_file, cert: self.amqp_cert_file, key: self.amqp_key_file };
        Ok(Some(AmqpUrls::read(texts.iter().map(String::as_str), &tls)?))
    }
}

fn read(path: &Path) -> Result<String, RabbitMqConfigError> {
    let text = read_urls(path)?;
    if let Some(warning) = open_to_others(path) {
        warn!("{warning}");
    }
    Ok(text)
}

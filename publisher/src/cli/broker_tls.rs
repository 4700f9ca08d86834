//! The settings of TLS to the broker.

use std::path::PathBuf;

use amqp::TlsFiles;
use clap::{Args, builder::PathBufValueParser};
use settings::Setting;

/// See the module.
#[expect(clippy::struct_field_names, reason = "they are the names of the flags")]
#[derive(Args)]
pub(super) struct BrokerTls {
    /// Over amqps: trust the authorities in this file (PEM), and no others, to say who the broker is [default: those
    /// that this system trusts].
    #[arg(long, global = true, env = "POSTERN_AMQP_CA_FILE", value_name = "FILE")]
    #[arg(value_parser = Setting(PathBufValueParser::new()))]
    amqp_ca_file: Option<PathBuf>,

    /// Over amqps: show the broker the certificate in this file, and those between it and the root (PEM).
    #[arg(long, global = true, env = "POSTERN_AMQP_CERT_FILE", value_name = "FILE")]
    #[arg(value_parser = Setting(PathBufValueParser::new()))]
    amqp_cert_file: Option<PathBuf>,

    /// The private key of that certificate (PEM, without a passphrase).
    #[arg(long, global = true, env = "POSTERN_AMQP_KEY_FILE", value_name = "FILE")]
    #[arg(value_parser = Setting(PathBufValueParser::new()))]
    amqp_key_file: Option<PathBuf>,
}

impl BrokerTls {
    pub(super) fn files(self) -> TlsFiles {
        TlsFiles { ca: self.amqp_ca_file, cert: self.amqp_cert_file, key: self.amqp_key_file }
    }
}

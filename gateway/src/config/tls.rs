//! The settings of TLS.

use std::path::PathBuf;

use clap::{Args, builder::PathBufValueParser};
use settings::Setting;

use crate::tls::{Tls, TlsError, TlsFiles};

#[allow(clippy::doc_markdown, reason = "these are the texts of --help, which is not Markdown")]
/// See the module.
#[derive(Debug, Args)]
pub(super) struct TlsArgs {
    /// Serve TLS at all addresses of --listen but socket files, with the certificate in this file and those between it
    /// and the root (PEM). The file is looked at every minute and at SIGHUP
    #[arg(long, env = "POSTERN_TLS_CERT", value_name = "FILE", help_heading = "TLS",
          value_parser = Setting(PathBufValueParser::new()))]
    tls_cert: Option<PathBuf>,

    /// The private key of the certificate (PEM, without a passphrase)
    #[arg(long, env = "POSTERN_TLS_KEY", value_name = "FILE", help_heading = "TLS",
          value_parser = Setting(PathBufValueParser::new()))]
    tls_key: Option<PathBuf>,
}

impl TlsArgs {
    /// Reads the files, if they were given.
    pub(super) fn load(self) -> Result<Option<Tls>, TlsError> {
        match (self.tls_cert, self.tls_key) {
            (None, None) => Ok(None),
            (Some(cert), Some(key)) => Tls::load(TlsFiles { cert, key }).map(Some),
            (Some(_), None) => Err(TlsError::Half("--tls-cert", "--tls-key")),
            (None, Some(_)) => Err(TlsError::Half("--tls-key", "--tls-cert")),
        }
    }
}

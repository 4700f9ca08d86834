//! The names by which a gateway is asked.

use settings::Setting;

use crate::http::HostName;

#[allow(clippy::doc_markdown, reason = "these are the texts of --help, which is not Markdown")]
/// See the module.
#[derive(Debug, clap::Args)]
pub(super) struct Hosts {
    /// A name by which clients may ask the gateway, without a port, e.g. push.example. On loopback it is needed for every
    /// name but localhost, as behind a proxy; elsewhere any name will do unless one is given. Repeatable, or separated by
    /// commas
    #[arg(long, env = "POSTERN_HOST", value_name = "NAME", value_delimiter = ',',
          value_parser = Setting(str::parse::<HostName>), help_heading = "HTTP")]
    pub(super) host: Vec<HostName>,
}

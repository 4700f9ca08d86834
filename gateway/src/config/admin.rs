//! The setting of the listener for operators.

use clap::Args;
use settings::Setting;

use super::listen::{Listen, listen};

#[allow(clippy::doc_markdown, reason = "these are the texts of --help, which is not Markdown")]
/// See the module.
#[derive(Debug, Args)]
pub(super) struct AdminArgs {
    /// Where to serve /metrics, /ready and /live, and nothing else, always in the clear; /metrics is then served
    /// nowhere else. Written as --listen, e.g. 127.0.0.1:9090 or unix:/run/postern/admin.sock. Repeatable, or separated
    /// by commas
    #[arg(long, env = "POSTERN_ADMIN_LISTEN", value_name = "ADDRESS", value_delimiter = ',',
          value_parser = Setting(listen), help_heading = "HTTP")]
    pub(super) admin_listen: Vec<Listen>,
}

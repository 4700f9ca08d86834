//! Logs: for people on a terminal, JSON lines otherwise, always on standard error.

use std::io::{IsTerminal, stderr};

use settings::without_secrets;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Human,
    /// For machines: one JSON object a line.
    Json,
}

/// Why logs cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("--log {filter:?} is no filter: {reason}; try info, or info,gateway::mailbox=debug")]
pub struct FilterError {
    filter: String,
    reason: tracing_subscriber::filter::ParseError,
}

/// Starts logging; once in a process. The broker's password is never logged, whatever the filter says.
pub fn start(filter: &str, format: LogFormat) -> Result<(), FilterError> {
    let wrong = |reason| FilterError { filter: filter.to_owned(), reason };
    let filter = EnvFilter::try_new(filter).map_err(wrong)?;
    let logs = fmt().with_env_filter(filter).with_writer(stderr);
    match format {
        LogFormat::Human => logs.with_ansi(stderr().is_terminal()).finish().with(without_secrets()).init(),
        LogFormat::Auto if stderr().is_terminal() => logs.finish().with(without_secrets()).init(),
        LogFormat::Auto | LogFormat::Json => logs.json().finish().with(without_secrets()).init(),
    }
    Ok(())
}

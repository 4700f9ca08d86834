//! Logs: for people on a terminal, JSON lines otherwise, always on standard error.

use std::io::{IsTerminal, stderr};

use settings::without_secrets;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// The target of the access log, which is turned on by its name: `--log info,postern::access=info`.
pub const ACCESS_LOG: &str = "postern::access";

/// What is logged of these targets unless a filter names them: no level turns more of them on by itself. The access log takes a
/// line for each request, and h2 warns of what its clients do wrong, as often as they do it.
const UNLESS_NAMED: [(&str, &str); 2] = [(ACCESS_LOG, "off"), ("h2", "error")];

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

/// Starts logging; once in a process. The broker's password is never logged, with any filter.
pub fn start(filter: &str, format: LogFormat) -> Result<(), FilterError> {
    let wrong = |reason| FilterError { filter: filter.to_owned(), reason };
    let filter = quieted(EnvFilter::try_new(filter).map_err(wrong)?, filter);
    let logs = fmt().with_env_filter(filter).with_writer(stderr);
    match format {
        LogFormat::Human => logs.with_ansi(stderr().is_terminal()).finish().with(without_secrets()).init(),
        LogFormat::Auto if stderr().is_terminal() => logs.finish().with(without_secrets()).init(),
        LogFormat::Auto | LogFormat::Json => {
            logs.json().flatten_event(true).finish().with(without_secrets()).init();
        }
    }
    Ok(())
}

/// Adds to a filter what it does not say of the targets in [`UNLESS_NAMED`].
fn quieted(filter: EnvFilter, text: &str) -> EnvFilter {
    UNLESS_NAMED.into_iter().fold(filter, |filter, (target, level)| match format!("{target}={level}").parse() {
        Ok(directive) if !text.contains(target) => filter.add_directive(directive),
        _ => filter,
    })
}

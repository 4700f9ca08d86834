//! Logs: for people on a terminal, JSON lines otherwise, always on standard error.

use std::io::{IsTerminal, stderr};

use settings::without_secrets;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// The target of the access log, which is turned on by its name: `--log info,postern::access=info`.
pub const ACCESS_LOG: &str = "postern::access";

/// What is logged of these targets unless a filter names them: no level turns more of them on by itself. The access log
/// takes a line for each request, and h2 warns of what its clients do wrong, as often as they do it.
const UNLESS_NAMED: [(&str, &str); 2] = [(ACCESS_LOG, "off"), ("h2", "error")];

/// The crates that log what the gateway does, after the modules that they were: a directive for the gateway, or for one
/// of these modules, means them, too.
const PARTS: [(&str, &str); 6] = [
    ("gateway::access", "access"),
    ("gateway::mailbox", "mailboxes"),
    ("gateway::feed", "feeds"),
    ("gateway::broker::amqp", "broker_rabbitmq"),
    ("gateway::broker::amqp::sanitizer", "amqp_sanitizer"),
    ("gateway::broker::embedded", "broker_embedded"),
];

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
#[error("--log {filter:?} is no filter: {reason}; try info, or info,mailboxes=debug")]
pub struct FilterError {
    filter: String,
    reason: tracing_subscriber::filter::ParseError,
}

/// Starts logging; once in a process. The broker's password is never logged, with any filter.
pub fn start(filter: &str, format: LogFormat) -> Result<(), FilterError> {
    let wrong = |reason| FilterError { filter: filter.to_owned(), reason };
    let filter = quieted(EnvFilter::try_new(of_all_parts(filter)).map_err(wrong)?, filter);
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

/// Adds to a directive for the gateway, `gateway=debug`, the same for its parts, in front: what a filter says of a part
/// by its own name comes later and counts.
fn of_all_parts(filter: &str) -> String {
    let directives = filter.split(',').map(str::trim);
    let mut all: Vec<String> = Vec::new();
    for directive in directives.clone() {
        let name = directive.split('=').next().unwrap_or_default().trim_end();
        let parts = PARTS.iter().filter_map(|(module, part)| part_of(name, module, part));
        all.extend(parts.map(|part| format!("{part}{}", &directive[name.len()..])));
    }
    all.extend(directives.map(str::to_owned));
    all.join(",")
}

/// Returns what a target means in a part that was this module: all of it, for the module and those above, or a module
/// in it.
fn part_of(target: &str, module: &str, part: &str) -> Option<String> {
    let is_within = |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with("::"));
    if target == module || is_within(module, target) {
        return Some(part.to_owned());
    }
    is_within(target, module).then(|| format!("{part}{}", &target[module.len()..]))
}

/// Adds to a filter what it does not say of the targets in [`UNLESS_NAMED`].
fn quieted(filter: EnvFilter, text: &str) -> EnvFilter {
    UNLESS_NAMED.into_iter().fold(filter, |filter, (target, level)| match format!("{target}={level}").parse() {
        Ok(directive) if !text.contains(target) => filter.add_directive(directive),
        _ => filter,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directive_for_the_gateway_is_one_for_its_parts() {
        for same in ["info,lapin=off", "mailboxes=debug", "off,gateway_of_another=info", ""] {
            assert_eq!(of_all_parts(same), same);
        }
        for (filter, added) in [
            ("info,gateway::mailbox=debug", "mailboxes=debug"),
            ("gateway::broker::amqp::connections = debug", "broker_rabbitmq::connections = debug"),
            ("gateway::broker=warn", "broker_rabbitmq=warn,amqp_sanitizer=warn,broker_embedded=warn"),
            ("off,gateway,feeds=warn", "access,mailboxes,feeds,broker_rabbitmq,amqp_sanitizer,broker_embedded"),
        ] {
            assert_eq!(of_all_parts(filter), format!("{added},{filter}"));
        }
    }

    #[test]
    fn every_crate_that_logs_is_a_part() {
        let crates = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates");
        for folder in std::fs::read_dir(crates).unwrap().map(|entry| entry.unwrap().path()) {
            let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
            let name = folder.file_name().unwrap().to_str().unwrap().replace('-', "_");
            // The settings log before there is a filter.
            if name != "settings" && manifest.contains("\ntracing.workspace") {
                assert!(PARTS.iter().any(|(_, part)| *part == name), "{name}");
            }
        }
    }
}

//! Environment variables: which count, and which are slips.

use std::{collections::BTreeSet, env, ffi::OsString};

use clap::{Arg, ArgMatches, Command, Error, error::ErrorKind};

const PREFIX: &str = "POSTERN_";

/// How alike two names must be for one to be taken for a slip of the other, from 0 to 1.
const ALIKE: f64 = 0.6;

/// Reads a command line and the environment of this process.
///
/// A variable that is empty is one that is not set: container files pass such variables on, for settings that have no
/// value. A number below zero is refused as the value that it is, and not as an unknown flag.
pub fn matches(
    command: Command,
    arguments: impl IntoIterator<Item = impl Into<OsString>>,
) -> Result<ArgMatches, Error> {
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    match prepared(command.clone()).try_get_matches_from(&arguments) {
        // The help shows all variables, also the empty ones.
        Err(error) if error.kind() == ErrorKind::DisplayHelp => command.try_get_matches_from(arguments),
        other => other,
    }
}

fn prepared(command: Command) -> Command {
    command.mut_args(prepared_arg).mut_subcommands(prepared)
}

fn prepared_arg(arg: Arg) -> Arg {
    let takes_values = arg.get_long().is_some() && arg.get_action().takes_values();
    let arg = if takes_values { arg.allow_negative_numbers(true) } else { arg };
    let given = arg.get_env().and_then(env::var_os);
    match given.as_deref().map(|value| value.to_str()) {
        Some(Some(text)) if text.trim().is_empty() => arg.env(None::<&'static str>),
        _ => arg,
    }
}

/// Returns the names of `POSTERN_` variables in the environment that no setting of this command has, nor the other
/// program (`others`), each with the name that it may be meant for.
#[must_use]
pub fn unknown_variables(command: &Command, others: &[&str]) -> Vec<String> {
    let mut known: BTreeSet<String> = others.iter().map(|&name| name.to_owned()).collect();
    add_variables(command, &mut known);
    let set = env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    unknown(set.map(|(name, value)| (name, value.to_string_lossy().into_owned())), &known)
}

fn add_variables(command: &Command, known: &mut BTreeSet<String>) {
    let variables = command.get_arguments().filter_map(Arg::get_env);
    known.extend(variables.map(|name| name.to_string_lossy().into_owned()));
    command.get_subcommands().for_each(|command| add_variables(command, known));
}

fn unknown(set: impl Iterator<Item = (String, String)>, known: &BTreeSet<String>) -> Vec<String> {
    let mut unknown: Vec<String> = set
        .filter(|(name, value)| name.starts_with(PREFIX) && !known.contains(name) && !is_service_link(name, value))
        .map(|(name, _)| match nearest(&name, known) {
            Some(likely) => format!("{name} (did you mean {likely}?)"),
            None => name,
        })
        .collect();
    unknown.sort();
    unknown
}

/// Tells whether Kubernetes made the variable, for a service that is named postern: such variables are no slips.
fn is_service_link(name: &str, value: &str) -> bool {
    let is_port = name.ends_with("_PORT") && value.contains("://");
    is_port || ["_SERVICE_HOST", "_SERVICE_PORT", "_TCP", "_UDP"].iter().any(|part| name.contains(part))
}

/// Returns the known name that is most like this one, if one is. The prefix counts for nothing.
fn nearest<'a>(name: &str, known: &'a BTreeSet<String>) -> Option<&'a str> {
    let plain = |name: &'a str| name.strip_prefix(PREFIX).unwrap_or(name);
    let bare = name.strip_prefix(PREFIX).unwrap_or(name);
    let likeness = |known: &'a str| strsim::normalized_damerau_levenshtein(bare, plain(known));
    let nearest = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(nearest) > ALIKE).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_named_with_what_it_may_mean_and_never_with_its_value() {
        let known = ["POSTERN_WINDOW", "POSTERN_LISTEN", "AMQP_URL"].map(str::to_owned).into();
        let set = [
            ("POSTERN_WINDOW", "1"),
            ("POSTERN_WINDW", "s3cret"),
            ("POSTERN_AMQP_URL", "s3cret"),
            ("POSTERN_COLOUR", ""),
            ("HOME", "/"),
            ("POSTERN_PORT", "8080"),
            // What Kubernetes sets for a service that is named postern.
            ("POSTERN_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("POSTERN_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("POSTERN_SERVICE_HOST", "10.0.0.1"),
            ("POSTERN_SERVICE_PORT_HTTP", "8080"),
            ("POSTERN_WEB_PORT", "tcp://10.0.0.1:8080"),
        ];
        let set = set.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(
            unknown(set, &known),
            [
                "POSTERN_AMQP_URL (did you mean AMQP_URL?)",
                "POSTERN_COLOUR",
                "POSTERN_PORT",
                "POSTERN_WINDW (did you mean POSTERN_WINDOW?)",
            ]
        );
    }
}

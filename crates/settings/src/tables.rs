//! The settings of a program as Markdown, for the page of the book on which a test holds them.
//!
//! A range is not written down anywhere but in the parser of its setting. So values far outside of any range are
//! parsed, and the errors tell the range.

use std::{error::Error as _, fmt::Write as _, fs, path::Path};

use clap::{Arg, Command, error::ErrorKind};

const HEAD: &str = "| flag | environment | default | range | |\n|---|---|---|---|---|\n";

/// Renders what a program can be told: a section for each subcommand, a table for each group of flags.
#[must_use]
pub fn tables(command: &Command) -> String {
    // A variable of the tester's own would be a default.
    let mut command = command.clone();
    command.build();
    let mut text = String::new();
    render(&command, &[command.get_name()], &mut text);
    text
}

/// Compares a part of a page, between `<!-- begin name -->` and `<!-- end name -->`, with what it should be; writes it
/// there if `is_update`. An error says what to do.
pub fn compare(page: &Path, name: &str, expected: &str, is_update: bool) -> Result<(), String> {
    let shown = page.display();
    let text = fs::read_to_string(page).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->\n"));
    let parts = text.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?)));
    let Some((before, (found, after))) = parts else { return Err(format!("{shown} has no part for {name}")) };
    let expected = format!("\n{}\n\n", expected.trim());
    if found == expected {
        return Ok(());
    }
    if is_update {
        let updated = [before, &begin, &expected, &end, after].concat();
        return fs::write(page, updated).map_err(|error| format!("cannot write {shown}: {error}"));
    }
    let (line, wrong) = first_difference(found, &expected);
    Err(format!(
        "the settings of {name} are not as {shown} says; UPDATE_DOCS=1 writes them there.\nThe page has: {wrong}\nit should be: {line}"
    ))
}

fn first_difference<'a>(found: &'a str, expected: &'a str) -> (&'a str, &'a str) {
    let (mut found, mut expected) = (found.lines(), expected.lines());
    loop {
        match (expected.next(), found.next()) {
            (Some(right), Some(wrong)) if right == wrong => {}
            (right, wrong) => return (right.unwrap_or("(nothing)"), wrong.unwrap_or("(nothing)")),
        }
    }
}

fn render(command: &Command, path: &[&str], text: &mut String) {
    // Flags of all subcommands are shown once, at the top.
    let is_shown = |arg: &&Arg| {
        !arg.is_hide_set()
            && !matches!(arg.get_id().as_str(), "help" | "version")
            && (path.len() == 1 || !arg.is_global_set())
    };
    for arg in command.get_positionals().filter(is_shown) {
        let _ = writeln!(text, "`{}`: {}\n", name(arg), help(arg).0);
    }
    let flags: Vec<&Arg> = command.get_arguments().filter(|arg| !arg.is_positional()).filter(is_shown).collect();
    let mut headings: Vec<Option<&str>> = Vec::new();
    for flag in &flags {
        if !headings.contains(&flag.get_help_heading()) {
            headings.push(flag.get_help_heading());
        }
    }
    for heading in headings {
        if let Some(heading) = heading {
            let _ = writeln!(text, "### {heading}\n");
        }
        text.push_str(HEAD);
        for flag in flags.iter().filter(|flag| flag.get_help_heading() == heading) {
            row(command, flag, text);
        }
        text.push('\n');
    }
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        let path = [path, &[subcommand.get_name()]].concat();
        let about = subcommand.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "### {}\n\n{}\n", path.join(" "), markdown(&about));
        render(subcommand, &path, text);
    }
}

fn row(command: &Command, flag: &Arg, text: &mut String) {
    let (help, default_in_help) = help(flag);
    let variable = flag.get_env().map(|name| format!("`{}`", name.display())).unwrap_or_default();
    let defaults = flag.get_default_values().iter().map(|value| format!("`{}`", value.display()));
    let default = match default_in_help {
        Some(default) => default,
        None if is_switch(flag) => "off".to_owned(),
        None => defaults.collect::<Vec<_>>().join(", "),
    };
    let short = flag.get_short().map(|short| format!(", `-{short}`")).unwrap_or_default();
    let _ = writeln!(text, "| `{}`{short} | {variable} | {default} | {} | {help} |", name(flag), range(command, flag));
}

fn is_switch(arg: &Arg) -> bool {
    !arg.get_action().takes_values()
}

/// Returns a flag as it is written, with the name of its value.
fn name(arg: &Arg) -> String {
    let value = arg.get_value_names().and_then(<[_]>::first).map(ToString::to_string).unwrap_or_default();
    match arg.get_long() {
        Some(long) if is_switch(arg) => format!("--{long}"),
        Some(long) => format!("--{long} {value}"),
        None => value,
    }
}

/// Returns the help of a flag, and the default that it tells.
fn help(arg: &Arg) -> (String, Option<String>) {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let (help, default) =
        match help.split_once(" [default: ").and_then(|(help, rest)| Some((help, rest.rsplit_once(']')?))) {
            Some((help, (default, end))) => (format!("{help}{end}"), Some(markdown(default))),
            None => (help, None),
        };
    (markdown(&help), default)
}

/// Makes text of `--help` Markdown, within a table.
fn markdown(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        if "\\|*_<>[]`#".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// Tells which values a flag takes, by those that it refuses.
fn range(command: &Command, flag: &Arg) -> String {
    let values: Vec<_> = flag.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if !values.is_empty() || is_switch(flag) {
        return values.join(", ");
    }
    let refused = |value| refusal(command, flag, value);
    if let Some(reason) = refused("-1")
        && let Some((_, range)) = reason.split_once(" from ").or_else(|| reason.split_once(" within "))
    {
        return range.split(',').next().unwrap_or(range).to_owned();
    }
    let is_duration = refused("5s").is_none() && refused("1000years").is_some();
    match (is_duration, refused("0s")) {
        (false, _) => String::new(),
        (true, None) => "up to a year".to_owned(),
        (true, Some(_)) => "above 0, up to a year".to_owned(),
    }
}

/// Returns why a value is refused.
fn refusal(command: &Command, flag: &Arg, value: &str) -> Option<String> {
    let long = flag.get_long()?;
    let bare = Command::new("probe").no_binary_name(true).arg(flag.clone().env(None::<&str>));
    let error = bare.try_get_matches_from([format!("--{long}={value}")]).err()?;
    debug_assert!(error.kind() == ErrorKind::ValueValidation, "{}: {error}", command.get_name());
    error.source().map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use clap::ArgAction;

    use super::*;
    use crate::{Setting, boolean, whole_number};

    #[test]
    fn a_setting_is_a_row_with_its_range() {
        let number = Arg::new("n").long("number").env("POSTERN_NUMBER").value_name("N").default_value("7");
        let number = number.help("How many | at most").value_parser(Setting(whole_number(1..=9_u8)));
        let switch = Arg::new("s").long("switch").action(ArgAction::SetTrue).value_parser(Setting(boolean));
        let switch = switch.help("Do it [default: never]");
        let text = tables(&Command::new("program").arg(number).arg(switch));
        assert_eq!(
            text,
            format!(
                "{HEAD}| `--number N` | `POSTERN_NUMBER` | `7` | 1 to 9 | How many \\| at most |\n\
                     | `--switch` |  | never |  | Do it |\n\n"
            )
        );
    }

    #[test]
    fn a_page_that_says_otherwise_is_told_and_can_be_written() {
        let page = std::env::temp_dir().join(format!("postern-tables-{}.md", std::process::id()));
        fs::write(&page, "# Page\n<!-- begin program -->\nold\n<!-- end program -->\nrest\n").unwrap();
        let error = compare(&page, "program", "new", false).unwrap_err();
        assert!(error.contains("UPDATE_DOCS=1") && error.contains("it should be"), "{error}");
        assert!(compare(&page, "other", "new", true).unwrap_err().contains("no part for other"));
        compare(&page, "program", "new", true).unwrap();
        compare(&page, "program", "new", false).unwrap();
        let text = fs::read_to_string(&page).unwrap();
        fs::remove_file(&page).unwrap();
        assert_eq!(text, "# Page\n<!-- begin program -->\n\nnew\n\n<!-- end program -->\nrest\n");
    }
}

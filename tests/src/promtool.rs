//! `promtool`, which comes with Prometheus and judges what Prometheus would read.

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::Folder;

/// Checks metrics in the classic text format: names, types, help. Panics with what is wrong.
pub fn check_metrics(text: &str) {
    run(&["check", "metrics"], text);
}

/// Has metrics in the OpenMetrics format read by Prometheus' own parser.
///
/// The import of a file is the only command with that parser. Every sample needs a time there.
pub fn read_open_metrics(text: &str) {
    let stamped = |line: &str| if line.starts_with('#') { line.to_owned() } else { format!("{line} 1700000000") };
    let lines: Vec<String> = text.lines().map(stamped).collect();
    let folder = Folder::new("open-metrics");
    let file = folder.write("metrics", &(lines.join("\n") + "\n"));
    let blocks = folder.path().join("blocks");
    run(&["tsdb", "create-blocks-from", "openmetrics", utf8(&file), utf8(&blocks)], "");
}

/// Checks a file of rules.
pub fn check_rules(file: &Path) {
    run(&["check", "rules", "--lint-fatal", utf8(file)], "");
}

/// Checks that these are expressions of Prometheus' language.
pub fn check_expressions(expressions: &[String]) {
    let rule = |(number, expression)| serde_json::json!({ "record": format!("number_{number}"), "expr": expression });
    let rules: Vec<_> = expressions.iter().enumerate().map(rule).collect();
    let folder = Folder::new("expressions");
    // JSON is YAML as well.
    let file = serde_json::json!({ "groups": [{ "name": "expressions", "rules": rules }] });
    run(&["check", "rules", utf8(&folder.write("rules.yml", &file.to_string()))], "");
}

/// Runs the unit tests in a file.
pub fn test_rules(file: &Path) {
    run(&["test", "rules", utf8(file)], "");
}

fn run(arguments: &[&str], stdin: &str) {
    let Output { status, stdout, stderr } = output(arguments, stdin);
    let said = [stdout, stderr].map(|stream| String::from_utf8_lossy(&stream).into_owned()).concat();
    assert!(status.success(), "promtool {arguments:?}: {status}\n{said}\n{stdin}");
}

fn output(arguments: &[&str], stdin: &str) -> Output {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        command.spawn().unwrap_or_else(|error| panic!("no promtool ({error}): run tests/install-needs promtool"));
    // Its output is small, so it never waits for its reader.
    child.stdin.take().expect("stdin is piped").write_all(stdin.as_bytes()).expect("promtool reads");
    child.wait_with_output().expect("promtool ends")
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("a path of ours is UTF-8")
}

//! Flags, conditions, signals, and exit codes.

use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    stub::{Faults, Stub},
    tool::{load, load_on, path},
};

#[test]
fn wrong_flags_end_it_before_anything_is_sent() {
    for flags in ["--clients 0", "--nonsense", "--rate fast", "--topics 3 --topic x", "--target /no/such/file"] {
        let output = load(flags);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(64), 0), "{flags}");
    }
    for flags in ["--help", "--version"] {
        assert_eq!(load(flags).status.code(), Some(0), "{flags}");
    }
}

#[test]
fn a_condition_that_is_not_met_fails_the_run() {
    let stub = Stub::start(Faults { repeated: Some((10, 5)), ..Faults::default() });
    let flags = "--clients 5 --pace confirmed --events 100 --require";
    assert_eq!(load_on(&stub, &format!("{flags} repeated=50,p99=1h")).code, Some(0));
    let failed = load_on(&stub, &format!("{flags} repeated=49,p99=1h"));
    assert_eq!(failed.code, Some(1));
    assert_eq!(failed.report["failures"], serde_json::json!(["5 clients: repeated=49: it was 50"]));
}

#[test]
fn a_report_that_cannot_be_written_is_told_before_anything_is_sent() {
    let stub = Stub::start(Faults::default());
    let output = load(&format!("--address {} --clients 1 --for 100ms --html /no/such/folder/x.html", stub.address()));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("cannot write /no/such/folder/x.html"), "{text}");
    assert_eq!((output.status.code(), stub.polls()), (Some(1), 0));
}

#[test]
fn a_limit_is_found() {
    // Each step publishes one event. The third is lost, so that the third step is tried again.
    let stub = Stub::start(Faults { dropped: Some((3, 0)), ..Faults::default() });
    let ended = load_on(&stub, "--find-limit lost=0 --clients 4 --max 16 --pace confirmed --events 1 --drain 100ms");
    let limit = &ended.report["limit"];
    let clients = |step: usize| ended.report["steps"][step]["clients"].as_f64();
    assert_eq!([0, 1, 2, 3].map(clients), [4.0, 8.0, 16.0, 16.0].map(Some));
    assert_eq!(
        (limit["holds"].as_f64(), limit["of"].as_str(), ended.code),
        (Some(16.0), Some("clients"), Some(0)),
        "{limit}"
    );
}

/// Starts a run that goes on for an hour; returns when events come.
fn endless(stub: &Stub, flags: &[&str]) -> (Child, PathBuf) {
    let report = path("report.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_load"));
    command.args([
        "--address",
        &stub.address().to_string(),
        "--clients",
        "10",
        "--rate",
        "100/s",
        "--for",
        "1h",
        "--quiet",
    ]);
    command.args(["--json", &report.display().to_string()]).args(flags);
    let tool = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    stub.wait_published(20);
    (tool, report)
}

#[test]
fn a_signal_ends_a_run_with_a_report() {
    for flags in [&[][..], &["--workers", "2"]] {
        let stub = Stub::start(Faults::default());
        let (mut tool, report) = endless(&stub, flags);
        // As timeout(1) does, which signals a process and then its whole group: the second is no second signal.
        kill_process(Pid::from_child(&tool), Signal::INT).unwrap();
        kill_process(Pid::from_child(&tool), Signal::INT).unwrap();
        assert_eq!(tool.wait().unwrap().code(), Some(0), "nothing was lost, {flags:?}");
        let lines = BufReader::new(tool.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.into_iter().any(|line| line.contains("ended by a signal")), "{flags:?}");
        let text = std::fs::read_to_string(&report).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(json["is_interrupted"] == true && json["steps"][0]["received"].as_u64() >= Some(100), "{text}");
        std::fs::remove_file(report).unwrap();
    }
}

#[test]
fn another_signal_ends_the_process() {
    // What is missing is waited for.
    let stub = Stub::start(Faults { dropped: Some((2, 0)), ..Faults::default() });
    let (mut tool, report) = endless(&stub, &["--drain", "1h"]);
    let code = loop {
        // The process may have ended since.
        let _ = kill_process(Pid::from_child(&tool), Signal::TERM);
        if let Some(status) = tool.try_wait().unwrap() {
            break status.code();
        }
        std::thread::yield_now();
    };
    assert_eq!(code, Some(143));
    std::fs::remove_file(report).unwrap();
}

#[test]
fn another_program_can_start_the_publishing() {
    let stub = Stub::start(Faults::default());
    let mut command = Command::new(env!("CARGO_BIN_EXE_load"));
    command.args(["--address", &stub.address().to_string(), "--clients", "3", "--pace", "lockstep", "--events", "2"]);
    command.args(["--followed", "--quiet", "--json", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut tool = command.spawn().unwrap();
    let mut lines = BufReader::new(tool.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("waiting"));
    tool.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert_eq!(lines.next().as_deref(), Some("done"));
    assert_eq!(lines.next().as_deref(), Some("received"));
    let report: serde_json::Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
    assert_eq!(report["steps"][0]["received"], 6);
    assert_eq!(tool.wait().unwrap().code(), Some(0));
}

#[test]
fn another_program_can_publish_and_follow() {
    let stub = Stub::start(Faults::default());
    let mut command = Command::new(env!("CARGO_BIN_EXE_load"));
    command.args(["--address", &stub.address().to_string(), "--clients", "3", "--publishers", "0", "--events", "2"]);
    command.args(["--topic", "stock", "--followed", "--quiet"]).stdout(Stdio::piped());
    let mut tool = command.spawn().unwrap();
    let mut lines = BufReader::new(tool.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("waiting"));
    for number in 1..=2 {
        stub.publish("/topics/stock/events", &format!("{{\"n\":{number}}}"));
        assert_eq!(lines.next(), Some(format!("reached {number}")));
    }
    assert_eq!(tool.wait().unwrap().code(), Some(0));
}

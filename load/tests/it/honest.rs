//! A run says that it passed only where that was seen, and breaks off nothing that has come.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    stub::{Faults, Stub},
    tool::{load_at, load_on},
};

/// Starts a server that gives this answer to each request and then closes the connection.
fn answering(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = |stream: TcpStream| {
        let mut head = Vec::new();
        let mut reader = BufReader::new(&stream);
        while !head.ends_with(b"\r\n\r\n") && reader.read_until(b'\n', &mut head).is_ok_and(|count| count > 0) {}
        let _ = (&stream).write_all(answer.as_bytes());
    };
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Starts the program with these flags, on which a thread waits that tells its lines.
fn followed(stub: &Stub, flags: &str) -> (std::process::Child, impl Iterator<Item = String>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_load"));
    command.args(["--address", &stub.address().to_string(), "--followed", "--quiet", "--json", "-"]);
    command.args(flags.split_whitespace()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut tool = command.spawn().unwrap();
    let lines = BufReader::new(tool.stdout.take().unwrap()).lines().map_while(Result::ok);
    (tool, lines)
}

#[test]
fn what_another_program_publishes_is_missed_where_another_client_or_a_later_event_has_come() {
    let stub = Stub::start(Faults::default());
    let (mut tool, mut lines) = followed(&stub, "--clients 3 --publishers 0 --topic stock --for 3s --drain 100ms");
    assert_eq!(lines.next().as_deref(), Some("waiting"));
    for number in [1, 2, 5] {
        stub.publish("/topics/stock/events", &format!("{{\"n\":{number}}}"));
    }
    let report: serde_json::Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
    assert_eq!((&report["steps"][0]["received"], &report["steps"][0]["lost"]), (&9.into(), &6.into()));
    assert_eq!(tool.wait().unwrap().code(), Some(1));
}

#[test]
fn each_step_follows_so_many_events_more() {
    let stub = Stub::start(Faults::default());
    let (mut tool, mut lines) = followed(&stub, "--clients 1,2 --publishers 0 --topic stock --events 2");
    for numbers in [[1, 2], [3, 4]] {
        assert_eq!(lines.next().as_deref(), Some("waiting"));
        for number in numbers {
            stub.publish("/topics/stock/events", &format!("{{\"n\":{number}}}"));
            assert_eq!(lines.next(), Some(format!("reached {number}")));
        }
    }
    assert_eq!(tool.wait().unwrap().code(), Some(0));
}

#[test]
fn clients_that_did_not_get_in_fail_a_run_that_publishes_nothing_too() {
    let address = answering("HTTP/1.1 503 Later\r\ncontent-length: 0\r\n\r\n");
    let ended = load_at(address, "--clients 2 --publishers 0 --patience 300ms --for 100ms --drain 0s");
    assert_eq!(ended.report["failures"][0], "2 clients: only 0 got in");
    assert_eq!(ended.code, Some(1));
}

#[test]
fn a_stream_that_is_cut_is_an_error_and_one_that_ends_is_none() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let flags = "--target nchan --transport sse --clients 2 --publishers 0 --for 100ms --drain 0s";
    for (body, is_error) in [("d\r\nretry: 10\n\n: \r\n0\r\n\r\n", false), ("d\r\nretry: 10\n\n: \r\nff\r\nhalf", true)]
    {
        let ended = load_at(answering(Box::leak(format!("{head}{body}").into_boxed_str())), flags);
        assert!(ended.step("polls") > 2, "{body:?}");
        assert_eq!(ended.step("receive_errors") > 0, is_error, "{body:?}: {}", ended.report["steps"]);
        let kinds = ended.report["steps"][0]["receive_errors_by_kind"].as_object().unwrap();
        assert!(kinds.keys().all(|kind| kind == "connection closed"), "{kinds:?}");
    }
}

#[test]
fn what_waits_for_another_program_ends_by_a_signal() {
    let stub = Stub::start(Faults::default());
    let (mut tool, mut lines) = followed(&stub, "--clients 1 --events 1");
    assert_eq!(lines.next().as_deref(), Some("waiting"));
    kill_process(Pid::from_child(&tool), Signal::INT).unwrap();
    assert!(lines.any(|line| line.contains("\"is_interrupted\":true")));
    tool.wait().unwrap();
}

#[test]
fn lockstep_says_that_it_waits_no_longer() {
    let stub = Stub::start(Faults { dropped: Some((3, 0)), ..Faults::default() });
    let ended = load_on(&stub, "--clients 2 --pace lockstep --for 2s --drain 100ms");
    assert_eq!((ended.step("sent"), ended.step("lost"), ended.code), (3, 2, Some(1)));
    assert!(ended.report["notes"][0].as_str().unwrap().contains("event 3"), "{}", ended.report["notes"]);
}

#[test]
fn publishers_that_share_topics_publish_among_the_first_ones() {
    let stub = Stub::start(Faults::default());
    // Two of the clients are of the first topic.
    let ended = load_on(&stub, "--clients 3 --topics 2 --publishers 5 --among 1 --pace confirmed --events 40");
    assert_eq!(["sent", "received", "lost"].map(|field| ended.step(field)), [40, 80, 0]);
}

#[test]
fn a_time_without_end_is_one() {
    let stub = Stub::start(Faults::default());
    let ended = load_on(&stub, "--clients 2 --events 3 --drain 1000y --stay 1000y --away 1000y");
    assert_eq!((ended.step("received"), ended.code), (6, Some(0)));
    for flags in ["--burst 1 --every 1000y", "--rate 0.00000000001"] {
        let ended = load_on(&stub, &format!("--clients 2 --for 300ms {flags}"));
        assert_eq!((ended.step("lost"), ended.code), (0, Some(0)), "{flags}");
    }
}

#[test]
fn a_report_that_cannot_be_written_is_told_in_text_all_the_same() {
    let stub = Stub::start(Faults::default());
    let mut command = Command::new(env!("CARGO_BIN_EXE_load"));
    command.args(["--address", &stub.address().to_string(), "--clients", "2", "--events", "3", "--json", "/dev/full"]);
    let mut tool = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut out, mut error) = (String::new(), String::new());
    tool.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    tool.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert!(out.contains("lost") && error.contains("cannot write /dev/full"), "{out}\n{error}");
    assert_eq!(tool.wait().unwrap().code(), Some(1));
}

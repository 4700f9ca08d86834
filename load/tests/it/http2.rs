//! Clients of HTTP/2 count exactly as those of HTTP/1.1 do.

use crate::{
    bridge::Bridge,
    checker::{CLIENTS, FAULTS, expect},
    stub::{Faults, Stub},
    tool::{Ended, load_at},
};

/// More than any client here needs.
const STREAMS: u32 = 200;

/// Each of a thousand events passes the bridge for each client, over a connection of its own.
fn expect_faults(ended: &Ended) {
    expect(ended, 1000, [1, 4, 3, 4]);
}

fn load_over(bridge: &Bridge, flags: &str) -> Ended {
    load_at(bridge.address, &format!("--connection http2 {flags}"))
}

#[test]
fn long_polls_tell_exactly_what_a_faulty_server_did() {
    let stub = Stub::start(FAULTS);
    let bridge = Bridge::start(&stub, STREAMS);
    let ended = load_over(&bridge, &format!("--drain 1s --clients {CLIENTS} --pace confirmed --events 1000"));
    expect_faults(&ended);
    assert!(ended.report["read"].as_str().unwrap().ends_with(", HTTP/2"), "{}", ended.report["read"]);
    assert_eq!((ended.step("connections"), bridge.connections_of_http2()), (CLIENTS, CLIENTS));
}

#[test]
fn clients_that_share_connections_do() {
    let stub = Stub::start(FAULTS);
    let bridge = Bridge::start(&stub, STREAMS);
    let flags = "--drain 1s --streams-per-connection 8 --workers 2 --pace confirmed --events 1000";
    let ended = load_over(&bridge, &format!("{flags} --clients {CLIENTS}"));
    expect_faults(&ended);
    // Each of two processes has ten clients.
    assert_eq!((ended.step("connections"), bridge.connections_of_http2()), (4, 4));
}

#[test]
fn streams_do() {
    let stub = Stub::start(FAULTS);
    let bridge = Bridge::start(&stub, STREAMS);
    let flags = "--drain 1s --transport sse --streams-per-connection 20 --pace confirmed --events 1000";
    expect_faults(&load_over(&bridge, &format!("{flags} --clients {CLIENTS}")));
}

#[test]
fn clients_that_hang_up_or_fail_come_back_to_their_place() {
    for (flags, transport) in [("", ""), ("--streams-per-connection 7", ""), ("", "--transport sse")] {
        // A stream that is reset is counted as a connection that is.
        let faults = if transport.is_empty() { Some((40, 7)) } else { None };
        let stub = Stub::start(Faults { unavailable: faults, ..Faults::default() });
        let bridge = Bridge::start(&stub, STREAMS);
        let coming = "--clients 20 --rate 200/s --for 1s --hang-up 50% --stay 100ms --away 50ms";
        let ended = load_over(&bridge, &format!("{coming} {flags} {transport}"));
        let found = ["lost", "repeated_unflagged", "received", "sent"].map(|field| ended.step(field));
        assert_eq!(found, [0, 0, 4000, 200], "{flags} {transport}: {}", ended.report["steps"]);
        assert!(ended.step("left") > 10, "{flags} {transport}");
        let kinds = ended.report["steps"][0]["receive_errors_by_kind"].as_object().unwrap();
        assert!(kinds.keys().all(|kind| kind == "status 503"), "{kinds:?}");
    }
}

#[test]
fn more_streams_than_the_server_allows_are_told() {
    let stub = Stub::start(Faults::default());
    let bridge = Bridge::start(&stub, 5);
    let flags = "--clients 8 --streams-per-connection 8 --patience 500ms --for 100ms --drain 100ms";
    let ended = load_over(&bridge, flags);
    let kinds = &ended.report["steps"][0]["receive_errors_by_kind"];
    assert!(kinds["more --streams-per-connection than the server allows"].as_u64() > Some(0), "{kinds}");
    // What is sent before the server has told its limit may still be taken.
    assert!((5..=8).contains(&ended.step("established")), "{}", ended.report["notes"]);
}

#[test]
fn a_server_of_http1_alone_is_told() {
    let stub = Stub::start(Faults::default());
    let flags = "--connection http2 --clients 2 --patience 300ms --for 100ms --drain 0s";
    let ended = load_at(stub.address(), flags);
    assert_eq!((ended.step("established"), ended.code), (0, Some(1)), "{}", ended.report["notes"]);
    let kinds = &ended.report["steps"][0]["receive_errors_by_kind"];
    assert!(kinds["no HTTP"].as_u64() >= Some(2), "{kinds}");
}

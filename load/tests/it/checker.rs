//! What is lost, repeated and out of order is counted exactly.

use crate::{
    stub::{Faults, Stub},
    tool::{Ended, load_on},
};

pub(crate) const CLIENTS: u64 = 20;

/// Each of 3,000 events meets at most one fault: no number has two of these remainders, nor follows one that is late.
pub(crate) const FAULTS: Faults = Faults {
    dropped: Some((1000, 0)),
    repeated: Some((250, 1)),
    repeated_flagged: Some((400, 7)),
    late: Some((300, 11)),
    refused: None,
    silent: None,
    unavailable: None,
    reset: None,
    is_place_in_body: false,
    is_chunked: false,
};

fn expect_faults(ended: &Ended) {
    expect(ended, 3000, [3, 12, 8, 10]);
}

/// Expects what each client of so many events has met: lost, repeated, repeated and flagged, late.
pub(crate) fn expect(ended: &Ended, events: u64, each: [u64; 4]) {
    let found = ["lost", "repeated_unflagged", "repeated_flagged", "out_of_order", "received", "confirmed"]
        .map(|field| ended.step(field));
    let [lost, repeated, flagged, late] = each.map(|count| count * CLIENTS);
    let received = events * CLIENTS - lost;
    assert_eq!(found, [lost, repeated, flagged, late, received, events], "{}", ended.report["steps"]);
    assert_eq!(ended.step("receive_errors"), 0);
    assert_eq!(ended.code, Some(1), "something was lost");
    assert!(
        ended.report["failures"][0].as_str().unwrap().contains(&format!("{lost} events lost")),
        "{}",
        ended.report["failures"]
    );
}

#[test]
fn long_polls_tell_exactly_what_a_faulty_server_did() {
    let stub = Stub::start(FAULTS);
    expect_faults(&load_on(&stub, &format!("--drain 1s --clients {CLIENTS} --pace confirmed --events 3000")));
}

#[test]
fn long_polls_in_chunks_over_new_connections_do() {
    let stub = Stub::start(Faults { is_chunked: true, ..FAULTS });
    expect_faults(&load_on(
        &stub,
        &format!("--drain 1s --clients {CLIENTS} --connection new --rate 3000/s --events 3000"),
    ));
}

#[test]
fn streams_do() {
    let stub = Stub::start(FAULTS);
    expect_faults(&load_on(
        &stub,
        &format!("--drain 1s --clients {CLIENTS} --transport sse --pace confirmed --events 3000"),
    ));
}

#[test]
fn several_processes_do() {
    let stub = Stub::start(FAULTS);
    let ended = load_on(&stub, &format!("--drain 1s --clients {CLIENTS} --workers 3 --pace confirmed --events 3000"));
    expect_faults(&ended);
    assert_eq!(ended.report["own"]["workers"], 3);
    assert_eq!(ended.report["steps"][0]["latency"]["count"], 2997 * CLIENTS);
}

#[test]
fn several_publishers_have_streams_of_their_own() {
    let stub = Stub::start(Faults { dropped: Some((100, 0)), ..Faults::default() });
    let ended = load_on(&stub, "--drain 1s --clients 10 --publishers 7 --pace confirmed --events 700");
    assert_eq!(["received", "lost", "out_of_order"].map(|field| ended.step(field)), [6930, 70, 0]);
    let stub = Stub::start(Faults::default());
    let ended = load_on(&stub, "--clients 12 --topics 5 --publishers 3 --rate 2000/s --events 500");
    // Two or three clients of each topic, each of which has 100 events.
    assert_eq!(["received", "lost", "out_of_order", "sent"].map(|field| ended.step(field)), [1200, 0, 0, 500]);
    assert_eq!(ended.code, Some(0), "{}", ended.report["failures"]);
}

#[test]
fn an_event_that_was_not_confirmed_is_not_lost_and_may_come() {
    let stub = Stub::start(Faults { dropped: Some((100, 50)), refused: Some((100, 50)), ..Faults::default() });
    let ended = load_on(&stub, "--clients 5 --pace confirmed --events 300");
    let found = ["received", "lost", "confirmed", "not_confirmed"].map(|field| ended.step(field));
    assert_eq!(found, [297 * 5, 0, 297, 3]);
    let stub = Stub::start(Faults { refused: Some((100, 50)), ..Faults::default() });
    let ended = load_on(&stub, "--clients 5 --pace confirmed --events 300");
    let found = ["received", "lost", "repeated_unflagged", "not_confirmed"].map(|field| ended.step(field));
    assert_eq!(found, [1500, 0, 0, 3]);
    assert_eq!(ended.report["steps"][0]["publish_errors"]["status 503"], 3);
}

#[test]
fn an_event_whose_confirm_does_not_come_is_not_lost() {
    let stub = Stub::start(Faults { dropped: Some((10, 5)), silent: Some((10, 5)), ..Faults::default() });
    let ended = load_on(&stub, "--clients 5 --rate 100/s --for 500ms --drain 200ms --deadline 500ms");
    let found = ["sent", "confirmed", "received", "lost", "not_confirmed"].map(|field| ended.step(field));
    assert_eq!(found, [5, 4, 20, 0, 1]);
    assert_eq!(ended.report["steps"][0]["publish_errors"]["no answer in time"], 1);
}

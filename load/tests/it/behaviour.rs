//! Clients that fail, hang up, think and come back get every event.

use crate::{
    stub::{Faults, Stub},
    tool::load_on,
};

#[test]
fn an_error_of_a_client_is_counted_by_kind_and_the_run_goes_on() {
    let stub = Stub::start(Faults { unavailable: Some((10, 3)), reset: Some((10, 7)), ..Faults::default() });
    let ended = load_on(&stub, "--clients 20 --pace confirmed --events 200 --require lost=0,repeated=0");
    assert_eq!(["lost", "repeated_unflagged", "received"].map(|field| ended.step(field)), [0, 0, 4000]);
    let kinds = &ended.report["steps"][0]["receive_errors_by_kind"];
    assert!(kinds["status 503"].as_u64() > Some(1) && kinds["connection reset"].as_u64() > Some(1), "{kinds}");
    assert_eq!(ended.code, Some(0), "{}", ended.report["failures"]);
}

#[test]
fn clients_that_hang_up_or_go_away_come_back_to_their_place() {
    for flags in [
        "--hang-up 50% --stay 100ms --away 50ms",
        "--stay 100ms --away 50ms",
        "--hang-up 100% --stay 50ms --transport sse",
    ] {
        let stub = Stub::start(Faults::default());
        let ended = load_on(&stub, &format!("--clients 20 --rate 200/s --for 1s {flags}"));
        assert_eq!(
            ["lost", "receive_errors"].map(|field| ended.step(field)),
            [0, 0],
            "{flags}: {}",
            ended.report["steps"]
        );
        assert_eq!(["received", "sent"].map(|field| ended.step(field)), [4000, 200], "{flags}");
        assert!(ended.step("left") > 10, "{flags}");
    }
}

#[test]
fn clients_that_think_get_several_events_at_once() {
    let stub = Stub::start(Faults::default());
    let ended = load_on(&stub, "--clients 10 --think 100ms --rate 500/s --for 1s --ramp 200ms");
    assert_eq!(["lost", "received"].map(|field| ended.step(field)), [0, 5000]);
    assert!(ended.step("polls") < 1000, "{}", ended.report["steps"]);
}

#[test]
fn events_come_at_random_gaps_of_a_rate_and_a_run_can_listen_on() {
    let stub = Stub::start(Faults::default());
    let ended = load_on(&stub, "--clients 3 --rate 500/s --random-gaps --events 200 --publishers 2 --listen 1s");
    assert_eq!(["lost", "out_of_order", "received"].map(|field| ended.step(field)), [0, 0, 600]);
    let (step, seconds) = (&ended.report["steps"][0], ended.report["series"].as_array().unwrap().len());
    assert!(step["rate"].as_f64() == Some(500.0) && seconds >= 1, "{}", ended.report);
}

#[test]
fn events_can_be_published_elsewhere_than_they_are_read() {
    let (read, published) = (Stub::start(Faults::default()), Stub::start(Faults::default()));
    let address = published.address();
    let ended = load_on(&read, &format!("--clients 3 --events 5 --rate 100/s --publish-address {address} --drain 1ms"));
    assert_eq!((ended.step("confirmed"), ended.step("received")), (5, 0));
    assert!(read.polls() > 0 && published.polls() == 0);
}

#[test]
fn steps_have_more_clients_each() {
    let stub = Stub::start(Faults::default());
    let ended = load_on(&stub, "--clients 5,10,3 --pace confirmed --events 100");
    let steps = ended.report["steps"].as_array().unwrap();
    let received: Vec<_> = steps.iter().map(|step| step["received"].as_u64().unwrap()).collect();
    assert_eq!((received, steps[2]["established"].as_u64()), (vec![500, 1000, 300], Some(3)));
    assert_eq!(ended.code, Some(0), "{}", ended.report["failures"]);
}

#[test]
fn a_server_that_refuses_is_told_by_kind() {
    // What is bound and does not listen refuses.
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let output = crate::tool::load(&format!(
        "--address 127.0.0.1:{port} --clients 2 --patience 300ms --for 100ms --drain 0s --json -"
    ));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["steps"][0]["receive_errors_by_kind"]["connection refused"].as_u64() >= Some(2), "{report}");
    assert!(
        report["notes"][0].as_str().unwrap().starts_with("only 0 of 2 clients got in (connection refused"),
        "{report}"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn in_lockstep_every_client_has_an_event_before_the_next_is_published() {
    let stub = Stub::start(Faults::default());
    let ended = load_on(&stub, "--clients 10 --pace lockstep --events 50");
    assert_eq!(["received", "sent", "lost"].map(|field| ended.step(field)), [500, 50, 0]);
    assert_eq!(ended.report["steps"][0]["rounds"]["count"], 50);
    let ended = load_on(&stub, "--clients 10 --topics own --pace lockstep --events 50 --among 5");
    assert_eq!(["received", "sent", "lost"].map(|field| ended.step(field)), [50, 50, 0]);
}

#[test]
fn bursts_come_at_once() {
    let stub = Stub::start(Faults::default());
    let ended = load_on(&stub, "--clients 5 --burst 50 --every 200ms --for 500ms --publishers 5");
    assert_eq!(["received", "sent", "lost"].map(|field| ended.step(field)), [750, 150, 0]);
}

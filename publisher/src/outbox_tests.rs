//! The outbox against a broker that is made up: by example, and by random histories.

use std::collections::HashSet;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn outgoing(line: u64) -> Outgoing {
    Outgoing { event: Event::new("a".parse().unwrap(), None, Bytes::from(line.to_string())), line: Some(line) }
}

fn filled(capacity: usize, count: u64) -> Outbox {
    let mut outbox = Outbox::new(capacity);
    (1..=count).for_each(|line| outbox.push(outgoing(line)));
    outbox
}

fn send_all(outbox: &mut Outbox) -> Vec<(String, bool)> {
    std::iter::from_fn(|| outbox.send_next())
        .map(|event| (String::from_utf8(event.payload.to_vec()).unwrap(), event.resent))
        .collect()
}

fn sent(lines: &[(u64, bool)]) -> Vec<(String, bool)> {
    lines.iter().map(|&(line, resent)| (line.to_string(), resent)).collect()
}

#[test]
fn the_window_bounds_what_is_taken_by_count_and_by_bytes() {
    let mut outbox = filled(2, 2);
    assert!(!outbox.has_room());
    send_all(&mut outbox);
    assert!(!outbox.has_room());
    outbox.confirmed();
    assert!(outbox.has_room());

    let mut outbox = Outbox::new(100);
    let half: Bytes = vec![0; MAX_BYTES / 2].into();
    for _ in 0..2 {
        assert!(outbox.has_room());
        outbox.push(Outgoing { event: Event::new("a".parse().unwrap(), None, half.clone()), line: None });
    }
    assert!(!outbox.has_room());
    send_all(&mut outbox);
    outbox.confirmed();
    assert!(outbox.has_room());
}

#[test]
fn a_lost_connection_resends_the_unconfirmed_in_order_before_anything_newer() {
    let mut outbox = filled(5, 4);
    outbox.send_next();
    outbox.send_next();
    outbox.send_next();
    outbox.confirmed();
    outbox.lost();
    assert_eq!(send_all(&mut outbox), sent(&[(2, true), (3, true), (4, false)]));
    assert_eq!(outbox.resent(), 2);
    outbox.lost();
    send_all(&mut outbox);
    assert_eq!(outbox.resent(), 3, "an event counts once, however often it is resent");
}

#[test]
fn an_event_that_the_broker_refuses_is_found_and_the_others_go_on() {
    let mut outbox = filled(9, 4);
    send_all(&mut outbox);
    assert!(outbox.refused().is_none(), "nobody knows yet which one it was");
    // One at a time from here on.
    assert_eq!(send_all(&mut outbox), sent(&[(1, true)]));
    outbox.confirmed();
    assert_eq!(send_all(&mut outbox), sent(&[(2, true)]));
    let guilty = outbox.refused().unwrap();
    assert_eq!((guilty.outgoing.line, guilty.was_sent), (Some(2), true));
    assert_eq!(send_all(&mut outbox), sent(&[(3, true), (4, true)]));
}

#[test]
fn a_rejected_event_is_tried_again_in_its_place_and_then_given_up() {
    let mut outbox = filled(9, 3);
    outbox.send_next();
    outbox.send_next();
    assert!(outbox.rejected().is_none());
    assert!(!outbox.may_send() && !outbox.must_pause(), "2 is still to be answered");
    outbox.confirmed();
    assert!(outbox.must_pause());
    outbox.resume();
    assert_eq!(send_all(&mut outbox), sent(&[(1, true), (3, false)]));
    outbox.rejected();
    outbox.confirmed();
    for _ in 3..MAX_REJECTIONS {
        outbox.resume();
        send_all(&mut outbox);
        assert!(outbox.rejected().is_none());
    }
    outbox.resume();
    send_all(&mut outbox);
    assert_eq!(outbox.rejected().unwrap().outgoing.line, Some(1));
    assert!(outbox.is_empty());
}

#[test]
fn abandoning_tells_the_sent_from_the_unsent() {
    let mut outbox = filled(9, 3);
    outbox.send_next();
    outbox.send_next();
    assert_eq!(outbox.unwritable().unwrap().outgoing.line, Some(1));
    let lines: Vec<_> = outbox.abandon().iter().map(|gone| (gone.outgoing.line, gone.was_sent)).collect();
    assert_eq!(lines, [(Some(2), true), (Some(3), false)]);
    assert!(outbox.is_empty() && outbox.bytes == 0);
}

/// What may happen to an outbox.
#[derive(Debug, Clone, Copy)]
enum Step {
    Push,
    Send,
    Confirm,
    Reject,
    Refuse,
    Lose,
    Resume,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Push),
        4 => Just(Step::Send),
        4 => Just(Step::Confirm),
        1 => Just(Step::Reject),
        1 => Just(Step::Refuse),
        1 => Just(Step::Lose),
        2 => Just(Step::Resume),
    ]
}

proptest! {
    /// Whatever happens: bounded, honest about repeats, in order, and every event ends exactly once.
    #[test]
    fn no_event_is_lost_and_none_overtakes(capacity in 1_usize..6, steps in proptest::collection::vec(step(), 1..200)) {
        let mut outbox = Outbox::new(capacity);
        let (mut pushed, mut confirmed, mut given_up) = (0, 0_u64, Vec::new());
        let mut seen = HashSet::new();
        let mut last_sent = 0;
        for step in steps {
            match step {
                Step::Push if outbox.has_room() => {
                    pushed += 1;
                    outbox.push(outgoing(pushed));
                }
                Step::Send => if let Some(event) = outbox.send_next() {
                    let line: u64 = std::str::from_utf8(&event.payload).unwrap().parse().unwrap();
                    prop_assert_eq!(!seen.insert(line), event.resent);
                    prop_assert!(line > last_sent, "{} was sent after {}", line, last_sent);
                    last_sent = line;
                },
                Step::Confirm => {
                    confirmed += u64::from(!outbox.in_flight.is_empty());
                    outbox.confirmed();
                }
                Step::Reject => given_up.extend(outbox.rejected()),
                // The broker can close a channel only over something that was sent.
                Step::Refuse if !outbox.in_flight.is_empty() => {
                    given_up.extend(outbox.refused());
                    last_sent = 0;
                }
                Step::Lose => {
                    outbox.lost();
                    last_sent = 0;
                }
                Step::Resume if outbox.must_pause() => {
                    outbox.resume();
                    last_sent = 0;
                }
                Step::Push | Step::Refuse | Step::Resume => {}
            }
            prop_assert!(outbox.len() <= capacity);
            prop_assert_eq!(outbox.bytes > 0, !outbox.is_empty());
        }
        given_up.extend(outbox.abandon());
        let gone: HashSet<_> = given_up.iter().map(|gone| gone.outgoing.line).collect();
        prop_assert_eq!(gone.len(), given_up.len());
        prop_assert_eq!(confirmed + given_up.len() as u64, pushed);
    }
}

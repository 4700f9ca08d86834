//! The outbox against a broker that is made up: by example, and by random histories.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use proptest::prelude::*;

use events::testing;

use super::*;

fn outgoing(line: u64) -> Outgoing {
    about("a", line)
}

fn about(topic: &str, line: u64) -> Outgoing {
    Outgoing { event: testing::event(topic, line), line: Some(line) }
}

fn filled(window: usize, count: u64) -> Outbox {
    let mut outbox = Outbox::new(window, Concurrency::Free);
    (1..=count).for_each(|line| outbox.push(outgoing(line)));
    outbox
}

fn send_all(outbox: &mut Outbox) -> Vec<(String, bool)> {
    std::iter::from_fn(|| outbox.send_next())
        .map(|(_, event)| (String::from_utf8(event.payload.to_vec()).unwrap(), event.resent))
        .collect()
}

/// The ticket of the oldest in flight.
fn oldest(outbox: &Outbox) -> Ticket {
    *outbox.in_flight.keys().next().expect("nothing is in flight")
}

fn confirm_oldest(outbox: &mut Outbox) {
    outbox.confirmed(oldest(outbox));
}

fn reject_oldest(outbox: &mut Outbox) -> Option<GivenUp> {
    outbox.rejected(oldest(outbox))
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
    confirm_oldest(&mut outbox);
    assert!(outbox.has_room());

    let mut outbox = Outbox::new(100, Concurrency::Free);
    let half: Bytes = vec![0; MAX_BYTES / 2].into();
    for _ in 0..2 {
        assert!(outbox.has_room());
        outbox.push(Outgoing { event: Event::new("a".parse().unwrap(), None, half.clone()), line: None });
    }
    assert!(!outbox.has_room());
    send_all(&mut outbox);
    confirm_oldest(&mut outbox);
    assert!(outbox.has_room());
}

#[test]
fn a_lost_connection_resends_the_unconfirmed_in_order_before_anything_newer() {
    let mut outbox = filled(5, 4);
    outbox.send_next();
    outbox.send_next();
    outbox.send_next();
    confirm_oldest(&mut outbox);
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
    assert!(outbox.refused_one().is_none(), "it is not known yet which one it was");
    // One at a time from here on.
    assert_eq!(send_all(&mut outbox), sent(&[(1, true)]));
    confirm_oldest(&mut outbox);
    assert_eq!(send_all(&mut outbox), sent(&[(2, true)]));
    let guilty = outbox.refused_one().unwrap();
    assert_eq!((guilty.outgoing.line, guilty.was_sent), (Some(2), true));
    assert_eq!(send_all(&mut outbox), sent(&[(3, true), (4, true)]));
}

#[test]
fn a_rejected_event_is_tried_again_in_its_place_and_then_given_up() {
    let mut outbox = filled(9, 3);
    outbox.send_next();
    outbox.send_next();
    assert!(reject_oldest(&mut outbox).is_none());
    assert!(!outbox.may_send() && !outbox.must_pause(), "2 is still to be answered");
    confirm_oldest(&mut outbox);
    assert!(outbox.must_pause());
    outbox.resume();
    assert_eq!(send_all(&mut outbox), sent(&[(1, true), (3, false)]));
    reject_oldest(&mut outbox);
    confirm_oldest(&mut outbox);
    for _ in 3..MAX_REJECTIONS {
        outbox.resume();
        send_all(&mut outbox);
        assert!(reject_oldest(&mut outbox).is_none());
    }
    outbox.resume();
    send_all(&mut outbox);
    assert_eq!(reject_oldest(&mut outbox).unwrap().outgoing.line, Some(1));
    assert!(outbox.is_empty());
}

#[test]
fn abandoning_tells_the_sent_from_the_unsent() {
    let mut outbox = filled(9, 3);
    outbox.send_next();
    outbox.send_next();
    assert_eq!(outbox.refused(oldest(&outbox)).unwrap().outgoing.line, Some(1));
    let lines: Vec<_> = outbox.abandon().iter().map(|gone| (gone.outgoing.line, gone.was_sent)).collect();
    assert_eq!(lines, [(Some(2), true), (Some(3), false)]);
    assert!(outbox.is_empty() && outbox.bytes == 0);
}

#[test]
fn one_by_one_nothing_is_sent_nor_even_taken_before_the_last_is_settled() {
    let mut outbox = Outbox::new(9, Concurrency::Never);
    outbox.push(outgoing(1));
    assert!(!outbox.has_room(), "what is not taken from the input can be said to be unread");
    let (ticket, _) = outbox.send_next().unwrap();
    outbox.postponed(ticket, true);
    assert!(outbox.must_pause() && !outbox.has_room());
    outbox.resume();
    assert_eq!(send_all(&mut outbox), sent(&[(1, true)]));
    confirm_oldest(&mut outbox);
    assert!(outbox.has_room());
}

#[test]
fn topics_go_side_by_side_and_the_events_of_one_in_a_row() {
    let mut outbox = Outbox::new(9, Concurrency::Topics(2));
    for (line, topic) in (1..).zip(["a", "a", "b", "c", "b"]) {
        outbox.push(about(topic, line));
    }
    assert_eq!(send_all(&mut outbox), sent(&[(1, false), (3, false)]));
    let second = *outbox.in_flight.keys().nth(1).unwrap();
    outbox.confirmed(second);
    assert_eq!(send_all(&mut outbox), sent(&[(4, false)]), "2 waits for 1, and two are on their way");
    reject_oldest(&mut outbox);
    confirm_oldest(&mut outbox);
    assert!(!outbox.may_send() && outbox.must_pause(), "2 and 5 do not overtake 1");
    outbox.resume();
    assert_eq!(send_all(&mut outbox), sent(&[(1, true), (5, false)]));
}

#[test]
fn a_batch_is_half_of_the_window_and_the_other_half_waits_for_its_answer() {
    let mut outbox = Outbox::new(6, Concurrency::Batches(100));
    let lines = |batch: &[(Ticket, Event)]| batch.iter().map(|(_, event)| testing::number(event)).collect::<Vec<u64>>();
    (1..=6).for_each(|line| outbox.push(outgoing(line)));
    let first = outbox.send_batch();
    assert_eq!((lines(&first), outbox.send_batch().len()), (vec![1, 2, 3], 0));
    // The second is wrong, and so the others of its batch were not looked at.
    outbox.not_tried(first[0].0);
    outbox.refused(first[1].0);
    outbox.not_tried(first[2].0);
    assert!(!outbox.must_pause());
    let second = outbox.send_batch();
    assert_eq!(lines(&second), [1, 3, 4]);
    assert!(second.iter().all(|(_, event)| !event.resent));
    // A batch of repeats has nothing else in it.
    outbox.confirmed(second[0].0);
    outbox.postponed(second[1].0, true);
    outbox.postponed(second[2].0, true);
    assert!(outbox.must_pause() && outbox.send_batch().is_empty());
    outbox.resume();
    let third = outbox.send_batch();
    assert_eq!(lines(&third), [3, 4]);
    assert!(third.iter().all(|(_, event)| event.resent));
    for (ticket, _) in third {
        outbox.confirmed(ticket);
    }
    outbox.set_concurrency(Concurrency::Never);
    assert_eq!((lines(&outbox.send_batch()), outbox.send_batch().len()), (vec![5], 0));
}

#[test]
fn only_what_was_never_sent_can_be_taken_back() {
    let mut outbox = filled(9, 3);
    outbox.send_next();
    outbox.lost();
    let lines: Vec<_> = outbox.take_unsent().iter().map(|outgoing| outgoing.line).collect();
    assert_eq!(lines, [Some(2), Some(3)]);
    assert_eq!((outbox.len(), outbox.bytes), (1, 1));
    let (ticket, _) = outbox.send_next().unwrap();
    outbox.postponed(ticket, true);
    outbox.resume();
    assert!(outbox.take_unsent().is_empty());
}

#[test]
fn what_never_left_is_no_repeat() {
    let mut outbox = filled(9, 2);
    let (ticket, _) = outbox.send_next().unwrap();
    outbox.postponed(ticket, false);
    outbox.resume();
    assert_eq!(send_all(&mut outbox), sent(&[(1, false), (2, false)]));
    let ticket = oldest(&outbox);
    outbox.postponed(ticket, false);
    assert_eq!(outbox.resent(), 0);
    let was_sent: Vec<_> = outbox.abandon().iter().map(|gone| gone.was_sent).collect();
    assert_eq!(was_sent, [false, true]);
}

/// What may happen to an outbox; a number chooses among what is in flight.
#[derive(Debug, Clone, Copy)]
enum Step {
    Push(u8),
    Send,
    Confirm(usize),
    Reject(usize),
    Postpone(usize, bool),
    NotTried(usize),
    Refuse(usize),
    RefuseOne,
    Lose,
    Resume,
}

fn step() -> impl Strategy<Value = Step> {
    let which = || 0..6_usize;
    prop_oneof![
        4 => (0..3_u8).prop_map(Step::Push),
        4 => Just(Step::Send),
        4 => which().prop_map(Step::Confirm),
        1 => which().prop_map(Step::Reject),
        1 => (which(), any::<bool>()).prop_map(|(which, was_sent)| Step::Postpone(which, was_sent)),
        1 => which().prop_map(Step::NotTried),
        1 => which().prop_map(Step::Refuse),
        1 => Just(Step::RefuseOne),
        1 => Just(Step::Lose),
        2 => Just(Step::Resume),
    ]
}

fn concurrency() -> impl Strategy<Value = Concurrency> {
    prop_oneof![
        Just(Concurrency::Free),
        (1..4_usize).prop_map(Concurrency::Topics),
        (1..4_usize).prop_map(Concurrency::Batches),
        Just(Concurrency::Never),
    ]
}

proptest! {
    /// Whatever happens: bounded, honest about repeats, in order, and every event ends exactly once.
    #[test]
    fn no_event_is_lost_and_none_overtakes(
        window in 1_usize..6,
        concurrency in concurrency(),
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        let mut outbox = Outbox::new(window, concurrency);
        let (mut pushed, mut confirmed, mut given_up) = (0, 0_u64, Vec::new());
        let mut seen = HashSet::new();
        // The last line that was sent of each topic; of all events where the order is that of the source.
        let mut last_sent = HashMap::<String, u64>::new();
        for step in steps {
            let chosen = |which: usize| {
                let tickets: Vec<_> = outbox.in_flight.keys().copied().collect();
                (!tickets.is_empty()).then(|| tickets[which % tickets.len()])
            };
            match step {
                Step::Push(topic) if outbox.has_room() => {
                    pushed += 1;
                    outbox.push(about(&format!("t{topic}"), pushed));
                }
                Step::Send => {
                  let batch = outbox.send_batch();
                  prop_assert!(batch.iter().all(|(_, event)| event.resent == batch[0].1.resent), "{:?}", batch);
                  for (ticket, event) in &batch {
                    let line: u64 = testing::number(event);
                    prop_assert_eq!(!seen.insert(line), event.resent);
                    let by_topic = matches!(concurrency, Concurrency::Topics(_));
                    let lane = if by_topic { event.topic.as_str().to_owned() } else { String::new() };
                    let last = last_sent.insert(lane, line).unwrap_or(0);
                    prop_assert!(line > last, "{} was sent after {}", line, last);
                    let others = outbox.in_flight.iter().filter(|(other, _)| *other != ticket);
                    match concurrency {
                        Concurrency::Never => prop_assert_eq!(others.count(), 0),
                        Concurrency::Topics(most) => {
                            prop_assert!(outbox.in_flight.len() <= most);
                            prop_assert!(others.into_iter().all(|(_, other)| *other.topic() != event.topic));
                        }
                        Concurrency::Batches(most) => {
                            prop_assert!(batch.len() <= most && outbox.in_flight.len() == batch.len());
                        }
                        Concurrency::Free => {}
                    }
                  }
                },
                Step::NotTried(which) => if let Some(ticket) = chosen(which) {
                    if outbox.in_flight[&ticket].sends == 1 {
                        seen.remove(&outbox.in_flight[&ticket].outgoing.line.unwrap());
                    }
                    outbox.not_tried(ticket);
                    last_sent.clear();
                },
                Step::Confirm(which) => if let Some(ticket) = chosen(which) {
                    confirmed += 1;
                    outbox.confirmed(ticket);
                },
                Step::Reject(which) => if let Some(ticket) = chosen(which) {
                    given_up.extend(outbox.rejected(ticket));
                },
                Step::Postpone(which, was_sent) => if let Some(ticket) = chosen(which) {
                    if !was_sent && outbox.in_flight[&ticket].sends == 1 {
                        seen.remove(&outbox.in_flight[&ticket].outgoing.line.unwrap());
                    }
                    outbox.postponed(ticket, was_sent);
                },
                Step::Refuse(which) => if let Some(ticket) = chosen(which) {
                    given_up.extend(outbox.refused(ticket));
                },
                // The broker can close a channel only over something that was sent.
                Step::RefuseOne if !outbox.in_flight.is_empty() => {
                    given_up.extend(outbox.refused_one());
                    last_sent.clear();
                }
                Step::Lose => {
                    outbox.lost();
                    last_sent.clear();
                }
                Step::Resume if outbox.must_pause() => {
                    outbox.resume();
                    last_sent.clear();
                }
                Step::Push(_) | Step::RefuseOne | Step::Resume => {}
            }
            prop_assert!(outbox.len() <= window);
            prop_assert_eq!(outbox.bytes > 0, !outbox.is_empty());
        }
        given_up.extend(outbox.abandon());
        let gone: HashSet<_> = given_up.iter().map(|gone| gone.outgoing.line).collect();
        prop_assert_eq!(gone.len(), given_up.len());
        prop_assert_eq!(confirmed + given_up.len() as u64, pushed);
    }
}

//! Following the log from its end on.

use std::time::Duration;

use broker::{
    Broker,
    log::{EventLog, LogTail},
};
use futures_util::future::join_all;
use postern_tests::{PATIENCE, give_up};
use tokio::time::timeout;

use super::world::{LogFactory, ROOMY, end, follow, list, numbers, offsets, publish, search_all};

pub(in crate::contract) async fn any_number_of_tails_get_every_event_and_consume_none<F: LogFactory>() {
    let world = F::with_log(ROOMY).await;
    let broker = world.broker();
    let mut tails = Vec::new();
    for _ in 0..5 {
        tails.push(end(broker).await.tail);
    }
    let followed = async { join_all(tails.iter_mut().map(|tail| follow(tail, 1000))).await };
    let (followed, ()) = tokio::join!(followed, publish(broker, "a", 0..1000));
    for events in &followed {
        assert_eq!((numbers(events), offsets(events)), (list(0..1000), offsets(&followed[0])));
    }
    let end = end(broker).await.next;
    assert_eq!(numbers(&search_all(broker, "a", 0..end).await), list(0..1000));
}

pub(in crate::contract) async fn a_tail_that_is_read_late_gets_all_the_same<F: LogFactory>() {
    let world = F::with_log(ROOMY).await;
    let mut tail = end(world.broker()).await.tail;
    publish(world.broker(), "a", 0..3000).await;
    assert_eq!(numbers(&follow(&mut tail, 3000).await), list(0..3000));
}

pub(in crate::contract) async fn a_tail_waits_while_nothing_is_stored<F: LogFactory>() {
    let world = F::with_log(ROOMY).await;
    let mut tail = end(world.broker()).await.tail;
    publish(world.broker(), "a", 0..10).await;
    follow(&mut tail, 10).await;
    // Another end may be written into the log; it is no event.
    end(world.broker()).await;
    let nothing = timeout(Duration::from_millis(300), tail.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    publish(world.broker(), "a", 10..11).await;
    assert_eq!(numbers(&follow(&mut tail, 1).await), [10]);
}

pub(in crate::contract) async fn waiting_for_the_next_event_can_be_given_up<F: LogFactory>() {
    let world = F::with_log(ROOMY).await;
    let mut tail = end(world.broker()).await.tail;
    let publishing = publish(world.broker(), "a", 0..3000);
    let following = async {
        let mut events = Vec::new();
        for polls in (1..4).cycle() {
            // It is given up after nearly every look.
            let mut taken = None;
            give_up(async { taken = Some(tail.next().await) }, polls).await;
            events.extend(taken.map(Result::unwrap).unwrap_or_default());
            if events.len() >= 3000 {
                break;
            }
            tokio::task::yield_now().await;
        }
        events
    };
    let (events, ()) = tokio::join!(timeout(PATIENCE, following), publishing);
    assert_eq!(numbers(&events.expect("all events should come")), list(0..3000));
}

pub(in crate::contract) async fn what_a_tail_will_hand_over_is_within_its_reach<F: LogFactory>() {
    let world = F::with_log(ROOMY).await;
    let broker = world.broker();
    let reaches = async |offset: u64| broker.log().reaches(offset).await.unwrap();
    let mut tail = end(broker).await.tail;
    let empty = end(broker).await.next;
    assert!(!reaches(empty).await, "nothing is stored");
    assert!(!reaches(empty.saturating_sub(1)).await, "an end that was found is no event");
    publish(broker, "a", 0..10).await;
    let next = end(broker).await.next;
    // Nothing was handed over yet.
    assert!(reaches(0).await && reaches(empty).await, "an offset of a lower one is enough");
    let events = follow(&mut tail, 10).await;
    for logged in [&events[0], &events[9]] {
        assert!(reaches(logged.offset).await, "{logged:?} is stored");
    }
    for beyond in [events[9].offset + 1, next, next + 1000] {
        assert!(!reaches(beyond).await, "{beyond} is after all of {:?}", offsets(&events));
    }
}

pub(in crate::contract) async fn a_tail_that_rests_goes_on_where_it_stopped<F: LogFactory>() {
    let world = F::with_log(ROOMY).await;
    let broker = world.broker();
    let mut tail = end(broker).await.tail;
    let mut next = 0..0;
    // Also before anything is stored, and where some of it was not read yet.
    for stored in [0, 10, 0, 3000] {
        publish(broker, "a", next.end..next.end + stored / 2).await;
        let rest = timeout(Duration::from_millis(300), tail.rest()).await;
        assert!(rest.is_err(), "nothing is lost");
        next = next.end..next.end + stored;
        publish(broker, "a", next.start + stored / 2..next.end).await;
        let mut events = Vec::new();
        tail.resume(|more| events.extend(more)).await.unwrap();
        assert_eq!(numbers(&events), list(next.clone()));
        next = next.end..next.end + 1;
        publish(broker, "a", next.clone()).await;
        assert_eq!(numbers(&follow(&mut tail, 1).await), list(next.clone()));
    }
    let all = end(broker).await.next;
    assert_eq!(numbers(&search_all(broker, "a", 0..all).await), list(0..next.end));
}

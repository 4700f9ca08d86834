//! Batches that hold only the newest event of each topic.

use super::*;

impl World {
    /// Polls without waiting, folded: the numbers, and the place.
    async fn look_folded(&self, place: Cursor, limit: usize) -> (Vec<u64>, Cursor) {
        let (selection, deadline) = ("#".parse().unwrap(), Instant::now());
        match self.ask(FeedRequest { selection, start: Start::After(place), limit, latest_only: true, deadline }).await
        {
            FeedOutcome::Batch(batch) => (numbers(&batch), batch.last_seen),
            FeedOutcome::Nothing(end) => (Vec::new(), end),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn folded_a_batch_holds_the_newest_of_each_topic() {
    let world = World::roomy().await;
    let (_, _, place) = world.look("#", Start::Now).await;
    world.publish("a", 0..50).await;
    world.publish("b", 50..60).await;
    world.publish("a", 60..61).await;
    let (seen, place) = world.look_folded(place, 100).await;
    assert_eq!(seen, [59, 60]);
    assert_eq!(world.look("#", Start::After(place)).await.0, Vec::<u64>::new());
}

#[tokio::test]
async fn where_the_index_forgot_topics_a_part_is_folded_and_the_rest_follows() {
    // The index knows one topic; all events are recent, or next to none.
    for window in [1 << 20, 600] {
        let world = World::new(1 << 30, window, 1).await;
        world.publish("z", 0..1).await;
        let (_, _, mut place) = world.look("#", Start::Now).await;
        let topics = ["a", "a", "b", "a", "a", "c", "b", "d", "a"];
        for (number, topic) in (1..).zip(topics) {
            world.publish(topic, number..number + 1).await;
        }
        let (mut seen, mut states) = (Vec::new(), std::collections::BTreeMap::new());
        loop {
            let (found, next) = world.look_folded(place, 100).await;
            if found.is_empty() {
                break;
            }
            seen.extend(found);
            place = next;
        }
        assert!(seen.is_sorted() && seen.len() < topics.len(), "{seen:?}");
        states.extend(seen.into_iter().map(|number| (topics[usize::try_from(number).unwrap() - 1], number)));
        assert_eq!(
            states.into_iter().collect::<Vec<_>>(),
            [("a", 9), ("b", 7), ("c", 6), ("d", 8)],
            "window of {window}"
        );
    }
}

#[tokio::test]
async fn what_a_part_had_is_no_reason_to_leave_out_what_another_has() {
    // The events up to 16 are one part, and from 17 on the index knows all topics.
    let world = World::new(1 << 30, 1 << 20, 4).await;
    world.publish("z", 0..1).await;
    let (_, _, mut place) = world.look("#", Start::Now).await;
    for number in 1..16 {
        world.publish(if number % 2 == 0 { "a" } else { "b" }, number..number + 1).await;
    }
    for (number, topic) in (16..).zip(["x", "a", "b", "c", "d"]) {
        world.publish(topic, number..number + 1).await;
    }
    let mut seen = Vec::new();
    loop {
        let (found, next) = world.look_folded(place, 3).await;
        if found.is_empty() {
            break;
        }
        seen.extend(found);
        place = next;
    }
    assert!([16, 17, 18, 19, 20].iter().all(|newest| seen.contains(newest)), "{seen:?}");
}

//! Polls without a place: the newest event of each topic.

use super::*;

#[tokio::test]
async fn a_poll_without_a_place_gets_the_newest_of_each_topic_and_goes_on_from_there() {
    let world = World::roomy().await;
    assert_eq!(world.look("a.#", Start::Newest).await.0, Vec::<u64>::new());
    world.publish("a.x", 0..5).await;
    world.publish("a.y", 5..8).await;
    world.publish("b", 8..9).await;
    let (seen, reset, place) = world.look("a.#", Start::Newest).await;
    assert_eq!((seen, reset), (vec![4, 7], false));
    assert_eq!(world.look("a.#", Start::After(place)).await.0, Vec::<u64>::new());
    world.publish("a.x", 9..11).await;
    assert_eq!(world.look("a.#", Start::After(place)).await.0, [9, 10]);
    assert_eq!(world.look("#", Start::Oldest).await.0, (0..11).collect::<Vec<_>>());
    assert_eq!(world.look("#", Start::Now).await.0, Vec::<u64>::new());
}

#[tokio::test]
async fn of_more_topics_than_fit_a_batch_the_rest_follows() {
    let world = World::roomy().await;
    for number in 0..150 {
        world.publish(&format!("a.{number}"), number..number + 1).await;
    }
    let (first, _, place) = world.look("a.*", Start::Newest).await;
    assert_eq!(first, (0..100).collect::<Vec<_>>());
    assert_eq!(world.look("a.*", Start::After(place)).await.0, (100..150).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_the_index_has_forgotten_is_looked_up_in_the_log() {
    // Neither the recent events nor the index holds them all.
    for world in [World::new(1 << 30, 2600, 3).await, World::searching(2600, 3).await] {
        let mut early = Cursor::default();
        for number in 0..20 {
            world.publish(&format!("a.{}", number % 10), number..number + 1).await;
            if number == 13 {
                (_, _, early) = world.look("#", Start::Now).await;
            }
        }
        assert_eq!(world.look("a.0", Start::Newest).await.0, [10], "forgotten");
        assert_eq!(world.look("a.9", Start::Newest).await.0, [19], "known");
        assert_eq!(world.look("b", Start::Newest).await.0, [0; 0], "there is none");
        let (seen, _, place) = world.look("a.*", Start::Newest).await;
        assert_eq!(seen, (10..20).collect::<Vec<_>>());
        assert_eq!(world.look("a.*", Start::After(place)).await.0, [0; 0]);
        // A place from which on the index does not know everything is looked at in the log, too.
        assert_eq!(world.look("a.5", Start::After(early)).await.0, [15]);
    }
}

#[tokio::test]
async fn of_more_forgotten_topics_than_fit_a_batch_the_rest_follows() {
    for world in [World::new(1 << 30, 2600, 3).await, World::searching(2600, 3).await] {
        for number in 0..150 {
            world.publish(&format!("a.{number}"), number..number + 1).await;
        }
        let (mut seen, mut place) = (Vec::new(), Start::Newest);
        while seen.len() < 150 {
            let (more, _, next) = world.look("a.*", place).await;
            assert!(!more.is_empty(), "{} topics came", seen.len());
            seen.extend(more);
            place = Start::After(next);
        }
        assert_eq!(seen, (0..150).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn the_newest_event_is_the_newest_also_where_more_topics_were_forgotten_than_fit_a_batch() {
    let world = World::new(1 << 30, 2600, 3).await;
    for number in 0..600 {
        world.publish(&format!("a.{}", number % 150), number..number + 1).await;
    }
    let (first, _, place) = world.look("a.*", Start::Newest).await;
    assert_eq!(first, (450..550).collect::<Vec<_>>());
    assert_eq!(world.look("a.*", Start::After(place)).await.0, (550..600).collect::<Vec<_>>());
    assert_eq!(world.look("a.0", Start::Newest).await.0, [450]);
}

/// Polls once, publishes, and polls on: the numbers and the place.
async fn interrupted(world: &World, limit: usize, publish: impl AsyncFnOnce(&World)) -> (Vec<u64>, Cursor) {
    let (selection, deadline) = ("a.*".parse().unwrap(), Instant::now());
    let request = FeedRequest { selection, start: Start::Newest, limit, latest_only: false, deadline };
    let mut poll = std::pin::pin!(world.ask(request));
    assert!(futures_util::poll!(poll.as_mut()).is_pending(), "it goes on in another part");
    publish(world).await;
    match poll.await {
        FeedOutcome::Batch(batch) => (numbers(&batch), batch.last_seen),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_the_index_forgets_while_it_is_looked_through_leaves_no_gap() {
    for world in [World::new(1 << 30, 1 << 20, 40).await, World::searching(1 << 20, 40).await] {
        for number in 0..40 {
            world.publish(&format!("a.{number:02}"), number..number + 1).await;
        }
        let (mut seen, mut place) = interrupted(&world, 8, async |world| {
            for (number, topic) in (40..).zip(["a.00", "a.01", "b"]) {
                world.publish(topic, number..number + 1).await;
            }
        })
        .await;
        loop {
            let (more, _, next) = world.look("a.*", Start::After(place)).await;
            if more.is_empty() {
                break;
            }
            seen.extend(more);
            place = next;
        }
        assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
        assert!((2..42).all(|number| seen.contains(&number)), "{seen:?}");
    }
}

#[tokio::test]
async fn what_the_index_forgets_after_the_place_of_an_answer_is_not_in_it() {
    let world = World::new(1 << 30, 1 << 20, 20).await;
    for number in 0..20 {
        world.publish(&format!("a.{number:02}"), number..number + 1).await;
    }
    let (seen, place) = interrupted(&world, 100, async |world| {
        world.publish("a.new", 20..21).await;
        for number in 21..42 {
            world.publish(&format!("b.{number}"), number..number + 1).await;
        }
    })
    .await;
    assert_eq!(seen, (0..20).collect::<Vec<_>>());
    assert_eq!(world.look("a.*", Start::After(place)).await.0, [20]);
}

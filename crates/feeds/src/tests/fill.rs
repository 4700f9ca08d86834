//! What was stored before a start, of a log that shows only its last events.

use super::*;

/// Topics `a.0` to `a.9` in turn, then `b`: 0..200 and 200..210.
async fn started(window_bytes: usize, topics: usize, log: impl FnOnce(EmbeddedBroker) -> TestLog) -> World {
    let broker = broker(1 << 30);
    for number in 0..210 {
        let topic = if number < 200 { format!("a.{}", number % 10) } else { "b".to_owned() };
        broker.publish(&testing::event(&topic, number)).await.unwrap();
    }
    World::of(log(broker), window_bytes, topics).await
}

fn showing(shows: u64) -> impl FnOnce(EmbeddedBroker) -> TestLog {
    move |broker| TestLog { knows_newest: false, shows, ..TestLog::new(broker) }
}

/// Waits until nothing more of what was stored before is read.
async fn filled(world: &World) {
    let mut parts = world.feed.filled.subscribe();
    while let Ok(Ok(())) = timeout(Duration::from_millis(200), parts.changed()).await {}
}

#[tokio::test]
async fn the_newest_of_every_topic_comes_although_few_were_shown() {
    for shows in [0, 1, 3, 15, u64::MAX] {
        let world = started(1 << 20, 100, showing(shows)).await;
        assert_eq!(world.look("b", Start::Newest).await.0, [209], "{shows} shown");
        assert_eq!(world.look("a.3", Start::Newest).await.0, [193], "{shows} shown");
        assert_eq!(world.look("c", Start::Newest).await.0, [0; 0], "{shows} shown");
        let all: Vec<u64> = (190..200).chain([209]).collect();
        assert_eq!(world.look("#", Start::Newest).await.0, all, "{shows} shown");
    }
}

#[tokio::test]
async fn who_asks_for_a_topic_that_is_not_known_yet_waits_and_what_comes_meanwhile_is_newer() {
    let world = started(1 << 20, 100, showing(1)).await;
    let mut poll = std::pin::pin!(world.poll("a.3", Start::Newest, Duration::from_secs(10)));
    assert!(futures_util::poll!(poll.as_mut()).is_pending(), "it waits");
    world.publish("a.3", 210..211).await;
    let FeedOutcome::Batch(batch) = poll.await else { panic!("there is one") };
    assert_eq!(numbers(&batch), [210]);
    assert_eq!(world.look("a.3", Start::Newest).await.0, [210]);
}

#[tokio::test]
async fn the_index_has_all_topics_or_as_many_of_the_newest_as_fit() {
    let world = started(1 << 20, 100, showing(3)).await;
    filled(&world).await;
    let known = |world: &World| {
        let state = world.feed.state.lock();
        let index = &state.as_ref().unwrap().index;
        let (mut offsets, _) = index.part(&Selection::all(), None);
        offsets.sort_unstable();
        (index.complete_from(), offsets)
    };
    assert_eq!(known(&world), (0, (190..200).chain([209]).collect()));
    let world = started(1 << 20, 4, showing(3)).await;
    filled(&world).await;
    assert_eq!(known(&world), (197, vec![197, 198, 199, 209]));
    // What has no room is looked up.
    assert_eq!(world.look("a.3", Start::Newest).await.0, [193]);
}

#[tokio::test]
async fn the_recent_events_are_as_many_as_fit_whatever_was_shown() {
    let one = testing::event("a.0", 100).memory();
    for log in [showing(3), showing(u64::MAX)] {
        let world = started(20 * one, 100, log).await;
        filled(&world).await;
        let recent = || {
            let state = world.feed.state.lock();
            let recent = &state.as_ref().unwrap().recent;
            recent.from(0).map(|logged| logged.offset).collect::<Vec<_>>()
        };
        let offsets = recent();
        assert!((19..=22).contains(&offsets.len()), "{offsets:?}");
        assert_eq!(offsets, (210 - offsets.len() as u64..210).collect::<Vec<_>>());
        world.publish("a.0", 210..240).await;
        assert_eq!(recent().last(), Some(&239));
    }
}

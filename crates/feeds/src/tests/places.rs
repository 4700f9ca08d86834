//! What a place tells, and what comes of one that another pattern, another log, an older gateway or the client itself
//! made.

use events::EventTime;

use super::*;
use crate::{
    cursor::{Mark, Seen},
    recent::RecentEvents,
    state::{Lookup, State},
    topic_index::TopicIndex,
};

/// Publishes the same events of `mine` as any other world, and between them those of other topics, each with a payload
/// of its own.
async fn publish_among(world: &World, mine: &[(&str, u64)], others: &str) {
    for (topic, number) in mine {
        world.publish_payload(others, &format!("{others} {number}")).await;
        world.publish_payload(topic, &number.to_string()).await;
        world.publish_payload(others, &format!("{number} {others}")).await;
    }
}

impl World {
    async fn publish_payload(&self, topic: &str, payload: &str) {
        let mut event = Event::new(topic.parse().unwrap(), None, payload.to_owned());
        event.time = EventTime::from_unix_millis(0).unwrap();
        self.broker.publish(&event).await.unwrap();
        while self.feed.state.lock().as_ref().unwrap().recent.newest_first().next().map(|logged| &logged.event.id)
            != Some(&event.id)
        {
            yield_now().await;
        }
    }

    fn at(&self, offset: u64) -> Mark {
        let state = self.feed.state.lock();
        Mark::of(state.as_ref().unwrap().recent.get(offset).unwrap())
    }
}

/// Forgets by which log a place without an event is.
fn text(place: Cursor, world: &World) -> String {
    place.to_string().replace(&format!("~0~{:08x}", world.broker.log().id()), "~0~log")
}

#[tokio::test]
async fn logs_that_differ_by_events_of_other_topics_give_the_same_places() {
    let mine = [("a.x", 0), ("a.y", 1), ("a.x", 2), ("a.z", 3), ("a.y", 4)];
    // All are recent, or few.
    for window in [1 << 20, 900] {
        let mut seen: Vec<Vec<String>> = Vec::new();
        for others in ["pay.1", "pay.2"] {
            let world = World::new(1 << 30, window, 1000).await;
            let mut places = Vec::new();
            for start in STARTS {
                places.push(world.look("a.*", start).await.2);
            }
            publish_among(&world, &mine, others).await;
            for pattern in ["a.*", "a.x", "*.y", "b"] {
                for start in STARTS.into_iter().chain([Start::Unknown]) {
                    let (_, _, place) = world.look(pattern, start).await;
                    places.push(place);
                    for limit in [1, 2, 100] {
                        let mut start = Start::After(place);
                        for latest_only in [false, true] {
                            let (selection, deadline) = (pattern.parse().unwrap(), Instant::now());
                            let request = FeedRequest { selection, start, limit, latest_only, deadline };
                            let place = match world.ask(request).await {
                                FeedOutcome::Batch(batch) => {
                                    places.extend(batch.events.iter().map(Cursor::after));
                                    batch.last_seen
                                }
                                FeedOutcome::Nothing(place) => place,
                                other => panic!("{other:?}"),
                            };
                            places.push(place);
                            start = Start::After(place);
                        }
                    }
                }
            }
            // What those who wait get.
            let (_, _, now) = world.look("a.*", Start::Now).await;
            let waiting = world.poll("a.*", Start::After(now), Duration::from_secs(20));
            let publishing = async {
                while world.feed.state.lock().as_ref().unwrap().watchers.count() < 1 {
                    yield_now().await;
                }
                publish_among(&world, &[("a.x", 5)], others).await;
            };
            let both = timeout(Duration::from_secs(30), async { tokio::join!(waiting, publishing) });
            let (FeedOutcome::Batch(batch), ()) = both.await.expect("it waits") else { panic!("no batch") };
            places.push(batch.last_seen);
            seen.push(places.into_iter().map(|place| text(place, &world)).collect());
        }
        assert_eq!(seen[0], seen[1], "window of {window}");
        assert!(seen[0].iter().any(|place| place.ends_with("~0~log")), "{:?}", seen[0]);
    }
}

const STARTS: [Start; 3] = [Start::Newest, Start::Oldest, Start::Now];

#[tokio::test]
async fn a_place_that_was_made_up_tells_nothing_of_events_of_other_topics() {
    // The newest is recent, and next to none.
    for window in [1 << 20, 600] {
        let world = World::new(1 << 30, window, 1000).await;
        world.publish_payload("a", "1").await;
        let foreign: Vec<Mark> = {
            let mut foreign = Vec::new();
            for salary in ["1000", "2000", "3000"] {
                world.publish_payload("pay", salary).await;
                let newest = world.feed.state.lock().as_ref().unwrap().recent.end() - 1;
                foreign.push(world.at(newest));
            }
            foreign
        };
        for round in 0..3 {
            for (mark, next) in foreign.iter().flat_map(|mark| [(*mark, mark.offset + 1), (*mark, 4)]) {
                let answer = async |seen| world.look("a", Start::After(Cursor { next, seen })).await;
                let wrong = Mark { check: mark.check ^ 1, ..mark };
                let by_event = (answer(Seen::Event(mark)).await, answer(Seen::Event(wrong)).await);
                assert_eq!(by_event.0, by_event.1, "{mark:?}, {next}, round {round}");
                let (right, wrong) = (Seen::LastOfAll(mark.check), Seen::LastOfAll(wrong.check));
                if next == mark.offset + 1 {
                    assert_eq!(answer(right).await, answer(wrong).await, "{mark:?}, as older gateways wrote it");
                }
            }
            world.publish_payload("a", &format!("{round}")).await;
        }
    }
}

#[tokio::test]
async fn a_place_of_one_pattern_is_none_of_another_one_but_where_both_have_its_event() {
    for window in [1 << 20, 600] {
        let world = World::new(1 << 30, window, 1000).await;
        world.publish("a.x", 0..3).await;
        world.publish("b", 3..4).await;
        let (_, _, place) = world.look("a.*", Start::Newest).await;
        world.publish("a.x", 4..5).await;
        world.publish("b", 5..6).await;
        assert_eq!(
            world.look("a.x", Start::After(place)).await,
            (vec![4], false, Cursor { next: 6, ..world.after(4) })
        );
        let (seen, reset, _) = world.look("b", Start::After(place)).await;
        // It may not be looked for where it can have been gone for long. Then the client goes on from its place.
        assert!(seen == [5] && (reset || window == 600), "{seen:?} {reset}");
        let (seen, reset, _) = world.look("#", Start::After(place)).await;
        assert_eq!((seen, reset), (vec![4, 5], false));
    }
}

impl World {
    fn after(&self, offset: u64) -> Cursor {
        let state = self.feed.state.lock();
        Cursor::after(state.as_ref().unwrap().recent.get(offset).unwrap())
    }
}

#[tokio::test]
async fn a_place_without_an_event_is_told_from_one_of_another_log_by_its_id() {
    let world = World::roomy().await;
    world.publish("b", 0..9).await;
    let (_, _, place) = world.look("a", Start::Now).await;
    let Seen::Nothing(id) = place.seen else { panic!("{place:?}") };
    world.publish("a", 9..11).await;
    assert_eq!(world.look("a", Start::After(place)).await.0, [9, 10]);
    let other = Cursor { seen: Seen::Nothing(id ^ 1), ..place };
    let (seen, reset, _) = world.look("a", Start::After(other)).await;
    assert_eq!((seen, reset), (vec![10], true));
    let again = World::roomy().await;
    again.publish("b", 0..20).await;
    assert!(again.look("a", Start::After(place)).await.1, "a log in memory is another one at each start");
}

#[tokio::test]
async fn a_place_of_an_older_gateway_is_compared_with_an_event_that_its_reader_may_have() {
    for window in [1 << 20, 600] {
        let world = World::new(1 << 30, window, 1000).await;
        world.publish_payload("a", "0").await;
        let own = Seen::LastOfAll(world.at(0).check);
        world.publish_payload("b", "1").await;
        let foreign = Seen::LastOfAll(world.at(1).check);
        world.publish("a", 2..5).await;
        let answer = async |next, seen| world.look("a", Start::After(Cursor { next, seen })).await;
        let (seen, reset, place) = answer(1, own).await;
        assert_eq!((seen, reset, place), (vec![2, 3, 4], false, world.after(4)));
        assert!(answer(1, foreign).await.1, "it is another event");
        let (seen, reset, _) = answer(2, foreign).await;
        assert_eq!((seen, reset), (vec![2, 3, 4], false));
        let (seen, reset, moved) = answer(5, Seen::LastOfAll(world.at(4).check)).await;
        assert_eq!((seen.len(), reset, moved.next), (0, false, 5));
    }
}

#[tokio::test]
async fn a_quiet_reader_keeps_its_place_when_its_event_is_gone() {
    // Each event is a block of its own, so the log keeps exactly 64.
    let world = World::new(64 * (128 + 3), 1000, 1000).await;
    world.publish("a", 0..1).await;
    let (_, _, mut place) = world.look("a", Start::Newest).await;
    for number in 1..200 {
        world.publish("b", number..number + 1).await;
        let (seen, reset, next) = world.look("a", Start::After(place)).await;
        assert_eq!((seen.len(), reset), (0, false), "after {number}");
        place = next;
    }
    assert!(world.broker.log().known_oldest() > 100);
    world.publish("a", 200..201).await;
    assert_eq!(world.look("a", Start::After(place)).await.0, [200]);
}

#[tokio::test]
async fn who_waits_for_another_pattern_gets_a_place_of_its_own() {
    let world = Arc::new(World::roomy().await);
    let wait = |pattern: &'static str| {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.poll(pattern, Start::Now, Duration::from_secs(20)).await })
    };
    let waiting = [wait("a"), wait("a"), wait("#"), wait("*"), wait("b")];
    while world.feed.state.lock().as_ref().unwrap().watchers.count() < waiting.len() {
        yield_now().await;
    }
    // Both come in one turn.
    let logged = |offset, topic| Logged { offset, event: Arc::new(testing::event(topic, offset)) };
    let events = [logged(0, "a"), logged(1, "b")];
    world.feed.state.lock().as_mut().unwrap().append(&events);
    let mut batches = Vec::new();
    for answered in waiting {
        let FeedOutcome::Batch(batch) = answered.await.unwrap() else { panic!("no batch") };
        batches.push(batch);
    }
    let place = |last: &Logged| Cursor { next: 2, ..Cursor::after(last) };
    let places: Vec<Cursor> = batches.iter().map(|batch| batch.last_seen).collect();
    let [a, b] = [place(&events[0]), place(&events[1])];
    assert_eq!(places, [a, a, b, b, b]);
    assert!(Arc::ptr_eq(&batches[0], &batches[1]) && Arc::ptr_eq(&batches[2], &batches[3]));
    assert!(!Arc::ptr_eq(&batches[3], &batches[4]), "the same place, after other events");
}

#[test]
fn who_has_seen_a_log_without_events_goes_on_with_its_first_one() {
    // As RabbitMQ has it: the log begins with something that is no event.
    let recent = RecentEvents::new(WindowLimits { bytes: 600, age: Duration::from_hours(1) }, 1);
    let mut state = State::new(recent, TopicIndex::new(9), 0);
    let (selection, deadline) = ("a".parse().unwrap(), Instant::now());
    let request = FeedRequest { selection, start: Start::Now, limit: 9, latest_only: false, deadline };
    let Lookup::Watching(empty, ..) = state.lookup(&request, Start::Now, 0, false) else { panic!("it waits") };
    assert_eq!(empty.to_string(), "1~0~00000000");
    let after = |next| Start::After(Cursor { next, ..empty });
    assert!(matches!(state.lookup(&request, after(1), 0, false), Lookup::Watching(..)));
    assert!(
        matches!(state.lookup(&request, after(2), 0, false), Lookup::Watching(..)),
        "another gateway marked the end since"
    );
    state.append(&[Logged { offset: 2, event: Arc::new(testing::event("a", 1)) }]);
    assert!(matches!(state.lookup(&request, after(2), 0, false), Lookup::Ready(found, 3) if found.len() == 1));
    assert!(matches!(state.lookup(&request, after(4), 0, false), Lookup::BeyondEnd(..)));
    for offset in 3..9 {
        state.append(&[Logged { offset, event: Arc::new(testing::event("a", 1)) }]);
    }
    assert!(matches!(state.lookup(&request, after(1), 0, false), Lookup::InLog { .. }));
}

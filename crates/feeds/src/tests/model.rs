//! Feeds by property: random publishers and clients on the real store in a folder, with retention, damage, ends in
//! order and crashes. Each answer is judged from outside by one rule: of the events that its place has passed, the
//! client got every one that it asked for, or was told that something is gone; and it is told so only if something is.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use broker::{Broker, log::EventLog};
use broker_embedded::{EmbeddedBroker, EmbeddedOptions, KeptMailboxes, Retention, testing::Folder};
use events::{Selection, Topic, TopicPattern};
use proptest::prelude::*;
use tokio::time::Instant;

use super::{World, log::TestLog, numbers, readiness::turns};
use crate::{FeedOutcome, FeedRequest, Start, cursor::Cursor};

const TOPICS: [&str; 6] = ["a", "a.b", "a.c", "b", "b.a.c", "c"];
const SELECTIONS: [&str; 9] = ["#", "*", "a.#", "a", "*.c", "b.#", "a,b", "a,a.*", "#.c,b.#,c"];
const STARTS: [Start; 3] = [Start::Newest, Start::Oldest, Start::Now];

/// What the gateway is set to.
#[derive(Debug, Clone)]
struct Settings {
    /// How many events are retained.
    kept: u64,
    window_bytes: usize,
    /// How many topics the index knows.
    topics: usize,
    /// The log knows where the newest event of each topic is.
    knows_newest: bool,
    /// How many of its last events the log shows at a start.
    shows: u64,
    feed_topics: &'static str,
    /// Reading rests while no poll is under way, so that each poll has to read on first.
    rests: bool,
}

/// One operation. Topics, selections and starts are numbers in the lists above, clients are counted round and round.
#[derive(Debug, Clone)]
enum Step {
    Publish(usize, usize),
    Come {
        selection: usize,
        start: usize,
        latest_only: bool,
    },
    Poll {
        client: usize,
        limit: usize,
    },
    Restart,
    Crash,
    /// End in order, lose the event that is so far from the end, its head, too, or not, and start again.
    Lose {
        from_end: u64,
        with_head: bool,
    },
}

fn settings() -> impl Strategy<Value = Settings> {
    let kept = prop_oneof![Just(1 << 20), 4..40_u64];
    let window_bytes = prop_oneof![Just(300), Just(1500), Just(1 << 20)];
    let topics = prop_oneof![1..4_usize, Just(1000)];
    let shows = prop_oneof![Just(u64::MAX), 0..10_u64];
    (kept, window_bytes, topics, any::<bool>(), shows, prop_oneof![Just("#"), Just("a.#")], any::<bool>()).prop_map(
        |(kept, window_bytes, topics, knows_newest, shows, feed_topics, rests)| Settings {
            kept,
            window_bytes,
            topics,
            knows_newest,
            shows,
            feed_topics,
            rests,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let come = (0..SELECTIONS.len(), 0..STARTS.len(), any::<bool>());
    prop_oneof![
        8 => (0..TOPICS.len(), 1..8_usize).prop_map(|(topic, count)| Step::Publish(topic, count)),
        4 => come.prop_map(|(selection, start, latest_only)| Step::Come { selection, start, latest_only }),
        16 => (0..64_usize, prop_oneof![1..4_usize, Just(100)])
            .prop_map(|(client, limit)| Step::Poll { client, limit }),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
        2 => (0..20_u64, any::<bool>()).prop_map(|(from_end, with_head)| Step::Lose { from_end, with_head }),
    ]
}

proptest! {
    // Fewer than usual: a case opens several stores.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 8, ..ProptestConfig::default() })]

    #[test]
    fn what_a_client_does_not_get_it_is_told_of(settings in settings(), steps in prop::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut model = Model::new(settings).await;
            for step in &steps {
                model.step(step).await?;
            }
            model.drain().await
        })?;
    }
}

#[derive(Clone)]
struct Client {
    selection: Selection,
    start: Start,
    latest_only: bool,
}

struct Model {
    settings: Settings,
    /// The topic of each event; an event's number is its offset.
    published: Vec<Topic>,
    /// The events that are damaged, and whether their topics are lost with them.
    damaged: BTreeMap<u64, bool>,
    clients: Vec<Client>,
    world: Option<World>,
    // Last, so that nothing writes into it any more when it is removed.
    folder: Folder,
}

impl Model {
    async fn new(settings: Settings) -> Self {
        let folder = Folder::new();
        let world = Some(Self::start(&settings, &folder).await);
        Self { settings, published: Vec::new(), damaged: BTreeMap::new(), clients: Vec::new(), world, folder }
    }

    async fn start(settings: &Settings, folder: &Folder) -> World {
        let forever = Duration::from_hours(24);
        let options = EmbeddedOptions {
            data_dir: Some(folder.path().to_owned()),
            mailboxes: KeptMailboxes::all_for(forever),
            // Each event costs 128 bytes and its number.
            retention: Retention { age: forever, bytes: settings.kept * 130 },
            feed_topics: vec![settings.feed_topics.parse().unwrap()],
        };
        let broker = EmbeddedBroker::start(&options, Arc::default()).unwrap();
        let log = TestLog { knows_newest: settings.knows_newest, shows: settings.shows, ..TestLog::new(broker) };
        let rest_after = settings.rests.then_some(Duration::ZERO);
        World::resting(log, settings.window_bytes, settings.topics, rest_after).await
    }

    async fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Publish(topic, count) => {
                let topic: Topic = TOPICS[topic].parse().unwrap();
                let first = self.published.len();
                self.published.extend(std::iter::repeat_n(topic.clone(), count));
                let numbers = first as u64..self.published.len() as u64;
                if self.feed_topics().matches(&topic) && !self.settings.rests {
                    self.world().publish(topic.as_str(), numbers).await;
                } else {
                    self.world().store(topic.as_str(), numbers).await;
                }
            }
            Step::Come { selection, start, latest_only } => {
                let selection = SELECTIONS[selection].parse().unwrap();
                self.clients.push(Client { selection, start: STARTS[start], latest_only });
            }
            Step::Poll { client, limit } => {
                if let Some(client) = client.checked_rem(self.clients.len()) {
                    self.poll(client, limit).await?;
                }
            }
            Step::Restart => self.world.take().unwrap().end(EmbeddedBroker::close).await,
            Step::Crash => self.world.take().unwrap().end(async |broker| broker.clone().crash()).await,
            Step::Lose { from_end, with_head } => {
                let end = self.published.len() as u64;
                let event = end.checked_sub(1 + from_end).filter(|offset| *offset >= self.oldest());
                let damage = async |broker: &EmbeddedBroker| {
                    if let Some(offset) = event {
                        broker.lose(offset, with_head);
                    }
                    broker.close().await;
                };
                self.world.take().unwrap().end(damage).await;
                if let Some(offset) = event {
                    *self.damaged.entry(offset).or_default() |= with_head;
                }
            }
        }
        if self.world.is_none() {
            self.world = Some(Self::start(&self.settings, &self.folder).await);
        }
        Ok(())
    }

    fn feed_topics(&self) -> TopicPattern {
        self.settings.feed_topics.parse().unwrap()
    }

    fn world(&self) -> &World {
        self.world.as_ref().unwrap()
    }

    fn oldest(&self) -> u64 {
        self.world().broker.log().known_oldest()
    }

    /// Polls once, judges the answer, and returns whether it moved or told the client anything.
    async fn poll(&mut self, number: usize, limit: usize) -> Result<bool, TestCaseError> {
        let Client { selection, start, latest_only } = self.clients[number].clone();
        // Else what is stored is read a moment later, and may come to who begins now.
        if self.settings.rests {
            turns(|| self.world().is_resting()).await;
        }
        let oldest = self.oldest();
        let request = FeedRequest { selection: selection.clone(), start, limit, latest_only, deadline: Instant::now() };
        let (got, reset, place) = match self.world().ask(request).await {
            FeedOutcome::Batch(batch) => (numbers(&batch), batch.reset, batch.last_seen),
            FeedOutcome::Nothing(place) => (Vec::new(), false, place),
            other => return Err(TestCaseError::fail(format!("{other:?}"))),
        };
        let answer = Answer { from: start, oldest, got, reset, place };
        let judged = self.judge(&self.clients[number], limit, &answer);
        prop_assert!(judged.is_ok(), "{}: {} from {:?}: {:?}", judged.unwrap_err(), selection, start, answer);
        self.clients[number].start = Start::After(answer.place);
        Ok(Start::After(answer.place) != start || !answer.got.is_empty())
    }

    fn judge(&self, client: &Client, limit: usize, answer: &Answer) -> Result<(), &'static str> {
        let Answer { from, oldest, ref got, reset, place } = *answer;
        let end = self.published.len() as u64;
        let feed_topics = self.feed_topics();
        let wants = |offset: u64| {
            let topic = self.topic(offset);
            client.selection.matches(topic) && feed_topics.matches(topic)
        };
        // Whether an event can be missed by this client, for all that the gateway can know.
        let is_gone = |offset: u64| match self.damaged.get(&offset) {
            _ if offset < oldest => true,
            Some(true) => true,
            Some(false) => wants(offset),
            None => false,
        };
        let ensure = |holds: bool, complaint| if holds { Ok(()) } else { Err(complaint) };

        ensure(got.is_sorted_by(|a, b| a < b), "out of order or twice")?;
        ensure(got.len() <= limit, "too many")?;
        ensure(got.iter().all(|offset| *offset < place.next && wants(*offset)), "not asked for")?;
        ensure(place.next <= end, "beyond the end")?;
        let tells_of = place.mark().map(|mark| mark.offset);
        ensure(tells_of.is_none_or(|offset| offset < place.next && wants(offset)), "it tells of another event")?;
        ensure(got.last().is_none_or(|last| tells_of.is_some_and(|offset| offset >= *last)), "it tells of none")?;
        let passed = |from: u64| (from..place.next).filter(|offset| wants(*offset));
        let (first, own) = match from {
            Start::After(cursor) => (cursor.next, cursor.mark().map(|mark| mark.offset)),
            Start::Now => return ensure(!reset && got.is_empty() && !(place.next..end).any(wants), "not now"),
            // What retention took before it came is no business of the client.
            Start::Oldest | Start::Newest | Start::Unknown => (oldest, None),
        };
        if reset {
            let is_own_damaged = own.is_some_and(|own| self.damaged.contains_key(&own));
            return ensure(is_own_damaged || (first..end).any(is_gone), "nothing is gone");
        }
        ensure(place.next >= from.place().map_or(0, |cursor| cursor.next), "back to where it was before")?;
        if client.latest_only || from == Start::Newest {
            // Of all that is kept, if that is known; else of what was looked at.
            let looked_at = if from == Start::Newest && self.settings.knows_newest { end } else { place.next };
            let is_newest = |offset: &u64| {
                (offset + 1..looked_at).all(|later| !wants(later) || self.topic(later) != self.topic(*offset))
            };
            ensure(got.iter().all(is_newest), "not the newest of its topic")?;
            let topics: HashSet<&Topic> = got.iter().map(|offset| self.topic(*offset)).collect();
            // A topic that has a newer event after the place comes later.
            let later: HashSet<&Topic> =
                (place.next..end).filter(|offset| wants(*offset)).map(|offset| self.topic(offset)).collect();
            let newest: HashMap<&Topic, u64> = passed(first).map(|offset| (self.topic(offset), offset)).collect();
            let is_got = |(topic, _): (&&Topic, &u64)| topics.contains(*topic) || later.contains(*topic);
            return ensure(newest.iter().all(is_got), "a topic is missing");
        }
        ensure(got.iter().copied().eq(passed(first)), "an event is missing")
    }

    fn topic(&self, offset: u64) -> &Topic {
        &self.published[usize::try_from(offset).unwrap()]
    }

    /// Has every client read to the end.
    async fn drain(&mut self) -> Result<(), TestCaseError> {
        for client in 0..self.clients.len() {
            let mut polls = 0;
            while self.poll(client, 3).await? {
                polls += 1;
                prop_assert!(polls < 10 + self.published.len(), "it comes to no end");
            }
            let feed_end = self.world().feed.end();
            prop_assert_eq!(feed_end, self.clients[client].start.place().map(|place| place.next));
        }
        Ok(())
    }
}

/// An answer, and what was known before it.
#[derive(Debug)]
struct Answer {
    from: Start,
    oldest: u64,
    got: Vec<u64>,
    reset: bool,
    place: Cursor,
}

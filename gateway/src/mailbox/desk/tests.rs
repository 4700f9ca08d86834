//! The desk by table and by property.
//!
//! The property drives a desk, a model of a broker's queue and a client that loses answers, hangs up, comes back with an
//! old token, with none or with nonsense. Whatever happens: nothing is confirmed that the client did not see, nothing is
//! lost, order is kept, and a repeat says that it is one.

use events::Event;
use proptest::prelude::*;

use super::*;
use crate::{
    broker::Content,
    mailbox::{batch::Batch, last_seen::LastSeen},
};

const PATIENCE: Patience = Patience { linger: Duration::from_secs(15), confirm_deadline: Duration::from_mins(5) };

/// Ids repeat on purpose: publishers do that.
fn event(number: usize) -> Event {
    let mut event = Event::new("jobs.1".parse().unwrap(), None, number.to_string());
    event.id = format!("id-{}", number % 3).parse().unwrap();
    event.time = events::EventTime::from_unix_millis(0).unwrap();
    event
}

fn delivery(tag: u64, redelivered: bool, number: usize) -> Delivery {
    Delivery { tag, redelivered, content: Content::Event(event(number)) }
}

fn poll(id: u64, last_seen: Option<&LastSeen>, deadline: Instant) -> Poll {
    Poll { id: PollId(id), last_seen: last_seen.cloned(), limit: 100, deadline, order: None }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A desk whose Lease is open since `now` and counted so many messages.
fn open_desk(counted: u32, now: Instant) -> Desk {
    let mut desk = Desk::new(PATIENCE, now);
    desk.open(Window::new(1, 8, counted), now);
    desk
}

fn batch(desk: &mut Desk) -> Batch {
    match desk.take_effect() {
        Some(Effect::Answer(_, Outcome::Batch(batch))) => batch,
        other => panic!("expected a batch, got {other:?}"),
    }
}

#[test]
fn a_poll_waits_for_its_deadline() {
    let now = Instant::now();
    let mut desk = open_desk(0, now);
    desk.attach(poll(1, None, now + seconds(25)), now);
    assert_eq!(desk.wakeup(), now + seconds(25));
    desk.tick(now + seconds(24));
    assert!(desk.take_effect().is_none());
    desk.tick(now + seconds(25));
    assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(1), Outcome::Nothing))));
}

#[test]
fn the_newest_poll_wins_and_the_old_one_cannot_end_the_session() {
    let now = Instant::now();
    let mut desk = open_desk(0, now);
    desk.attach(poll(1, None, now + seconds(25)), now);
    desk.attach(poll(2, None, now + seconds(25)), now);
    assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(1), Outcome::Replaced))));
    desk.hung_up(PollId(1));
    assert!(desk.take_effect().is_none());
    desk.hung_up(PollId(2));
    assert!(matches!(desk.take_effect(), Some(Effect::End(Ending::Disconnected))));
}

#[test]
fn a_poll_that_came_and_went_ends_a_session_without_a_poll_and_displaces_none() {
    let now = Instant::now();
    let mut desk = open_desk(0, now);
    desk.attach(poll(1, None, now + seconds(25)), now);
    desk.came_and_went();
    assert!(desk.take_effect().is_none());
    desk.tick(now + seconds(25));
    assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(1), Outcome::Nothing))));
    desk.came_and_went();
    assert!(matches!(desk.take_effect(), Some(Effect::End(Ending::Disconnected))));
}

#[test]
fn a_poll_that_a_browser_sends_again_does_not_displace_its_successor() {
    let now = Instant::now();
    let mut desk = open_desk(0, now);
    let numbered = |id, instance: &str, number| Poll {
        order: Some(PollOrder { instance: instance.to_owned(), number }),
        ..poll(id, None, now + seconds(25))
    };
    desk.attach(numbered(1, "tab", 5), now);
    desk.attach(numbered(2, "tab", 4), now);
    assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(2), Outcome::Replaced))));
    desk.hung_up(PollId(2));
    assert!(desk.take_effect().is_none(), "it was never here");
    desk.attach(numbered(3, "tab", 5), now);
    assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(1), Outcome::Replaced))));
    desk.attach(numbered(4, "other", 1), now);
    assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(3), Outcome::Replaced))));
}

#[test]
fn a_fresh_lease_waits_for_what_was_counted_even_without_patience() {
    let now = Instant::now();
    let mut desk = open_desk(2, now);
    desk.attach(poll(1, None, now), now);
    desk.tick(now + Duration::from_millis(900));
    assert!(desk.take_effect().is_none());
    desk.deliver(delivery(1, true, 1), now + Duration::from_millis(950));
    desk.tick(now + Duration::from_millis(1100));
    assert!(desk.take_effect().is_none(), "one more was counted");
    assert_eq!(desk.wakeup(), now + Duration::from_millis(1150));
    desk.tick(now + Duration::from_millis(1150));
    assert_eq!(batch(&mut desk).events.len(), 1);
}

#[test]
fn what_was_counted_and_never_comes_is_not_waited_for() {
    let now = Instant::now();
    let mut desk = open_desk(2, now);
    desk.attach(poll(1, None, now), now);
    assert_eq!(desk.wakeup(), now + seconds(1));
    desk.tick(now + seconds(1));
    assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(1), Outcome::Nothing))));
}

#[test]
fn the_same_batch_again_is_held_back_from_the_third_time_on() {
    let now = Instant::now();
    let mut desk = open_desk(0, now);
    desk.deliver(delivery(1, false, 1), now);
    for id in 1..=2 {
        desk.attach(poll(id, None, now), now);
        batch(&mut desk);
    }
    desk.attach(poll(3, None, now), now);
    assert!(desk.take_effect().is_none());
    assert_eq!(desk.wakeup(), now + HOLD_BACK);
    desk.tick(now + HOLD_BACK);
    batch(&mut desk);
    let seen = {
        desk.attach(poll(4, None, now), now + HOLD_BACK);
        desk.tick(now + 2 * HOLD_BACK);
        batch(&mut desk).last_seen
    };
    desk.deliver(delivery(2, false, 2), now + 2 * HOLD_BACK);
    desk.attach(poll(5, Some(&seen), now), now + 2 * HOLD_BACK);
    assert!(matches!(desk.take_effect(), Some(Effect::Confirm(1))));
    assert_eq!(batch(&mut desk).events.len(), 1, "a client that confirms is not held back");
}

#[test]
fn the_session_lingers_and_then_ends() {
    let now = Instant::now();
    let mut desk = open_desk(0, now);
    desk.attach(poll(1, None, now), now);
    assert!(matches!(desk.take_effect(), Some(Effect::Answer(PollId(1), Outcome::Nothing))));
    assert_eq!(desk.wakeup(), now + seconds(15));
    desk.tick(now + seconds(14));
    assert!(desk.take_effect().is_none());
    desk.tick(now + seconds(15));
    assert!(matches!(desk.take_effect(), Some(Effect::End(Ending::Lingered))));
}

#[test]
fn an_event_that_nobody_confirms_ends_the_session_whoever_polls() {
    let now = Instant::now();
    let mut desk = open_desk(0, now);
    desk.deliver(delivery(1, false, 1), now);
    let mut ended = None;
    for second in 0..=PATIENCE.confirm_deadline.as_secs() {
        let at = now + seconds(second);
        desk.tick(at);
        desk.attach(poll(second, None, at), at);
        ended = std::iter::from_fn(|| desk.take_effect()).find(|effect| matches!(effect, Effect::End(_))).map(|_| at);
        assert!(ended.is_none() || second == PATIENCE.confirm_deadline.as_secs(), "ended after {second} s");
    }
    assert_eq!(ended, Some(now + PATIENCE.confirm_deadline));
}

#[test]
fn a_marker_is_news_only_to_who_had_seen_something() {
    let now = Instant::now();
    let marker = |tag| Delivery { tag, redelivered: false, content: Content::Marker("m".parse().unwrap()) };
    let mut desk = open_desk(0, now);
    desk.deliver(marker(1), now);
    desk.deliver(delivery(2, false, 1), now);
    desk.attach(poll(1, None, now), now);
    assert!(matches!(desk.take_effect(), Some(Effect::Confirm(1))));
    assert_eq!(batch(&mut desk).events.len(), 1);

    let mut desk = open_desk(0, now);
    desk.deliver(marker(1), now);
    desk.attach(poll(1, Some(&"older".parse().unwrap()), now), now);
    assert!(batch(&mut desk).reset);
    desk.attach(poll(2, Some(&"older".parse().unwrap()), now), now);
    assert!(batch(&mut desk).reset, "the telling is not lost with one answer");
}

#[derive(Debug, Clone)]
enum Step {
    Publish,
    Deliver,
    /// Poll with the token of this many answers ago, or none, and a limit.
    Poll {
        back: Option<usize>,
        limit: usize,
    },
    /// Poll with a token that fits nothing.
    PollNonsense,
    /// The next answers are lost on their way.
    LoseAnswers(bool),
    HangUp,
    Wait(u64),
    /// The broker goes down: what was confirmed last comes back, and everything is flagged.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Publish),
        6 => Just(Step::Deliver),
        6 => (prop_oneof![8 => Just(Some(0)), 1 => Just(Some(1)), 1 => Just(None)], 1..5_usize)
            .prop_map(|(back, limit)| Step::Poll { back, limit }),
        1 => Just(Step::PollNonsense),
        2 => any::<bool>().prop_map(Step::LoseAnswers),
        1 => Just(Step::HangUp),
        2 => (0..20_000_u64).prop_map(Step::Wait),
        1 => Just(Step::Crash),
    ]
}

/// A message in the model of a queue.
#[derive(Debug, Clone, Copy)]
struct Message {
    number: usize,
    redelivered: bool,
}

/// A queue, the desk that reads it, and its client.
struct World {
    now: Instant,
    desk: Desk,
    leases: u64,
    prefetch: u16,
    ready: VecDeque<Message>,
    unacked: VecDeque<(u64, Message)>,
    last_acked: Option<Message>,
    next_tag: u64,
    published: usize,
    polls: u64,
    losing: bool,
    /// What the client saw, in the order of first sight.
    seen: Vec<usize>,
    handed_out: Vec<usize>,
    tokens: Vec<LastSeen>,
}

impl World {
    fn new(prefetch: u16) -> Self {
        let now = Instant::now();
        let mut world = Self {
            now,
            desk: Desk::new(PATIENCE, now),
            leases: 0,
            prefetch,
            ready: VecDeque::new(),
            unacked: VecDeque::new(),
            last_acked: None,
            next_tag: 1,
            published: 0,
            polls: 0,
            losing: false,
            seen: Vec::new(),
            handed_out: Vec::new(),
            tokens: Vec::new(),
        };
        world.open();
        world
    }

    /// Opens a Lease: all that was unacked is back in its old place.
    fn open(&mut self) {
        while let Some((_, message)) = self.unacked.pop_back() {
            self.ready.push_front(Message { redelivered: true, ..message });
        }
        self.leases += 1;
        self.next_tag = 1;
        self.desk = Desk::new(PATIENCE, self.now);
        let counted = u32::try_from(self.ready.len()).unwrap();
        self.desk.open(Window::new(self.leases, self.prefetch, counted), self.now);
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Publish => {
                self.ready.push_back(Message { number: self.published, redelivered: false });
                self.published += 1;
            }
            Step::Deliver => self.deliver(),
            Step::Poll { back, limit } => {
                let token = back.and_then(|back| self.tokens.iter().rev().nth(back)).cloned();
                self.poll(token.as_ref(), *limit);
            }
            Step::PollNonsense => self.poll(Some(&"nonsense".parse().unwrap()), 3),
            Step::LoseAnswers(losing) => self.losing = *losing,
            Step::HangUp => self.desk.hung_up(PollId(self.polls)),
            Step::Wait(millis) => {
                self.now += Duration::from_millis(*millis);
                self.desk.tick(self.now);
            }
            Step::Crash => {
                for (_, message) in std::mem::take(&mut self.unacked).into_iter().rev() {
                    self.ready.push_front(message);
                }
                self.ready.extend(self.last_acked.take());
                self.ready.make_contiguous().sort_by_key(|message| message.number);
                self.ready.iter_mut().for_each(|message| message.redelivered = true);
                self.open();
            }
        }
        self.obey()
    }

    fn deliver(&mut self) {
        if self.unacked.len() < usize::from(self.prefetch)
            && let Some(message) = self.ready.pop_front()
        {
            self.unacked.push_back((self.next_tag, message));
            self.desk.deliver(delivery(self.next_tag, message.redelivered, message.number), self.now);
            self.next_tag += 1;
        }
        self.desk.tick(self.now);
    }

    fn poll(&mut self, token: Option<&LastSeen>, limit: usize) {
        self.polls += 1;
        self.desk.attach(Poll { limit, ..poll(self.polls, token, self.now + seconds(5)) }, self.now);
    }

    fn obey(&mut self) -> Result<(), TestCaseError> {
        while let Some(effect) = self.desk.take_effect() {
            match effect {
                Effect::Confirm(tag) => {
                    prop_assert!(self.unacked.iter().any(|(unacked, _)| *unacked == tag), "tag {} is not unacked", tag);
                    while let Some((acked, message)) = self.unacked.pop_front_if(|(unacked, _)| *unacked <= tag) {
                        prop_assert!(self.seen.contains(&message.number), "{} (tag {}) unseen", message.number, acked);
                        self.last_acked = Some(message);
                    }
                }
                Effect::Answer(_, Outcome::Batch(batch)) => self.hand_over(&batch)?,
                Effect::Answer(..) => {}
                Effect::End(_) => self.open(),
            }
        }
        Ok(())
    }

    fn hand_over(&mut self, batch: &Batch) -> Result<(), TestCaseError> {
        let numbers: Vec<usize> = batch
            .events
            .iter()
            .map(|each| std::str::from_utf8(&each.event.payload).unwrap().parse().unwrap())
            .collect();
        let front: Vec<usize> = self.unacked.iter().take(numbers.len()).map(|(_, message)| message.number).collect();
        prop_assert_eq!(&numbers, &front, "a batch is a run from the front");
        for (number, each) in numbers.iter().zip(&batch.events) {
            prop_assert!(each.redelivered || !self.handed_out.contains(number), "{} is an unmarked repeat", number);
        }
        self.handed_out.extend(&numbers);
        if !self.losing {
            for number in numbers {
                if !self.seen.contains(&number) {
                    self.seen.push(number);
                }
            }
            self.tokens.push(batch.last_seen.clone());
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_nothing_unseen_is_confirmed(
        steps in prop::collection::vec(step(), 1..120),
        prefetch in 1..6_u16,
    ) {
        let mut world = World::new(prefetch);
        for step in &steps {
            world.step(step)?;
        }
        // From here on the client behaves: everything must reach it.
        world.losing = false;
        for _ in 0..8 * (world.published + 2) {
            for step in [Step::Poll { back: Some(0), limit: 100 }, Step::Deliver, Step::Wait(1500)] {
                world.step(&step)?;
            }
        }
        let everything: Vec<usize> = (0..world.published).collect();
        prop_assert_eq!(&world.seen, &everything);
        prop_assert!(world.ready.is_empty() && world.unacked.is_empty(), "all of it is confirmed");
    }
}

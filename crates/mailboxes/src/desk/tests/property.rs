//! The desk by property: a desk, a model of a broker's queue, and a client that loses answers, hangs up, comes back
//! with an old token, with none or with nonsense. Whatever happens: nothing is confirmed that the client did not see,
//! nothing is lost, order is kept, and a repeat says that it is one.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::{batch::BatchEvent, poll::Continuation};

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
    /// Continue after what the last poll got, as a stream does.
    GoOn {
        limit: usize,
    },
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
        4 => (1..5_usize).prop_map(|limit| Step::GoOn { limit }),
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
    /// What the poll that came last got last, if it arrived.
    got: Option<LastSeen>,
    /// The tag that the poll that waits goes on after.
    after: u64,
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
            desk: Desk::new(TIMEOUTS, now),
            leases: 0,
            prefetch,
            ready: VecDeque::new(),
            unacked: VecDeque::new(),
            last_acked: None,
            next_tag: 1,
            published: 0,
            polls: 0,
            got: None,
            after: 0,
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
        (self.got, self.after) = (None, 0);
        self.desk = Desk::new(TIMEOUTS, self.now);
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
            Step::GoOn { limit } => {
                if let Some(after) = self.got.take().map(Some) {
                    let continuation = Continuation { after, limit: *limit, deadline: self.now + seconds(5) };
                    let poll = Poll::resumed(PollId(self.polls), &continuation);
                    self.after = poll.after.unwrap();
                    self.desk.resume(poll, self.now);
                }
            }
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
        self.handle()
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
        (self.got, self.after) = (None, 0);
        self.desk.attach(Poll { limit, ..poll(self.polls, token, self.now + seconds(5)) }, self.now);
    }

    fn handle(&mut self) -> Result<(), TestCaseError> {
        while let Some(effect) = self.desk.take_effect() {
            match effect {
                Effect::Confirm(tag) => {
                    prop_assert!(self.unacked.iter().any(|(unacked, _)| *unacked == tag), "tag {} is not unacked", tag);
                    while let Some((acked, message)) = self.unacked.pop_front_if(|(unacked, _)| *unacked <= tag) {
                        prop_assert!(self.seen.contains(&message.number), "{} (tag {}) unseen", message.number, acked);
                        self.last_acked = Some(message);
                    }
                }
                Effect::Ask => self.desk.told(self.ready.is_empty(), self.now),
                Effect::Answer(_, Outcome::Batch(batch)) => self.hand_over(&batch)?,
                Effect::Answer(..) => {}
                Effect::End(_) => self.open(),
            }
        }
        Ok(())
    }

    fn hand_over(&mut self, batch: &Batch) -> Result<(), TestCaseError> {
        let numbers: Vec<usize> = batch.events.iter().map(|each| testing::number(&each.event)).collect();
        let after = self.unacked.iter().filter(|(tag, _)| *tag > self.after);
        let front: Vec<usize> = after.take(numbers.len()).map(|(_, message)| message.number).collect();
        prop_assert_eq!(&numbers, &front, "a batch is a run from the front, or from after what the client has");
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
            self.tokens.extend(batch.events.iter().map(BatchEvent::last_seen));
            prop_assert_eq!(self.tokens.last(), Some(&batch.last_seen));
            self.got = Some(batch.last_seen.clone());
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

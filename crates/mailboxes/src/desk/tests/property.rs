//! The desk by property: a desk, a model of a broker's queue, and a client that loses answers, hangs up, comes back
//! with an old token, with none or with nonsense. Whatever happens: nothing is confirmed that the client did not see,
//! nothing is lost, order is kept, and a repeat says that it is one. Other gateways want the mailbox, for this client
//! and for others. The client's rights change from poll to poll, too:
//! it sees nothing that they do not show, nor loses what they show.

use std::{collections::VecDeque, sync::Arc};

use broker::handover::{Claim, Reply, Wanted};
use events::{Topic, TopicPattern};
use proptest::prelude::*;

use super::*;
use crate::{batch::BatchEvent, last_seen::Place, poll::Continuation};

/// Also those of foreign publishers.
const TOPICS: [&str; 4] = ["a", "b.1", "é..b", ""];

/// Which patterns a client has a right to read, one bit for each of [`PATTERNS`]; `None` is everything.
type Rights = Option<u8>;

/// Each selects the topic in its place, and no other. The last topic is selected by none.
const PATTERNS: [&str; 3] = ["a", "b.*", "*.*.b"];

fn shows(rights: Rights, topic: usize) -> bool {
    rights.is_none_or(|rights| topic < PATTERNS.len() && rights & (1 << topic) != 0)
}

fn patterns(rights: Rights) -> Option<Arc<[TopicPattern]>> {
    let patterns = (0..PATTERNS.len()).filter(|topic| shows(rights, *topic));
    rights.map(|_| patterns.map(|topic| PATTERNS[topic].parse().unwrap()).collect())
}

#[derive(Debug, Clone)]
enum Step {
    /// An event of this topic.
    Publish(usize),
    /// From the next poll on.
    Rights(Rights),
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
    /// Another gateway wants the mailbox, for a poll with the token of this many answers ago, or none.
    Wish(Option<usize>),
    /// The broker goes down: what was confirmed last comes back, and everything is flagged.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..TOPICS.len()).prop_map(Step::Publish),
        1 => prop::option::of(0..8_u8).prop_map(Step::Rights),
        6 => Just(Step::Deliver),
        6 => (prop_oneof![8 => Just(Some(0)), 1 => Just(Some(1)), 1 => Just(None)], 1..5_usize)
            .prop_map(|(back, limit)| Step::Poll { back, limit }),
        1 => Just(Step::PollNonsense),
        4 => (1..5_usize).prop_map(|limit| Step::GoOn { limit }),
        2 => any::<bool>().prop_map(Step::LoseAnswers),
        1 => Just(Step::HangUp),
        2 => (0..20_000_u64).prop_map(Step::Wait),
        1 => prop_oneof![4 => Just(Some(0)), 1 => Just(Some(1)), 1 => Just(None)].prop_map(Step::Wish),
        1 => Just(Step::Crash),
    ]
}

/// A message in the model of a queue.
#[derive(Debug, Clone, Copy)]
struct Message {
    number: usize,
    topic: usize,
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
    /// Of the next poll, and of the one that came last.
    rights: (Rights, Rights),
    /// What the poll that came last got last, if it arrived.
    got: Option<LastSeen>,
    /// The tag that the poll that waits goes on after.
    after: u64,
    losing: bool,
    /// What the client saw, in the order of first sight.
    seen: Vec<usize>,
    handed_out: Vec<usize>,
    /// Under this Lease.
    handed_out_here: Vec<usize>,
    tokens: Vec<LastSeen>,
    /// What was confirmed unseen, because the rights of that moment showed none of it.
    withheld: Vec<usize>,
    /// How many of them were never handed out, as the desk counts them and as it should.
    counted: (u64, u64),
    /// The tokens of the wishes so far.
    wishes: Vec<Option<LastSeen>>,
    /// What the desk has decided and is not done.
    effects: VecDeque<Effect>,
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
            rights: (None, None),
            got: None,
            after: 0,
            losing: false,
            seen: Vec::new(),
            handed_out: Vec::new(),
            handed_out_here: Vec::new(),
            tokens: Vec::new(),
            withheld: Vec::new(),
            counted: (0, 0),
            wishes: Vec::new(),
            effects: VecDeque::new(),
        };
        world.open(None);
        world
    }

    /// Opens a Lease: all that was unacked is back in its old place. If the last one ended in order, it is known what it
    /// has confirmed.
    fn open(&mut self, confirmed: Option<Place>) {
        while let Some((_, message)) = self.unacked.pop_back() {
            self.ready.push_front(Message { redelivered: true, ..message });
        }
        self.leases += 1;
        self.next_tag = 1;
        (self.got, self.after) = (None, 0);
        self.handed_out_here.clear();
        self.desk = Desk::new(TIMEOUTS, self.now);
        let counted = u32::try_from(self.ready.len()).unwrap();
        self.desk.open(Window::new(self.leases, self.prefetch, counted).after(confirmed), self.now);
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Publish(topic) => {
                self.ready.push_back(Message { number: self.published, topic: *topic, redelivered: false });
                self.published += 1;
            }
            Step::Rights(rights) => self.rights.0 = *rights,
            Step::Deliver => self.deliver(),
            Step::Poll { back, limit } => {
                let token = back.and_then(|back| self.tokens.iter().rev().nth(back)).cloned();
                self.poll(token.as_ref(), *limit);
            }
            Step::PollNonsense => self.poll(Some(&"nonsense".parse().unwrap()), 3),
            Step::GoOn { limit } => {
                if let Some(after) = self.got.take().map(Some) {
                    let (deadline, may_see) = (self.now + seconds(5), patterns(self.rights.1));
                    let continuation = Continuation { after, limit: *limit, deadline, may_see };
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
            Step::Wish(back) => {
                let token = back.and_then(|back| self.tokens.iter().rev().nth(back)).cloned();
                self.wish(token, None);
            }
            Step::Crash => {
                for (_, message) in std::mem::take(&mut self.unacked).into_iter().rev() {
                    self.ready.push_front(message);
                }
                self.ready.extend(self.last_acked.take());
                self.ready.make_contiguous().sort_by_key(|message| message.number);
                self.ready.iter_mut().for_each(|message| message.redelivered = true);
                self.open(None);
            }
        }
        self.handle()
    }

    fn deliver(&mut self) {
        if self.unacked.len() < usize::from(self.prefetch)
            && let Some(message) = self.ready.pop_front()
        {
            self.unacked.push_back((self.next_tag, message));
            let mut event = event(message.number);
            event.topic = Topic::from_routing_key(TOPICS[message.topic]);
            let delivery =
                Delivery { content: Content::Event(event), ..delivery(self.next_tag, message.redelivered, 0) };
            self.desk.deliver(delivery, self.now);
            self.next_tag += 1;
        }
        self.desk.tick(self.now);
    }

    fn poll(&mut self, token: Option<&LastSeen>, limit: usize) {
        self.polls += 1;
        (self.got, self.after, self.rights.1) = (None, 0, self.rights.0);
        let poll = poll(self.polls, token, self.now + seconds(5));
        self.desk.attach(Poll { limit, may_see: patterns(self.rights.1), ..poll }, self.now);
    }

    fn wish(&mut self, token: Option<LastSeen>, offered: Option<u64>) {
        self.wishes.push(token.clone());
        let last_seen = token.map(|token| token.as_str().to_owned());
        let claim = Claim { holder: None, last_seen, poll: None };
        let id = WishId(self.wishes.len() as u64 - 1);
        self.desk.wish(Wish::new(id, &Wanted { client: "alice".parse().unwrap(), claim, offered }), self.now);
    }

    fn drain(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..8 * (self.published + 2) {
            for step in [Step::Poll { back: Some(0), limit: 100 }, Step::Deliver, Step::Wait(1500)] {
                self.step(&step)?;
            }
        }
        Ok(())
    }

    fn confirm(&mut self, tag: u64, rights: Rights) -> Result<(), TestCaseError> {
        let named = self.unacked.iter().find(|(unacked, _)| *unacked == tag).map(|(_, message)| *message);
        prop_assert!(named.is_some(), "tag {} is not unacked", tag);
        let names_seen = named.is_some_and(|named| self.seen.contains(&named.number) && shows(rights, named.topic));
        if !names_seen {
            let is_full = self.unacked.len() == usize::from(self.prefetch);
            let shows_any = self.unacked.iter().any(|(_, message)| shows(rights, message.topic));
            prop_assert!(is_full && !shows_any, "tag {} is confirmed to make room", tag);
        }
        while let Some((acked, message)) = self.unacked.pop_front_if(|(unacked, _)| *unacked <= tag) {
            let (number, is_shown) = (message.number, shows(rights, message.topic));
            prop_assert!(!is_shown || self.seen.contains(&number), "{} (tag {}) unseen", number, acked);
            if !is_shown {
                self.withheld.push(number);
                self.counted.1 += u64::from(!self.handed_out_here.contains(&number));
            }
            self.last_acked = Some(message);
        }
        self.counted.0 += self.desk.take_withheld();
        let half = usize::from(self.prefetch) / 2;
        prop_assert!(names_seen || self.unacked.len() >= half, "the newer half stays");
        Ok(())
    }

    fn handle(&mut self) -> Result<(), TestCaseError> {
        while let Some(effect) = self.next_effect() {
            match effect {
                // For another gateway, whose rights are not known: what it names was seen, whatever was shown then.
                Effect::Confirm(tag)
                    if matches!(self.effects.front(), Some(Effect::End(EndReason::HandedOver { .. }))) =>
                {
                    self.confirm(tag, None)?;
                }
                Effect::Confirm(tag) => self.confirm(tag, self.rights.1)?,
                Effect::Reply(WishId(wish), Reply::Offered(lease)) => {
                    let token = self.wishes.get(usize::try_from(wish).unwrap()).cloned().flatten();
                    self.wish(token, Some(lease));
                }
                Effect::Ask => self.desk.told(self.ready.is_empty(), self.now),
                Effect::Answer(_, Outcome::Batch(batch)) => self.hand_over(&batch)?,
                Effect::Answer(..) | Effect::Reply(..) => {}
                Effect::End(_) => self.open(self.desk.confirmed()),
            }
        }
        prop_assert!(self.desk.wakeup() > self.now, "what is due is done");
        prop_assert_eq!(self.counted.0, self.counted.1);
        Ok(())
    }

    fn next_effect(&mut self) -> Option<Effect> {
        if self.effects.is_empty() {
            self.effects.extend(std::iter::from_fn(|| self.desk.take_effect()));
        }
        self.effects.pop_front()
    }

    fn hand_over(&mut self, batch: &Batch) -> Result<(), TestCaseError> {
        let numbers: Vec<usize> = batch.events.iter().map(|each| testing::number(&each.event)).collect();
        let after = self.unacked.iter().filter(|(tag, _)| *tag > self.after).map(|(_, message)| message);
        let shown = after.filter(|message| shows(self.rights.1, message.topic));
        let front: Vec<usize> = shown.take(numbers.len()).map(|message| message.number).collect();
        prop_assert_eq!(&numbers, &front, "a batch is a run from the front, or from after what the client has");
        for (number, each) in numbers.iter().zip(&batch.events) {
            prop_assert!(each.redelivered || !self.handed_out.contains(number), "{} is an unmarked repeat", number);
        }
        self.handed_out.extend(&numbers);
        self.handed_out_here.extend(&numbers);
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
        mut steps in prop::collection::vec(step(), 1..120),
        prefetch in 1..6_u16,
        has_rights in any::<bool>(),
    ) {
        if !has_rights {
            steps.retain(|step| !matches!(step, Step::Rights(_)));
        }
        let mut world = World::new(prefetch);
        for step in &steps {
            world.step(step)?;
        }
        // From here on the client behaves: everything that it may see must reach it.
        world.losing = false;
        world.drain()?;
        let rights = world.rights.1;
        let mut left = world.ready.iter().chain(world.unacked.iter().map(|(_, message)| message));
        prop_assert!(left.all(|message| !shows(rights, message.topic)), "all of it is confirmed");
        // What is left waits for a right to read it.
        world.step(&Step::Rights(None))?;
        world.drain()?;
        prop_assert!(world.ready.is_empty() && world.unacked.is_empty(), "all of it is confirmed");
        let everything: Vec<usize> = (0..world.published).collect();
        if has_rights {
            let known = |number: &usize| world.seen.contains(number) || world.withheld.contains(number);
            prop_assert!(everything.iter().all(known), "seen {:?}, withheld {:?}", world.seen, world.withheld);
        } else {
            prop_assert_eq!((&world.seen, world.withheld.len()), (&everything, 0));
        }
    }
}

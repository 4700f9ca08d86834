//! The real broker beside the model.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use broker::{Broker, Content, Delivery, Lease, LeaseEnded, LeaseRequest, MailboxStatus, OpenError, handover::Claim};
use events::{ClientId, Event, EventId, Topic, TopicPattern};
use proptest::prelude::*;
use tokio::time::timeout;

use super::{
    super::{
        EmbeddedBroker, EmbeddedLease, EmbeddedOptions, KeptMailboxes, Retention,
        log::DISK_AROUND_PAYLOAD,
        position::Position,
        state::{Found, What as FoundWhat},
    },
    Step,
    model::{Flag, Lease as ModelLease, Message, Model, What},
};
use crate::testing::Folder;

pub(super) const CLIENTS: [&str; 2] = ["alice", "bob"];
pub(super) const TOPICS: [&str; 3] = ["a", "a.b", "c"];
pub(super) const PATTERNS: [&str; 4] = ["a.#", "*", "a.b", "#"];

/// So many events that retention takes none.
pub(super) const EVERYTHING: usize = 1 << 20;

/// What each event costs retention: its payload of 8 bytes, and what counts besides.
const COST: u64 = 8 + DISK_AROUND_PAYLOAD;

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn client(number: usize) -> ClientId {
    CLIENTS[number].parse().unwrap()
}

pub(super) fn pattern(number: usize) -> TopicPattern {
    PATTERNS[number].parse().unwrap()
}

pub(super) fn event(topic: Topic, number: usize) -> Event {
    Event::new(topic, None, number.to_be_bytes().to_vec())
}

/// Keeps so many events of [`COST`].
pub(super) fn options(folder: &Folder, kept: usize) -> EmbeddedOptions {
    EmbeddedOptions {
        data_dir: Some(folder.path().to_owned()),
        mailboxes: KeptMailboxes::all_for(Duration::from_hours(24)),
        retention: Retention { age: Duration::from_hours(24), bytes: kept as u64 * COST },
        feed_topics: Vec::new(),
    }
}

/// Starts the broker, whose folder the last one has let go of when it was closed or has crashed.
pub(super) fn start(options: &EmbeddedOptions) -> EmbeddedBroker {
    EmbeddedBroker::start(options, Arc::default()).unwrap()
}

/// A real broker and the model of it.
pub(super) struct World {
    kept: usize,
    // Before the folder, so that nothing writes into it any more.
    leases: BTreeMap<usize, EmbeddedLease>,
    broker: Option<EmbeddedBroker>,
    model: Model,
    /// The ids of markers, by number; a marker keeps its id.
    markers: HashMap<usize, EventId>,
    tags: HashMap<usize, Vec<u64>>,
    folder: Folder,
}

impl World {
    /// Starts a broker that keeps so many events.
    pub(super) fn new(kept: usize) -> Self {
        let folder = Folder::new();
        Self {
            kept,
            leases: BTreeMap::new(),
            broker: Some(EmbeddedBroker::start(&options(&folder, kept), Arc::default()).unwrap()),
            model: Model::default(),
            markers: HashMap::new(),
            tags: HashMap::new(),
            folder,
        }
    }

    fn broker(&self) -> &EmbeddedBroker {
        self.broker.as_ref().unwrap()
    }

    pub(super) async fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Publish(topic) => self.publish(&TOPICS[topic].parse().unwrap()).await,
            Step::Bind(who, what) => {
                self.broker().bind(&client(who), &[pattern(what)]).await.unwrap();
                self.model.bind(who, &[pattern(what)], true);
            }
            Step::Unbind(who, what) => {
                self.broker().unbind(&client(who), &pattern(what)).await.unwrap();
                self.model.unbind(who, &pattern(what));
            }
            Step::Open { client, ref patterns, seen_before, window } => {
                let topics = patterns.iter().map(|number| pattern(*number)).collect();
                self.open(client, topics, seen_before, window).await?;
            }
            Step::Next(who, count) => {
                for _ in 0..count {
                    self.next(who).await?;
                }
            }
            Step::Confirm(who, upto) => {
                if let Some(tags) = self.tags.get_mut(&who).filter(|tags| !tags.is_empty()) {
                    let count = 1 + upto % tags.len();
                    let tag = tags.drain(..count).next_back().unwrap();
                    self.leases.get_mut(&who).unwrap().confirm(tag).await.unwrap();
                    let (messages, lease) = self.model.lease(who).unwrap();
                    messages.drain(..count);
                    lease.handed_over -= count;
                }
            }
            Step::Release(who) => {
                if let Some(lease) = self.leases.remove(&who) {
                    lease.release().await;
                    self.released(who);
                }
            }
            Step::DropLease(who) => {
                drop(self.leases.remove(&who));
                self.released(who);
            }
            Step::Delete(who) => {
                self.broker().delete(&client(who)).await.unwrap();
                self.model.mailboxes.remove(&who);
                self.tags.remove(&who);
                if let Some(mut lease) = self.leases.remove(&who) {
                    let ended = timeout(PATIENCE, lease.next()).await.expect("a lease ends with its mailbox");
                    prop_assert_eq!(ended.map(|delivery| delivery.tag), Err(LeaseEnded::MailboxGone));
                }
            }
            Step::Restart => {
                self.drop_leases();
                self.broker().close().await;
                self.start_again();
            }
            Step::Crash => {
                self.model.crash();
                self.drop_leases();
                self.broker.take().unwrap().crash();
                self.start_again();
            }
        }
        Ok(())
    }

    async fn publish(&mut self, topic: &Topic) {
        if self.model.retained() == self.kept {
            // What an open Lease has of an event that retention takes depends on how far it had read.
            self.drop_leases();
        }
        let number = self.model.publish(topic);
        self.broker().publish(&event(topic.clone(), number)).await.unwrap();
        while self.model.retained() > self.kept {
            self.model.trim();
        }
        settle(self.broker()).await;
    }

    async fn open(
        &mut self,
        who: usize,
        topics: Vec<TopicPattern>,
        seen_before: bool,
        window: u16,
    ) -> Result<(), TestCaseError> {
        if self.model.is_leased(who) {
            return Ok(());
        }
        let request = LeaseRequest {
            client: client(who),
            topics: topics.clone(),
            seen_before,
            last_seen: None,
            window,
            claim: Claim::default(),
        };
        let opened = self.broker().open(request).await;
        if topics.is_empty() && !self.model.mailboxes.contains_key(&who) {
            prop_assert!(matches!(opened, Err(OpenError::NoMailbox)), "{:?}", opened);
            return Ok(());
        }
        let lease = opened.unwrap();
        self.model.bind(who, &topics, seen_before);
        let mailbox = self.model.mailboxes.get_mut(&who).unwrap();
        let window = usize::from(window);
        prop_assert_eq!((lease.backlog() as usize).min(window), mailbox.messages.len().min(window));
        mailbox.lease = Some(ModelLease { window, handed_over: 0 });
        self.leases.insert(who, lease);
        Ok(())
    }

    async fn next(&mut self, who: usize) -> Result<(), TestCaseError> {
        let Some((messages, lease)) = self.model.lease(who) else { return Ok(()) };
        let expected = messages.get(lease.handed_over).filter(|_| lease.handed_over < lease.window).copied();
        let real = self.leases.get_mut(&who).unwrap();
        let Some(expected) = expected else {
            // Whatever might come is in memory, or is compared with the model in any case.
            let nothing = timeout(Duration::from_millis(1), real.next()).await;
            prop_assert!(nothing.is_err(), "{:?}", nothing);
            return Ok(());
        };
        lease.handed_over += 1;
        let next = timeout(PATIENCE, real.next()).await;
        prop_assert!(matches!(next, Ok(Ok(_))), "{:?} should come, not {:?}", expected, next);
        let Ok(Ok(Delivery { tag, redelivered, content })) = next else { unreachable!() };
        self.same(expected, &content, redelivered)?;
        let tags = self.tags.entry(who).or_default();
        prop_assert!(tags.last().is_none_or(|last| *last < tag), "{} does not grow: {:?}", tag, tags);
        tags.push(tag);
        Ok(())
    }

    fn released(&mut self, who: usize) {
        self.tags.remove(&who);
        self.model.release(who);
    }

    fn drop_leases(&mut self) {
        self.leases.clear();
        (0..CLIENTS.len()).for_each(|who| self.released(who));
    }

    fn start_again(&mut self) {
        drop(self.broker.take());
        self.broker = Some(start(&options(&self.folder, self.kept)));
    }

    fn same(&mut self, expected: Message, content: &Content, redelivered: bool) -> Result<(), TestCaseError> {
        match (expected.what, content) {
            (What::Event(number), Content::Event(event)) => {
                prop_assert_eq!(&event.payload[..], &number.to_be_bytes()[..], "{:?}", expected);
            }
            (What::Marker(number), Content::Created(id) | Content::Lost(id)) => {
                let known = self.markers.entry(number).or_insert_with(|| id.clone());
                prop_assert_eq!(known, id, "{:?}", expected);
            }
            _ => prop_assert!(false, "{:?} should stand here, not {:?}", expected, content),
        }
        let flag = if redelivered { Flag::Yes } else { Flag::No };
        prop_assert!([flag, Flag::Either].contains(&expected.flag), "{:?}: {:?}", expected, content);
        Ok(())
    }

    /// Checks that the broker has what the model has.
    pub(super) async fn agrees(&mut self) -> Result<(), TestCaseError> {
        for (who, name) in CLIENTS.iter().enumerate() {
            let status = self.broker().mailbox(&client(who)).await.unwrap();
            let Some(mailbox) = self.model.mailboxes.get(&who) else {
                prop_assert_eq!(status, None, "{}", name);
                continue;
            };
            let handed_over = mailbox.lease.as_ref().map_or(0, |lease| lease.handed_over);
            let queued = u32::try_from(mailbox.messages.len() - handed_over).unwrap();
            let leased = mailbox.lease.is_some();
            prop_assert_eq!(status, Some(MailboxStatus { queued, leased }), "{}", name);

            let mut expected = mailbox.messages.clone();
            expected[..handed_over].iter_mut().for_each(|message| message.flag = Flag::Yes);
            let real = peek(self.broker(), &client(who)).await;
            prop_assert_eq!(real.len(), expected.len(), "{}: {:?}, not {:?}", name, real, expected);
            for (expected, (content, redelivered)) in expected.into_iter().zip(real) {
                self.same(expected, &content, redelivered)?;
            }
        }
        Ok(())
    }

    /// Reads every mailbox to its end, confirming one by one.
    pub(super) async fn drain(&mut self) -> Result<(), TestCaseError> {
        for who in 0..CLIENTS.len() {
            self.step(&Step::Release(who)).await?;
            self.step(&Step::Open { client: who, patterns: Vec::new(), seen_before: true, window: 2 }).await?;
            while self.model.mailboxes.get(&who).is_some_and(|mailbox| !mailbox.messages.is_empty()) {
                self.step(&Step::Next(who, 1)).await?;
                self.step(&Step::Confirm(who, 0)).await?;
            }
        }
        self.step(&Step::Restart).await?;
        self.agrees().await
    }
}

/// Waits until retention has taken what it takes, which it does with the next write.
pub(super) async fn settle(broker: &EmbeddedBroker) {
    let is_too_much = || {
        let state = broker.handle.state();
        state.log.expired(broker.handle.clock.now(), u64::MAX).is_some()
    };
    while is_too_much() {
        broker.unbind(&"absent".parse().unwrap(), &"nothing".parse().unwrap()).await.unwrap();
    }
}

/// Looks at all that is in a mailbox without a Lease: contents and flags.
async fn peek(broker: &EmbeddedBroker, client: &ClientId) -> Vec<(Content, bool)> {
    let (found, handed_over) = {
        let state = broker.handle.state();
        let scan = state.scan(client, Position::before(0), usize::MAX).unwrap();
        let handed_over = state.mailbox(client).unwrap().handed_over;
        (scan.found, state.lease(client).map_or(handed_over, |live_queue| handed_over.max(live_queue.handed_over())))
    };
    let mut contents = Vec::new();
    for Found { position, what } in found {
        let content = match what {
            FoundWhat::Event(stored) => Content::Event(stored.event.clone()),
            FoundWhat::Stored => {
                let mut read = broker.handle.read(vec![position.offset()]).await.unwrap();
                Content::Event(read.remove(0).expect("an event should be there"))
            }
            FoundWhat::Marker(id, _) => Content::Lost(id),
            FoundWhat::Missing => panic!("an event is missing at {position:?}"),
        };
        contents.push((content, position < handed_over));
    }
    contents
}

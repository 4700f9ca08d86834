//! A client that reads its mailbox through any gateway, and what it has seen.

use std::time::Duration;

use postern_tests::{Gateway, Poll, eventually, unique};
use tokio::time::Instant;

/// Longer than any mailbox is out of reach while its node runs.
const PATIENCE: Duration = Duration::from_mins(2);

/// Longer than gateways wait for each other before a client is told of a loss.
const TOLD: Duration = Duration::from_secs(40);

/// See the module.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) client: String,
    pub(super) topic: String,
    last_seen: Option<String>,
    seen: Vec<Seen>,
    expected: Vec<Seen>,
    /// The number of the next event that it expects.
    next: u64,
}

/// What a client is told, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Event(u64),
    Reset,
}

impl Reader {
    pub(super) fn new(topic: &str) -> Self {
        let (seen, expected) = (Vec::new(), Vec::new());
        Self { client: unique("client"), topic: topic.to_owned(), last_seen: None, seen, expected, next: 0 }
    }

    /// Returns a poll that confirms what was seen.
    pub(super) fn poll(&self) -> Poll {
        let poll = Poll::of(&self.client).topics(&self.topic);
        self.last_seen.iter().fold(poll, |poll, token| poll.last_seen(token))
    }

    /// Returns the path of a stream, and the place of its reader.
    pub(super) fn stream(&self) -> (String, String) {
        let path = format!("/clients/{}/events?topics={}", self.client, self.topic);
        (path, self.last_seen.clone().unwrap_or_default())
    }

    /// Takes some of what is there, and does not confirm it.
    pub(super) async fn take(&mut self, gateway: &Gateway, limit: u32) {
        self.turn(gateway, limit).await;
    }

    /// Reads and confirms what is there.
    pub(super) async fn read(&mut self, gateway: &Gateway) {
        while self.turn(gateway, 100).await {}
    }

    /// Reads and confirms what is there, until it is told that something is gone.
    pub(super) async fn read_to_reset(&mut self, gateway: &Gateway) {
        let give_up = Instant::now() + TOLD;
        while self.seen.last() != Some(&Seen::Reset) {
            assert!(Instant::now() < give_up, "{} is not told of a loss: {:?}", self.client, self.seen);
            self.turn(gateway, 100).await;
        }
    }

    /// These events did not reach the mailbox, and its reader is to be told so.
    pub(super) fn lost(&mut self, numbers: &[u64]) {
        self.expect(numbers[0]);
        self.expected.push(Seen::Reset);
        self.next = numbers[numbers.len() - 1] + 1;
    }

    /// Checks that it has seen every event before this one, but for those that were lost, and every reset.
    #[track_caller]
    pub(super) fn has_all(&mut self, end: u64) {
        self.expect(end);
        assert_eq!(self.seen, self.expected, "{}", self.client);
    }

    /// Checks the same of the events alone.
    #[track_caller]
    pub(super) fn has_all_events(&mut self, end: u64) {
        self.expect(end);
        let events = |seen: &[Seen]| seen.iter().filter(|seen| **seen != Seen::Reset).copied().collect::<Vec<_>>();
        assert_eq!(events(&self.seen), events(&self.expected), "{}", self.client);
    }

    fn expect(&mut self, end: u64) {
        self.expected.extend((self.next..end).map(Seen::Event));
        self.next = end;
    }

    /// Polls once, however often that takes; tells whether something came.
    async fn turn(&mut self, gateway: &Gateway, limit: u32) -> bool {
        let poll = self.poll().wait(0).query("limit", &limit.to_string());
        let batch = eventually(PATIENCE, "an answer", async || {
            let answer = poll.send(gateway).await;
            match answer.status {
                204 => Ok(None),
                // Another gateway lingers, or the node has just come back.
                503 => Err(answer),
                _ => Ok(Some(answer.batch())),
            }
        })
        .await;
        let Some(batch) = batch else { return false };
        self.seen.extend(batch.reset.then_some(Seen::Reset));
        for event in &batch.events {
            let seen = Seen::Event(event.number("n"));
            // A confirm can be lost with its node; then it says so.
            if !(event.redelivered && self.seen.contains(&seen)) {
                self.seen.push(seen);
            }
        }
        self.last_seen = Some(batch.last_seen);
        true
    }
}

//! What publishers sent, and what they were told of it.

use std::collections::BTreeMap;

/// What is known of a message that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It was confirmed.
    Yes,
    /// No answer came (yet), or one that leaves it open.
    Perhaps,
    /// It was refused, or never left.
    No,
}

/// One message: one attempt to publish an event.
#[derive(Debug)]
pub struct Sent {
    /// The id of its event; every attempt for the same event has the same.
    pub id: String,
    /// It was marked as resent.
    pub resent: bool,
    /// What is known of it.
    pub stored: Stored,
}

/// All messages of all topics, in the order in which they were sent.
#[derive(Debug, Default)]
pub struct Published(BTreeMap<String, Vec<Sent>>);

impl Published {
    /// Notes that a message is about to be sent and returns its number within the topic. The message before it must be
    /// settled: until then its publisher waits.
    pub fn begin(&mut self, topic: &str, id: &str, resent: bool) -> u64 {
        let sent = self.0.entry(topic.to_owned()).or_default();
        sent.push(Sent { id: id.to_owned(), resent, stored: Stored::Perhaps });
        sent.len() as u64 - 1
    }

    /// Notes what became of a message.
    pub fn settle(&mut self, topic: &str, number: u64, stored: Stored) {
        let sent = self.0.get_mut(topic).and_then(|sent| sent.get_mut(index(number)));
        sent.expect("only what was sent is settled").stored = stored;
    }

    /// Returns a message.
    pub fn sent(&self, topic: &str, number: u64) -> Option<&Sent> {
        self.0.get(topic)?.get(index(number))
    }

    /// Returns how many messages of a topic were sent; their numbers are below that.
    pub fn count(&self, topic: &str) -> u64 {
        self.0.get(topic).map_or(0, |sent| sent.len() as u64)
    }

    /// Returns how many messages of all topics are surely stored.
    pub fn confirmed(&self) -> usize {
        self.0.values().flatten().filter(|sent| sent.stored == Stored::Yes).count()
    }

    /// Tells whether a message is surely stored.
    pub(super) fn is_stored(&self, topic: &str, number: u64) -> bool {
        self.sent(topic, number).is_some_and(|sent| sent.stored == Stored::Yes)
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

//! Mailboxes as lists of messages: no log, no positions, nothing shared.

use std::collections::BTreeMap;

use events::{Topic, TopicPattern};

/// What stands in a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// The event of this number.
    Event(usize),
    /// The marker of this number.
    Marker(usize),
}

/// Whether a message is flagged as one that was handed over before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flag {
    No,
    Yes,
    /// It is news of a loss: whether that is a repeat is a matter of taste.
    Either,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Message {
    pub(super) what: What,
    pub(super) flag: Flag,
}

#[derive(Debug, Default)]
pub(super) struct Mailbox {
    bindings: Vec<TopicPattern>,
    pub(super) messages: Vec<Message>,
    pub(super) lease: Option<Lease>,
}

/// The Lease of a mailbox: how many messages at its front are handed over and unconfirmed.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) window: usize,
    pub(super) handed_over: usize,
}

/// Every mailbox, by client, and the events that are retained.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) mailboxes: BTreeMap<usize, Mailbox>,
    retained: Vec<usize>,
    published: usize,
    markers: usize,
}

impl Model {
    /// Publishes the next event; returns its number.
    pub(super) fn publish(&mut self, topic: &Topic) -> usize {
        let number = self.published;
        self.published += 1;
        self.retained.push(number);
        for mailbox in self.mailboxes.values_mut() {
            if mailbox.bindings.iter().any(|pattern| pattern.matches(topic)) {
                mailbox.messages.push(Message { what: What::Event(number), flag: Flag::No });
            }
        }
        number
    }

    /// Returns how many events are retained.
    pub(super) fn retained(&self) -> usize {
        self.retained.len()
    }

    /// Drops the oldest event, and tells the clients that had not confirmed it.
    pub(super) fn trim(&mut self) {
        let oldest = What::Event(self.retained.remove(0));
        for mailbox in self.mailboxes.values_mut() {
            let before = mailbox.messages.len();
            mailbox.messages.retain(|message| message.what != oldest);
            if mailbox.messages.len() == before {
                continue;
            }
            let marker = new_marker(&mut self.markers, Flag::Either);
            match mailbox.messages.first_mut() {
                Some(older @ Message { what: What::Marker(_), .. }) => *older = marker,
                _ => mailbox.messages.insert(0, marker),
            }
        }
    }

    pub(super) fn bind(&mut self, client: usize, patterns: &[TopicPattern], with_marker: bool) {
        let markers = &mut self.markers;
        let mailbox = self.mailboxes.entry(client).or_insert_with(|| {
            let marker = with_marker.then(|| new_marker(markers, Flag::No));
            Mailbox { messages: marker.into_iter().collect(), ..Mailbox::default() }
        });
        mailbox.bindings.extend_from_slice(patterns);
    }

    pub(super) fn unbind(&mut self, client: usize, pattern: &TopicPattern) {
        if let Some(mailbox) = self.mailboxes.get_mut(&client) {
            mailbox.bindings.retain(|bound| bound != pattern);
        }
    }

    pub(super) fn is_leased(&self, client: usize) -> bool {
        self.mailboxes.get(&client).is_some_and(|mailbox| mailbox.lease.is_some())
    }

    /// Returns the mailbox and the Lease of a client, if it has one.
    pub(super) fn lease(&mut self, client: usize) -> Option<(&mut Vec<Message>, &mut Lease)> {
        let Mailbox { messages, lease, .. } = self.mailboxes.get_mut(&client)?;
        Some((messages, lease.as_mut()?))
    }

    /// Ends a Lease: what was handed over and not confirmed is flagged from now on.
    pub(super) fn release(&mut self, client: usize) {
        if let Some(mailbox) = self.mailboxes.get_mut(&client)
            && let Some(lease) = mailbox.lease.take()
        {
            mailbox.messages[..lease.handed_over].iter_mut().for_each(|message| message.flag = Flag::Yes);
        }
    }

    /// All that is in a mailbox may have been handed over.
    pub(super) fn crash(&mut self) {
        for mailbox in self.mailboxes.values_mut() {
            mailbox.lease = None;
            mailbox.messages.iter_mut().for_each(|message| message.flag = Flag::Yes);
        }
    }
}

fn new_marker(markers: &mut usize, flag: Flag) -> Message {
    *markers += 1;
    Message { what: What::Marker(*markers), flag }
}

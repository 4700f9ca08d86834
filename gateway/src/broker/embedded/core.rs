//! What the embedded broker knows: the log and the mailboxes, in memory.
//!
//! The writer alone changes mailboxes and log, after the change is stored; Leases come and go in between. Everything is
//! behind one lock, which nobody holds while waiting for anything.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use events::{ClientId, EventId, PatternMap};
use tokio::time::Instant;

use super::{
    inbox::Inbox,
    log::{Log, Stored, TopicId},
    mailbox::{Change, Mailbox, Marker},
    place::Place,
};
use crate::broker::LeaseEnded;

/// How many heads are looked at under one hold of the lock.
const SCAN: u64 = 1 << 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) log: Log,
    mailboxes: HashMap<ClientId, Kept>,
    /// The inboxes of open Leases by what their mailboxes are bound to.
    live: PatternMap<Arc<Inbox>>,
}

/// A mailbox and who reads it.
#[derive(Debug)]
struct Kept {
    mailbox: Mailbox,
    lease: Option<Arc<Inbox>>,
    /// When it was made, or its last Lease ended.
    left: Instant,
}

/// A message that was found in a mailbox.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) what: What,
}

/// What was found.
#[derive(Debug)]
pub(super) enum What {
    /// An event that is in memory.
    Event(Arc<Stored>),
    /// An event that has to be read from the store.
    Stored,
    /// A marker.
    Marker(EventId),
    /// Something that should be there and is not; as bad as a marker.
    Missing,
}

impl Found {
    fn marker(marker: &Marker) -> Self {
        Self { place: marker.place(), what: What::Marker(marker.id.clone()) }
    }
}

/// What a scan of a mailbox came to.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) found: Vec<Found>,
    /// Where to go on.
    pub(super) reached: Place,
    /// There was nothing beyond.
    pub(super) complete: bool,
}

/// A mailbox that can be read.
pub(super) struct Readable<'a>(&'a Mailbox, &'a Log);

impl Core {
    pub(super) fn new(log: Log, mailboxes: impl IntoIterator<Item = (ClientId, Mailbox)>) -> Self {
        let left = Instant::now();
        let kept = |(client, mailbox)| (client, Kept { mailbox, lease: None, left });
        Self { log, mailboxes: mailboxes.into_iter().map(kept).collect(), live: PatternMap::default() }
    }

    pub(super) fn mailbox(&self, client: &ClientId) -> Option<&Mailbox> {
        self.mailboxes.get(client).map(|kept| &kept.mailbox)
    }

    /// Returns up to which place each mailbox was handed over, under an open Lease, too.
    pub(super) fn handed_over(&self) -> impl Iterator<Item = (&ClientId, Place)> {
        self.mailboxes.iter().map(|(client, Kept { mailbox, lease, .. })| {
            let open = lease.as_ref().map_or(mailbox.handed_over, |inbox| inbox.handed_over());
            (client, mailbox.handed_over.max(open))
        })
    }

    /// Returns the inbox of a mailbox's Lease, if there is one.
    pub(super) fn lease(&self, client: &ClientId) -> Option<&Arc<Inbox>> {
        self.mailboxes.get(client)?.lease.as_ref()
    }

    /// Opens the Lease of a mailbox that has none; returns up to which place messages were handed over before.
    pub(super) fn open(&mut self, client: &ClientId, inbox: &Arc<Inbox>) -> Option<Place> {
        let kept = self.mailboxes.get_mut(client).filter(|kept| kept.lease.is_none())?;
        for pattern in kept.mailbox.open_patterns() {
            self.live.insert(pattern, Arc::clone(inbox));
        }
        kept.lease = Some(Arc::clone(inbox));
        Some(kept.mailbox.handed_over)
    }

    /// Ends a Lease under which everything before a place was handed over.
    pub(super) fn release(&mut self, client: &ClientId, inbox: &Arc<Inbox>, handed_over: Place) {
        let Some(kept) = self.mailboxes.get_mut(client) else { return };
        if kept.lease.take_if(|lease| Arc::ptr_eq(lease, inbox)).is_some() {
            stop_feeding(&mut self.live, &kept.mailbox, inbox);
            kept.mailbox.handed_over = kept.mailbox.handed_over.max(handed_over);
            kept.left = Instant::now();
        }
    }

    /// Takes out the mailboxes that nobody has read for longer than they are kept.
    pub(super) fn expire(&mut self, expiry: impl Fn(&ClientId) -> Duration) -> Vec<ClientId> {
        let is_expired =
            |client: &ClientId, kept: &mut Kept| kept.lease.is_none() && kept.left.elapsed() >= expiry(client);
        self.mailboxes.extract_if(is_expired).map(|(client, _)| client).collect()
    }

    /// Takes over what was stored.
    pub(super) fn change(&mut self, (client, change): Change) {
        let Some(mailbox) = change else {
            if let Some(Kept { mailbox, lease: Some(inbox), .. }) = self.mailboxes.remove(&client) {
                stop_feeding(&mut self.live, &mailbox, &inbox);
                inbox.end(LeaseEnded::MailboxGone);
            }
            return;
        };
        match self.mailboxes.entry(client) {
            Entry::Vacant(vacant) => {
                vacant.insert(Kept { mailbox, lease: None, left: Instant::now() });
            }
            Entry::Occupied(mut kept) => {
                let kept = kept.get_mut();
                if let Some(inbox) = &kept.lease
                    && !kept.mailbox.open_patterns().eq(mailbox.open_patterns())
                {
                    stop_feeding(&mut self.live, &kept.mailbox, inbox);
                    for pattern in mailbox.open_patterns() {
                        self.live.insert(pattern, Arc::clone(inbox));
                    }
                }
                let handed_over = kept.mailbox.handed_over.max(mailbox.handed_over);
                kept.mailbox = Mailbox { handed_over, ..mailbox };
            }
        }
    }

    /// Takes over an event that was stored at the next offset, and gives it to everybody who waits for it.
    pub(super) fn append(&mut self, stored: Arc<Stored>) {
        self.live.matching(&stored.event.topic, |inbox| inbox.push(&stored));
        self.log.append(stored, std::time::SystemTime::now());
    }

    /// Returns what stands in a mailbox from a place on, up to `limit` messages, as far as one hold of the lock should go.
    pub(super) fn scan(&self, client: &ClientId, from: Place, limit: usize) -> Option<Scan> {
        Some(Readable(self.mailbox(client)?, &self.log).scan(from, limit))
    }

    /// Returns the mailboxes that would lose something unconfirmed if everything before `end` went.
    pub(super) fn losers(&self, end: u64) -> impl Iterator<Item = &ClientId> {
        self.mailboxes.iter().filter_map(move |(client, kept)| self.would_lose(&kept.mailbox, end).then_some(client))
    }

    /// Tells whether a mailbox would lose something unconfirmed if everything before `end` went.
    pub(super) fn would_lose(&self, mailbox: &Mailbox, end: u64) -> bool {
        Readable(mailbox, &self.log).holds_before(end)
    }
}

impl Readable<'_> {
    fn scan(&self, from: Place, limit: usize) -> Scan {
        let Self(mailbox, log) = self;
        let from = from.max(mailbox.unconfirmed);
        let start = from.offset().max(log.oldest());
        let end = log.next().min(start + SCAN);
        let mut found = Vec::new();
        let mut marker = mailbox.marker.as_ref().filter(|marker| marker.place() >= from);
        let mut memory = Memory::default();
        let mut reached = Place::before(end);
        for (offset, topic) in log.topics(start..end) {
            found.extend(marker.take_if(|marker| marker.before <= offset).map(Found::marker));
            if found.len() >= limit {
                reached = Place::before(offset);
                break;
            }
            let place = Place::of_event(offset);
            let what = match topic {
                _ if place < from => continue,
                None if mailbox.is_bound_at(offset) => What::Missing,
                Some(id) if memory.selects(mailbox, log, offset, id) => {
                    log.recent(offset).map_or(What::Stored, |stored| What::Event(Arc::clone(stored)))
                }
                _ => continue,
            };
            found.push(Found { place, what });
        }
        let complete = reached >= Place::before(log.next());
        found.extend(marker.take_if(|_| complete).map(Found::marker));
        let reached = found.last().map_or(reached, |last| reached.max(last.place.next()));
        Scan { found, reached, complete }
    }

    /// Tells whether anything unconfirmed stands before an offset.
    fn holds_before(&self, end: u64) -> bool {
        let Self(mailbox, log) = self;
        let first = mailbox.unconfirmed.offset();
        let mut memory = Memory::default();
        log.topics(first..end).any(|(offset, topic)| match topic {
            _ if Place::of_event(offset) < mailbox.unconfirmed => false,
            None => mailbox.is_bound_at(offset),
            Some(id) => memory.selects(mailbox, log, offset, id),
        })
    }
}

/// Remembers which topics a mailbox has no binding for: most of a busy log is somebody else's.
#[derive(Debug, Default)]
struct Memory {
    may_select: HashMap<TopicId, bool>,
}

impl Memory {
    fn selects(&mut self, mailbox: &Mailbox, log: &Log, offset: u64, id: TopicId) -> bool {
        let topic = || log.topic(id);
        *self.may_select.entry(id).or_insert_with(|| mailbox.may_select(topic())) && mailbox.selects(offset, topic())
    }
}

fn stop_feeding(live: &mut PatternMap<Arc<Inbox>>, mailbox: &Mailbox, inbox: &Arc<Inbox>) {
    for pattern in mailbox.open_patterns() {
        live.remove(pattern, |fed| Arc::ptr_eq(fed, inbox));
    }
}

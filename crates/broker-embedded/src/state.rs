//! What the embedded broker knows: the log and the mailboxes, in memory.
//!
//! The writer alone changes mailboxes and log, after the change is stored; Leases come and go in between. Everything is
//! behind one lock, which is not held while a task waits.

mod scan;

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use broker::LeaseEnded;
use events::{ClientId, PatternMap, TopicPattern};
use tokio::time::Instant;

use self::scan::Readable;
pub(super) use self::scan::{Found, Look, Scan, What};
use super::{
    clock::LogTime,
    live_queue::LiveQueue,
    log::{Log, Stored, TopicId},
    mailbox::{Change, Mailbox},
    position::Position,
};

/// How far a mailbox in which nothing arrives may be ahead of what is written of it, in events of the log: so many have
/// to be looked through again after a crash.
const LAG: u64 = 1 << 16;

/// How many mailboxes are written at once for that reason.
const MAX_LAGGING: usize = 1000;

/// See the module.
#[derive(Debug)]
pub(super) struct BrokerState {
    pub(super) log: Log,
    mailboxes: HashMap<ClientId, MailboxEntry>,
    /// Every mailbox by what it is bound to, or was while it held something that it still holds.
    bound: PatternMap<ClientId>,
    /// The live queues of open Leases by what their mailboxes are bound to.
    live: PatternMap<Arc<LiveQueue>>,
}

/// A mailbox and who reads it.
#[derive(Debug)]
struct MailboxEntry {
    mailbox: Mailbox,
    lease: Option<Arc<LiveQueue>>,
    /// When it was made, or its last Lease ended, or it was bound.
    left: Instant,
    /// Where its first unconfirmed position is, by what is written of it.
    written: u64,
}

impl MailboxEntry {
    fn new(mailbox: Mailbox) -> Self {
        let written = mailbox.unconfirmed.offset();
        Self { mailbox, lease: None, left: Instant::now(), written }
    }
}

impl BrokerState {
    pub(super) fn new(log: Log, mailboxes: impl IntoIterator<Item = (ClientId, Mailbox)>) -> Self {
        let mut state =
            Self { log, mailboxes: HashMap::new(), bound: PatternMap::default(), live: PatternMap::default() };
        for (client, mailbox) in mailboxes {
            state.change((client, Some(mailbox)));
        }
        state
    }

    pub(super) fn mailbox(&self, client: &ClientId) -> Option<&Mailbox> {
        self.mailboxes.get(client).map(|entry| &entry.mailbox)
    }

    /// Returns up to which position each mailbox was handed over, under an open Lease, too.
    pub(super) fn handed_over(&self) -> impl Iterator<Item = (&ClientId, Position)> {
        self.mailboxes.iter().map(|(client, MailboxEntry { mailbox, lease, .. })| {
            let open = lease.as_ref().map_or(mailbox.handed_over, |live_queue| live_queue.handed_over());
            (client, mailbox.handed_over.max(open))
        })
    }

    /// Returns the live queue of a mailbox's Lease, if there is one.
    pub(super) fn lease(&self, client: &ClientId) -> Option<&Arc<LiveQueue>> {
        self.mailboxes.get(client)?.lease.as_ref()
    }

    /// Opens the Lease of a mailbox that has none; returns up to which position messages were handed over before.
    pub(super) fn open(&mut self, client: &ClientId, live_queue: &Arc<LiveQueue>) -> Option<Position> {
        let entry = self.mailboxes.get_mut(client).filter(|entry| entry.lease.is_none())?;
        for pattern in entry.mailbox.open_patterns() {
            self.live.insert(pattern, Arc::clone(live_queue));
        }
        entry.lease = Some(Arc::clone(live_queue));
        Some(entry.mailbox.handed_over)
    }

    /// Ends a Lease under which everything before a position was handed over.
    pub(super) fn release(&mut self, client: &ClientId, live_queue: &Arc<LiveQueue>, handed_over: Position) {
        let Some(entry) = self.mailboxes.get_mut(client) else { return };
        if entry.lease.take_if(|lease| Arc::ptr_eq(lease, live_queue)).is_some() {
            stop_feeding(&mut self.live, &entry.mailbox, live_queue);
            entry.mailbox.handed_over = entry.mailbox.handed_over.max(handed_over);
            entry.left = Instant::now();
            if live_queue.is_idle() {
                entry.mailbox.start_at(Position::before(self.log.next()));
            }
        }
    }

    /// Starts the clock of a mailbox's expiry anew.
    pub(super) fn touch(&mut self, client: &ClientId) {
        if let Some(entry) = self.mailboxes.get_mut(client) {
            entry.left = Instant::now();
        }
    }

    /// Returns how many mailboxes there are.
    pub(super) fn mailbox_count(&self) -> usize {
        self.mailboxes.len()
    }

    /// Takes out the mailboxes that no client has read for longer than they are kept, which can be another time for
    /// those in which nothing was ever confirmed.
    pub(super) fn expire(&mut self, expiry: impl Fn(&ClientId, bool) -> Duration) -> Vec<ClientId> {
        let is_expired = |client: &ClientId, entry: &mut MailboxEntry| {
            entry.lease.is_none() && entry.left.elapsed() >= expiry(client, entry.mailbox.is_new)
        };
        let expired = self.mailboxes.extract_if(is_expired).map(|(client, entry)| {
            rebind(&mut self.bound, &client, Some(&entry.mailbox), None);
            client
        });
        expired.collect()
    }

    /// Takes over what was stored.
    pub(super) fn change(&mut self, (client, change): Change) {
        let Some(mut mailbox) = change else {
            let Some(entry) = self.mailboxes.remove(&client) else { return };
            rebind(&mut self.bound, &client, Some(&entry.mailbox), None);
            if let Some(live_queue) = entry.lease {
                stop_feeding(&mut self.live, &entry.mailbox, &live_queue);
                live_queue.end(LeaseEnded::MailboxGone);
            }
            return;
        };
        match self.mailboxes.entry(client) {
            Entry::Vacant(vacant) => {
                rebind(&mut self.bound, vacant.key(), None, Some(&mailbox));
                vacant.insert(MailboxEntry::new(mailbox));
            }
            Entry::Occupied(mut occupied) => {
                let (client, entry) = (occupied.key().clone(), occupied.get_mut());
                mailbox.keep_up_with(&entry.mailbox);
                rebind(&mut self.bound, &client, Some(&entry.mailbox), Some(&mailbox));
                if let Some(live_queue) = &entry.lease
                    && !entry.mailbox.open_patterns().eq(mailbox.open_patterns())
                {
                    stop_feeding(&mut self.live, &entry.mailbox, live_queue);
                    for pattern in mailbox.open_patterns() {
                        self.live.insert(pattern, Arc::clone(live_queue));
                    }
                }
                entry.written = mailbox.unconfirmed.offset();
                entry.mailbox = mailbox;
            }
        }
    }

    /// Confirms everything up to and including a position, whether that could be written or not.
    pub(super) fn confirm(&mut self, client: &ClientId, position: Position) {
        if let Some(entry) = self.mailboxes.get_mut(client) {
            entry.mailbox.confirm(position);
            entry.written = entry.mailbox.unconfirmed.offset();
        }
    }

    /// Moves mailboxes whose readers have confirmed everything to the end of the log, and returns some of those that
    /// have come far since they were written.
    pub(super) fn settle(&mut self) -> Vec<ClientId> {
        let end = Position::before(self.log.next());
        let mut lagging = Vec::new();
        for (client, entry) in &mut self.mailboxes {
            if entry.lease.as_ref().is_some_and(|live_queue| live_queue.is_idle()) {
                entry.mailbox.start_at(end);
            }
            if entry.mailbox.unconfirmed.offset() > entry.written + LAG && lagging.len() < MAX_LAGGING {
                lagging.push(client.clone());
            }
        }
        lagging
    }

    /// Takes over an event that was stored now at the next offset, and gives it to every Lease that waits for it.
    pub(super) fn append(&mut self, stored: Arc<Stored>, now: LogTime) {
        self.live.matching(&stored.event.topic, |live_queue| live_queue.push(&stored));
        self.log.append(stored, now);
    }

    /// Returns what stands in a mailbox from a position on, up to `limit` messages, as far as one hold of the lock
    /// should go.
    pub(super) fn scan(&self, client: &ClientId, from: Position, limit: usize) -> Option<Scan> {
        Some(Readable(self.mailbox(client)?, &self.log).scan(from, limit))
    }

    /// Returns the last event of each topic before `end`, and whether any before it is missing.
    pub(super) fn last_of_topics(&self, end: u64) -> (Vec<(TopicId, u64)>, bool) {
        let (mut last, mut are_some_missing) = (HashMap::new(), false);
        for (offset, topic) in self.log.topics(self.log.oldest()..end) {
            match topic {
                Some(id) => _ = last.insert(id, offset),
                None => are_some_missing = true,
            }
        }
        (last.into_iter().collect(), are_some_missing)
    }

    /// Calls `found` with each mailbox that may not have confirmed one of these events, which are the last of their
    /// topics.
    pub(super) fn waiting_for(&self, last: &[(TopicId, u64)], mut found: impl FnMut(&ClientId, u64)) {
        for (id, offset) in last {
            self.bound.matching(self.log.topic(*id), |client| {
                let mailbox = self.mailbox(client);
                if mailbox.is_some_and(|mailbox| mailbox.unconfirmed <= Position::of_event(*offset)) {
                    found(client, *offset);
                }
            });
        }
    }

    /// Returns the clients of all mailboxes.
    pub(super) fn clients(&self) -> impl Iterator<Item = &ClientId> {
        self.mailboxes.keys()
    }

    /// Drops everything before an offset; mailboxes that lose by it were changed before.
    pub(super) fn trim(&mut self, end: u64) {
        self.log.trim(end);
        for entry in self.mailboxes.values_mut() {
            if entry.mailbox.unconfirmed < Position::before(end) {
                // A marker that an open Lease has handed over stays so where it moves to.
                if let Some(live_queue) = &entry.lease {
                    entry.mailbox.handed_over = entry.mailbox.handed_over.max(live_queue.handed_over());
                }
                entry.mailbox.trim(end, None);
            }
        }
    }

    /// Looks for the last unconfirmed event of a mailbox before an offset, as far as one hold of the lock should go.
    pub(super) fn last_before(&self, mailbox: &Mailbox, end: u64) -> Look {
        Readable(mailbox, &self.log).last_before(end)
    }
}

fn stop_feeding(live: &mut PatternMap<Arc<LiveQueue>>, mailbox: &Mailbox, live_queue: &Arc<LiveQueue>) {
    for pattern in mailbox.open_patterns() {
        live.remove(pattern, |fed| Arc::ptr_eq(fed, live_queue));
    }
}

/// Takes over into `bound` what a mailbox is bound to.
fn rebind(bound: &mut PatternMap<ClientId>, client: &ClientId, before: Option<&Mailbox>, after: Option<&Mailbox>) {
    fn patterns(mailbox: Option<&Mailbox>) -> HashSet<&TopicPattern> {
        mailbox.into_iter().flat_map(|mailbox| &mailbox.bindings).map(|binding| &binding.pattern).collect()
    }
    let (before, after) = (patterns(before), patterns(after));
    for pattern in before.difference(&after) {
        bound.remove(pattern, |bound| bound == client);
    }
    for pattern in after.difference(&before) {
        bound.insert(pattern, client.clone());
    }
}

#[cfg(test)]
mod tests {
    use events::Event;

    use super::{super::log::Retention, *};

    fn state_with_mailboxes(count: usize) -> BrokerState {
        let log = Log::new(Retention { age: Duration::from_hours(1), bytes: 1 << 30 }, 0, 0);
        let mailboxes = (0..count).map(|n| {
            let mut mailbox = Mailbox::new(0);
            mailbox.bind(&[format!("users.{n}").parse().unwrap()], 0).unwrap();
            (client(n), mailbox)
        });
        BrokerState::new(log, mailboxes)
    }

    fn client(n: usize) -> ClientId {
        format!("client-{n}").parse().unwrap()
    }

    fn append(state: &mut BrokerState, topic: &str) {
        let event = Event::new(topic.parse().unwrap(), None, "1");
        state.append(Arc::new(Stored::new(state.log.next(), event)), LogTime::default());
    }

    #[test]
    fn a_mailbox_in_which_nothing_arrives_keeps_up_with_the_log() {
        let mut state = state_with_mailboxes(1);
        let live_queue = Arc::new(LiveQueue::new(Position::before(0)));
        state.open(&client(0), &live_queue).unwrap();
        live_queue.go_live(0);
        (0..=LAG).for_each(|_| append(&mut state, "other"));
        assert_eq!(state.settle(), [client(0)], "it has come far since it was written");
        assert_eq!(state.mailbox(&client(0)).unwrap().unconfirmed, Position::before(LAG + 1));
        append(&mut state, "users.0");
        state.settle();
        state.release(&client(0), &live_queue, Position::before(0));
        assert_eq!(
            state.mailbox(&client(0)).unwrap().unconfirmed,
            Position::before(LAG + 1),
            "no reader has seen the last one"
        );
    }

    #[test]
    fn a_mailbox_of_which_nothing_was_confirmed_expires_by_a_time_of_its_own() {
        let mut state = state_with_mailboxes(4);
        for topic in ["users.1", "users.2"] {
            append(&mut state, topic);
        }
        state.confirm(&client(1), Position::of_event(0));
        // A marker says nothing of a reader: a first poll passes over it.
        state.confirm(&client(2), Position::before(1));
        state.open(&client(3), &Arc::new(LiveQueue::new(Position::before(0)))).unwrap();
        let mut expired = state.expire(|_, is_new| if is_new { Duration::ZERO } else { Duration::from_hours(1) });
        expired.sort_unstable();
        assert_eq!(expired, [client(0), client(2)]);
        assert_eq!(state.mailbox_count(), 2);
    }

    #[test]
    fn only_who_loses_something_is_told() {
        let mut state = state_with_mailboxes(3);
        for topic in ["users.1", "users.2", "other"] {
            append(&mut state, topic);
        }
        state.confirm(&client(2), Position::of_event(1));
        append(&mut state, "users.2");
        let (last, are_some_missing) = state.last_of_topics(3);
        assert!(!are_some_missing);
        let mut waiting = Vec::new();
        state.waiting_for(&last, |client, offset| waiting.push((client.clone(), offset)));
        assert_eq!(waiting, [(client(1), 0)]);
        state.trim(3);
        let next = |n| state.mailbox(&client(n)).unwrap().unconfirmed;
        assert_eq!([next(0), next(2)], [Position::before(3); 2], "a mailbox that loses nothing moves along");
        assert_eq!(state.log.expired(LogTime::default(), u64::MAX), None);
    }
}

//! The one thread that writes.
//!
//! It takes everything that waits, stores it as one batch with one sync, lets the state take it over, and then answers:
//! so an answer means that it is on disk, readers see only what is, and publishers who come together share the sync.
//! What is merely confirmed is written without a sync of its own: it outlives the process, and after a power cut it
//! comes again, flagged.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{self, RecvTimeoutError},
    },
    time::Duration,
};

use events::ClientId;
use tokio::time::Instant;
use tracing::{debug, error, info};

use super::{
    batch::{Batch, Effect},
    clock::Reading,
    command::{Command, Task},
    kept::KeptMailboxes,
    mailbox::{Gone, Mailbox, Marker},
    repeats::Repeats,
    shared::Shared,
    state::Look,
    store::StoreError,
};

/// How many payload bytes are stored with one sync, but for the last publish.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// How long the events of publishers who were there a moment ago are waited for, so that they share the sync however
/// short it is. A lone publisher does not wait.
const GROUP_COMMIT_WINDOW: Duration = Duration::from_millis(2);

/// Retention and expiry are looked after this often, or at a hundredth of the mailbox expiry.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(1);

/// How many events retention drops with a batch, or twice as many as the batch adds; the others go with the next one,
/// which follows at once. Each may be of a topic of its own, which is compared with the patterns of all mailboxes while
/// publishers wait.
const MAX_EXPIRED: u64 = 1 << 10;

/// How many topics are compared with them under one hold of the state's lock.
const MAX_LOOKED_UP: usize = 1 << 7;

/// See the module.
pub(super) struct Writer {
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    /// What is stored, as far as it is known.
    repeats: Repeats,
    kept: KeptMailboxes,
    maintenance_interval: Duration,
    last_maintenance: Instant,
    /// What could not be written when it should have been.
    unwritten: HashSet<ClientId>,
    /// Retention has more to drop than went with the last batch.
    more_expired: bool,
    /// What the clocks showed when that was written last.
    clock: Reading,
    /// How many publishers are likely to come together, by those that did.
    expected_publishers: usize,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        commands: mpsc::Receiver<Command>,
        repeats: Repeats,
        kept: KeptMailboxes,
    ) -> Self {
        let shortest = kept.expiry.min(kept.unconfirmed_expiry);
        let maintenance_interval = (shortest / 100).clamp(Duration::from_millis(10), MAINTENANCE_INTERVAL);
        Self {
            clock: shared.clock.read(),
            shared,
            commands,
            repeats,
            kept,
            maintenance_interval,
            last_maintenance: Instant::now(),
            unwritten: HashSet::new(),
            more_expired: false,
            expected_publishers: 0,
        }
    }

    /// Works until it is told to close, or until no handle is left.
    pub(super) fn run(mut self) {
        loop {
            let patience = if self.more_expired { Duration::ZERO } else { self.maintenance_interval };
            let first = match self.commands.recv_timeout(patience) {
                Ok(command) => Some(command),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if self.round(first).is_break() {
                return;
            }
        }
    }

    /// Stores what waits, without waiting for more.
    #[cfg(test)]
    pub(super) fn step(&mut self) {
        assert!(self.round(None).is_continue());
    }

    /// Returns what waits, and forgets it.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> Vec<Task> {
        self.commands.try_iter().map(|command| command.task).collect()
    }

    /// Stores what waits, with what is due besides.
    fn round(&mut self, first: Option<Command>) -> std::ops::ControlFlow<()> {
        let room = self.make_room();
        let mut batch = self.batch();
        let (mut waiting, mut publishers, mut closing) = (Vec::new(), 0, false);
        let give_up = Instant::now() + GROUP_COMMIT_WINDOW;
        let mut next = first;
        loop {
            let more_are_expected = publishers > 0 && publishers < self.expected_publishers;
            next = next.or_else(|| match self.commands.try_recv() {
                Err(_) if more_are_expected => self.commands.recv_timeout(give_up - Instant::now()).ok(),
                received => received.ok(),
            });
            let Some(Command { mut task, done, room }) = next.take() else { break };
            closing |= matches!(task, Task::Close);
            if let Task::Publish(events) = &mut task {
                events.retain(|(_, fingerprint)| !self.repeats.holds(fingerprint, batch.clock().log));
                if events.is_empty() {
                    let _ = done.send(Ok(()));
                    continue;
                }
                publishers += 1;
            }
            match self.stage(&mut batch, task) {
                Ok(()) => waiting.push((done, room)),
                Err(refused) => _ = done.send(Err(refused)),
            }
            if closing || batch.bytes() >= BATCH_BYTES {
                break;
            }
        }
        self.expected_publishers = publishers.max(self.expected_publishers / 2);
        self.do_chores(&mut batch);
        self.retain(&mut batch);
        if closing {
            self.mark_clean_shutdown(&mut batch);
        }
        let result = self.store(batch, room);
        // What cannot be written now is tried again after a pause.
        self.more_expired &= result.is_ok();
        if closing {
            // With the answer the next process may open the folder.
            self.shared.store.close();
        }
        for (done, _room) in waiting {
            // The caller may have given up waiting.
            let _ = done.send(result.clone());
        }
        if closing { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) }
    }

    fn batch(&self) -> Batch {
        Batch::new(self.shared.state().log.next(), self.shared.clock.read())
    }

    /// Adds to a batch what a task asks for; an error says why that is not to be.
    fn stage(&self, batch: &mut Batch, task: Task) -> Result<(), StoreError> {
        match task {
            Task::Publish(events) => events.into_iter().for_each(|(event, of)| batch.append(event, of)),
            Task::Bind(client, topics, with_marker) => {
                self.shared.state().touch(&client);
                let offset = batch.next();
                let mailbox = self.mailbox(batch, &client);
                if mailbox.is_none() {
                    self.kept.find_place(&self.shared.state(), batch)?;
                }
                let mut mailbox = mailbox.unwrap_or_else(|| {
                    debug!(%client, "mailbox created");
                    let marker = with_marker.then(|| Marker::new(offset, Gone::OlderMailbox));
                    Mailbox { marker, ..Mailbox::new(offset) }
                });
                mailbox.bind(&topics, offset)?;
                batch.change(client, Some(mailbox), true);
            }
            Task::Unbind(client, topic) => {
                if let Some(mut mailbox) = self.mailbox(batch, &client) {
                    mailbox.unbind(&topic, batch.next());
                    batch.change(client, Some(mailbox), true);
                }
            }
            Task::Delete(client) => {
                if self.mailbox(batch, &client).is_some() {
                    batch.change(client, None, true);
                }
            }
            Task::Confirm(client, position) => {
                if let Some(mailbox) = self.mailbox(batch, &client) {
                    batch.confirm(client, mailbox, position);
                }
            }
            Task::Close => {}
            #[cfg(test)]
            Task::Panic => panic!("a test asked for this"),
        }
        Ok(())
    }

    /// Returns a mailbox as it is with what is staged.
    fn mailbox(&self, batch: &Batch, client: &ClientId) -> Option<Mailbox> {
        match batch.staged(client) {
            Some(staged) => staged.clone(),
            None => self.shared.state().mailbox(client).cloned(),
        }
    }

    /// Drops mailboxes that no client reads, and writes what is only in memory.
    fn do_chores(&mut self, batch: &mut Batch) {
        if self.last_maintenance.elapsed() < self.maintenance_interval {
            return;
        }
        self.last_maintenance = Instant::now();
        if batch.clock().was_set_since(self.clock) {
            info!("the wall clock was set; events are kept as long as without that");
            batch.note_clock();
            self.clock = batch.clock();
        }
        let (expired, lagging) = {
            let mut state = self.shared.state();
            (state.expire(|client, is_new| self.kept.expiry_of(client, is_new)), state.settle())
        };
        for client in expired.into_iter().chain(lagging).chain(std::mem::take(&mut self.unwritten)) {
            if batch.staged(&client).is_none() {
                let mailbox = self.mailbox(batch, &client);
                batch.change(client, mailbox, false);
            }
        }
    }

    /// Drops the oldest events that are kept long enough, as many as go with one batch.
    fn retain(&mut self, batch: &mut Batch) {
        let (now, most) = (batch.clock().log, MAX_EXPIRED.max(2 * batch.event_count()));
        let (end, all) = {
            let state = self.shared.state();
            (state.log.expired(now, most), state.log.expired(now, u64::MAX))
        };
        self.more_expired = end != all;
        let Some(end) = end else { return };
        let may_lose = self.may_lose(end);
        debug!(end, mailboxes = may_lose.len(), "retention drops the oldest events");
        for (client, last) in may_lose {
            if let Some(mut mailbox) = self.mailbox(batch, &client)
                // What this very batch confirms is no loss.
                && let Some(lost) = self.last_before(&mailbox, last + 1)
            {
                mailbox.trim(end, Some(lost));
                // Promised, in a way: a marker must not be there without the loss.
                batch.change(client, Some(mailbox), true);
            }
        }
        batch.trim(end);
    }

    /// Returns the mailboxes that may lose something unconfirmed if everything before `end` goes, and where the last
    /// such event stands at most.
    fn may_lose(&self, end: u64) -> HashMap<ClientId, u64> {
        let (last, are_some_missing) = {
            let mut state = self.shared.state();
            state.settle();
            state.last_of_topics(end)
        };
        let mut may_lose: HashMap<ClientId, u64> = HashMap::new();
        for last in last.chunks(MAX_LOOKED_UP) {
            self.shared.state().waiting_for(last, |client, offset| match may_lose.get_mut(client) {
                Some(last) => *last = offset.max(*last),
                None => _ = may_lose.insert(client.clone(), offset),
            });
        }
        if are_some_missing {
            may_lose.extend(self.shared.state().clients().map(|client| (client.clone(), end - 1)));
        }
        may_lose
    }

    /// Returns where the last unconfirmed event of a mailbox before an offset stands.
    fn last_before(&self, mailbox: &Mailbox, mut end: u64) -> Option<u64> {
        loop {
            let look = self.shared.state().last_before(mailbox, end);
            match look {
                Look::At(offset) => return Some(offset),
                Look::Nothing => return None,
                Look::NothingFrom(offset) => end = offset,
            }
        }
    }

    /// Writes down what was handed over, which a crash leaves in doubt.
    fn mark_clean_shutdown(&self, batch: &mut Batch) {
        let state = self.shared.state();
        for (client, handed_over) in state.handed_over() {
            let staged = batch.staged(client).cloned();
            if let Some(mut mailbox) = staged.unwrap_or_else(|| state.mailbox(client).cloned()) {
                mailbox.handed_over = mailbox.handed_over.max(handed_over);
                batch.change(client.clone(), Some(mailbox), true);
            }
        }
        batch.mark_clean_shutdown();
    }

    /// On a full disk, drops what retention drops, apart from what publishers wait for, which takes room.
    fn make_room(&mut self) -> Result<(), StoreError> {
        if self.shared.store.has_room() {
            return Ok(());
        }
        // Publishers get nothing meanwhile anyway.
        loop {
            let mut batch = self.batch();
            self.retain(&mut batch);
            if batch.trimmed().is_none() {
                break;
            }
            let result = self.shared.store.write_from_reserve(&batch);
            self.take_over(batch, result.is_ok());
            if result.is_err() || !self.more_expired {
                break;
            }
        }
        let oldest = self.shared.state().log.oldest();
        self.shared.store.find_room(oldest)
    }

    fn store(&mut self, batch: Batch, room: Result<(), StoreError>) -> Result<(), StoreError> {
        if batch.is_empty() && room.is_ok() && self.shared.is_writable.load(Ordering::Relaxed) {
            return Ok(());
        }
        let result = room.and_then(|()| self.shared.store.write(&batch));
        let was_writable = self.shared.is_writable.swap(result.is_ok(), Ordering::Relaxed);
        match &result {
            Ok(()) if !was_writable => info!("the store can be written again"),
            Err(error) if was_writable => {
                error!(%error, "the store cannot be written; nothing is published until it can");
            }
            _ => {}
        }
        let trimmed = batch.trimmed().filter(|_| result.is_ok());
        self.take_over(batch, result.is_ok());
        // From here on no reader looks for it.
        if let Some(end) = trimmed {
            self.shared.store.reclaim(end);
        }
        result
    }

    /// Has the state take over what was stored, or what holds without being stored.
    fn take_over(&mut self, batch: Batch, is_stored: bool) {
        let clock = batch.clock();
        if is_stored {
            self.clock = clock;
        } else {
            // It may be on disk all the same, or come there: what is true has to be written over it.
            self.unwritten.extend(batch.mailboxes().map(|(client, _)| client.clone()));
        }
        let (is_sync, payload_bytes) = (batch.needs_sync() && self.shared.store.is_durable(), batch.bytes() as u64);
        let mut state = self.shared.state();
        for effect in batch.into_effects() {
            match effect {
                Effect::Confirm(client, position) => state.confirm(&client, position),
                _ if !is_stored => {}
                Effect::Append(stored) => {
                    self.repeats.note(stored.fingerprint, clock.log);
                    state.append(stored, clock.log);
                }
                Effect::Trim(end) => state.trim(end),
                Effect::Change(change) => {
                    let is_dropped = change.1.is_none();
                    state.change(change);
                    if is_dropped {
                        self.shared.released.notify_waiters();
                    }
                }
            }
        }
        if is_stored {
            self.shared.metrics.syncs.inc_by(u64::from(is_sync));
            self.shared.metrics.payload_bytes.inc_by(payload_bytes);
        }
        self.shared.measure(&state);
        drop(state);
        self.shared.appended.notify_waiters();
    }
}

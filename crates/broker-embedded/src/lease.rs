//! A Lease: the log read by the rule of one mailbox.
//!
//! Nothing is taken out of anywhere by handing it over, so giving back is forgetting: the next Lease starts at the
//! first unconfirmed position, and flags what stands before the position that was handed over last.

use std::{collections::VecDeque, sync::Arc};

use broker::{Content, Delivery, Lease, LeaseEnded, LeaseRequest, limits::CALL_TIMEOUT};
use events::{ClientId, EventId};
use tokio::time::timeout;

use super::{
    command::Task,
    live_queue::{LiveQueue, Taken},
    mailbox::Gone,
    position::Position,
    shared::Handle,
    state::{Found, What},
    store::StoreError,
};

/// The right to read one mailbox; reads the log by the mailbox's rule.
#[derive(Debug)]
pub struct EmbeddedLease {
    broker: Arc<Handle>,
    client: ClientId,
    live_queue: Arc<LiveQueue>,
    window: u16,
    backlog: u32,
    /// What stands before this position was handed over under an older Lease.
    repeats: Position,
    /// Where to go on reading.
    next: Position,
    /// What was read and not handed over yet.
    read: VecDeque<(Position, Content)>,
    tags: u64,
    unconfirmed: VecDeque<(u64, Position)>,
}

impl EmbeddedLease {
    /// Takes over a mailbox's Lease that the state has just opened, and reads what waits.
    pub(super) async fn start(
        broker: Arc<Handle>,
        request: &LeaseRequest,
        live_queue: Arc<LiveQueue>,
        repeats: Position,
    ) -> Result<Self, StoreError> {
        let mut lease = Self {
            broker,
            client: request.client.clone(),
            live_queue,
            window: request.window,
            backlog: 0,
            repeats,
            next: Position::from_number(0),
            read: VecDeque::new(),
            tags: 0,
            unconfirmed: VecDeque::new(),
        };
        while lease.room() > 0
            && let Some(from) = lease.live_queue.lagging_from()
        {
            lease.catch_up(from).await?;
        }
        lease.backlog = u32::try_from(lease.read.len()).unwrap_or(u32::MAX);
        Ok(lease)
    }

    /// Returns how many messages may be read ahead: a window of them, with those that are.
    fn room(&self) -> usize {
        usize::from(self.window).saturating_sub(self.read.len())
    }

    fn hand_over(&mut self, (position, content): (Position, Content)) -> Delivery {
        self.tags += 1;
        self.unconfirmed.push_back((self.tags, position));
        self.live_queue.hand_over(position);
        Delivery { tag: self.tags, redelivered: position < self.repeats, content }
    }

    /// Reads on in the log, not before an offset, as far as there is room; live, where it ends. Cancel-safe: what was
    /// not read to the end is read again.
    async fn catch_up(&mut self, from: u64) -> Result<(), StoreError> {
        let scan = {
            let state = self.broker.state();
            let Some(scan) = state.scan(&self.client, self.next.max(Position::before(from)), self.room()) else {
                return Ok(());
            };
            let in_memory = scan.found.iter().all(|found| !matches!(found.what, What::Stored));
            if scan.complete && in_memory {
                self.live_queue.go_live(self.unconfirmed.len() + self.read.len() + scan.found.len());
            }
            scan
        };
        let is_stored = |found: &&Found| matches!(found.what, What::Stored);
        let offsets = scan.found.iter().filter(is_stored).map(|found| found.position.offset()).collect();
        let mut stored = self.broker.read(offsets).await?.into_iter();
        let oldest = self.broker.state().log.oldest();
        let mut read = VecDeque::with_capacity(scan.found.len());
        for Found { position, what } in scan.found {
            let content = match what {
                What::Event(stored) => Content::Event(stored.event.clone()),
                What::Marker(id, Gone::OlderMailbox) => Content::Created(id),
                What::Marker(id, Gone::Events) => Content::Lost(id),
                What::Missing => missing(position),
                What::Stored => match stored.next().flatten() {
                    Some(event) => Content::Event(event),
                    // Retention took it since the scan, and left a marker where that matters: look again.
                    None if position.offset() < oldest => return Ok(()),
                    None => missing(position),
                },
            };
            read.push_back((position, content));
        }
        self.next = scan.reached;
        self.read.append(&mut read);
        if !scan.complete {
            // A long log is looked through in many steps; others want to run, too.
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

/// Stands for an event that cannot be read: as a marker, with the same id at every reading.
fn missing(position: Position) -> Content {
    Content::Lost(EventId::from_publisher(&format!("missing-{}", position.offset())).unwrap_or_default())
}

impl Lease for EmbeddedLease {
    fn backlog(&self) -> u32 {
        self.backlog
    }

    fn window(&self) -> u16 {
        self.window
    }

    async fn next(&mut self) -> Result<Delivery, LeaseEnded> {
        loop {
            if let Some(ended) = self.live_queue.ended() {
                return Err(ended);
            }
            if self.unconfirmed.len() >= usize::from(self.window) {
                self.live_queue.changed().await;
                continue;
            }
            if let Some(read) = self.read.pop_front() {
                return Ok(self.hand_over(read));
            }
            match self.live_queue.take() {
                Taken::Event(stored) => {
                    let position = Position::of_event(stored.offset);
                    self.next = position.next();
                    return Ok(self.hand_over((position, Content::Event(stored.event.clone()))));
                }
                Taken::Lagging(from) => self.catch_up(from).await.map_err(|_| LeaseEnded::BrokerLost)?,
                Taken::Nothing => self.live_queue.changed().await,
                Taken::Ended(why) => return Err(why),
            }
        }
    }

    async fn is_drained(&mut self) -> Result<bool, LeaseEnded> {
        match self.live_queue.ended() {
            Some(ended) => Err(ended),
            None => Ok(self.read.is_empty() && self.live_queue.is_drained()),
        }
    }

    async fn confirm(&mut self, tag: u64) -> Result<(), LeaseEnded> {
        let (mut last, mut count) = (None, 0);
        while let Some((_, position)) = self.unconfirmed.pop_front_if(|(unconfirmed, _)| *unconfirmed <= tag) {
            (last, count) = (Some(position), count + 1);
        }
        let Some(position) = last else { return Ok(()) };
        let confirming = self.broker.submit(Task::Confirm(self.client.clone(), position));
        // That it is not on disk yet is the writer's care: at worst the events come again, flagged, after a crash.
        let result = timeout(CALL_TIMEOUT, confirming).await.unwrap_or(Ok(()));
        self.live_queue.confirmed(count);
        if result.is_err_and(|error| error.is_closed()) { Err(LeaseEnded::BrokerLost) } else { Ok(()) }
    }

    async fn release(self) -> bool {
        true
    }
}

impl Drop for EmbeddedLease {
    fn drop(&mut self) {
        self.broker.state().release(&self.client, &self.live_queue, self.live_queue.handed_over());
        self.broker.released.notify_waiters();
    }
}

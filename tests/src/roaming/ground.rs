//! What all that roam share: the gateways, the histories, and how far the test is.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{Habit, Plan, delays::Times};
use crate::{
    Request,
    history::{Fault, FeedHistory, FeedStep, MailboxHistory, Published, Returned, Step, Stored},
    unique,
};

const ROAMING: u8 = 0;
const PUBLISHED: u8 = 1;
const DRAINING: u8 = 2;

/// So many clients go at full pace; each of more clients does less, so that the machine can bear all of them.
pub(super) const PACE: usize = 24;

/// See the module.
pub(super) struct Ground {
    pub(super) gateways: Vec<SocketAddr>,
    /// First those of the clients, then the shared ones.
    pub(super) topics: Vec<String>,
    pub(super) clients: Vec<Mutex<ClientGround>>,
    pub(super) feeds: Vec<(String, Mutex<FeedHistory>)>,
    /// The log forgets.
    pub(super) retention: bool,
    pub(super) counts: Counters,
    pub(super) times: Times,
    /// How many times more clients there are than go at full pace.
    pub(super) crowd: u64,
    published: Mutex<Published>,
    faults: Mutex<Vec<Fault>>,
    failed_at: Mutex<Option<Instant>>,
    phase: AtomicU8,
}

/// One client with a mailbox.
pub(super) struct ClientGround {
    pub(super) name: String,
    pub(super) topics: String,
    history: MailboxHistory,
    /// The gateway that gave it events last.
    gateway: Option<usize>,
    requests: u64,
}

/// What happened, counted.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) handed_over: AtomicU64,
    events: AtomicU64,
    repeats: AtomicU64,
    nothing: AtomicU64,
    replaced: AtomicU64,
    refused: AtomicU64,
    broken: AtomicU64,
    followed: AtomicU64,
}

/// What happened, counted.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Messages that were confirmed to publishers.
    pub published: u64,
    /// Events that clients got, repeats included.
    pub events: u64,
    /// Those of them that said that they may be repeats.
    pub repeats: u64,
    /// How often a client got events from another gateway than the time before.
    pub handed_over: u64,
    /// Answers without events.
    pub nothing: u64,
    /// Answers with 409.
    pub replaced: u64,
    /// Answers with another error.
    pub refused: u64,
    /// Requests without a whole answer.
    pub broken: u64,
    /// Events that followers of feeds got.
    pub followed: u64,
    /// Events that came again although the request said by its token that they were seen.
    pub returned: Returned,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} published, {} events ({} repeats), {} handed over, {} of nothing, {} replaced, {} refused, {} broken off, \
             {} followed, {} returned after their token ({} of them after a fault)",
            self.published,
            self.events,
            self.repeats,
            self.handed_over,
            self.nothing,
            self.replaced,
            self.refused,
            self.broken,
            self.followed,
            self.returned.quietly + self.returned.after_faults,
            self.returned.after_faults
        )
    }
}

impl Ground {
    pub(super) fn new(plan: &Plan) -> Self {
        let tag = unique("roam");
        let own = (0..plan.clients + plan.measuring).map(|client| format!("{tag}.own{client}"));
        let is_timed = |client: &usize| plan.habit == Habit::Holds || *client >= plan.clients;
        let timed = own.clone().enumerate().filter(|(client, _)| is_timed(client)).map(|(_, topic)| topic);
        let shared: Vec<_> = (0..plan.shared).map(|number| format!("{tag}.all{number}")).collect();
        let clients = own.clone().enumerate().map(|(client, own)| {
            let name = format!("{tag}-{client}");
            let topics = [vec![own], shared.clone()].concat();
            let history = MailboxHistory::new(&name, &topics, plan.promises);
            Mutex::new(ClientGround { name, topics: topics.join(","), history, gateway: None, requests: 0 })
        });
        let feeds = shared.iter().map(|topic| {
            let mut history = FeedHistory::new(topic);
            if plan.retention {
                let judged = history.record("retention", &FeedStep::Dropped(u64::MAX), &Published::default());
                judged.expect("no event is concerned yet");
            }
            (topic.clone(), Mutex::new(history))
        });
        Self {
            gateways: plan.gateways.clone(),
            clients: clients.collect(),
            feeds: feeds.collect(),
            retention: plan.retention,
            topics: own.chain(shared).collect(),
            counts: Counters::default(),
            times: Times::of(timed.collect()),
            crowd: u64::try_from(plan.clients.div_ceil(PACE).max(1)).unwrap_or(u64::MAX),
            published: Mutex::default(),
            faults: Mutex::default(),
            failed_at: Mutex::default(),
            phase: AtomicU8::new(ROAMING),
        }
    }

    /// Makes all mailboxes before anything is published.
    pub(super) async fn bind_all(&self) {
        for client in &self.clients {
            let (name, topics) = {
                let client = locked(client);
                (client.name.clone(), client.topics.clone())
            };
            for topic in topics.split(',') {
                let put = Request::new("PUT", &format!("/clients/{name}/topics/{topic}"));
                put.send(self.gateways[0]).await.expect_status(204);
            }
        }
    }

    pub(super) fn is_roaming(&self) -> bool {
        self.phase.load(Ordering::Acquire) < DRAINING && !self.has_failed()
    }

    pub(super) fn is_publishing(&self) -> bool {
        self.phase.load(Ordering::Acquire) == ROAMING && !self.has_failed()
    }

    pub(super) fn stop_publishing(&self) {
        self.phase.store(PUBLISHED, Ordering::Release);
    }

    pub(super) fn drain(&self) {
        self.phase.store(DRAINING, Ordering::Release);
    }

    pub(super) fn has_failed(&self) -> bool {
        locked(&self.failed_at).is_some()
    }

    pub(super) fn failed_after(&self, began: Instant) -> Duration {
        locked(&self.failed_at).map_or_else(|| began.elapsed(), |at| at - began)
    }

    pub(super) fn faults(&self) -> Vec<Fault> {
        locked(&self.faults).clone()
    }

    pub(super) fn blame(&self, judged: Result<(), Fault>) {
        if let Err(fault) = judged {
            locked(&self.failed_at).get_or_insert_with(Instant::now);
            locked(&self.faults).push(fault);
        }
    }

    pub(super) fn begin(&self, topic: &str, id: &str, resent: bool) -> u64 {
        let number = locked(&self.published).begin(topic, id, resent);
        self.times.published(topic, number);
        number
    }

    pub(super) fn settle(&self, topic: &str, number: u64, stored: Stored) {
        locked(&self.published).settle(topic, number, stored);
    }

    pub(super) fn is_timed(&self, topic: &str) -> bool {
        self.times.is_timed(topic)
    }

    /// Writes down that a client asks, and numbers the request.
    pub(super) fn asks(&self, client: usize, how: String, token: Option<String>) -> u64 {
        let request = {
            let mut client = locked(&self.clients[client]);
            client.requests += 1;
            client.requests
        };
        self.record(client, &Step::Asked { request, how, token });
        request
    }

    pub(super) fn record(&self, client: usize, step: &Step) {
        self.counts.count(step);
        if let Step::Events { events, .. } = step {
            for event in events {
                self.times.handed_out(&event.topic, event.number);
            }
        }
        let mut client = locked(&self.clients[client]);
        let judged = client.history.record(step, &locked(&self.published));
        // After the first fault of a client, all that follows from it would be faults as well.
        if !self.has_failed() {
            self.blame(judged);
        }
    }

    /// Counts a hand-over if a client got events from another gateway than the time before.
    pub(super) fn came_from(&self, client: usize, gateway: usize) {
        let before = locked(&self.clients[client]).gateway.replace(gateway);
        if before.is_some_and(|before| before != gateway) {
            self.counts.handed_over.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn record_feed(&self, feed: usize, follower: &str, step: &FeedStep) {
        if let FeedStep::Events { events, .. } = step {
            self.counts.followed.fetch_add(events.len() as u64, Ordering::Relaxed);
        }
        let judged = locked(&self.feeds[feed].1).record(follower, step, &locked(&self.published));
        if !self.has_failed() {
            self.blame(judged);
        }
    }

    pub(super) fn record_for_all(&self, step: &Step) {
        for client in 0..self.clients.len() {
            self.record(client, step);
        }
    }

    pub(super) fn is_dropped(&self, client: usize) -> bool {
        locked(&self.clients[client]).history.is_dropped()
    }

    pub(super) fn has_all(&self, client: usize) -> bool {
        locked(&self.clients[client]).history.has_all(&locked(&self.published))
    }

    /// Judges the end of a client's history.
    pub(super) fn finish(&self, client: usize, waiting: usize) {
        let judged = locked(&self.clients[client]).history.finish(&locked(&self.published), waiting);
        self.blame(judged);
    }

    pub(super) fn is_at_end(&self, feed: usize, place: &str) -> bool {
        locked(&self.feeds[feed].1).is_at_end(place, &locked(&self.published))
    }

    pub(super) fn finish_feed(&self, feed: usize, follower: &str, place: &str) {
        let judged = locked(&self.feeds[feed].1).finish(follower, place, &locked(&self.published));
        self.blame(judged);
    }

    pub(super) fn counts(&self) -> Counts {
        let Counters { handed_over, events, repeats, nothing, replaced, refused, broken, followed } = &self.counts;
        Counts {
            published: locked(&self.published).confirmed() as u64,
            events: events.load(Ordering::Relaxed),
            repeats: repeats.load(Ordering::Relaxed),
            handed_over: handed_over.load(Ordering::Relaxed),
            nothing: nothing.load(Ordering::Relaxed),
            replaced: replaced.load(Ordering::Relaxed),
            refused: refused.load(Ordering::Relaxed),
            broken: broken.load(Ordering::Relaxed),
            followed: followed.load(Ordering::Relaxed),
            returned: self.clients.iter().map(|client| locked(client).history.returned()).sum(),
        }
    }
}

impl Counters {
    fn count(&self, step: &Step) {
        match step {
            Step::Events { events, .. } => {
                self.events.fetch_add(events.len() as u64, Ordering::Relaxed);
                let repeats = events.iter().filter(|event| event.redelivered).count();
                self.repeats.fetch_add(repeats as u64, Ordering::Relaxed)
            }
            Step::Nothing { .. } => self.nothing.fetch_add(1, Ordering::Relaxed),
            Step::Refused { status: 409, .. } => self.replaced.fetch_add(1, Ordering::Relaxed),
            Step::Refused { .. } => self.refused.fetch_add(1, Ordering::Relaxed),
            Step::Broken { .. } => self.broken.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
    }
}

/// Locks; a test that panicked with the lock fails by that.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

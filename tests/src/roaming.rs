//! Clients that change gateways, hang up, overlap and repeat, and publishers that lose their confirms: what they see is
//! written into histories, which judge it.
//!
//! [`Roaming::start`] has them begin; whatever else should happen meanwhile, such as the kill of a gateway, is up to
//! the test. At the end every client reads its mailbox to the end, and nothing may be missing. All decisions come from
//! a seed; what the machine makes of them differs from run to run all the same.

mod call;
mod client;
mod delays;
mod follower;
mod ground;
mod publisher;
mod settings;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rand::{SeedableRng, rngs::SmallRng};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use self::{
    client::Client,
    follower::Follower,
    ground::Ground,
    publisher::{Line, Publisher},
};
pub use self::{
    delays::Delays,
    ground::Counts,
    settings::{Settings, quiet_seconds},
};
use crate::history::{Promises, Step};

/// How long a test waits between two looks at its clients.
const LOOK: Duration = Duration::from_millis(50);

/// How many connections to RabbitMQ publishers share.
const LINES: usize = 8;

/// What clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// Everything that a client can do.
    Anything,
    /// Each poll goes to the next gateway, with the newest token; after an answer the connection stays open, which says
    /// nothing to the gateway that holds the mailbox, or is reset, or now and then closed in order.
    TakesTurns,
    /// One poll after the other is held by the same gateway, on a connection that stays open.
    Holds,
    /// Each poll goes to the next gateway; one that does not answer in time, or is gone, is left alone for a while, as by a
    /// load balancer.
    Measures,
}

/// What is to be started.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The gateways, all on one broker.
    pub gateways: Vec<SocketAddr>,
    /// The RabbitMQ of every second publisher; the others publish through the gateways.
    pub amqp_url: Option<String>,
    /// The gateways keep feeds, so there are followers.
    pub feeds: bool,
    /// Retention drops events, so a feed may say that some are gone, and has to.
    pub retention: bool,
    /// How many clients with mailboxes there are, each with a topic of its own. The more there are, the less each of them
    /// does.
    pub clients: usize,
    /// How many clients there are besides that measure, each with a topic that gets events at a steady pace.
    pub measuring: usize,
    /// How many topics there are that all clients read. Those are followed.
    pub shared: usize,
    /// Clients drop their mailboxes now and then.
    pub drops: bool,
    /// What the clients do that do not measure.
    pub habit: Habit,
    /// What is promised to them.
    pub promises: Promises,
    /// The seed of all decisions.
    pub seed: u64,
}

/// Clients and publishers at work.
pub struct Roaming {
    ground: Arc<Ground>,
    publishers: JoinSet<()>,
    readers: JoinSet<()>,
    began: Instant,
    seed: u64,
}

impl Roaming {
    /// Makes the mailboxes, then has everything begin.
    pub async fn start(plan: Plan) -> Self {
        let ground = Arc::new(Ground::new(&plan));
        ground.bind_all().await;
        let (mut publishers, mut readers) = (JoinSet::new(), JoinSet::new());
        let mut seeds = 1_u64..;
        let mut random = || {
            let salt = seeds.next().unwrap_or_default().wrapping_mul(0x9e37_79b9_7f4a_7c15);
            SmallRng::seed_from_u64(plan.seed ^ salt)
        };
        let url = plan.amqp_url.as_ref();
        let lines: Vec<_> = url.iter().flat_map(|url| (0..LINES).map(|_| Arc::new(Line::to(url)))).collect();
        for (number, topic) in ground.topics.iter().enumerate() {
            // Those that are timed do not depend on the gateways.
            let line = lines.get(number / 2 % LINES).filter(|_| number % 2 == 1 || ground.is_timed(topic));
            let is_stored_once = plan.amqp_url.is_none();
            let publisher = Publisher::new(Arc::clone(&ground), topic.clone(), line.cloned(), random());
            let publisher = publisher.stored_once(is_stored_once);
            let publisher = if (plan.clients..plan.clients + plan.measuring).contains(&number) {
                publisher.steady()
            } else {
                // Where a log forgets, a topic can be gone from it as a whole.
                let halvings = if plan.retention { number % 6 } else { 0 };
                publisher.slower(ground.crowd << halvings)
            };
            publishers.spawn(publisher.run());
        }
        for client in 0..plan.clients + plan.measuring {
            let habit = if client < plan.clients { plan.habit } else { Habit::Measures };
            readers.spawn(Client::new(Arc::clone(&ground), client, random()).run(habit, plan.drops));
        }
        for number in 0..if plan.feeds { ground.feeds.len() * 2 } else { 0 } {
            readers.spawn(Follower::new(Arc::clone(&ground), number, random()).run());
        }
        Self { ground, publishers, readers, began: Instant::now(), seed: plan.seed }
    }

    /// Waits so long, or until there is a fault; tells whether all is well.
    pub async fn goes_on_for(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        while !self.ground.has_failed() && Instant::now() < end {
            sleep(LOOK.min(end - Instant::now())).await;
        }
        !self.ground.has_failed()
    }

    /// Waits until clients got events from another gateway than the time before so often, or until there is a fault.
    pub async fn goes_on_until_handed_over(&self, times: u64) {
        while !self.ground.has_failed() && self.ground.counts.handed_over.load(Ordering::Relaxed) < times {
            sleep(LOOK).await;
        }
    }

    /// Notes that a fault begins: until [`Self::mended`] acknowledgements get lost.
    pub fn breaks(&self, kind: &'static str) {
        self.ground.times.fault_begins(kind);
        self.ground.record_for_all(&Step::Breaks(kind.to_owned()));
    }

    /// Notes that from now on no more get lost.
    pub fn mended(&self, kind: &'static str) {
        self.ground.record_for_all(&Step::Disturbed(kind.to_owned()));
    }

    /// Notes that something happens through which nothing may be lost.
    pub fn changes(&self, kind: &'static str) {
        self.ground.times.fault_begins(kind);
        self.ground.record_for_all(&Step::Changed(kind.to_owned()));
    }

    /// Has the publishers stop and every reader read to the end; panics with the faults if there are any.
    pub async fn finish(mut self) -> (Counts, Delays) {
        self.ground.stop_publishing();
        while let Some(publisher) = self.publishers.join_next().await {
            publisher.expect("a publisher should not panic");
        }
        self.ground.drain();
        while let Some(reader) = self.readers.join_next().await {
            reader.expect("a reader should not panic");
        }
        let (counts, delays) = (self.ground.counts(), self.ground.times.delays());
        let faults = self.ground.faults();
        assert!(
            faults.is_empty(),
            "POSTERN_TEST_SEED={}: {} faults within {:?}, of {counts}\n\n{}",
            self.seed,
            faults.len(),
            self.ground.failed_after(self.began),
            faults.iter().take(3).map(ToString::to_string).collect::<Vec<_>>().join("\n")
        );
        (counts, delays)
    }
}

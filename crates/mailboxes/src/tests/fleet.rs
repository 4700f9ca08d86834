//! Three gateways on one broker: polls go to any of them, and what the gateways tell each other is lost, late, or comes
//! twice. Whatever happens: no event is lost, order is kept, a repeat says that it is one, nothing comes again that was
//! confirmed, and a client alone is served soon.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use broker::{
    LeaseRequest, OpenError,
    handover::{Holder, Instance, Reply, Wanted},
    limits::MAX_HOLDER_WAIT,
};
use events::{ClientId, testing};
use futures_util::future::{join_all, select_ok};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::time::{Instant, sleep, timeout};

use super::{
    OPTIONS, alice,
    model::{Model, ModelBroker, ModelLease, Opens},
    request,
};
use crate::{
    last_seen::LastSeen,
    poll::{Outcome, PollOrder, PollRequest},
    registry::Registry,
};

/// What happens to what gateways tell each other.
#[derive(Debug, Clone, Copy)]
struct Wire {
    /// How many of a hundred messages are lost.
    lost: u32,
    /// How long one takes at most.
    delay: Duration,
}

const GOOD: Wire = Wire { lost: 0, delay: Duration::from_millis(3) };
const BAD: Wire = Wire { lost: 30, delay: Duration::from_millis(300) };

/// The broker of all gateways, and the wire between them.
struct Fleet {
    model: Arc<Model>,
    holders: Mutex<Vec<Arc<dyn Holder>>>,
    wire: Wire,
    random: Mutex<SmallRng>,
}

impl Fleet {
    fn random<T>(&self, decide: impl FnOnce(&mut SmallRng) -> T) -> T {
        decide(&mut self.random.lock().unwrap())
    }

    /// Brings a message, or loses it.
    async fn carry(&self) {
        if self.random(|random| random.random_range(0..100)) < self.wire.lost {
            pending::<()>().await;
        }
        sleep(self.random(|random| random.random_range(Duration::ZERO..self.wire.delay))).await;
    }

    /// Asks one gateway.
    async fn ask(&self, holder: usize, wanted: &Wanted) -> Option<Reply> {
        self.carry().await;
        let holder = Arc::clone(&self.holders.lock().unwrap()[holder]);
        if self.random(|random| random.random_range(0..10)) == 0 {
            drop(holder.hand_over(wanted.clone()));
        }
        let reply = holder.hand_over(wanted.clone())?.await?;
        self.carry().await;
        Some(reply)
    }
}

/// One gateway of the fleet.
struct Member {
    fleet: Arc<Fleet>,
    number: u32,
}

type FleetBroker = ModelBroker<Member>;

impl Opens for Member {
    fn instance(&self) -> Instance {
        Instance(self.number)
    }

    async fn open(&self, request: LeaseRequest) -> Result<ModelLease, OpenError> {
        let give_up = Instant::now() + MAX_HOLDER_WAIT;
        let (mut offered, mut is_confirmed) = (None, false);
        loop {
            if let Some(mut lease) = self.fleet.model.lease(&request) {
                lease.is_seen_confirmed = is_confirmed;
                return Ok(lease);
            }
            if Instant::now() >= give_up {
                return Err(OpenError::Held);
            }
            let wanted =
                Wanted { client: request.client.clone(), claim: request.claim.clone(), offered: offered.take() };
            let others = (0..3).filter(|other| *other != self.number);
            let asked = others.map(|other| {
                let wanted = &wanted;
                Box::pin(async move { self.fleet.ask(other as usize, wanted).await.ok_or(()) })
            });
            match timeout(Duration::from_millis(100), select_ok(asked)).await {
                Ok(Ok((Reply::Newer, _))) => return Err(OpenError::Newer),
                Ok(Ok((Reply::Offered(lease), _))) => offered = Some(lease),
                Ok(Err(())) => sleep(Duration::from_millis(50)).await,
                Ok(Ok((Reply::Released { is_seen_confirmed }, _))) => is_confirmed = is_seen_confirmed,
                Err(_) => {}
            }
        }
    }
}

fn fleet(wire: Wire, seed: u64) -> (Vec<Registry<FleetBroker>>, Arc<Model>) {
    let model = Arc::new(Model { release_time: Duration::from_millis(1), ..Model::default() });
    let fleet = Arc::new(Fleet {
        model: Arc::clone(&model),
        holders: Mutex::default(),
        wire,
        random: Mutex::new(SmallRng::seed_from_u64(seed)),
    });
    let gateways: Vec<Registry<FleetBroker>> = (0..3)
        .map(|number| {
            let broker = ModelBroker(Member { fleet: Arc::clone(&fleet), number });
            Registry::new(Arc::new(broker), OPTIONS, Arc::default())
        })
        .collect();
    *fleet.holders.lock().unwrap() =
        gateways.iter().map(|gateway| Arc::new(gateway.clone()) as Arc<dyn Holder>).collect();
    (gateways, model)
}

fn ordered(request: PollRequest, number: u64) -> PollRequest {
    PollRequest { order: Some(PollOrder { instance: "tab".to_owned(), number }), ..request }
}

/// Judges what one client gets.
#[derive(Default)]
struct Judged {
    last_seen: Option<LastSeen>,
    /// How many events it got; they come in order, so it is also the number of the next new one.
    seen: usize,
    /// How many of them it has confirmed.
    confirmed: usize,
}

impl Judged {
    /// Takes an answer to a poll that carried what it knows.
    fn answered(&mut self, outcome: &Outcome) {
        if matches!(outcome, Outcome::Batch(_) | Outcome::Nothing) {
            self.confirmed = self.seen;
        }
        let Outcome::Batch(batch) = outcome else { return };
        let numbers: Vec<usize> = batch.events.iter().map(|each| testing::number(&each.event)).collect();
        assert!(numbers.is_sorted() && numbers[0] <= self.seen, "{numbers:?} after {}", self.seen);
        assert!(numbers[0] >= self.confirmed, "{numbers:?} came again after {} were confirmed", self.confirmed);
        for (number, each) in numbers.iter().zip(&batch.events) {
            assert!(each.redelivered || *number >= self.seen, "an unmarked repeat");
        }
        self.seen = self.seen.max(numbers.last().unwrap() + 1);
        self.last_seen = Some(batch.last_seen.clone());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_changes_gateways_at_each_poll_gets_each_event_once_and_at_once() {
    let (gateways, model) = fleet(GOOD, 1);
    let mut client = Judged::default();
    for number in 0..300 {
        model.put(&alice(), testing::event("jobs.1", number));
        let began = Instant::now();
        let poll = request(client.last_seen.as_ref(), Duration::from_secs(25));
        let answered = gateways[number % 3].poll(&alice(), poll).await;
        client.answered(&answered.outcome);
        assert_eq!((client.seen, client.confirmed), (number + 1, number), "nothing came twice");
        assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    }
}

/// A publisher that sends one id for all has its events told apart by what is in them, and these are equal.
#[tokio::test(start_paused = true)]
async fn of_equal_events_none_is_taken_for_one_that_was_seen() {
    let (gateways, model) = fleet(GOOD, 5);
    let event = testing::event("jobs.1", 0);
    let path = [0, 1, 2, 2, 1, 0];
    (0..=path.len()).for_each(|_| model.put(&alice(), event.clone()));
    let mut last_seen = None;
    let poll = async |gateway: usize, last_seen: Option<&LastSeen>| {
        let poll = PollRequest { limit: 1, ..request(last_seen, Duration::from_secs(25)) };
        let answered = gateways[gateway].poll(&alice(), poll).await;
        let Outcome::Batch(batch) = answered.outcome else { panic!("{:?} at {gateway}", answered.outcome) };
        (batch.last_seen, answered.receipt.unwrap())
    };
    for gateway in path {
        last_seen = Some(poll(gateway, last_seen.as_ref()).await.0);
    }
    // The last poll confirms what came before, and its client never gets the answer.
    poll(0, last_seen.as_ref()).await.1.undelivered();
    poll(0, last_seen.as_ref()).await;
}

#[tokio::test(start_paused = true)]
async fn of_two_polls_at_two_gateways_the_newer_wins() {
    let (gateways, model) = fleet(GOOD, 2);
    let alice = alice();
    for is_ordered in [true, false] {
        let poll = |number| {
            let poll = request(None, Duration::from_secs(25));
            if is_ordered { ordered(poll, number) } else { poll }
        };
        let began = Instant::now();
        let older = gateways[0].poll(&alice, poll(1));
        let newer = async {
            sleep(Duration::from_millis(500)).await;
            let publish = async {
                sleep(Duration::from_secs(3)).await;
                model.put(&alice, testing::event("jobs.1", 0));
            };
            tokio::join!(gateways[1].poll(&alice, poll(2)), publish).0
        };
        let older = async { (older.await, began.elapsed()) };
        let ((older, took), newer) = tokio::join!(older, newer);
        assert!(matches!(older.outcome, Outcome::Replaced), "{:?}", older.outcome);
        assert!(matches!(newer.outcome, Outcome::Batch(_)), "{:?}", newer.outcome);
        let least = if is_ordered { Duration::from_millis(500) } else { Duration::from_secs(1) };
        assert!((least..least + Duration::from_millis(200)).contains(&took), "{took:?}");
        newer.receipt.unwrap().undelivered();
        sleep(Duration::from_secs(20)).await;
        assert_eq!(model.ready(&alice), 1, "nothing was confirmed");
        let mut drained = Judged::default();
        drained.answered(&gateways[0].poll(&alice, request(None, Duration::ZERO)).await.outcome);
        gateways[0].poll(&alice, request(drained.last_seen.as_ref(), Duration::ZERO)).await;
        sleep(Duration::from_secs(20)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_poll_that_comes_late_is_refused_elsewhere() {
    let (gateways, _) = fleet(GOOD, 3);
    let alice = alice();
    let newer = gateways[0].poll(&alice, ordered(request(None, Duration::from_secs(5)), 2));
    let older = async {
        sleep(Duration::from_secs(1)).await;
        gateways[1].poll(&alice, ordered(request(None, Duration::from_secs(5)), 1)).await
    };
    let (newer, older) = tokio::join!(newer, older);
    assert!(matches!(older.outcome, Outcome::Replaced), "{:?}", older.outcome);
    assert!(matches!(newer.outcome, Outcome::Nothing), "{:?}", newer.outcome);
}

#[tokio::test(start_paused = true)]
async fn two_readers_that_come_back_at_once_change_places_once_a_second() {
    let (gateways, model) = fleet(GOOD, 4);
    let end = Instant::now() + Duration::from_secs(30);
    let reader = async |gateway: usize| {
        while Instant::now() < end {
            gateways[gateway].poll(&alice(), request(None, Duration::from_secs(25))).await;
        }
    };
    tokio::join!(reader(0), reader(1));
    let opened = model.opened(&alice());
    assert!((10..=60).contains(&opened), "{opened} leases within about 30 s");
}

/// Moves about at random, and hangs up now and then; every answer is judged.
async fn roam(gateways: &[Registry<FleetBroker>], model: &Model, client: &ClientId, seed: u64) -> Judged {
    let (mut random, mut judged, mut published) = (SmallRng::seed_from_u64(seed), Judged::default(), 0);
    for number in 0..200 {
        for _ in 0..random.random_range(0..4) {
            model.put(client, testing::event("jobs.1", published));
            published += 1;
        }
        let gateway = &gateways[random.random_range(0..gateways.len())];
        let wait = Duration::from_millis(random.random_range(0..3000));
        let poll = ordered(request(judged.last_seen.as_ref(), wait), number);
        let patience = if random.random_range(0..4) == 0 { wait / 2 } else { Duration::from_mins(1) };
        // A client that hangs up knows nothing of what it would have got.
        match timeout(patience, gateway.poll(client, poll)).await {
            Ok(answered) if random.random_range(0..6) == 0 => {
                answered.receipt.iter().for_each(crate::registry::Receipt::undelivered);
            }
            Ok(answered) => judged.answered(&answered.outcome),
            Err(_) => {}
        }
    }
    // Alone, it gets the rest, and soon.
    let began = Instant::now();
    for number in 0.. {
        let poll = ordered(request(judged.last_seen.as_ref(), Duration::ZERO), 1000 + number);
        let answered = gateways[usize::try_from(number).unwrap() % gateways.len()].poll(client, poll).await;
        judged.answered(&answered.outcome);
        if matches!(answered.outcome, Outcome::Nothing) {
            break;
        }
        assert!(began.elapsed() < Duration::from_mins(2), "{:?}", answered.outcome);
    }
    assert_eq!(judged.seen, published, "{client}, seed {seed}");
    judged
}

#[tokio::test(start_paused = true)]
async fn clients_roam_between_gateways_that_understand_each_other_badly() {
    for seed in 0..20 {
        let (gateways, model) = fleet(if seed % 2 == 0 { BAD } else { GOOD }, seed);
        let clients: Vec<ClientId> = (0..3).map(|n| format!("c{n}").parse().unwrap()).collect();
        let roaming = clients.iter().zip(10 * seed..).map(|(client, seed)| roam(&gateways, &model, client, seed));
        join_all(roaming).await;
    }
}

//! Sessions and their registry, under a paused clock.

mod fleet;
mod model;

use std::{sync::Arc, time::Duration};

use events::{ClientId, testing};
use tokio::time::{Instant, sleep, timeout};

use self::model::{Model, ModelBroker};
use super::{
    context::MailboxOptions,
    last_seen::LastSeen,
    metrics::MailboxMetrics,
    poll::{Outcome, PollRequest},
    registry::{Answered, Registry},
};

const OPTIONS: MailboxOptions = MailboxOptions {
    linger: Duration::from_secs(15),
    confirm_deadline: Duration::from_mins(5),
    window: 8,
    max_mailboxes: 3,
    memory: 1024 * 1024,
};

fn registry(model: Model) -> (Registry<ModelBroker>, Arc<Model>) {
    let model = Arc::new(model);
    (Registry::new(Arc::new(ModelBroker(Arc::clone(&model))), OPTIONS, Arc::default()), model)
}

fn alice() -> ClientId {
    "alice".parse().unwrap()
}

fn request(last_seen: Option<&LastSeen>, wait: Duration) -> PollRequest {
    let deadline = Instant::now() + wait;
    PollRequest {
        topics: Vec::new(),
        last_seen: last_seen.cloned(),
        limit: 100,
        deadline,
        order: None,
        may_see: None,
        goes_on: false,
    }
}

/// What a well-behaved client knows.
#[derive(Default)]
struct Client {
    last_seen: Option<LastSeen>,
    seen: Vec<usize>,
}

impl Client {
    fn take(&mut self, outcome: &Outcome) {
        let Outcome::Batch(batch) = outcome else { return };
        for each in &batch.events {
            let number = testing::number(&each.event);
            if !self.seen.contains(&number) {
                self.seen.push(number);
            }
        }
        self.last_seen = Some(batch.last_seen.clone());
    }
}

#[tokio::test(start_paused = true)]
async fn who_only_short_polls_once_a_minute_gets_every_event() {
    let (registry, model) = registry(Model::default());
    let mut client = Client::default();
    for minute in 0..30 {
        for each in 0..3 {
            model.put(&alice(), testing::event("jobs.1", 3 * minute + each));
        }
        let answered = registry.poll(&alice(), request(client.last_seen.as_ref(), Duration::ZERO)).await;
        client.take(&answered.outcome);
        sleep(Duration::from_mins(1)).await;
        assert!(!model.is_leased(&alice()), "the linger is over");
    }
    let last = registry.poll(&alice(), request(client.last_seen.as_ref(), Duration::ZERO)).await;
    client.take(&last.outcome);
    assert_eq!(client.seen, (0..90).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn an_event_at_the_very_instant_of_the_deadline_is_never_lost() {
    let (registry, model) = registry(Model::default());
    let mut client = Client::default();
    let alice = alice();
    for number in 0..1000 {
        let wait = Duration::from_millis(100);
        let poll = registry.poll(&alice, request(client.last_seen.as_ref(), wait));
        let publish = async {
            sleep(wait).await;
            model.put(&alice, testing::event("jobs.1", number));
        };
        let (answered, ()) = tokio::join!(poll, publish);
        client.take(&answered.outcome);
    }
    let last = registry.poll(&alice, request(client.last_seen.as_ref(), Duration::ZERO)).await;
    client.take(&last.outcome);
    assert_eq!(client.seen, (0..1000).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_hangs_up_at_any_instant_loses_nothing() {
    let (registry, model) = registry(Model::default());
    let mut client = Client::default();
    let alice = alice();
    for number in 0..1000 {
        let hang_up = Duration::from_micros(rand::random_range(0..3000));
        let publish = async {
            sleep(Duration::from_millis(1)).await;
            model.put(&alice, testing::event("jobs.1", number));
        };
        let poll = timeout(hang_up, registry.poll(&alice, request(client.last_seen.as_ref(), Duration::from_secs(9))));
        let (answered, ()) = tokio::join!(poll, publish);
        // Half of the answers that come are lost on their way, and the connection says so.
        match answered {
            Ok(answered) if rand::random() => client.take(&answered.outcome),
            Ok(Answered { receipt: Some(receipt), .. }) => receipt.undelivered(),
            _ => {}
        }
    }
    while client.seen.len() < 1000 {
        let answered = registry.poll(&alice, request(client.last_seen.as_ref(), Duration::from_secs(9))).await;
        assert!(matches!(answered.outcome, Outcome::Batch(_)), "{:?}", answered.outcome);
        client.take(&answered.outcome);
    }
    assert_eq!(client.seen, (0..1000).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn who_hangs_up_gives_everything_back_at_once() {
    let (registry, model) = registry(Model::default());
    model.put(&alice(), testing::event("jobs.1", 0));
    let answered = registry.poll(&alice(), request(None, Duration::ZERO)).await;
    assert_eq!((model.ready(&alice()), model.is_leased(&alice())), (0, true));
    answered.receipt.unwrap().undelivered();
    sleep(Duration::from_millis(1)).await;
    assert_eq!((model.ready(&alice()), model.is_leased(&alice())), (1, false));
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_cannot_take_the_mailbox_from_a_newer_poll() {
    let (registry, model) = registry(Model::default());
    model.put(&alice(), testing::event("jobs.1", 0));
    let older = registry.poll(&alice(), request(None, Duration::ZERO)).await;
    let newer = registry.poll(&alice(), request(None, Duration::ZERO)).await;
    older.receipt.unwrap().undelivered();
    sleep(Duration::from_millis(1)).await;
    assert!(model.is_leased(&alice()));
    newer.receipt.unwrap().undelivered();
    sleep(Duration::from_millis(1)).await;
    assert!(!model.is_leased(&alice()));
}

#[tokio::test(start_paused = true)]
async fn a_new_lease_waits_for_the_end_of_the_last_one() {
    // The model panics when two Leases meet.
    let (registry, model) = registry(Model { release_time: Duration::from_secs(2), ..Model::default() });
    model.put(&alice(), testing::event("jobs.1", 0));
    let first = registry.poll(&alice(), request(None, Duration::ZERO)).await;
    first.receipt.unwrap().undelivered();
    sleep(Duration::from_millis(500)).await;
    let second = registry.poll(&alice(), request(None, Duration::from_secs(9))).await;
    assert!(matches!(second.outcome, Outcome::Batch(batch) if batch.events[0].redelivered));
    assert_eq!(model.opened(&alice()), 2);
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_warm_between_polls() {
    let (registry, model) = registry(Model::default());
    let mut client = Client::default();
    for number in 0..10 {
        model.put(&alice(), testing::event("jobs.1", number));
        let wait = Duration::from_secs(1);
        client.take(&registry.poll(&alice(), request(client.last_seen.as_ref(), wait)).await.outcome);
        sleep(Duration::from_secs(10)).await;
    }
    assert_eq!((client.seen.len(), model.opened(&alice())), (10, 1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_never_comes_before_its_confirm() {
    let (registry, model) = registry(Model { confirms_fail: true, ..Model::default() });
    model.put(&alice(), testing::event("jobs.1", 0));
    model.put(&alice(), testing::event("jobs.1", 1));
    let one = PollRequest { limit: 1, ..request(None, Duration::ZERO) };
    let Outcome::Batch(batch) = registry.poll(&alice(), one).await.outcome else { panic!("no batch") };
    let next = registry.poll(&alice(), request(Some(&batch.last_seen), Duration::ZERO)).await;
    assert!(matches!(next.outcome, Outcome::Broker(_)), "{:?}", next.outcome);
}

#[tokio::test(start_paused = true)]
async fn shutdown_releases_first_and_answers_then() {
    let (registry, model) = registry(Model { release_time: Duration::from_secs(1), ..Model::default() });
    let held = async {
        let answered = registry.poll(&alice(), request(None, Duration::from_secs(25))).await;
        (answered.outcome, model.is_leased(&alice()))
    };
    let shutdown = async {
        sleep(Duration::from_secs(1)).await;
        registry.shut_down(Duration::from_secs(10)).await;
    };
    let ((outcome, leased), ()) = tokio::join!(held, shutdown);
    assert!(matches!(outcome, Outcome::ShuttingDown { has_looked: true }) && !leased);
    let late = registry.poll(&alice(), request(None, Duration::from_secs(25))).await;
    assert!(matches!(late.outcome, Outcome::ShuttingDown { has_looked: false }));
}

/// A client that drains its mailbox takes "nothing" for its end.
#[tokio::test(start_paused = true)]
async fn who_asks_what_is_there_is_not_told_that_it_is_nothing_by_a_gateway_that_leaves() {
    let alice = alice();
    for (waited, wait, has_looked) in [(1, 0, false), (1, 25, false), (0, 0, false), (0, 25, true)] {
        let (registry, model) = registry(Model { stalls: true, ..Model::default() });
        (0..waited).for_each(|number| model.put(&alice, testing::event("jobs.1", number)));
        let held = registry.poll(&alice, request(None, Duration::from_secs(wait)));
        let shutdown = async {
            sleep(Duration::from_millis(100)).await;
            registry.shut_down(Duration::from_secs(10)).await;
        };
        let (answered, ()) = tokio::join!(held, shutdown);
        let looked = matches!(answered.outcome, Outcome::ShuttingDown { has_looked: true });
        let is_over = matches!(answered.outcome, Outcome::ShuttingDown { .. });
        assert!(is_over && looked == has_looked, "{waited} waited, wait={wait}: {:?}", answered.outcome);
    }
}

#[tokio::test(start_paused = true)]
async fn more_mailboxes_than_allowed_are_refused_and_no_other_suffers() {
    let (registry, model) = registry(Model::default());
    for n in 0..OPTIONS.max_mailboxes {
        registry.poll(&format!("c{n}").parse().unwrap(), request(None, Duration::ZERO)).await;
    }
    let refused = registry.poll(&alice(), request(None, Duration::ZERO)).await;
    assert!(matches!(refused.outcome, Outcome::TooManyMailboxes));
    let client: ClientId = "c0".parse().unwrap();
    model.put(&client, testing::event("jobs.1", 0));
    let served = registry.poll(&client, request(None, Duration::from_secs(1))).await;
    assert!(matches!(served.outcome, Outcome::Batch(_)));
    sleep(Duration::from_secs(20)).await;
    let later = registry.poll(&alice(), request(None, Duration::ZERO)).await;
    assert!(matches!(later.outcome, Outcome::Nothing), "room is made by the linger");
}

#[tokio::test(start_paused = true)]
async fn what_is_withheld_waits_for_a_right_to_read_it_and_holds_up_nothing() {
    let model = Arc::new(Model::default());
    let metrics = Arc::<MailboxMetrics>::default();
    let registry = Registry::new(Arc::new(ModelBroker(Arc::clone(&model))), OPTIONS, Arc::clone(&metrics));
    let narrow = |last_seen: Option<&LastSeen>| PollRequest {
        may_see: Some(["jobs.#".parse().unwrap()].into()),
        ..request(last_seen, Duration::from_secs(25))
    };
    model.put(&alice(), testing::event("pay.1", 0));
    // Longer than the confirm deadline, which ends a Session, and not a poll.
    for _ in 0..30 {
        let answered = registry.poll(&alice(), narrow(None)).await;
        assert!(matches!(answered.outcome, Outcome::Nothing), "{:?}", answered.outcome);
    }
    assert!((2..5).contains(&model.opened(&alice())), "{} leases in 12 minutes", model.opened(&alice()));
    let mut client = Client::default();
    client.take(&registry.poll(&alice(), request(None, Duration::ZERO)).await.outcome);
    assert_eq!(client.seen, [0]);
    // With a right to no more than the rest, the rest comes however much is withheld before it.
    let (mut client, total) = (Client::default(), 100);
    (1..total).for_each(|number| model.put(&alice(), testing::event("pay.1", number)));
    model.put(&alice(), testing::event("jobs.1", total));
    while client.seen.is_empty() {
        client.take(&registry.poll(&alice(), narrow(client.last_seen.as_ref())).await.outcome);
    }
    registry.poll(&alice(), narrow(client.last_seen.as_ref())).await;
    assert_eq!((client.seen, model.ready(&alice())), (vec![total], 0));
    assert_eq!(metrics.events_withheld.get(), 99, "and one that was shown before");
}

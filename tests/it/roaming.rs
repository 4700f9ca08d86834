//! Clients that change gateways at each poll, hang up, overlap and repeat; publishers that lose confirms; gateways that are
//! killed and connections that are closed. What the clients see is judged against what is promised.
//!
//! `POSTERN_TEST_SEED` repeats the decisions of a run, `POSTERN_TEST_SECONDS` has each test go on for longer, and
//! `POSTERN_TEST_HANDOVERS` says how often the clients that take turns change gateways.

use std::time::Duration;

use postern_tests::{
    Gateway,
    history::Promises,
    roaming::{Habit, Plan, Roaming, Settings},
    shared_node,
};

/// What each test takes in CI; there are five.
const SECONDS: u64 = 10;

/// How often clients that take turns change gateways in CI.
const HANDOVERS: u64 = 300;

/// The lingers and windows of the gateways: no two are equal.
const LINGERS: [&str; 3] = ["700ms", "1500ms", "300ms"];
const WINDOWS: [usize; 3] = [8, 5, 16];

/// How long a gateway, or all connections, are left in peace.
const PEACE: Duration = Duration::from_secs(3);

/// Gateways on a virtual host of their own, with its name and URL; or one with an embedded broker.
struct Place {
    gateways: Vec<Gateway>,
    amqp_url: Option<String>,
}

impl Place {
    async fn on_rabbitmq(count: usize) -> Self {
        let url = shared_node().await.vhost("roam").await;
        let mut gateways = Vec::new();
        for (linger, window) in LINGERS.iter().zip(WINDOWS).take(count) {
            let builder = Gateway::builder().amqp_url(&url).with_feed();
            gateways.push(builder.flag("--linger", linger).flag("--window", window.to_string()).start().await);
        }
        Self { gateways, amqp_url: Some(url) }.ready().await
    }

    async fn embedded() -> Self {
        let builder =
            Gateway::builder().embedded().flag("--linger", LINGERS[0]).flag("--window", WINDOWS[0].to_string());
        Self { gateways: vec![builder.start().await], amqp_url: None }.ready().await
    }

    async fn ready(self) -> Self {
        for gateway in &self.gateways {
            gateway.wait_ready().await;
        }
        self
    }

    async fn roam(&self, clients: usize, habit: Habit, settings: Settings) -> Roaming {
        eprintln!("POSTERN_TEST_SEED={}", settings.seed);
        let windows = WINDOWS.iter().take(self.gateways.len());
        let promises = Promises { tokens_hold: true, window: windows.copied().min().unwrap_or(1) };
        Roaming::start(Plan {
            gateways: self.gateways.iter().map(Gateway::address).collect(),
            amqp_url: self.amqp_url.clone(),
            feeds: habit == Habit::Anything,
            clients,
            habit,
            promises,
            seed: settings.seed,
        })
        .await
    }

    /// Kills one gateway after the other, and closes all connections to RabbitMQ, for as long as all is well.
    async fn disturb(&mut self, roaming: &Roaming, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        let mut round = 0;
        while tokio::time::Instant::now() < end && roaming.goes_on_for(PEACE).await {
            round += 1;
            roaming.disturb("begins");
            let vhost = self.amqp_url.as_ref().and_then(|url| url.rsplit('/').next());
            match vhost.filter(|_| round % 3 == 0) {
                Some(vhost) => {
                    let close = ["close_all_connections", "--vhost", vhost, "a test"];
                    shared_node().await.rabbitmqctl(&close).await;
                }
                None => {
                    let count = self.gateways.len();
                    let gateway = &mut self.gateways[round % count];
                    gateway.kill9();
                    gateway.start_again().await;
                    gateway.wait_ready().await;
                }
            }
            roaming.disturb("is over");
        }
    }
}

async fn roams(place: &Place) {
    let settings = Settings::or(SECONDS, HANDOVERS);
    let roaming = place.roam(24, Habit::Anything, settings).await;
    roaming.goes_on_for(settings.time).await;
    eprintln!("{}", roaming.finish().await);
}

async fn roams_disturbed(place: &mut Place) {
    let settings = Settings::or(SECONDS, HANDOVERS);
    let roaming = place.roam(24, Habit::Anything, settings).await;
    place.disturb(&roaming, settings.time).await;
    eprintln!("{}", roaming.finish().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_roam_between_two_gateways_and_no_promise_is_broken() {
    roams(&Place::on_rabbitmq(2).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_roam_between_three_gateways_and_no_promise_is_broken() {
    roams(&Place::on_rabbitmq(3).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_roam_between_gateways_that_are_killed_and_cut_off() {
    roams_disturbed(&mut Place::on_rabbitmq(3).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_come_and_go_at_an_embedded_gateway() {
    roams(&Place::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_come_and_go_at_an_embedded_gateway_that_is_killed() {
    roams_disturbed(&mut Place::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_turns_between_two_gateways_gets_each_event_once_and_in_order() {
    let settings = Settings::or(SECONDS, HANDOVERS);
    let place = Place::on_rabbitmq(2).await;
    let roaming = place.roam(6, Habit::TakesTurns, settings).await;
    roaming.goes_on_until_handed_over(settings.handovers).await;
    let counts = roaming.finish().await;
    eprintln!("{counts}");
    assert!(counts.handed_over >= settings.handovers, "{counts}");
}

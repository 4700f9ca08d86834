//! Clients that change gateways at each poll, hang up, overlap and repeat; publishers that lose confirms; gateways that
//! are killed and connections that are closed. What the clients see is judged against what is promised.
//!
//! `POSTERN_TEST_SEED` repeats the decisions of a run, `POSTERN_TEST_SECONDS` has each test go on for longer, and
//! `POSTERN_TEST_HANDOVERS` says how often the clients that take turns change gateways.

use std::time::Duration;

use postern_tests::{
    Gateway, GatewayBuilder,
    history::Promises,
    roaming::{Habit, Plan, Roaming, Settings},
    shared_node,
};
use tokio::time::Instant;

/// What each test takes in CI, besides its start and its end; there are nine.
const SECONDS: u64 = 7;

/// How often clients that take turns change gateways in CI.
const HANDOVERS: u64 = 300;

/// The lingers and windows of the gateways: no two are equal.
const LINGERS: [&str; 3] = ["700ms", "1500ms", "300ms"];
const WINDOWS: [usize; 3] = [8, 5, 16];

/// So many bytes that retention takes nothing from who roams for hours.
const EVERYTHING: &str = "100000000000";

/// How long the gateways are left in peace between two kills.
const PEACE: Duration = Duration::from_secs(2);

/// Gateways on a virtual host of their own, or one with an embedded broker.
struct Place {
    gateways: Vec<Gateway>,
    amqp_url: Option<String>,
}

impl Place {
    async fn on_rabbitmq(count: usize) -> Self {
        Self::on(&shared_node().await.vhost("roam").await, count).await
    }

    async fn on(url: &str, count: usize) -> Self {
        let mut gateways = Vec::new();
        for (linger, window) in LINGERS.iter().zip(WINDOWS).take(count) {
            let builder = Gateway::builder().amqp_url(url).with_feed().flag("--linger", linger);
            let builder = builder.flag("--retention-bytes", EVERYTHING);
            gateways.push(builder.flag("--window", window.to_string()).start().await);
        }
        Self { gateways, amqp_url: Some(url.to_owned()) }.ready().await
    }

    async fn embedded(flags: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Self {
        let builder = Gateway::builder().embedded().flag("--linger", LINGERS[0]);
        let builder = flags(builder.flag("--window", WINDOWS[0].to_string()));
        Self { gateways: vec![builder.start().await], amqp_url: None }.ready().await
    }

    async fn ready(self) -> Self {
        for gateway in &self.gateways {
            gateway.wait_ready().await;
        }
        self
    }

    /// Describes what most tests start.
    fn plan(&self) -> Plan {
        let windows = WINDOWS.iter().take(self.gateways.len());
        Plan {
            gateways: self.gateways.iter().map(Gateway::address).collect(),
            amqp_url: self.amqp_url.clone(),
            feeds: true,
            retention: false,
            clients: 24,
            shared: 2,
            drops: false,
            habit: Habit::Anything,
            promises: Promises { tokens_hold: true, window: windows.copied().min().unwrap_or(1) },
            seed: 0,
        }
    }

    /// Kills one gateway after the other, and closes all connections to RabbitMQ, for as long as all is well.
    async fn disturb(&mut self, roaming: &Roaming, time: Duration) {
        let end = Instant::now() + time;
        let mut round = 0;
        while Instant::now() < end && roaming.goes_on_for(PEACE).await {
            round += 1;
            roaming.disturb("begins");
            let vhost = self.amqp_url.as_ref().and_then(|url| url.rsplit('/').next());
            if let Some(vhost) = vhost.filter(|_| round % 3 == 0) {
                let close = ["close_all_connections", "--vhost", vhost, "a test"];
                shared_node().await.rabbitmqctl(&close).await;
            } else {
                let count = self.gateways.len();
                let gateway = &mut self.gateways[round % count];
                gateway.kill9();
                gateway.start_again().await;
                gateway.wait_ready().await;
            }
            roaming.disturb("is over");
        }
    }
}

#[expect(clippy::print_stderr, reason = "the seed and the counts of a run belong to its output")]
fn tell(text: &str) {
    eprintln!("{text}");
}

async fn start(plan: Plan) -> (Roaming, Settings) {
    let settings = Settings::or(SECONDS, HANDOVERS);
    tell(&format!("POSTERN_TEST_SEED={}", settings.seed));
    (Roaming::start(Plan { seed: settings.seed, ..plan }).await, settings)
}

async fn roams(plan: Plan) {
    let (roaming, settings) = start(plan).await;
    roaming.goes_on_for(settings.time).await;
    tell(&roaming.finish().await.to_string());
}

async fn roams_disturbed(place: &mut Place, plan: Plan) {
    let (roaming, settings) = start(plan).await;
    place.disturb(&roaming, settings.time).await;
    tell(&roaming.finish().await.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_roam_between_two_gateways_and_no_promise_is_broken() {
    let place = Place::on_rabbitmq(2).await;
    roams(place.plan()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_roam_between_three_gateways_and_no_promise_is_broken() {
    let place = Place::on_rabbitmq(3).await;
    roams(place.plan()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_roam_between_gateways_that_are_killed_and_cut_off() {
    let mut place = Place::on_rabbitmq(3).await;
    let plan = place.plan();
    roams_disturbed(&mut place, plan).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_drop_their_mailboxes_and_are_told_so_once() {
    let place = Place::on_rabbitmq(2).await;
    roams(Plan { drops: true, ..place.plan() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_roam_where_queues_are_quorum_queues_unless_told_otherwise() {
    let url = shared_node().await.vhost_of_type("roam", "quorum").await;
    let place = Place::on(&url, 2).await;
    roams(place.plan()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_come_and_go_at_an_embedded_gateway() {
    let place = Place::embedded(|builder| builder.flag("--retention-bytes", EVERYTHING)).await;
    roams(Plan { drops: true, ..place.plan() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_come_and_go_at_an_embedded_gateway_that_is_killed() {
    let mut place = Place::embedded(|builder| builder.flag("--retention-bytes", EVERYTHING)).await;
    let plan = place.plan();
    roams_disturbed(&mut place, plan).await;
}

/// Has followers read an embedded log that keeps little, through a gateway that is killed now and then.
async fn follow_a_log_that_forgets(flags: impl FnOnce(GatewayBuilder) -> GatewayBuilder) {
    let mut place = Place::embedded(|builder| flags(builder.flag("--retention-bytes", "300000"))).await;
    let plan = Plan { clients: 0, shared: 8, retention: true, ..place.plan() };
    roams_disturbed(&mut place, plan).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_of_a_log_that_forgets_are_told_what_they_missed() {
    // Neither the window nor the index of topics knows all that the log has.
    let small = |builder: GatewayBuilder| builder.flag("--feed-window", "200000").flag("--feed-index", "3");
    follow_a_log_that_forgets(small).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_of_a_log_that_forgets_are_told_where_memory_holds_more_than_the_log() {
    follow_a_log_that_forgets(|builder| builder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_turns_between_two_gateways_gets_each_event_once_and_in_order() {
    let place = Place::on_rabbitmq(2).await;
    let plan = Plan { clients: 6, feeds: false, habit: Habit::TakesTurns, ..place.plan() };
    let (roaming, settings) = start(plan).await;
    roaming.goes_on_until_handed_over(settings.handovers).await;
    let counts = roaming.finish().await;
    tell(&counts.to_string());
    assert!(counts.handed_over >= settings.handovers, "{counts}");
}

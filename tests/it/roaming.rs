//! Clients that change gateways at each poll, hang up, overlap and repeat; publishers that lose confirms; gateways that
//! are killed, restarted and frozen, and connections that are closed. What the clients see is judged against what is
//! promised.
//!
//! `POSTERN_TEST_SEED` repeats the decisions of a run, `POSTERN_TEST_SECONDS` has each test go on for longer,
//! `POSTERN_TEST_CLIENTS` sets how many clients there are, and `POSTERN_TEST_HANDOVERS` says how often the clients that
//! take turns change gateways. The long run, with everything some 30 times, is
//!
//! ```sh
//! POSTERN_TEST_SECONDS=600 POSTERN_TEST_CLIENTS=500 cargo test -p postern-tests --test it -- --nocapture \
//!   roaming::clients_roam_between_gateways_that_are_killed_restarted_frozen_and_cut_off
//! ```

mod place;

use postern_tests::{
    GatewayBuilder,
    history::Returned,
    roaming::{Counts, Habit, Plan, Roaming, Settings},
    shared_node,
};

use self::place::{EVERYTHING, Fault, LONG, Place, SHORT};

/// What each test takes in CI, besides its start and its end; there are ten.
const SECONDS: u64 = 7;

/// How often clients that take turns change gateways in CI.
const HANDOVERS: u64 = 300;

#[expect(clippy::print_stderr, reason = "the seed and the counts of a run belong to its output")]
fn tell(text: &str) {
    eprintln!("{text}");
}

async fn start(plan: Plan) -> (Roaming, Settings) {
    let settings = Settings::or(SECONDS, HANDOVERS);
    tell(&format!("POSTERN_TEST_SEED={}", settings.seed));
    let clients = settings.clients_or(plan.clients);
    (Roaming::start(Plan { seed: settings.seed, clients, ..plan }).await, settings)
}

async fn finish(roaming: Roaming) -> Counts {
    let (counts, delays) = roaming.finish().await;
    tell(&counts.to_string());
    if delays.timed() > 0 {
        tell(&delays.to_string());
    }
    counts
}

async fn roams(plan: Plan) {
    let (roaming, settings) = start(plan).await;
    roaming.goes_on_for(settings.time).await;
    finish(roaming).await;
}

async fn roams_disturbed(place: &mut Place, plan: Plan, faults: &[Fault]) {
    let (roaming, settings) = start(plan).await;
    place.disturb(&roaming, settings.time, faults).await;
    finish(roaming).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_roam_between_two_gateways_and_no_promise_is_broken() {
    let place = Place::on_rabbitmq(&SHORT[..2]).await;
    roams(place.plan()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_roam_between_three_gateways_and_no_promise_is_broken() {
    let place = Place::on_rabbitmq(&LONG).await;
    roams(place.plan()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_roam_between_gateways_that_are_killed_restarted_frozen_and_cut_off() {
    let mut place = Place::on_rabbitmq(&LONG).await;
    let plan = Plan { measuring: 3, ..place.plan() };
    roams_disturbed(&mut place, plan, Fault::ALL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_drop_their_mailboxes_and_are_told_so_once() {
    let place = Place::on_rabbitmq(&SHORT[..2]).await;
    roams(Plan { drops: true, ..place.plan() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_roam_where_queues_are_quorum_queues_unless_told_otherwise() {
    let url = shared_node().await.vhost_of_type("roam", "quorum").await;
    let place = Place::on(&url, &LONG[..2]).await;
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
    roams_disturbed(&mut place, plan, Fault::OF_EMBEDDED).await;
}

/// Has followers read an embedded log that keeps little, through a gateway that is killed now and then.
async fn follow_a_log_that_forgets(flags: impl FnOnce(GatewayBuilder) -> GatewayBuilder) {
    let mut place = Place::embedded(|builder| flags(builder.flag("--retention-bytes", "300000"))).await;
    let plan = Plan { clients: 0, shared: 8, retention: true, ..place.plan() };
    roams_disturbed(&mut place, plan, Fault::OF_EMBEDDED).await;
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
    let place = Place::on_rabbitmq(&LONG[..2]).await;
    let plan = Plan { clients: 6, feeds: false, habit: Habit::TakesTurns, ..place.plan() };
    let (roaming, settings) = start(plan).await;
    roaming.goes_on_until_handed_over(settings.handovers).await;
    let counts = finish(roaming).await;
    assert!(counts.handed_over >= settings.handovers, "{counts}");
    assert_eq!(counts.returned, Returned::default(), "{counts}");
}

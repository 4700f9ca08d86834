//! Gateways behind a proxy that are restarted one after the other, as for a new version: no client notices.
//!
//! `POSTERN_TEST_CLIENTS=1000` is the size that is promised. Half of the clients come through a proxy that takes the next
//! gateway for each request, half through one that keeps a client at its gateway.

use std::time::Duration;

use postern_tests::{
    Gateway, Proxy, ProxyProgram, Spread,
    history::Promises,
    roaming::{Habit, Plan, Roaming, Settings},
    shared_node,
};

const CLIENTS: usize = 100;

/// How long the clients are served between two restarts.
const PEACE: Duration = Duration::from_secs(1);

/// What each client adds to the first of these times, which are for its arrival.
const ARRIVAL: Duration = Duration::from_millis(5);

/// The default of `--window`.
const WINDOW: usize = 64;

#[tokio::test(flavor = "multi_thread")]
async fn gateways_are_restarted_one_after_the_other_and_no_client_sees_an_error() {
    let url = shared_node().await.vhost("rolling").await;
    let mut gateways = Vec::new();
    for _ in 0..3 {
        gateways.push(Gateway::builder().amqp_url(&url).start().await);
    }
    for gateway in &gateways {
        gateway.wait_ready().await;
    }
    let addresses: Vec<_> = gateways.iter().map(Gateway::address).collect();
    let mut proxies = Vec::new();
    for spread in [Spread::RoundRobin, Spread::ByClient] {
        proxies.push(Proxy::of_fleet(ProxyProgram::Haproxy, &addresses, spread).await);
    }
    let settings = Settings::or(0, 0);
    let clients = settings.clients_or(CLIENTS);
    let roaming = Roaming::start(Plan {
        gateways: proxies.iter().map(Proxy::address).collect(),
        amqp_url: Some(url),
        feeds: false,
        retention: false,
        clients,
        measuring: 0,
        shared: 1,
        drops: false,
        habit: Habit::Holds,
        promises: Promises { tokens_hold: true, window: WINDOW },
        seed: settings.seed,
    })
    .await;
    roaming.goes_on_for(ARRIVAL * u32::try_from(clients).expect("fewer than 2^32 clients")).await;
    for gateway in &mut gateways {
        roaming.goes_on_for(PEACE).await;
        roaming.changes("SIGTERM of a gateway");
        gateway.restart().await;
        for proxy in &proxies {
            proxy.wait_all_up().await;
        }
    }
    roaming.goes_on_for(PEACE).await;
    let (counts, delays) = roaming.finish().await;
    tell(&format!("{counts}\n{delays}"));
    assert_eq!((counts.refused, counts.replaced, counts.broken), (0, 0, 0), "{counts}");
}

#[expect(clippy::print_stderr, reason = "the figures of a run belong to its output")]
fn tell(text: &str) {
    eprintln!("{text}");
}

//! Many clients at once, and a broker that is slower than they are.

use std::{net::SocketAddr, time::Duration};

use postern_tests::{Answer, Gateway, HttpConnection, Poll, RabbitNode, Request, eventually, eventually_eq};
use tokio::{task::JoinSet, time::sleep};

const CLIENTS: usize = 500;

/// Clients that come while the others wait, and leave.
const LEAVING: usize = 100;

/// As many openings may be under way and not answered; the broker that comes back does these for nothing.
const UNDER_WAY: usize = 64 + 128;

/// Longer than an opening that is under way is waited for.
const FROZEN: Duration = Duration::from_secs(16);

const SOON: Duration = Duration::from_mins(1);

async fn metric(gateway: &Gateway, name: &str) -> Option<f64> {
    let metrics = Request::get("/metrics").send(gateway.address()).await.expect_status(200).text();
    metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

async fn ask(address: SocketAddr, poll: &Poll) -> Answer {
    HttpConnection::open(address).await.request(&poll.request()).await
}

/// Polls until there is an event, as often as it is refused for a second; returns how often that was.
async fn read_one(address: SocketAddr, client: String) -> usize {
    let (poll, mut refused) = (Poll::of(&client).topics("crowd").wait(50), 0);
    loop {
        match ask(address, &poll).await {
            answer if answer.status == 200 => return refused,
            answer if answer.status == 503 => {
                assert!(answer.header("retry-after").is_some());
                refused += 1;
                sleep(Duration::from_secs(1)).await;
            }
            answer => panic!("{answer:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_come_to_a_broker_that_does_not_answer_are_served_as_soon_as_it_does() {
    let node = RabbitNode::start().await;
    // Its connections outlive the time in which it does not answer.
    let gateway = Gateway::builder().amqp_url(&format!("{}?heartbeat=60", node.url())).start().await;
    gateway.wait_ready().await;
    node.freeze();
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        clients.spawn(read_one(gateway.address(), format!("stays-{n}")));
    }
    let waiting = async |more: usize| {
        let count = i32::try_from(CLIENTS + more - UNDER_WAY).map(f64::from).ok();
        eventually_eq(SOON, "openings that wait", count, async || metric(&gateway, "postern_openings_waiting").await)
            .await;
    };
    waiting(0).await;
    // A short poll is told after a while, and keeps its place.
    let address = gateway.address();
    let short = tokio::spawn(async move { ask(address, &Poll::of("short").topics("crowd").wait(0)).await });
    let mut leaving = Vec::new();
    for n in 0..LEAVING {
        leaving.push(Poll::of(&format!("leaves-{n}")).topics("crowd").wait(50).hold(&gateway).await);
    }
    waiting(LEAVING + 1).await;
    leaving.into_iter().for_each(HttpConnection::reset);
    waiting(1).await;
    sleep(FROZEN).await;
    let told = short.await.unwrap();
    assert!(told.problem(503).contains("are opened first"), "{told:?}");
    node.thaw();

    let all_open = async || match metric(&gateway, "postern_opening_seconds_count").await {
        Some(opened) if opened >= f64::from(u32::try_from(CLIENTS).unwrap()) => Ok(()),
        opened => Err(opened),
    };
    eventually(SOON, "every client to have its mailbox", all_open).await;
    Request::publish("crowd", "application/json", r#"{"n":1}"#).send(gateway.address()).await.expect_status(202);
    let refused: Vec<usize> = clients.join_all().await;
    let refused = refused.into_iter().filter(|refused| *refused > 0).count();
    assert!(refused <= 2 * UNDER_WAY, "{refused} were refused; those that wait for their turn should not be");
    let left = node.queues("/").await.into_iter().filter(|queue| queue.name.contains("leaves")).count();
    assert_eq!(left, 0, "nothing is opened for a client that has hung up");
    let log = gateway.log().lines();
    assert!(log.iter().any(|line| line.contains("more slowly than clients ask for them")), "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_connection_to_the_broker_was_lost_comes_back_after_a_second() {
    let node = RabbitNode::start().await;
    let gateway = Gateway::builder().amqp_url(&node.url()).start().await;
    gateway.wait_ready().await;
    let mut held = Poll::of("alice").topics("crowd").wait(50).hold(&gateway).await;
    let consumed = async || metric(&gateway, "postern_opening_seconds_count").await;
    eventually_eq(SOON, "openings", Some(1.0), consumed).await;
    node.rabbitmqctl(&["close_all_connections", "a test"]).await;
    let lost = held.answer().await;
    assert_eq!((lost.status, lost.header("retry-after")), (503, Some("1")), "{lost:?}");
    gateway.wait_answer("/ready", 200, SOON).await;
}

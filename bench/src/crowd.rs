//! The benchmark of a crowd: how long it takes until the mailboxes of all clients that come at once are open.
//!
//! The mailboxes exist, as after a restart. Clients poll them through a gateway, all at once; a bare AMQP client does for
//! each of them what has to be done on the broker: a channel, a declare, a bind, a prefetch and an exclusive consumer, on
//! as many connections and with as many at a time as the gateway. Both in turn within one run, on a private RabbitMQ.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use amqp::names;
use anyhow::ensure;
use clap::Parser;
use events::ClientId;
use futures_util::future::try_join_all;
use lapin::{
    Channel, Connection, ConnectionProperties,
    options::{BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};
use postern_tests::{Gateway, LeanHttp, RabbitNode, eventually, note};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    open_files,
    row::{Better, Row},
    server::gauge,
};

/// Measures how fast a crowd that comes back is served, beside a bare AMQP client.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Options {
    /// How many clients come at once; each takes an open file here and one in the gateway
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    clients: usize,

    /// How often both sides are measured
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: u32,
}

/// What all mailboxes are bound to.
const TOPIC: &str = "crowd";

/// As many openings as a gateway has under way at a time.
const AT_ONCE: usize = 64;

/// Mailboxes on one connection of the bare client, as on one of a gateway.
const ON_ONE_CONNECTION: usize = 1000;

/// How long a side may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// Runs it.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    open_files::raise(options.clients)?;
    note("starting a private RabbitMQ");
    let node = RabbitNode::start().await;
    let max_connections = (options.clients + 16).to_string();
    let gateway = Gateway::builder()
        .amqp_url(&node.url())
        .flag("--max-connections", &max_connections)
        .flag("--max-mailboxes", &max_connections)
        .start()
        .await;
    gateway.wait_ready().await;
    let made = through_gateway(&gateway, options.clients).await?;
    note(&format!("{} mailboxes were made in {made:.1} s", options.clients));
    let (mut bare, mut served) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let alone = without_gateway(&node.url(), options.clients).await?;
        let through = through_gateway(&gateway, options.clients).await?;
        note(&format!("bare {alone:.1} s, gateway {through:.1} s"));
        bare.push(alone);
        served.push(through);
    }
    let what = format!("{} clients at once until all mailboxes are open", options.clients);
    Ok(vec![Row::of(what, ("s", Better::Lower), "a bare AMQP client", served, bare)])
}

fn client(n: usize) -> anyhow::Result<ClientId> {
    Ok(format!("crowd-{n}").parse()?)
}

/// Has all clients poll at once; returns the seconds until their mailboxes are open.
async fn through_gateway(gateway: &Gateway, clients: usize) -> anyhow::Result<f64> {
    let before = gauge(gateway, "postern_opening_seconds_count").await.unwrap_or_default();
    let began = Instant::now();
    let mut polling = JoinSet::new();
    for n in 0..clients {
        let (address, client) = (gateway.address(), client(n)?);
        polling.spawn(async move {
            let mut http = LeanHttp::open(address).await?;
            http.send("GET", &format!("/clients/{client}/events?topics={TOPIC}&wait=55")).await?;
            anyhow::Ok(http)
        });
    }
    let mut held = Vec::with_capacity(clients);
    while let Some(http) = polling.join_next().await {
        held.push(http??);
    }
    let all_open = async || {
        let opened = gauge(gateway, "postern_opening_seconds_count").await.unwrap_or_default() - before;
        if opened >= clients { Ok(began.elapsed()) } else { Err(opened) }
    };
    let took = eventually(PATIENCE, "every mailbox to be open", all_open).await;
    held.into_iter().try_for_each(LeanHttp::reset)?;
    let none_open = async || match gauge(gateway, "postern_sessions").await {
        Some(0) => Ok(()),
        open => Err(open),
    };
    eventually(PATIENCE, "every mailbox to be free", none_open).await;
    Ok(took.as_secs_f64())
}

/// Opens all mailboxes without a gateway; returns the seconds until they are.
async fn without_gateway(url: &str, clients: usize) -> anyhow::Result<f64> {
    let connecting =
        (0..clients.div_ceil(ON_ONE_CONNECTION)).map(|_| Connection::connect(url, ConnectionProperties::default()));
    let connections: Arc<[Connection]> = try_join_all(connecting).await?.into();
    let (began, next) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let mut opening = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (connections, next) = (Arc::clone(&connections), Arc::clone(&next));
        opening.spawn(async move {
            let mut open = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= clients {
                    return anyhow::Ok(open);
                }
                open.push(consume(&connections[n % connections.len()], &client(n)?).await?);
            }
        });
    }
    let mut open = Vec::with_capacity(clients);
    while let Some(opened) = opening.join_next().await {
        open.extend(opened??);
    }
    let took = began.elapsed();
    ensure!(open.len() == clients, "only {} mailboxes were opened", open.len());
    try_join_all(connections.iter().map(|connection| connection.close(200, "done".into()))).await?;
    Ok(took.as_secs_f64())
}

async fn consume(connection: &Connection, client: &ClientId) -> anyhow::Result<(Channel, lapin::Consumer)> {
    let channel = connection.create_channel().await?;
    // Passive: its arguments are the gateway's to know.
    let passive = QueueDeclareOptions { passive: true, durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(names::mailbox(client), passive, FieldTable::default()).await?;
    let (exchange, key) = (names::EXCHANGE.into(), TOPIC.into());
    channel
        .queue_bind(names::mailbox(client), exchange, key, QueueBindOptions::default(), FieldTable::default())
        .await?;
    channel.basic_qos(64, BasicQosOptions::default()).await?;
    let exclusive = BasicConsumeOptions { exclusive: true, ..BasicConsumeOptions::default() };
    let tag = client.as_str().into();
    let consumer = channel.basic_consume(names::mailbox(client), tag, exclusive, FieldTable::default()).await?;
    Ok((channel, consumer))
}

//! One event after the other for all clients.

use std::time::Duration;

use postern_tests::{cpu_seconds, note};
use tokio::time::sleep;

use super::{
    medians::{Figure, print_medians},
    options::Options,
};
use crate::{
    row::{Better, Row},
    server::{Kind, Server},
};

/// How long one run may take, on a machine that does other things.
const PATIENCE: Duration = Duration::from_mins(5);

/// How long the polls are held before the memory is read.
const SETTLING: Duration = Duration::from_secs(3);

/// What one server did in one round.
#[derive(Debug, Clone, Copy)]
struct Measured {
    deliveries_per_second: f64,
    /// Of the server, for each delivery.
    cpu_micros: f64,
    /// Of the load client.
    client_cpu_micros: f64,
    /// For each client that waits.
    kibibytes: f64,
}

type Column = fn(&Measured) -> f64;

/// How events come to the clients.
#[derive(Debug, Clone, Copy)]
enum Transport {
    LongPoll,
    Sse,
}

impl Transport {
    /// As the load tool calls it.
    const fn name(self) -> &'static str {
        match self {
            Self::LongPoll => "long-poll",
            Self::Sse => "sse",
        }
    }
}

/// Measures both transports.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for transport in [Transport::LongPoll, Transport::Sse] {
        rows.extend(take_turns(options, transport).await?);
    }
    Ok(rows)
}

/// Lets the servers take turns and prints what came of it.
async fn take_turns(options: &Options, transport: Transport) -> anyhow::Result<Vec<Row>> {
    let kinds = if options.without_nchan { &[Kind::Gateway][..] } else { &[Kind::Nchan, Kind::Gateway] };
    let mut measured = vec![Vec::new(); kinds.len()];
    for round in 1..=options.rounds {
        for (kind, rounds) in kinds.iter().zip(&mut measured) {
            let one = measure(*kind, transport, options).await?;
            note(&format!(
                "broadcast by {} {round}/{}, {}: {:.0} deliveries/s, {:.1} µs CPU each, {:.1} KiB a client",
                transport.name(),
                options.rounds,
                kind.name(),
                one.deliveries_per_second,
                one.cpu_micros,
                one.kibibytes
            ));
            rounds.push(one);
        }
    }
    let title =
        format!("Broadcast by {} to {} clients, {} events: medians", transport.name(), options.clients, options.events);
    let figures: &[Figure<Measured>] = &[
        ("deliveries per second", |one| one.deliveries_per_second, 0),
        ("server, CPU µs a delivery", |one| one.cpu_micros, 2),
        ("load client, CPU µs a delivery", |one| one.client_cpu_micros, 2),
        ("server, KiB a waiting client", |one| one.kibibytes, 1),
    ];
    print_medians(title, kinds, &measured, figures);
    let [nchan, gateway] = measured.as_slice() else { return Ok(Vec::new()) };
    let row = |what: &str, unit: (&'static str, Better), column: Column| {
        let what = format!("broadcast by {} to {}: {what}", transport.name(), options.clients);
        Row::of(what, unit, "nchan", gateway.iter().map(column).collect(), nchan.iter().map(column).collect())
    };
    Ok(vec![
        row("deliveries", ("1/s", Better::Higher), |one| one.deliveries_per_second),
        row("CPU of the server for each delivery", ("µs", Better::Lower), |one| one.cpu_micros),
        row("memory for each waiting client", ("KiB", Better::Lower), |one| one.kibibytes),
    ])
}

async fn measure(kind: Kind, transport: Transport, options: &Options) -> anyhow::Result<Measured> {
    let server = Server::start(kind, &options.servers).await?;
    let alone = server.resident_bytes();
    let load = server.load("stock").publishing().flag("--transport", transport.name());
    let load = load.flag("--clients", &options.clients.to_string());
    let mut load = load.flag("--events", &options.events.to_string()).start();
    load.wait_said("waiting", PATIENCE).await;
    // The gateway keeps a poll in less memory once it has been held for a second.
    sleep(SETTLING).await;
    let kibibytes = (server.resident_bytes() - alone) / 1024.0 / f64::from(options.clients);
    let client = load.process().id();
    let (cpu, client_cpu) = (server.cpu_seconds(), cpu_seconds(client).unwrap_or_default());
    load.go();
    // Before it ends: then its CPU time can still be seen, and its connections are not closed yet.
    load.wait_said("done", PATIENCE).await;
    let (cpu, client_cpu) = (server.cpu_seconds() - cpu, cpu_seconds(client).unwrap_or_default() - client_cpu);
    let report = load.finish(PATIENCE).await;
    let deliveries = f64::from(options.clients) * f64::from(options.events);
    Ok(Measured {
        deliveries_per_second: deliveries / report.seconds,
        cpu_micros: cpu * 1e6 / deliveries,
        client_cpu_micros: client_cpu * 1e6 / deliveries,
        kibibytes,
    })
}

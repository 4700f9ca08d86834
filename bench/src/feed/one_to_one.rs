//! Events of its own for each client: a mailbox of the gateway, a channel of nchan.

use std::time::Duration;

use postern_tests::{cpu_seconds, note};

use super::{
    medians::{Figure, print_medians},
    options::Options,
};
use crate::{
    row::{Better, Row},
    server::{Kind, Server},
};

/// How many publish at once, each waiting for its confirm.
const PUBLISHERS: u32 = 32;

/// For how long they publish in a round.
const TIME: &str = "5s";

const PATIENCE: Duration = Duration::from_mins(5);

/// What one server did in one round.
#[derive(Debug, Clone, Copy)]
struct Measured {
    deliveries_per_second: f64,
    /// Of the server, for each event: its publish, its delivery, and the next poll.
    cpu_micros: f64,
    /// Of the load client.
    client_cpu_micros: f64,
}

type Column = fn(&Measured) -> f64;

/// Lets the servers take turns and prints what came of it.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    if options.own == 0 {
        return Ok(Vec::new());
    }
    let ours = [Kind::Gateway, Kind::Durable];
    let kinds = if options.without_nchan { ours.to_vec() } else { [&[Kind::Nchan], &ours[..]].concat() };
    let mut measured = vec![Vec::new(); kinds.len()];
    for round in 1..=options.rounds {
        for (kind, rounds) in kinds.iter().zip(&mut measured) {
            let one = measure(*kind, options).await?;
            note(&format!(
                "one to one {round}/{}, {}: {:.0} deliveries/s, {:.1} µs CPU each",
                options.rounds,
                kind.name(),
                one.deliveries_per_second,
                one.cpu_micros
            ));
            rounds.push(one);
        }
    }
    let title = format!("One to one, {} clients, {PUBLISHERS} publishers: medians", options.own);
    let figures: &[Figure<Measured>] = &[
        ("deliveries per second", |one| one.deliveries_per_second, 0),
        ("server, CPU µs an event", |one| one.cpu_micros, 1),
        ("load client, CPU µs an event", |one| one.client_cpu_micros, 1),
    ];
    print_medians(title, &kinds, &measured, figures);
    let [nchan, memory, durable] = measured.as_slice() else { return Ok(Vec::new()) };
    let row = |what: &str, unit: (&'static str, Better), gateway: &[Measured], column: Column| {
        let what = format!("one to one, {} clients: {what}", options.own);
        Row::of(what, unit, "nchan", gateway.iter().map(column).collect(), nchan.iter().map(column).collect())
    };
    Ok(vec![
        row("deliveries", ("1/s", Better::Higher), memory, |one| one.deliveries_per_second),
        row("deliveries, durable", ("1/s", Better::Higher), durable, |one| one.deliveries_per_second),
        row("CPU of the server for each event", ("µs", Better::Lower), memory, |one| one.cpu_micros),
    ])
}

async fn measure(kind: Kind, options: &Options) -> anyhow::Result<Measured> {
    let server = Server::start(kind, &options.servers).await?;
    let mut load = server.load("own.{}").flag("--topics", "own").flag("--clients", &options.own.to_string());
    if kind != Kind::Nchan {
        load = load.flag("--read", "mailbox");
    }
    let mut load = load.publishing_as_confirmed(PUBLISHERS).flag("--for", TIME).start();
    load.wait_said("waiting", PATIENCE).await;
    let client = load.process().id();
    let (cpu, client_cpu) = (server.cpu_seconds(), cpu_seconds(client).unwrap_or_default());
    load.go();
    load.wait_said("done", PATIENCE).await;
    let (cpu, client_cpu) = (server.cpu_seconds() - cpu, cpu_seconds(client).unwrap_or_default() - client_cpu);
    let report = load.finish(PATIENCE).await;
    #[expect(clippy::cast_precision_loss, reason = "a count of a few seconds")]
    let deliveries = report.deliveries as f64;
    Ok(Measured {
        deliveries_per_second: deliveries / report.seconds,
        cpu_micros: cpu * 1e6 / deliveries,
        client_cpu_micros: client_cpu * 1e6 / deliveries,
    })
}

//! The benchmark: what the gateway costs beside a bare AMQP consumer of the same queues.
//!
//! One run measures both sides, so that the ratio between them means something on a machine whose numbers do not:
//!
//! * `stage` sets up what both share: a broker, a gateway, mailboxes.
//! * `reader` checks and times what arrives; `poller` is a client of the gateway, `consumer` the bare
//!   AMQP consumer. Both live in this process, the gateway and the broker in theirs.
//! * `round` runs one side once and gives what is `measured`; `memory` compares what a waiting reader costs.
//! * `report` prints tables.
//!
//! An event that is lost, repeated or out of order ends the run with an error.

mod consumer;
mod measured;
mod memory;
mod options;
mod poller;
mod reader;
mod report;
mod round;
mod stage;
mod stamp;

use postern_tests::note;

pub(crate) use self::options::Options;
use self::{
    measured::{Regime, Side},
    memory::Memory,
    report::Report,
    round::Bench,
};
use crate::row::Row;

/// Runs it.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    let report = measure(options).await?;
    report::print(&report);
    Ok(report.rows())
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    // First, while this process is small: what it frees later would hide what a consumer takes.
    let memory = match options.memory_polls {
        0 => None,
        polls => Some(Memory::measure(options, polls).await?),
    };
    let mut bench = Bench::start(options).await?;
    note("warming up");
    for side in Side::BOTH {
        bench.run(side, Regime::Throughput { events: options.events.div_ceil(10) }).await?;
    }
    let mut rounds = Vec::new();
    for regime in [Regime::throughput(options), Regime::latency(options)] {
        for number in 1..=options.rounds {
            for side in Side::BOTH {
                let round = bench.run(side, regime).await?;
                note(&format!("{} {number}/{}, {}: {}", regime.name(), options.rounds, side.name(), round.summary()));
                rounds.push(round);
            }
        }
    }
    bench.finish().await?;
    Ok(Report::new(options, &rounds, memory))
}

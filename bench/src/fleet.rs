//! The benchmark of a fleet: three gateways on one RabbitMQ behind a proxy that takes the next gateway for each request,
//! against the same behind one that keeps a client at its gateway.
//!
//! Both are measured in turn in one run, with the same gateways: first with one client, then with many. Behind the first
//! proxy a mailbox moves with nearly every poll, which costs every process something; the ratios say what.
//!
//! * `stage` starts the processes.
//! * `client` polls and checks what arrives; `round` runs one proxy once.
//! * `report` prints a table.

mod client;
mod options;
mod report;
mod round;
mod stage;
mod stamp;

use postern_tests::{Spread, note};

pub(crate) use self::options::Options;
use self::{
    round::{Round, Size},
    stage::Stage,
};
use crate::row::Row;

/// Runs it.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    let stage = Stage::set_up(options).await?;
    let mut rows = Vec::new();
    for size in [Size::one(options), Size::many(options)] {
        let mut rounds = Vec::new();
        for number in 1..=options.rounds {
            for spread in [Spread::ByClient, Spread::RoundRobin] {
                let round = Round::run(&stage, size, spread).await?;
                note(&format!("{} of {}, {}: {}", number, options.rounds, report::name(spread), round.summary()));
                rounds.push(round);
            }
        }
        rows.extend(report::sum_up(size, &rounds, options));
    }
    Ok(rows)
}

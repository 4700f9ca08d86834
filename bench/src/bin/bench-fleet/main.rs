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

use anyhow::{Context, ensure};
use clap::Parser;
use postern_tests::{Spread, note};

use self::{
    options::Options,
    report::print,
    round::{Round, Size},
    stage::Stage,
};

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    ensure!(!cfg!(debug_assertions) || options.debug_build, "this is a debug build: run it with `cargo run --release`");
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(measure(&options))
}

async fn measure(options: &Options) -> anyhow::Result<()> {
    let stage = Stage::set_up(options).await?;
    for size in [Size::one(options), Size::many(options)] {
        let mut rounds = Vec::new();
        for number in 1..=options.rounds {
            for spread in [Spread::ByClient, Spread::RoundRobin] {
                let round = Round::run(&stage, size, spread).await?;
                note(&format!("{} of {}, {}: {}", number, options.rounds, report::name(spread), round.summary()));
                rounds.push(round);
            }
        }
        print(size, &rounds, options);
    }
    Ok(())
}

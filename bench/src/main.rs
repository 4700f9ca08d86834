//! The benchmarks: each runs both sides in one run, in turn, and gives their ratio, as the machine's load moves every number.
//!
//! * `mailbox` is the gateway on RabbitMQ beside a bare AMQP consumer; `crowd` how fast many mailboxes are opened, beside a
//!   bare client; `fleet` what it costs that each poll comes to another gateway.
//! * `feed` is a broadcast beside nchan, and the waking of one watcher; `catchup` what readers of a long log cost others.
//! * `start` is a start on a long stream of RabbitMQ, beside that on a shorter one.
//! * `feed_cache` is a feed behind a shared cache, beside the same clients without one.
//! * `hold` is what held polls take to which nothing happens, beside nchan and beside fewer of them.
//! * `publish` is publishing over HTTP beside AMQP, on RabbitMQ, and by the batch beside one at a time, on both brokers.
//! * `store` is a sync that publishers share; `fanout` one event in many mailboxes, beside another build; `access` a token
//!   with each poll.
//! * `suite` runs all of them, each in a process of its own.
//! * `server` is a gateway or `nchan` under load; `publishers` each wait for their confirm.
//! * A `row` is one figure of both sides; `report` is what is written of them.

mod access;
mod batch;
mod catchup;
mod cli;
mod crowd;
mod fanout;
mod feed;
mod feed_cache;
mod fleet;
mod hold;
mod mailbox;
mod nchan;
mod open_files;
mod output;
mod publish;
mod publishers;
mod report;
mod row;
mod server;
mod start;
mod store;
mod suite;

use anyhow::ensure;
use clap::Parser;

use self::{
    cli::{Cli, Part},
    report::Report,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Cli { part, debug_build, json, html } = Cli::parse();
    ensure!(
        !cfg!(debug_assertions) || debug_build,
        "this is a debug build, whose figures mean little: use tests/bench"
    );
    let mut failed = Vec::new();
    let rows = match &part {
        Part::All(options) => {
            let (rows, without_figures) = suite::run(options);
            failed = without_figures;
            rows
        }
        Part::Access(options) => access::run(options).await?,
        Part::Catchup(options) => catchup::run(options).await?,
        Part::Crowd(options) => crowd::run(options).await?,
        Part::Fanout(options) => fanout::run(options).await?,
        Part::Feed(options) => feed::run(options).await?,
        Part::FeedCache(options) => feed_cache::run(options).await?,
        Part::Fleet(options) => fleet::run(options).await?,
        Part::Hold(options) => hold::run(options).await?,
        Part::Mailbox(options) => mailbox::run(options).await?,
        Part::Publish(options) => publish::run(options).await?,
        Part::Start(options) => start::run(options).await?,
        Part::Store(options) => store::run(options).await?,
    };
    let report = Report::of(rows);
    // The bare writer of `store` has none: it prints a number for the process that has started it.
    if !report.rows.is_empty() {
        output::print(&report.table());
    }
    if let Some(file) = json {
        report.write_json(&file)?;
    }
    if let Some(file) = html {
        report.write_html(&file)?;
    }
    ensure!(failed.is_empty(), "these have failed and are missing in the report: {}", failed.join(", "));
    Ok(())
}

//! The benchmark of the embedded broker's shared syncs: publishers over HTTP beside a writer that syncs each event.
//!
//! One run measures both sides in turn, on the disk as it is and with a sync that takes longer: disks differ by a
//! factor of a thousand in that, and only where a sync takes long does sharing it show. Both sides write files in the
//! same folder.

use std::{fs::File, io::Write, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, ensure};
use clap::Parser;
use postern_tests::{Disk, Folder, Gateway, median};
use tokio::time::Instant;

use crate::{
    output::print,
    publishers::Load,
    row::{Better, Row},
};

/// Publishes durably, through the gateway and bare, and prints what a shared sync is worth.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Options {
    /// How many publish at once over HTTP
    #[arg(long, default_value_t = 32)]
    publishers: usize,

    /// The payload of an event, in bytes
    #[arg(long, default_value_t = 200)]
    payload: usize,

    /// How long each side runs in a round, in seconds
    #[arg(long, default_value_t = 3)]
    seconds: u64,

    /// How often both sides run
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// How much longer a sync takes in the second half, in ms
    #[arg(long, default_value_t = 2)]
    sync_ms: u64,

    /// Be the bare writer: write to this file and print how many events were synced
    #[arg(long, hide = true)]
    bare: Option<PathBuf>,
}

/// What one side did in a round.
#[derive(Debug, Clone, Copy)]
struct Measured {
    events: u64,
    syncs: u64,
}

/// Runs it.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    if let Some(file) = &options.bare {
        return write_bare(file, options).map(|()| Vec::new());
    }
    let mut rows = Vec::new();
    print(&format_args!(
        "{} publishers over HTTP, {} bytes an event, medians of {} rounds of {} s",
        options.publishers, options.payload, options.rounds, options.seconds
    ));
    for sync_micros in [0, options.sync_ms * 1000] {
        let (mut shared, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            bare.push(measure_bare(options, sync_micros)?);
            shared.push(measure_shared(options, sync_micros).await);
        }
        report(options, sync_micros, &shared, &bare);
        let rates = |rounds: &[Measured]| rounds.iter().map(|round| rate(round, options)).collect();
        let what = match sync_micros {
            0 => "durable publishes over HTTP".to_owned(),
            micros => format!("the same, each sync {} ms longer", micros / 1000),
        };
        rows.push(Row::of(what, ("1/s", Better::Higher), "a sync for each event", rates(&shared), rates(&bare)));
    }
    Ok(rows)
}

/// The gateway with its embedded broker: events that were answered 202, and its syncs meanwhile.
async fn measure_shared(options: &Options, sync_micros: u64) -> Measured {
    let disk = Disk::new();
    let gateway = disk.under(Gateway::builder().embedded(), sync_micros).start().await;
    let before = disk.syncs();
    let load = Load { publishers: options.publishers, payload: options.payload };
    let events = load.over_http(gateway.address(), Instant::now() + Duration::from_secs(options.seconds)).await;
    Measured { events, syncs: disk.syncs() - before }
}

/// A process of its own, because the disk is made slow by what is loaded into a process.
fn measure_bare(options: &Options, sync_micros: u64) -> anyhow::Result<Measured> {
    let folder = Folder::new("bench-store");
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["store", "--payload", &options.payload.to_string(), "--seconds", &options.seconds.to_string(), "--bare"])
        .arg(folder.path().join("events"))
        .env("LD_PRELOAD", postern_tests::shim())
        .env("DISK_SYNC_MICROS", sync_micros.to_string());
    if cfg!(debug_assertions) {
        command.arg("--debug-build");
    }
    let output = command.output()?;
    ensure!(output.status.success(), "the bare writer has failed: {}", String::from_utf8_lossy(&output.stderr));
    let events = String::from_utf8(output.stdout)?.trim().parse().context("the bare writer printed no number")?;
    Ok(Measured { events, syncs: events })
}

fn write_bare(file: &PathBuf, options: &Options) -> anyhow::Result<()> {
    let (mut file, payload) = (File::create(file)?, vec![b'x'; options.payload]);
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let mut events = 0_u64;
    while Instant::now() < end {
        file.write_all(&payload)?;
        file.sync_data()?;
        events += 1;
    }
    print(&events);
    Ok(())
}

/// Returns events a second.
#[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
fn rate(round: &Measured, options: &Options) -> f64 {
    round.events as f64 / options.seconds as f64
}

fn report(options: &Options, sync_micros: u64, shared: &[Measured], bare: &[Measured]) {
    let rates = |rounds: &[Measured]| median(rounds.iter().map(|round| rate(round, options)).collect());
    #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
    let together = median(shared.iter().map(|round| round.events as f64 / round.syncs.max(1) as f64).collect());
    let (shared, bare) = (rates(shared), rates(bare));
    print(&match sync_micros {
        0 => "\nthe disk as it is".to_owned(),
        micros => format!("\neach sync {} ms longer", micros / 1000),
    });
    print(&format_args!("  through the gateway   {shared:>8.0} events/s   {together:.1} events a sync"));
    print(&format_args!("  a sync for each event {bare:>8.0} events/s"));
    print(&format_args!("  ratio                 {:>8.1}", shared / bare));
}

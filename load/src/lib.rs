//! The load tool: simulates clients and publishers of a push server, and proves what each client got.
//!
//! It shares a machine with what it measures, so it does little: one event loop on one thread, one read and one write for each
//! answer, and of an answer only what a client needs. Yet every client counts what was lost, what came twice and what came out of
//! order, by the stamp that every event carries, and measures how long it took from the time at which it was to be sent.
//!
//! From the top:
//!
//! * [`main`] reads the flags (`cli`), runs, and writes the [`report`].
//! * `run` is what happens, in which order: steps, or the search for a limit. `meter` measures each second; `watch` looks at other
//!   processes, `progress` shows what goes on, `limits` knows what this machine allows.
//! * `clients` are in this process, or in the processes of `workers`.
//! * `engine` is the event loop; `crowd` is its clients, `publishers` its publishers, `timers` and `alarm` what is due by time.
//! * `stamp` is what an event says of itself, `streams` which events belong together, `tally` what a client has had of one,
//!   `ledger` what was published, `record` what is counted.
//! * `target` is how a server is asked, `http` how its answers are read.

mod addresses;
mod alarm;
mod cli;
mod clients;
mod clock;
mod crowd;
mod engine;
mod failure;
mod http;
mod ledger;
mod limits;
mod number;
mod options;
mod output;
mod progress;
mod publishers;
mod record;
pub mod report;
mod require;
mod run;
mod stamp;
mod stop;
mod streams;
mod tally;
mod target;
mod timers;
mod watch;
mod workers;

use std::{ffi::OsString, fs, io, path::Path, process::ExitCode};

use crate::{cli::Asked, options::Options, stop::Stop};

/// Exit codes; those from 64 on are BSD's sysexits(3).
mod exit {
    pub(super) const FAILED: u8 = 1;
    pub(super) const USAGE: u8 = 64;
}

/// Runs the program with a command line.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let options = match cli::parse(arguments) {
        Ok(Asked::Run(options)) => options,
        Ok(Asked::Print(text)) => {
            output::line(text.trim_end());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            // Help and version come this way too; they go to standard output.
            let _ = error.print();
            return if error.use_stderr() { exit::USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => exit::FAILED.into(),
        Err(error) => {
            output::error(&format!("cannot go on: {error}"));
            exit::FAILED.into()
        }
    }
}

/// Runs as asked for and writes the report. Tells whether all went well.
fn run(options: &Options) -> io::Result<bool> {
    if let Some(worker) = options.worker {
        // The process that started it decides when it ends.
        let _stop = Stop::ignore()?;
        return run::work(options, worker).map(|()| true);
    }
    // That a report cannot be written is told before there is one.
    for path in [&options.json, &options.html].into_iter().flatten().filter(|path| *path != Path::new("-")) {
        fs::OpenOptions::new().append(true).create(true).open(path).map_err(|error| cannot_write(path, &error))?;
    }
    let report = run::run(options, &Stop::listen()?)?;
    // First what can be written in any case.
    if options.json.as_deref() == Some(Path::new("-")) {
        output::line(&report.json());
    } else {
        output::line(report::text::text(&report).trim_end());
    }
    if let Some(path) = options.json.as_deref().filter(|path| *path != Path::new("-")) {
        fs::write(path, report.json()).map_err(|error| cannot_write(path, &error))?;
    }
    if let Some(path) = &options.html {
        fs::write(path, report::html::html(&report)).map_err(|error| cannot_write(path, &error))?;
    }
    Ok(report.has_passed())
}

fn cannot_write(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()))
}

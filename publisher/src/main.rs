//! Publishes events to Postern: one (`emit`), a line each (`pipe`), a file as it changes (`watch`), or
//! made-up ones (`simulate`).
//!
//! A command is a [`source::Source`] of events; [`sender`] brings them to where they are stored and waits for the
//! confirms, with [`outbox`] deciding what to send when, over a [`transport`]: [`http`] or [`amqp`]. [`report`] tells
//! what became of them. Only [`cli`] knows flags, only [`output`] writes to the terminal.

mod amqp;
mod cli;
mod destination;
mod emit;
mod http;
mod outbox;
mod output;
mod pipe;
mod publish;
mod report;
mod sender;
mod signals;
mod simulate;
mod source;
mod transport;
mod watch;

use std::{io, process::ExitCode};

use tokio::{runtime, select};

use crate::{output::Output, report::exit, signals::Signals};

fn main() -> ExitCode {
    let options = match cli::parse() {
        Ok(options) => options,
        Err(error) => {
            // Help and version come this way too; they go to standard output.
            let _ = error.print();
            return if error.use_stderr() { exit::USAGE } else { exit::CONFIRMED }.into();
        }
    };
    output::log(&options.log);
    // For both transports; the only implementation of cryptography that is compiled in. Fails only where there is one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let output = Output::new(options.quiet);
    if !options.unknown.is_empty() {
        let unknown = options.unknown.join(", ");
        output
            .note(format_args!("warning: no setting has these environment variables, they have no effect: {unknown}"));
    }
    if let Some(warning) = &options.open_file {
        output.note(format_args!("warning: {warning}"));
    }
    let code = run(options, &output).unwrap_or_else(|error| {
        output.error(format_args!("cannot start: {error}"));
        exit::NOT_CONFIRMED
    });
    code.into()
}

/// Runs the command in a runtime of its own until it is done or a second signal comes.
fn run(options: cli::Options, output: &Output) -> io::Result<u8> {
    // One thread is enough: it waits for the network, and the AMQP library has its own for each connection.
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(async {
        let (signals, stop) = Signals::listen()?;
        select! {
            code = options.command.run(&options.destination, &options.sender, output, stop) => Ok(code),
            signal = signals.second() => Ok(signal.exit_code()),
        }
    });
    // A read of standard input cannot be interrupted; nothing waits for it.
    runtime.shutdown_background();
    code
}

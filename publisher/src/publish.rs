//! From a command to an exit code: opens the source, has it sent, and tells what became of it.
//!
//! Standard output gets the source's result, and only if everything was confirmed; the list of what was not, the
//! reason for an early end, and the summary, always in this order, go to standard error.

use crate::{
    destination::Destination,
    emit::{self, Emit},
    output::Output,
    pipe::{self, Pipe},
    report::{End, Report, exit},
    sender::{self, Sender},
    signals::Stop,
    simulate::{self, Simulate},
    source::{Order, Source},
    transport::Transport,
    watch::{self, Watch},
};

/// What to publish.
pub(crate) enum Command {
    Emit(emit::Options),
    Pipe(pipe::Options),
    Watch(watch::Options),
    Simulate(simulate::Options),
}

impl Command {
    /// Publishes everything and returns the exit code.
    pub(crate) async fn run(self, to: &Destination, options: &sender::Options, output: &Output, stop: Stop) -> u8 {
        match to {
            Destination::Broker(broker) => self.run_over(broker, options, output, stop).await,
            Destination::Gateway(url) => self.run_over(url, options, output, stop).await,
        }
    }

    async fn run_over(self, to: &impl Transport, options: &sender::Options, output: &Output, stop: Stop) -> u8 {
        match self {
            Self::Emit(what) => match Emit::open(what).await {
                Ok(source) => publish(source, to, options, output, stop).await,
                Err(error) => {
                    output.error(format_args!("{error:#}"));
                    exit::USAGE
                }
            },
            Self::Pipe(what) => publish(Pipe::stdin(what), to, options, output, stop).await,
            Self::Watch(what) => match Watch::open(what).await {
                Ok(source) => {
                    if let Some(blocked_reason) = source.blocked_reason() {
                        output.note(blocked_reason);
                    }
                    publish(source, to, options, output, stop).await
                }
                Err(error) => {
                    output.error(format_args!("{error:#}"));
                    exit::USAGE
                }
            },
            Self::Simulate(what) => publish(Simulate::new(what), to, options, output, stop).await,
        }
    }
}

async fn publish(
    mut source: impl Source,
    to: &impl Transport,
    options: &sender::Options,
    output: &Output,
    stop: Stop,
) -> u8 {
    // Where each event is told of by a line of its own there is no progress, and no list to come.
    let is_told = source.order() == Order::Newest;
    if !is_told {
        output.start_progress(source.total());
    }
    let (end, report) = Sender::new(&mut source, to, options, output, stop).run().await;
    output.end_progress();
    if !is_told {
        report.list().iter().for_each(|line| output.error(line));
    }
    print_end(&end, &source, output);
    // Where no target was there the line above has said everything.
    if !matches!(end, End::Unreachable(_)) {
        print_summary(&report, output);
    }
    let code = report.exit_code(&end, source.is_endless() && source.unread().is_none());
    if let Some(result) = source.result().filter(|_| code == exit::CONFIRMED)
        && let Err(error) = output.result(&result)
    {
        output.error(format_args!("published {result}, but cannot write to standard output: {error}"));
        return exit::NOT_CONFIRMED;
    }
    code
}

/// Says why the end came early, and what of the input is left.
fn print_end(end: &End, source: &impl Source, output: &Output) {
    let reason = match end {
        End::Exhausted => return,
        End::Stopped(signal) if source.is_endless() && source.unread().is_none() => {
            return output.note(format_args!("ended by {}", signal.name()));
        }
        End::Stopped(signal) => format!("ended by {}", signal.name()),
        End::InputFailed(error) => format!("{error:#}"),
        End::GaveUp(reason) => format!("gave up: {reason}"),
        End::Unreachable(reason) => reason.clone(),
    };
    match source.unread() {
        Some(unread) => output.error(format_args!("{reason}; {unread}")),
        None => output.error(reason),
    }
}

fn print_summary(report: &Report, output: &Output) {
    if report.is_complete() {
        output.note(report.summary());
    } else {
        output.error(report.summary());
    }
}

//! What the sender does with each thing that happened: bookkeeping only, nothing here waits.

use std::time::Duration;

use events::amqp::PublishError;
use tokio::time::Instant;

use super::{Broken, Sender};
use crate::{
    outbox::GivenUp,
    report::NotConfirmed,
    signals::Signal,
    source::{Input, Source},
};

/// How long what is in flight may take to be confirmed after a signal. Below the 10 s that `docker stop` waits.
const GRACE: Duration = Duration::from_secs(5);

impl<S: Source> Sender<'_, S> {
    /// Takes what the source has yielded.
    pub(super) fn take(&mut self, input: anyhow::Result<Option<Input>>) {
        match input {
            Ok(Some(Input::Event(outgoing))) => {
                if self.outbox.is_empty() {
                    // There was nothing to wait for until now, so no patience was used up.
                    self.patience.renew(Instant::now());
                }
                self.outbox.push(outgoing);
            }
            Ok(Some(Input::Unusable { line, reason })) => {
                self.report.not_confirmed(NotConfirmed { line, event: None, reason });
            }
            Ok(None) => self.is_reading = false,
            Err(error) => {
                self.is_reading = false;
                self.input_error = Some(error);
            }
        }
    }

    /// The oldest in flight is stored.
    pub(super) fn settle_confirmed(&mut self) {
        self.outbox.confirmed();
        self.report.confirmed += 1;
        self.patience.renew(Instant::now());
        self.pauses.reset();
        self.output.progress();
    }

    /// The oldest in flight is not known to be stored; an error says that the connection is of no use any more.
    pub(super) fn settle_failed(&mut self, error: PublishError) -> Result<(), Broken> {
        let reason = error.to_string();
        let gone = match error {
            PublishError::Lost(error) => return Err(Broken::Lost(error.to_string())),
            PublishError::Refused(_) => return Err(Broken::Refused(reason)),
            PublishError::Rejected => self.outbox.rejected(),
            PublishError::Unwritable(_) => self.outbox.unwritable(),
        };
        if let Some(gone) = gone {
            self.give_up(gone, reason);
        }
        Ok(())
    }

    /// Puts an event into the report.
    pub(super) fn give_up(&mut self, gone: GivenUp, reason: String) {
        let event = gone.outgoing.event;
        self.report.not_confirmed(NotConfirmed {
            line: gone.outgoing.line,
            event: Some((event.id, event.topic)),
            reason,
        });
    }

    /// Reads no further and gives what is in flight a last while.
    pub(super) fn stop(&mut self, signal: Signal) {
        self.stopped = Some(signal);
        self.is_cut_short = std::mem::take(&mut self.is_reading);
        let (name, count) = (signal.name(), self.outbox.len());
        let grace = if count == 0 { Duration::ZERO } else { GRACE };
        self.patience.stop_within(grace, Instant::now());
        if count > 0 {
            let (seconds, also) = (grace.as_secs(), if self.is_cut_short { "reads no further and " } else { "" });
            self.output.note(format_args!(
                "{name}: {also}waits up to {seconds} s for {count} confirms; the same again ends it at once"
            ));
        }
    }
}

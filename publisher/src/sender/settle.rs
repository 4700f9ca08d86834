//! What the sender does with each thing that happened: bookkeeping only, nothing here waits.

use std::time::Duration;

use tokio::time::Instant;

use super::{LinkFailure, Sender};
use crate::{
    outbox::{GivenUp, Ticket},
    report::NotConfirmed,
    signals::Signal,
    source::{Input, Source},
    transport::{SendError, Transport},
};

/// How long what is in flight may take to be confirmed after a signal. Below the 10 s that `docker stop` waits.
const GRACE: Duration = Duration::from_secs(5);

/// The least pause before events that a full queue rejected are sent again.
const REJECTION_PAUSE: Duration = Duration::from_secs(1);

impl<S: Source, T: Transport> Sender<'_, S, T> {
    /// Takes what the source has yielded.
    pub(super) fn take(&mut self, input: anyhow::Result<Option<Input>>) {
        match input {
            Ok(Some(Input::Event(outgoing))) => {
                if self.outbox.is_empty() && !self.has_put_back {
                    // There was nothing to wait for until now, so no patience was used up.
                    self.patience.renew(Instant::now());
                }
                self.outbox.push(outgoing);
            }
            Ok(Some(Input::Unusable { line, reason })) => {
                self.say_given_up(&reason);
                self.report.not_confirmed(NotConfirmed { line, event: None, reason });
            }
            Ok(None) => self.is_reading = false,
            Err(error) => {
                self.is_reading = false;
                self.input_error = Some(error);
            }
        }
    }

    /// Events in flight were answered; an error says that the link is of no use any more.
    pub(super) fn settle_all(&mut self, answers: Vec<(Ticket, Result<(), SendError>)>) -> Result<(), LinkFailure> {
        let mut settled = Ok(());
        for (ticket, answer) in answers {
            settled = settled.and(self.settle(ticket, answer));
        }
        settled
    }

    /// An event in flight was answered; an error says that the link is of no use any more.
    fn settle(&mut self, ticket: Ticket, answer: Result<(), SendError>) -> Result<(), LinkFailure> {
        let Err(error) = answer else {
            self.outbox.confirmed(ticket);
            self.report.confirmed += 1;
            self.output.progress();
            if let Some(text) = self.source.stored() {
                self.output.note(text);
            }
            self.has_answer();
            return Ok(());
        };
        let reason = error.to_string();
        match error {
            SendError::Lost(_) => return Err(LinkFailure::Lost(reason)),
            SendError::RefusedOne(_) => return Err(LinkFailure::RefusedOne(reason)),
            SendError::WrongDestination(_) => {
                if let Some(gone) = self.outbox.refused(ticket) {
                    self.give_up(gone, reason.clone());
                }
                return Err(LinkFailure::WrongDestination(reason));
            }
            SendError::Refused(_) => {
                if let Some(gone) = self.outbox.refused(ticket) {
                    self.give_up(gone, reason);
                }
                // A definite no is an answer too.
                self.has_answer();
            }
            SendError::Rejected(_) => match self.outbox.rejected(ticket) {
                Some(gone) => {
                    self.give_up(gone, reason);
                    // As above: what comes next has all of its time.
                    self.has_answer();
                }
                None => self.hold(reason, REJECTION_PAUSE),
            },
            SendError::NotTried(_) => {
                self.outbox.not_tried(ticket);
                self.has_answer();
            }
            SendError::Unavailable { was_sent, retry_after, .. } => {
                self.outbox.postponed(ticket, was_sent);
                self.hold(reason, retry_after.unwrap_or_default());
            }
        }
        Ok(())
    }

    /// A target that answers is alive: the next trouble is a new one.
    fn has_answer(&mut self) {
        self.patience.renew(Instant::now());
        self.pauses.reset();
        self.trouble = None;
        self.has_put_back = false;
    }

    /// Something is held back, for so long at least.
    fn hold(&mut self, reason: String, pause: Duration) {
        self.trouble = Some(reason);
        self.asked_to_wait = self.asked_to_wait.max(pause);
    }

    /// Puts an event into the report.
    pub(super) fn give_up(&mut self, gone: GivenUp, reason: String) {
        self.say_given_up(&reason);
        let event = gone.outgoing.event;
        self.report.not_confirmed(NotConfirmed {
            line: gone.outgoing.line,
            event: Some((event.id, event.topic)),
            reason,
        });
    }

    /// Some sources last too long for their user to wait for the report.
    fn say_given_up(&mut self, reason: &str) {
        if let Some(text) = self.source.given_up(reason) {
            self.output.error(text);
        }
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

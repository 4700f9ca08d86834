//! How a run ends, in words for the user.

use super::Sender;
use crate::{report::End, source::Source, transport::Transport};

impl<S: Source, T: Transport> Sender<'_, S, T> {
    /// Returns the end of a run in which everything was settled.
    pub(super) fn end(&mut self) -> End {
        match (self.input_error.take(), self.stopped) {
            (Some(error), _) => End::InputFailed(error),
            (None, Some(signal)) if self.is_cut_short => End::Stopped(signal),
            (None, _) => End::Exhausted,
        }
    }

    /// Returns the end of a run whose patience is used up.
    pub(super) fn out_of_time(&mut self) -> End {
        let (place, seconds, trouble) = (self.transport, self.options.timeout.as_secs_f64(), self.trouble());
        match self.stopped {
            Some(signal) => End::Stopped(signal),
            None if self.has_connected => End::GaveUp(format!("no confirm from {place} for {seconds} s: {trouble}")),
            None => {
                let advice = T::ADVICE;
                End::Unreachable(format!("cannot reach {place} within {seconds} s: {trouble}; {advice}"))
            }
        }
    }

    pub(super) fn trouble(&self) -> &str {
        self.trouble.as_deref().unwrap_or("no answer")
    }

    /// Returns the end of a run that has found out that nothing will ever be taken there.
    pub(super) fn wrong_destination(&self, reason: &str) -> End {
        let text = format!("{} takes no events: {reason}", self.transport);
        if self.report.confirmed == 0 { End::Unreachable(text) } else { End::GaveUp(text) }
    }
}

//! The words for a batch of events, and what programs read of it.

use std::fmt;

use ::broker::BrokerError;
use serde_json::{Map, Value};

use super::broker::refusal;

/// The place of an event in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct At {
    /// From 0.
    pub(in crate::http) index: usize,
    /// The line of the body that it stands on, from 1, if each has one of its own.
    pub(in crate::http) line: Option<usize>,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {}", self.index)?;
        match self.line {
            Some(line) => write!(f, " (line {line})"),
            None => Ok(()),
        }
    }
}

impl At {
    /// The place of an event that has no others beside it.
    pub(in crate::http) const FIRST: Self = Self { index: 0, line: None };

    pub(super) fn members(self) -> Map<String, Value> {
        let line = self.line.map(|line| ("line".to_owned(), line.into()));
        [("index".to_owned(), self.index.into())].into_iter().chain(line).collect()
    }
}

/// What became of a batch that was not confirmed whole.
#[derive(Debug)]
pub(in crate::http) struct NotConfirmedBatch {
    /// All ids, in order.
    pub(in crate::http) ids: Vec<String>,
    /// Those of the events that are stored.
    pub(in crate::http) confirmed: Vec<String>,
    /// Those of the events that at least one mailbox did not take.
    pub(in crate::http) rejected: Vec<String>,
    /// Why one of the others is not.
    pub(in crate::http) error: BrokerError,
}

impl NotConfirmedBatch {
    pub(super) fn detail(&self) -> String {
        let (confirmed, all) = (self.confirmed.len(), self.ids.len());
        let reason = match &self.error {
            BrokerError::Rejected => {
                "at least one mailbox did not take those that \"rejected\" names: it is full and its policy \
                rejects new events (overflow reject-publish), or the node that keeps it is away (RabbitMQ 4)"
                    .to_owned()
            }
            BrokerError::Unconfirmed(_) => "the broker did not confirm the others in time".to_owned(),
            error => refusal(error),
        };
        format!(
            "{confirmed} of {all} events are confirmed, those that \"confirmed\" names; {reason}; the others may have been stored, \
             so retry them with Postern-Resent: true under the same ids (\"ids\" has all, in order)"
        )
    }

    pub(super) fn members(&self) -> Map<String, Value> {
        let members = [("ids", &self.ids), ("confirmed", &self.confirmed), ("rejected", &self.rejected)];
        members.into_iter().map(|(name, ids)| (name.to_owned(), ids.clone().into())).collect()
    }
}

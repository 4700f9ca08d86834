//! From the AMQP library's errors to the verdicts of [`BrokerError`].
//!
//! One reply code has several causes (RabbitMQ says 404 for a queue that is not there, for one whose node is down, and
//! for a missing exchange). Only its reply text tells them apart, so this is the one place that reads it. What the text
//! does not name is never taken for the milder cause: an unknown 404 is a queue that cannot be reached, not one that is
//! absent.

use broker::BrokerError;
use lapin::{
    ErrorKind,
    protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError},
};

/// What was attempted, and what came of it.
pub(super) struct Failure(pub(super) &'static str, pub(super) lapin::Error);

/// Why the broker said no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no such queue.
    NoQueue,
    /// There is no such exchange.
    NoExchange,
    /// The queue exists and cannot be reached: its node is down, or its process has stopped.
    QueueAway,
    /// Another consumer has the queue for itself.
    InUse,
    /// The queue exists as another type than was declared.
    OtherType,
    /// It exists with another `x-expires` than was declared: with this one in ms, or with none.
    OtherExpiry(Option<i64>),
    /// It exists with other arguments besides.
    Mismatch,
    /// A limit that an operator has set: of queues, of channels, of connections.
    Limit,
    /// Anything else, such as a missing permission.
    Other,
}

impl From<Failure> for BrokerError {
    fn from(Failure(attempted, error): Failure) -> Self {
        let reason = error.to_string();
        match refusal(&error) {
            Some(Refusal::QueueAway) => Self::QueueAway { attempted, reason },
            Some(Refusal::Limit) => Self::LimitReached { attempted, reason },
            Some(Refusal::OtherType) => Self::OtherQueueType { attempted, reason },
            _ if soft_error(&error).is_some() => Self::Refused { attempted, reason },
            _ if has_no_channel(&error) => Self::LimitReached { attempted, reason },
            _ => Self::Unavailable(format!("{attempted}: {reason}")),
        }
    }
}

/// Tells whether a connection has no channel number left.
pub(super) fn has_no_channel(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ChannelsLimitReached)
}

/// Returns why the broker said no, if that is what it is.
pub(super) fn refusal(error: &lapin::Error) -> Option<Refusal> {
    let ErrorKind::ProtocolError(reply) = error.kind() else { return None };
    Some(cause(reply.kind(), reply.get_message().as_str()))
}

/// Tells whether a declaration failed because the queue exists with other arguments, and as the same type.
pub(super) fn is_mismatch(error: &lapin::Error) -> bool {
    matches!(refusal(error), Some(Refusal::Mismatch | Refusal::OtherExpiry(_)))
}

fn cause(kind: &AMQPErrorKind, text: &str) -> Refusal {
    match kind {
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) if text.contains("no queue ") => Refusal::NoQueue,
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) if text.contains("no exchange ") => Refusal::NoExchange,
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => Refusal::QueueAway,
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) if text.contains("in exclusive use") => Refusal::InUse,
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) if text.contains("inequivalent arg") => mismatch(text),
        // "queue limit in vhost 'x' (2) is reached"; "number of channels opened for user 'x' has reached the maximum
        // allowed user limit of (3)"; "connection limit (1) is reached".
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) if text.contains(" limit ") => Refusal::Limit,
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)
            if text.contains(" limit ") || text.contains("number of channels") =>
        {
            Refusal::Limit
        }
        AMQPErrorKind::Soft(_) | AMQPErrorKind::Hard(_) => Refusal::Other,
    }
}

/// Reads which argument differs. RabbitMQ names one, and `x-expires` before `x-queue-type`: "inequivalent arg
/// 'x-expires' for queue 'q' in vhost '/': received '5000' but current is '86400000'", "… but current is the value
/// '86400000' of type 'long'", or "… but current is none".
fn mismatch(text: &str) -> Refusal {
    if text.contains("inequivalent arg 'x-queue-type'") {
        return Refusal::OtherType;
    }
    let current = text.rsplit_once("but current is ").map(|(_, current)| current);
    match current.filter(|_| text.contains("inequivalent arg 'x-expires'")) {
        Some("none") => Refusal::OtherExpiry(None),
        Some(current) => {
            let number = current.split('\'').nth(1).and_then(|number| number.parse().ok());
            number.map_or(Refusal::Mismatch, |ms| Refusal::OtherExpiry(Some(ms)))
        }
        None => Refusal::Mismatch,
    }
}

/// Reads on which node a queue is that cannot be reached, if the broker says so: "home node 'rabbit@b' of durable queue
/// 'q' in vhost '/' is down or inaccessible".
pub(super) fn home_node(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("home node '")?;
    rest.split_once('\'').map(|(node, _)| node)
}

/// A limit of channels that a user, or a node, has; and how many, if the broker says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChannelLimit(pub(super) Option<usize>);

/// Returns the limit of channels, if that is what the broker has closed a connection over.
pub(super) fn channel_limit(error: &lapin::Error) -> Option<ChannelLimit> {
    let ErrorKind::ProtocolError(reply) = error.kind() else { return None };
    let is_hard = matches!(reply.kind(), AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED));
    let text = reply.get_message().as_str();
    (is_hard && text.contains("number of channels")).then(|| ChannelLimit(limit_in(text)))
}

/// Reads the number in the last pair of parentheses.
fn limit_in(text: &str) -> Option<usize> {
    let (_, last) = text.rsplit_once('(')?;
    last.split_once(')')?.0.parse().ok()
}

/// Tells whether the broker has closed a channel because a message was not acknowledged within its `consumer_timeout`.
pub(super) fn is_ack_timeout(error: &lapin::Error) -> bool {
    let text = error.to_string();
    soft_error(error) == Some(&AMQPSoftError::PRECONDITIONFAILED)
        && text.contains("delivery acknowledgement on channel")
}

/// Returns the error by which the server closed a channel, if that is what it is (AMQP 0-9-1, section 1.2).
pub(super) fn soft_error(error: &lapin::Error) -> Option<&AMQPSoftError> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => match error.kind() {
            AMQPErrorKind::Soft(soft) => Some(soft),
            AMQPErrorKind::Hard(_) => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests;

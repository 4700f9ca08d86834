//! From the AMQP library's errors to the verdicts of [`BrokerError`].

use lapin::{
    ErrorKind,
    protocol::{AMQPErrorKind, AMQPSoftError},
};

use crate::broker::BrokerError;

/// What was attempted, and what came of it.
pub(super) struct Failure(pub(super) &'static str, pub(super) lapin::Error);

impl From<Failure> for BrokerError {
    fn from(Failure(attempted, error): Failure) -> Self {
        match soft_error(&error) {
            Some(_) => Self::Refused { attempted, reason: error.to_string() },
            None => Self::Unavailable(format!("{attempted}: {error}")),
        }
    }
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

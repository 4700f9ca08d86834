//! The limits that every broker keeps, and what callers may rely on because of them.
//!
//! Each is written here once. What only one broker or one reader limits for its own sake stands where it is used.

use std::time::Duration;

/// How long [`Broker::open`](super::Broker::open) waits for a holder of the mailbox to let go: 2 s. A client whose poll
/// moves to another gateway finds its mailbox held for the moment in which the first gateway releases it, and gets an
/// answer soon if the mailbox stays held.
pub const MAX_HOLDER_WAIT: Duration = Duration::from_secs(2);

/// How long one call of a broker may take before it is given up: 10 s. A broker answers in milliseconds when it is
/// well, so a caller is told of one that does not answer, well before the deadline of a poll (25 s by default).
///
/// [`Broker::publish`](super::Broker::publish) then returns [`Unconfirmed`](super::BrokerError::Unconfirmed), and
/// [`Lease::release`](super::Lease::release) takes no longer than this either.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How much one batch holds, in bytes, but for its first event: 1 MiB. A single larger event is a batch of its own, so
/// no event is too large to be read.
///
/// A search of the log counts payloads by it, and an answer counts the events as they are encoded, which is never less.
pub const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// How many events [`LogTail::next`](super::log::LogTail::next) returns at once. A Feed takes all of them under one
/// lock.
pub const MAX_TAIL_EVENTS: usize = 256;

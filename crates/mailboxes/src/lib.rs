//! Reading mailboxes: polls come and go, Sessions stay, Leases follow Sessions.
//!
//! * [`Registry`] keeps at most one Session for each client and brings polls to it.
//! * `session` owns one Lease from opening to release and carries out what its desk decides.
//! * `desk` decides whom to answer with what and when; `window` keeps what is unconfirmed. Both are pure.
//!
//! The life of one event: the Lease delivers it into the window; the desk hands it to the seated poll as part of a
//! [`Batch`]; the client's next poll carries the batch's [`LastSeen`], which confirms it to the broker. If that poll
//! never comes, the release puts the event back in its old place.

mod batch;
mod budget;
mod context;
mod desk;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod last_seen;
mod metrics;
mod poll;
mod registry;
mod session;
mod window;

pub use batch::{Batch, BatchEvent};
pub use context::MailboxOptions;
pub use last_seen::{LastSeen, LastSeenError};
pub use metrics::MailboxMetrics;
pub use poll::{Continuation, Outcome, PollOrder, PollOrderError, PollRequest};
pub use registry::{Answered, Receipt, Registry};

#[cfg(test)]
mod tests;

//! Postern's gateway: web clients hold HTTP long-polls, a message broker keeps their events.
//!
//! ```text
//! gateway → mailboxes, feeds                 → broker (traits) → events
//! gateway → broker-rabbitmq, broker-embedded → broker (traits) → events
//! ```
//!
//! Each arrow is a dependency of one crate on another, so nothing can be imported upwards. Here is the top floor:
//!
//! * [`http`] speaks the HTTP contract: routes, limits, CORS, problems; it tells a hang-up from an orderly end.
//! * [`config`] is the one place that knows flags and variables of the environment.
//! * [`lifecycle`] starts all parts and ends them in order; [`process`] and [`telemetry`] are what it needs of the
//!   system.
//! * [`tls`] has the certificate that clients are shown.
//! * [`metrics`] shows what every part counts.
//!
//! And below:
//!
//! * [`mailboxes`] decides who gets what, when it is confirmed, and when it goes back: the window, Sessions, the
//!   registry.
//! * [`feeds`] shows all clients the same log: recent events in memory, who waits for what, places in the log.
//! * [`broker`] is the seam: small traits, two for mailboxes and two for the log, and their contract.
//!   [`broker_rabbitmq`] is RabbitMQ; [`broker_embedded`] is a durable log of the gateway's own, for one machine.
//! * [`events`] is what all of them speak of; [`amqp`] how that looks in AMQP; [`settings`] how flags and variables are
//!   read.
//!
//! Besides the words of the contract: a *desk* decides for one Session, and a *window* holds what is unconfirmed.
//!
//! The life of one event: a publisher's message lies in a mailbox. A poll opens the client's Session, whose Lease
//! delivers the message into the window; the poll is answered with a batch and its last-seen token. The client's next
//! poll carries the token, and only then is the message acknowledged. Every other way out, be it a hang-up, a reset, a
//! deadline or a crash, puts it back in its old place.

pub mod config;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod lifecycle;
pub mod metrics;
pub mod process;
pub mod telemetry;
pub mod tls;

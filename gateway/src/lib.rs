//! Postern's gateway: web clients hold HTTP long-polls, a message broker keeps their events.
//!
//! ```text
//! main, config → http → mailbox, feed → broker (traits) → events
//!                                         broker/amqp, broker/embedded
//! ```
//!
//! * [`http`] speaks the HTTP contract: routes, limits, CORS, problems; it tells a hang-up from an orderly end.
//! * [`mailbox`] decides who gets what, when it is confirmed, and when it goes back: the window, Sessions, the registry.
//! * [`feed`] shows all clients the same log: recent events in memory, who waits for what, places in the log.
//! * [`broker`] is the seam: two small traits and their contract. `broker::amqp` is RabbitMQ; `broker::embedded` is a durable
//!   log of the gateway's own, for one machine.
//! * [`metrics`] is what Prometheus reads; each part has its own `metrics`, which says what it counts.
//! * [`lifecycle`] starts these parts and ends them in order.
//!
//! Besides the words of the contract: a *desk* decides for one Session, and a *window* holds what is unconfirmed.
//!
//! The life of one event: a publisher's message lies in a mailbox. A poll opens the client's Session, whose Lease
//! delivers the message into the window; the poll is answered with a batch and its last-seen token. The client's next
//! poll carries the token, and only then is the message acknowledged. Every other way out, be it a hang-up, a reset, a
//! deadline or a crash, puts it back in its old place.

pub mod broker;
pub mod config;
pub mod feed;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod lifecycle;
pub mod mailbox;
pub mod metrics;
pub mod process;
mod seldom;
pub mod telemetry;

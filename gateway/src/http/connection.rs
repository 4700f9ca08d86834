//! Connections: how they begin, how a request comes to its answer on them, and how they end.
//!
//! * `accept` takes them from the listeners and bounds how many there are; `stream` is one of them in whichever way it
//!   came; `handshake` begins TLS, and `version` detects what a client speaks in the
//!   clear.
//! * `exchange` has the shape of every request: it is *read* before anything waits, *admitted*, and *answered*.
//! * `protocol` is hyper with our limits; `head_timer` how long a client may be silent, `persistence` what an answer
//!   says about its connection, `open_requests` what is open on a connection of HTTP/2, and `stream_task` what ends one
//!   of them.
//! * `parked` keeps the polls that are held without what hyper needs for a request that moves.
//! * `socket` knows how a connection ended, `half_close` when an end is the client's end.

mod accept;
mod exchange;
pub(super) mod half_close;
mod handshake;
mod head_timer;
pub(super) mod open_requests;
mod parked;
pub(super) mod persistence;
mod protocol;
pub(super) mod socket;
pub(super) mod stream;
pub(super) mod stream_task;
mod version;

pub(super) use self::accept::{Connections, run};
#[cfg(feature = "fuzzing")]
pub(super) use self::exchange::{Arrival, serve_client};

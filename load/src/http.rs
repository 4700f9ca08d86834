//! As much of HTTP as a client of events needs, over sockets that an event loop watches.
//!
//! [`answer`] reads an answer that has come whole, [`body`] what comes of one that never ends, [`sse`] the events in
//! it, and [`connection`] is the socket. [`http2`] has the same over HTTP/2.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod connection;
pub(crate) mod http2;
pub(crate) mod sse;

use crate::failure::Failure;

/// How a connection has ended, or the part of one that a client has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It has not: more may come.
    Open,
    /// In order: the server has nothing more to say.
    Orderly,
    /// By an error.
    Broken(Failure),
}

impl End {
    /// Returns what has failed, if what has come is not all that was to come.
    pub(crate) const fn failure(self) -> Option<Failure> {
        match self {
            Self::Open => None,
            Self::Orderly => Some(Failure::Closed),
            Self::Broken(failure) => Some(failure),
        }
    }
}

/// What is no HTTP, or none that this tool takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

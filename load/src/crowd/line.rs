//! How a client reaches the server: over a connection of its own, or by a stream of HTTP/2.

use std::io;

use crate::http::{End, connection::Connection, http2::stream::Stream};

/// See the module.
#[derive(Debug)]
pub(crate) enum Line {
    /// HTTP/1.1.
    Connection(Connection),
    /// HTTP/2.
    Stream(Box<Stream>),
}

impl Line {
    /// Tells whether it has connected by now, or why it cannot.
    pub(super) fn is_connected(&self) -> io::Result<bool> {
        match self {
            Self::Connection(connection) => connection.is_connected(),
            Self::Stream(stream) => stream.is_connected(),
        }
    }

    /// Tells whether the server may take another request.
    pub(super) fn takes_requests(&self) -> bool {
        match self {
            // It said so in its last answer.
            Self::Connection(_) => true,
            Self::Stream(stream) => stream.takes_requests(),
        }
    }

    /// Sends a request, now or as soon as the server reads.
    pub(super) fn send(&mut self, request: &[u8]) -> io::Result<()> {
        match self {
            Self::Connection(connection) => connection.send(request),
            Self::Stream(stream) => stream.send(request),
        }
    }

    /// Sends what is left of a request.
    pub(super) fn send_rest(&mut self) -> io::Result<()> {
        match self {
            Self::Connection(connection) => connection.send_rest(),
            Self::Stream(stream) => stream.send_rest(),
        }
    }

    /// Reads what has come, after what was kept, into a buffer that is emptied before. Tells how it has ended, if nothing
    /// more can come.
    pub(super) fn read(&mut self, buffer: &mut Vec<u8>, may_have_ended: bool) -> End {
        match self {
            Self::Connection(connection) => connection.read(buffer, may_have_ended),
            Self::Stream(stream) => stream.read(buffer),
        }
    }

    /// Keeps what came, because there must be more of it.
    pub(super) fn keep(&mut self, begun: &[u8]) {
        match self {
            Self::Connection(connection) => connection.keep(begun),
            Self::Stream(stream) => stream.keep(begun),
        }
    }

    /// Ends with a reset, as a device does that has crashed.
    pub(super) fn reset(self) {
        match self {
            Self::Connection(connection) => connection.reset(),
            Self::Stream(stream) => stream.reset(),
        }
    }
}

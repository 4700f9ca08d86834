//! A socket of the event loop, as the HTTP/2 library reads and writes one.
//!
//! It registers no waker: the loop is edge-triggered, and whenever it tells of a socket, the whole connection is polled.

use std::{
    io::{self, ErrorKind, Read, Write},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use mio::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::connection::is_later;

/// See the module.
pub(super) struct Socket(Rc<TcpStream>);

impl Socket {
    pub(super) fn of(stream: &Rc<TcpStream>) -> Self {
        Self(Rc::clone(stream))
    }
}

/// Tries until the call is not interrupted; a later try is one when the loop tells of the socket.
fn attempt<T>(mut call: impl FnMut() -> io::Result<T>) -> Poll<io::Result<T>> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_later(&error) => return Poll::Pending,
            result => return Poll::Ready(result),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let free = buffer.initialize_unfilled();
        attempt(|| (&*self.0).read(free)).map_ok(|count| buffer.advance(count))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        attempt(|| (&*self.0).write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        attempt(|| (&*self.0).write_vectored(parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.shutdown(std::net::Shutdown::Write))
    }
}

//! HTTP/2 in the clear, with prior knowledge (RFC 9113, section 3.3).
//!
//! A [`Carrier`] is one connection, a [`Stream`](stream::Stream) what one client does on it. Both are polled from the
//! event loop, without a runtime: the wakers of [`tasks`] put down what is to be polled, and the crowd does it. A
//! carrier closes its socket when its last stream is dropped.

mod socket;
pub(crate) mod stream;
pub(crate) mod tasks;

use std::{
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use mio::{Registry, Token, net::TcpStream};
use rustix::net::sockopt;

use self::socket::Socket;
use super::connection::connect;

/// How many bytes of answers a client makes room for: an answer of Postern has at most 1 MiB of events.
const WINDOW: u32 = 2 << 20;

/// How many streams are opened before the server has said how many it allows.
const MAX_STREAMS_AT_FIRST: usize = 1 << 16;

type Shaken = Result<(SendRequest<Bytes>, Connection<Socket, Bytes>), h2::Error>;

/// See the module.
pub(crate) struct Carrier {
    /// Shared with what reads and writes it.
    socket: Rc<TcpStream>,
    waker: Waker,
    phase: Phase,
}

enum Phase {
    Opening(Pin<Box<dyn Future<Output = Shaken>>>),
    Open(SendRequest<Bytes>, Box<Connection<Socket, Bytes>>),
    /// It has ended, in order or by an error.
    Over(Option<io::ErrorKind>),
}

impl Carrier {
    /// Begins to connect. The waker is woken when there is something to write; the loop tells when there is something
    /// to read.
    pub(crate) fn open(
        address: SocketAddr,
        from: Option<IpAddr>,
        registry: &Registry,
        token: Token,
        waker: Waker,
    ) -> io::Result<Self> {
        let socket = Rc::new(connect(address, from, registry, token)?);
        let mut client = Builder::new();
        client.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
        client.initial_max_send_streams(MAX_STREAMS_AT_FIRST).enable_push(false);
        let io = Socket::of(&socket);
        let opening = Box::pin(async move { client.handshake(io).await });
        Ok(Self { socket, waker, phase: Phase::Opening(opening) })
    }

    /// Reads and writes what there is. Tells whether all its streams have to be looked at: it is open now, or has ended.
    pub(crate) fn drive(&mut self) -> bool {
        let mut context = Context::from_waker(&self.waker);
        let mut has_changed = false;
        loop {
            let phase = match &mut self.phase {
                Phase::Over(_) => return has_changed,
                Phase::Opening(opening) => match opening.as_mut().poll(&mut context) {
                    Poll::Pending => return has_changed,
                    Poll::Ready(Ok((requests, connection))) => Phase::Open(requests, Box::new(connection)),
                    Poll::Ready(Err(error)) => Phase::Over(Some(kind(&error))),
                },
                Phase::Open(_, connection) => match Pin::new(&mut **connection).poll(&mut context) {
                    Poll::Pending => return has_changed,
                    Poll::Ready(Ok(())) => Phase::Over(None),
                    Poll::Ready(Err(error)) => Phase::Over(Some(kind(&error))),
                },
            };
            (self.phase, has_changed) = (phase, true);
        }
    }

    /// Tells whether it can carry requests, or will.
    pub(crate) fn takes_requests(&mut self) -> bool {
        match &mut self.phase {
            Phase::Opening(_) => true,
            // Once the server has said that it goes (GOAWAY), it takes none.
            Phase::Open(requests, _) => {
                !matches!(requests.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(_)))
            }
            Phase::Over(_) => false,
        }
    }

    /// Returns what sends requests, once it is open; an error if it has ended.
    fn requests(&self) -> io::Result<Option<&SendRequest<Bytes>>> {
        match &self.phase {
            Phase::Opening(_) => Ok(None),
            Phase::Open(requests, _) => Ok(Some(requests)),
            Phase::Over(kind) => Err(kind.unwrap_or(io::ErrorKind::UnexpectedEof).into()),
        }
    }

    const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over(_))
    }

    /// Has the socket close with a reset (RST).
    fn reset(&self) {
        // What fails here leaves an orderly end (FIN).
        let _ = sockopt::set_socket_linger(&*self.socket, Some(Duration::ZERO));
    }
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carrier").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// Returns what kind of error of a socket this is like.
fn kind(error: &h2::Error) -> io::ErrorKind {
    match error.get_io() {
        // The library calls an end of the connection so.
        Some(error) if error.kind() == io::ErrorKind::BrokenPipe => io::ErrorKind::UnexpectedEof,
        Some(error) => error.kind(),
        // What this side ends a connection or stream with, it ends for a fault of the server.
        None if !error.is_remote() => io::ErrorKind::InvalidData,
        None if error.is_go_away() => io::ErrorKind::UnexpectedEof,
        None if error.is_reset() => io::ErrorKind::ConnectionReset,
        None => io::ErrorKind::InvalidData,
    }
}

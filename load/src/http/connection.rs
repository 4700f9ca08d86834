//! One connection that the event loop watches. It never blocks, also while it connects.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use mio::{Interest, Registry, Token, net::TcpStream};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

use super::End;
use crate::failure::Failure;

/// See the module.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    /// What has come and is not all of what is waited for.
    begun: Vec<u8>,
    /// What the kernel has not taken yet of a request.
    unsent: Vec<u8>,
}

impl Connection {
    /// Begins to connect, from an address of its own if one is given. The loop tells when it can be written to.
    pub(crate) fn open(
        address: SocketAddr,
        from: Option<IpAddr>,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        Ok(Self { stream: connect(address, from, registry, token)?, begun: Vec::new(), unsent: Vec::new() })
    }

    /// Tells whether it has connected by now, or why it cannot.
    pub(crate) fn is_connected(&self) -> io::Result<bool> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        match self.stream.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends a request, now or as soon as the server reads.
    pub(crate) fn send(&mut self, request: &[u8]) -> io::Result<()> {
        match self.stream.write(request) {
            Ok(count) => self.unsent.extend_from_slice(&request[count..]),
            Err(error) if is_later(&error) => self.unsent.extend_from_slice(request),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Sends what is left of a request.
    pub(crate) fn send_rest(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if is_later(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what has come, after what was kept, into a buffer that is emptied before. Tells how the connection has ended, if
    /// it has: what came before that is in the buffer. If it may have (`may_have_ended`), that is looked for; else the
    /// kernel is not asked once more than need be.
    pub(crate) fn read(&mut self, buffer: &mut Vec<u8>, may_have_ended: bool) -> End {
        buffer.clear();
        buffer.append(&mut self.begun);
        loop {
            let filled = buffer.len();
            buffer.resize(buffer.capacity().max(filled + 1), 0);
            let read = self.stream.read(&mut buffer[filled..]);
            let room = buffer.len() - filled;
            let count = read.as_ref().map_or(0, |count| *count);
            buffer.truncate(filled + count);
            match read {
                Ok(0) => return End::Orderly,
                // The kernel had no more, and says so when there is.
                Ok(count) if count < room && !may_have_ended => return End::Open,
                Ok(count) if count < room => {}
                Ok(_) => buffer.reserve(buffer.len()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return End::Open,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return End::Broken(Failure::from(&error)),
            }
        }
    }

    /// Keeps what came, because there must be more of it.
    pub(crate) fn keep(&mut self, begun: &[u8]) {
        self.begun.clear();
        self.begun.reserve_exact(begun.len());
        self.begun.extend_from_slice(begun);
    }

    /// Closes with a reset (RST), as a device does that has crashed.
    pub(crate) fn reset(self) {
        // What fails here leaves an orderly end (FIN).
        let _ = sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
    }
}

/// Begins to connect, from an address of its own if one is given, and has the loop watch the socket.
pub(super) fn connect(
    address: SocketAddr,
    from: Option<IpAddr>,
    registry: &Registry,
    token: Token,
) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    if let Some(from) = from {
        bind(&socket, &SocketAddr::new(from, 0))?;
    }
    match net::connect(&socket, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let mut stream = TcpStream::from_std(socket.into());
    // The loop is edge-triggered, so that a socket which could be written to all the time wakes it only once.
    registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
    Ok(stream)
}

/// Tells whether a call is to be made again when the loop tells of the socket.
pub(super) fn is_later(error: &io::Error) -> bool {
    // NotConnected: it still connects.
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::NotConnected)
}

#[cfg(test)]
mod tests {
    use std::{io::Write, net::TcpListener};

    use mio::{Events, Poll};

    use super::*;

    #[test]
    fn what_came_before_a_reset_is_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut poll = Poll::new().unwrap();
        let mut connection = Connection::open(listener.local_addr().unwrap(), None, poll.registry(), Token(0)).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(b"data: 1\n\n").unwrap();
        sockopt::set_socket_linger(&server, Some(Duration::ZERO)).unwrap();
        drop(server);
        let (mut events, mut come, mut all) = (Events::with_capacity(8), Vec::new(), Vec::new());
        let end = loop {
            poll.poll(&mut events, None).unwrap();
            let end = connection.read(&mut come, true);
            all.append(&mut come);
            if end != End::Open {
                break end;
            }
        };
        assert_eq!((&all[..], end), (&b"data: 1\n\n"[..], End::Broken(Failure::Reset)));
    }
}

//! One keep-alive connection that the event loop watches.

use std::{
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
};

use anyhow::{Context, bail, ensure};
use mio::{Interest, Registry, Token, net::TcpStream};

use super::answer::Answer;

/// See the module.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    /// The beginning of an answer whose end has not come.
    begun: Vec<u8>,
}

impl Connection {
    /// Connects, and waits until that is done.
    pub(crate) fn open(address: SocketAddr, registry: &Registry, token: Token) -> anyhow::Result<Self> {
        let stream = std::net::TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        registry.register(&mut stream, token, Interest::READABLE)?;
        Ok(Self { stream, begun: Vec::new() })
    }

    /// Sends a request. There is one at a time, so it always fits into the kernel's buffer.
    pub(crate) fn send(&mut self, request: &[u8]) -> anyhow::Result<()> {
        let sent = self.stream.write(request).context("the server should read")?;
        ensure!(sent == request.len(), "the server does not read");
        Ok(())
    }

    /// Reads what has come. Returns the answer if that was all of one.
    pub(crate) fn read<'a>(&mut self, buffer: &'a mut Vec<u8>) -> anyhow::Result<Option<Answer<'a>>> {
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
                Ok(0) => bail!("the server closed a connection"),
                // The kernel had no more, and says so when there is.
                Ok(count) if count < room => break,
                Ok(_) => buffer.reserve(buffer.len()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("the server should answer"),
            }
        }
        // A borrow that is returned in one branch only is not understood as such, so an answer is read twice if it is
        // whole.
        if Answer::read(buffer)?.is_none() {
            self.begun.extend_from_slice(buffer);
            return Ok(None);
        }
        Answer::read(buffer)
    }
}

//! One HTTP/1.1 connection whose every byte the test controls.
//!
//! No HTTP library: a test must be able to stop in the middle of anything, and to leave in the way that it chooses
//! ([`HttpConnection::close`], [`HttpConnection::reset`]). Every read panics past [`PATIENCE`].

use std::{future::Future, io, net::SocketAddr, os::fd::AsFd, path::Path, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::{Answer, Request, wire::Wire};

/// How long a read waits: longer than the longest poll (55 s).
pub const PATIENCE: Duration = Duration::from_secs(65);

/// How the gateway left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// In order (FIN).
    Closed,
    /// With a reset (RST).
    Reset,
}

/// The status line and headers of an answer.
#[derive(Debug, Clone)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// The headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// Returns the first header of this name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// A connection to a gateway. Dropping it closes it: with FIN if everything that came was read, else with RST.
#[derive(Debug)]
pub struct HttpConnection {
    stream: Wire,
    /// Bytes that came and are not used yet.
    buffer: Vec<u8>,
}

impl HttpConnection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Self {
        Self::try_open(address).await.unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// Connects, unless no server listens.
    pub async fn try_open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(Wire::Tcp(stream)))
    }

    /// Connects to a socket file.
    pub async fn open_unix(path: &Path) -> Self {
        Self::try_open_unix(path).await.unwrap_or_else(|error| panic!("cannot connect to {}: {error}", path.display()))
    }

    /// Connects to a socket file, unless no server listens.
    pub async fn try_open_unix(path: &Path) -> io::Result<Self> {
        Ok(Self::over(Wire::Unix(UnixStream::connect(path).await?)))
    }

    /// Speaks over what is connected already.
    pub(crate) const fn over(stream: Wire) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Writes bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.send_unless_left(bytes).await.expect("the gateway should read");
    }

    /// Writes bytes as they are, unless the gateway leaves.
    pub async fn send_unless_left(&mut self, bytes: &[u8]) -> Result<(), Left> {
        // TLS may keep the end of what it took.
        let written = async { self.stream.write_all(bytes).await.and(self.stream.flush().await) };
        written.await.map_err(|_| Left::Reset)
    }

    /// Sends a request and reads the whole answer, unless the gateway leaves before.
    pub async fn request_unless_left(&mut self, request: &Request) -> Result<Answer, Left> {
        self.send_unless_left(&request.bytes()).await?;
        self.answer_unless_left().await
    }

    /// Sends a request and reads the whole answer; the connection can be used again.
    pub async fn request(&mut self, request: &Request) -> Answer {
        self.send(&request.bytes()).await;
        self.answer().await
    }

    /// Reads one whole answer. One to HEAD has no body: read its [`HttpConnection::head`] alone.
    pub async fn answer(&mut self) -> Answer {
        let head = self.head().await;
        let body = self.body(&head).await;
        Answer::of(head, body)
    }

    /// Reads the status line and the headers.
    pub async fn head(&mut self) -> Head {
        let head = self.head_unless_left().await;
        head.unwrap_or_else(|left| self.torn(left))
    }

    /// Reads the status line and the headers, unless the gateway leaves before they are whole.
    pub async fn head_unless_left(&mut self) -> Result<Head, Left> {
        let text = self.until_unless_left(b"\r\n\r\n").await?;
        let text = String::from_utf8(text).expect("a head is text");
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line in {text:?}"));
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no header: {line:?}"));
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        Ok(Head { status, headers: headers.collect() })
    }

    /// Reads the body that a head announces: by length, in chunks, or to the end of the connection.
    pub async fn body(&mut self, head: &Head) -> Vec<u8> {
        if matches!(head.status, 100..200 | 204 | 304) {
            return Vec::new();
        }
        if let Some(length) = head.header("content-length") {
            return self.exactly(length.parse().expect("a content length is a number")).await;
        }
        let mut body = Vec::new();
        if head.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk().await {
                body.extend(chunk);
            }
        } else {
            while self.more().await == Ok(true) {}
            body.append(&mut self.buffer);
        }
        body
    }

    /// Reads the body that a head announces by its length, unless the gateway leaves before it is whole.
    pub async fn body_unless_left(&mut self, head: &Head) -> Result<Vec<u8>, Left> {
        let length = head.header("content-length").map_or(0, |length| length.parse().expect("a length is a number"));
        self.exactly_unless_left(length).await
    }

    /// Reads one whole answer with a length, unless the gateway leaves before that.
    pub async fn answer_unless_left(&mut self) -> Result<Answer, Left> {
        let head = self.head_unless_left().await?;
        let body = self.body_unless_left(&head).await?;
        Ok(Answer::of(head, body))
    }

    /// Reads the next chunk of a chunked body; `None` at its end.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let chunk = self.chunk_unless_left().await;
        chunk.unwrap_or_else(|left| panic!("the gateway left in the middle of a body ({left:?})"))
    }

    /// Reads the next chunk of a chunked body, unless the gateway leaves before it is whole.
    pub async fn chunk_unless_left(&mut self) -> Result<Option<Vec<u8>>, Left> {
        let line = self.until_unless_left(b"\r\n").await?;
        let size = str::from_utf8(&line).ok().and_then(|line| usize::from_str_radix(line.trim_end(), 16).ok());
        let size = size.unwrap_or_else(|| panic!("no chunk size: {:?}", String::from_utf8_lossy(&line)));
        let mut chunk = self.exactly_unless_left(size + 2).await?;
        chunk.truncate(size);
        Ok((size > 0).then_some(chunk))
    }

    /// Tells whether nothing comes within `time`; a test that holds a poll checks with it that it is held.
    pub async fn is_silent(&mut self, time: Duration) -> bool {
        self.buffer.is_empty() && timeout(time, self.more()).await.is_err()
    }

    /// Waits until the gateway ends the connection; panics if anything more comes first.
    pub async fn left(&mut self) -> Left {
        let more = self.more().await;
        assert!(self.buffer.is_empty(), "more came: {:?}", String::from_utf8_lossy(&self.buffer));
        if more.is_ok() { Left::Closed } else { Left::Reset }
    }

    /// Ends the sending direction (FIN) and goes on reading.
    pub async fn finish_sending(&mut self) {
        // Fails only when the gateway left first.
        let _ = self.stream.shutdown().await;
    }

    /// Ends the sending direction without a word of TLS about it, as many clients leave, and goes on reading.
    pub fn finish_sending_without_notice(&self) {
        let socket = self.stream.tcp().as_fd().try_clone_to_owned().expect("a socket can be cloned");
        std::net::TcpStream::from(socket).shutdown(std::net::Shutdown::Write).expect("the gateway is there");
    }

    /// Returns the certificate that the gateway has shown (DER).
    pub fn certificate(&self) -> Vec<u8> {
        match &self.stream {
            Wire::Tls(stream) => crate::tls::certificate(stream),
            _ => panic!("there is no TLS"),
        }
    }

    /// Returns the protocol that the gateway chose by ALPN.
    pub fn protocol(&self) -> Option<&[u8]> {
        match &self.stream {
            Wire::Tls(stream) => stream.get_ref().1.alpn_protocol(),
            _ => panic!("there is no TLS"),
        }
    }

    /// Leaves in order (FIN). Linux sends RST after it if something that came was not read; see [`Self::is_silent`].
    pub async fn close(mut self) {
        self.finish_sending().await;
    }

    /// Leaves with a reset (RST), as a client does that dies or closes with bytes unread.
    pub fn reset(self) {
        self.stream.tcp().set_zero_linger().expect("a socket has options");
    }

    /// Returns the stream and what was read from it and not used, for what is missing here.
    pub fn into_parts(self) -> (TcpStream, Vec<u8>) {
        match self.stream {
            Wire::Tcp(stream) => (stream, self.buffer),
            _ => panic!("only a bare connection can be taken apart"),
        }
    }

    async fn exactly(&mut self, length: usize) -> Vec<u8> {
        let read = self.exactly_unless_left(length).await;
        read.unwrap_or_else(|left| self.torn(left))
    }

    async fn exactly_unless_left(&mut self, length: usize) -> Result<Vec<u8>, Left> {
        while self.buffer.len() < length {
            self.more_unless_left().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    /// Reads up to and including `end`.
    async fn until_unless_left(&mut self, end: &[u8]) -> Result<Vec<u8>, Left> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                return Ok(self.buffer.drain(..at + end.len()).collect());
            }
            self.more_unless_left().await?;
        }
    }

    async fn more_unless_left(&mut self) -> Result<(), Left> {
        match in_time(self.more()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Left::Closed),
            Err(_) => Err(Left::Reset),
        }
    }

    fn torn(&self, left: Left) -> ! {
        panic!("the gateway left in the middle of an answer ({left:?}): {:?}", String::from_utf8_lossy(&self.buffer))
    }

    /// Reads what has come: true, or false at the end of the connection. Cancel-safe.
    async fn more(&mut self) -> Result<bool, io::ErrorKind> {
        let read = in_time(self.stream.read_buf(&mut self.buffer)).await;
        read.map(|count| count > 0).map_err(|e| e.kind())
    }
}

async fn in_time<T>(reading: impl Future<Output = T>) -> T {
    timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("nothing came for {PATIENCE:?}"))
}

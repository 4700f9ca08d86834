//! An HTTP/1.1 connection that does no more than a benchmark's client needs: keep-alive, GET, answers with a length.
//!
//! It shares a machine with what it measures, so it copies and allocates little. Its errors are told and not panicked
//! over, because a client may outlive its gateway.

use std::{fmt::Write as _, net::SocketAddr};

use anyhow::{Context, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Room for most answers, in bytes.
const BUFFER: usize = 4096;

/// See the module.
#[derive(Debug)]
pub struct LeanHttp {
    stream: TcpStream,
    /// Headers of every request, each with its line break.
    headers: String,
    request: String,
    buffer: Vec<u8>,
}

/// An answer, until the next request.
#[derive(Debug)]
pub struct LeanAnswer<'a> {
    /// The status code.
    pub status: u16,
    /// The status line and the headers.
    pub head: &'a str,
    /// The body.
    pub body: &'a [u8],
}

impl LeanHttp {
    /// Connects.
    pub async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, headers: String::new(), request: String::new(), buffer: Vec::with_capacity(BUFFER) })
    }

    /// Adds a header to every request.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        let _ = write!(self.headers, "{name}: {value}\r\n");
        self
    }

    /// Sends a request without a body; the target is escaped already.
    pub async fn send(&mut self, method: &str, target: &str) -> anyhow::Result<()> {
        self.request.clear();
        let _ = write!(self.request, "{method} {target} HTTP/1.1\r\nhost: localhost\r\n{}\r\n", self.headers);
        self.stream.write_all(self.request.as_bytes()).await.context("the gateway should read")
    }

    /// Reads the answer. Nothing else can have come: there is one request at a time.
    pub async fn answer(&mut self) -> anyhow::Result<LeanAnswer<'_>> {
        self.buffer.clear();
        let head = loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            self.more().await?;
        };
        let (status, length) = read_head(&self.buffer[..head])?;
        while self.buffer.len() < head + length {
            self.more().await?;
        }
        ensure!(self.buffer.len() == head + length, "the gateway sent more than one answer");
        let (head, body) = self.buffer.split_at(head);
        Ok(LeanAnswer { status, head: str::from_utf8(head)?, body })
    }

    /// Leaves with a reset, as a client that dies: the gateway releases its mailbox at once.
    pub fn reset(self) -> anyhow::Result<()> {
        Ok(self.stream.set_zero_linger()?)
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        if self.buffer.len() == self.buffer.capacity() {
            self.buffer.reserve(self.buffer.len());
        }
        let count = self.stream.read_buf(&mut self.buffer).await.context("the gateway should answer")?;
        ensure!(count > 0, "the gateway closed the connection in the middle of an answer");
        Ok(())
    }
}

impl<'a> LeanAnswer<'a> {
    /// Returns the first header of this name.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        header(self.head, name)
    }
}

fn header<'a>(head: &'a str, wanted: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case(wanted).then_some(value.trim())
    })
}

/// Returns the status and the length of the body.
fn read_head(head: &[u8]) -> anyhow::Result<(u16, usize)> {
    let head = str::from_utf8(head).context("a head is text")?;
    let Some(status) = head.get(9..12).and_then(|status| status.parse().ok()) else { bail!("no status in {head:?}") };
    match (status, header(head, "content-length").and_then(|length| length.parse().ok())) {
        (204 | 304, _) => Ok((status, 0)),
        (_, Some(length)) => Ok((status, length)),
        (_, None) => bail!("no content-length in {head:?}"),
    }
}

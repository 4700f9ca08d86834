//! What one client does on a connection of HTTP/2: one request at a time, and its answer.
//!
//! Both are in the form of HTTP/1.1 towards the client, as a gateway between the two versions has them (RFC 9113,
//! section 8.2.2), so that the rest of this tool reads one form. The body comes in chunks; its length is that of
//! HTTP/1.1, too.

use std::{
    cell::RefCell,
    future::Future,
    io::{self, Write},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use h2::{
    RecvStream,
    client::{ResponseFuture, SendRequest},
};
use http::{Request, Response, StatusCode, Uri, header::HOST};

use super::{Carrier, kind};
use crate::{failure::Failure, http::End};

/// Headers that speak of a connection of HTTP/1.1, or of how a body is framed there (RFC 9113, section 8.2.2).
const OF_CONNECTION: [&str; 6] = ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];

/// See the module. Dropping it takes its request back (`RST_STREAM`).
#[derive(Debug)]
pub(crate) struct Stream {
    exchange: Exchange,
    /// Not sent: the connection is not open yet, or has too many streams now.
    unsent: Option<Request<Bytes>>,
    /// Of its own: how many requests wait for room is counted for each.
    requests: Option<SendRequest<Bytes>>,
    /// Which of the streams of its connection it is, from 0.
    number: usize,
    waker: Waker,
    /// What has come and is not all of what is waited for.
    begun: Vec<u8>,
    carrier: Rc<RefCell<Carrier>>,
}

#[derive(Debug)]
enum Exchange {
    Idle,
    Head(ResponseFuture),
    /// In chunks towards the client, unless the answer has none.
    Body {
        stream: RecvStream,
        is_chunked: bool,
    },
}

impl Stream {
    /// Makes one, whose client is polled by this waker.
    pub(crate) const fn new(carrier: Rc<RefCell<Carrier>>, number: usize, waker: Waker) -> Self {
        Self { exchange: Exchange::Idle, unsent: None, requests: None, number, waker, begun: Vec::new(), carrier }
    }

    /// Tells whether its connection is open by now, or why it cannot be.
    pub(crate) fn is_connected(&self) -> io::Result<bool> {
        self.carrier.borrow().requests().map(|requests| requests.is_some())
    }

    /// Tells whether the server takes more requests on its connection.
    pub(crate) fn takes_requests(&self) -> bool {
        self.carrier.borrow_mut().takes_requests()
    }

    /// Sends a request, now or as soon as the server lets it.
    pub(crate) fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.unsent = Some(translated(request).ok_or(io::ErrorKind::InvalidInput)?);
        self.send_rest()
    }

    /// Sends a request that could not be sent yet.
    pub(crate) fn send_rest(&mut self) -> io::Result<()> {
        if self.unsent.is_none() {
            return Ok(());
        }
        if self.requests.is_none() {
            self.requests = self.carrier.borrow().requests()?.cloned();
        }
        let Some(requests) = &mut self.requests else { return Ok(()) };
        if self.number >= requests.current_max_send_streams() {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        match requests.poll_ready(&mut Context::from_waker(&self.waker)) {
            Poll::Pending => return Ok(()),
            Poll::Ready(ready) => ready.map_err(|error| kind(&error))?,
        }
        let Some(request) = self.unsent.take() else { return Ok(()) };
        let (head, body) = request.into_parts();
        let (answer, mut sending) =
            requests.send_request(Request::from_parts(head, ()), body.is_empty()).map_err(|error| kind(&error))?;
        if !body.is_empty() {
            sending.send_data(body, true).map_err(|error| kind(&error))?;
        }
        self.exchange = Exchange::Head(answer);
        // Only a poll of the answer makes it wake anything.
        self.waker.wake_by_ref();
        Ok(())
    }

    /// Appends what has come to what was kept, in a buffer that is emptied before. Tells how it has ended, if nothing
    /// more can come.
    pub(crate) fn read(&mut self, buffer: &mut Vec<u8>) -> End {
        buffer.clear();
        buffer.append(&mut self.begun);
        let mut context = Context::from_waker(&self.waker);
        loop {
            let error = match &mut self.exchange {
                Exchange::Idle if self.carrier.borrow().is_over() => return End::Orderly,
                Exchange::Idle => return End::Open,
                Exchange::Head(answer) => match Pin::new(answer).poll(&mut context) {
                    Poll::Pending => return End::Open,
                    Poll::Ready(Ok(answer)) => {
                        write_head(&answer, buffer);
                        let is_chunked = has_body(answer.status());
                        self.exchange = Exchange::Body { stream: answer.into_body(), is_chunked };
                        continue;
                    }
                    Poll::Ready(Err(error)) => error,
                },
                Exchange::Body { stream, is_chunked } => match stream.poll_data(&mut context) {
                    Poll::Pending => return End::Open,
                    Poll::Ready(Some(Ok(part))) => {
                        write_chunk(&part, buffer);
                        // It fails for a stream that has ended, whose room is free already.
                        let _ = stream.flow_control().release_capacity(part.len());
                        continue;
                    }
                    Poll::Ready(None) => {
                        if *is_chunked {
                            buffer.extend_from_slice(b"0\r\n\r\n");
                        }
                        self.exchange = Exchange::Idle;
                        continue;
                    }
                    Poll::Ready(Some(Err(error))) => error,
                },
            };
            self.exchange = Exchange::Idle;
            return match kind(&error) {
                io::ErrorKind::UnexpectedEof => End::Orderly,
                kind => End::Broken(Failure::from(&io::Error::from(kind))),
            };
        }
    }

    /// Keeps what came, because there must be more of it.
    pub(crate) fn keep(&mut self, begun: &[u8]) {
        self.begun.clear();
        self.begun.extend_from_slice(begun);
    }

    /// Ends the connection with a reset (RST), if no other stream is on it; else this stream alone, which is always a
    /// reset.
    pub(crate) fn reset(self) {
        if Rc::strong_count(&self.carrier) == 1 {
            self.carrier.borrow().reset();
        }
    }
}

/// Reads a request in the form of HTTP/1.1.
fn translated(request: &[u8]) -> Option<Request<Bytes>> {
    let end = memchr::memmem::find(request, b"\r\n\r\n")?;
    let mut lines = str::from_utf8(&request[..end]).ok()?.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let mut builder = Request::builder().method(method);
    let mut authority = "localhost";
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let (name, value) = (name.to_ascii_lowercase(), value.trim());
        if name == HOST.as_str() {
            authority = value;
        } else if !OF_CONNECTION.contains(&name.as_str()) {
            builder = builder.header(name, value);
        }
    }
    let uri = Uri::builder().scheme("http").authority(authority).path_and_query(path).build().ok()?;
    builder.uri(uri).body(Bytes::copy_from_slice(&request[end + 4..])).ok()
}

fn has_body(status: StatusCode) -> bool {
    ![StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status)
}

fn write_head(answer: &Response<RecvStream>, buffer: &mut Vec<u8>) {
    let framing = if has_body(answer.status()) { "transfer-encoding: chunked\r\n" } else { "" };
    // Writing to memory cannot fail.
    let _ = write!(buffer, "HTTP/1.1 {} \r\n{framing}", answer.status().as_u16());
    for (name, value) in answer.headers() {
        if name != http::header::CONTENT_LENGTH && !OF_CONNECTION.contains(&name.as_str()) {
            let _ = write!(buffer, "{name}: ");
            buffer.extend_from_slice(value.as_bytes());
            buffer.extend_from_slice(b"\r\n");
        }
    }
    buffer.extend_from_slice(b"\r\n");
}

fn write_chunk(part: &[u8], buffer: &mut Vec<u8>) {
    // An empty chunk would be the last one.
    if !part.is_empty() {
        let _ = write!(buffer, "{:x}\r\n", part.len());
        buffer.extend_from_slice(part);
        buffer.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_translated() {
        let text = b"POST /a/b?c=%20 HTTP/1.1\r\nHost: x:80\r\nConnection: close\r\nX-Y: z: 1\r\n\r\nhello";
        let request = translated(text).unwrap();
        assert_eq!(
            (request.method().as_str(), request.uri().to_string()),
            ("POST", "http://x:80/a/b?c=%20".to_owned())
        );
        assert_eq!((request.headers().len(), request.headers()["x-y"].as_bytes()), (1, &b"z: 1"[..]));
        assert_eq!(&request.body()[..], b"hello");
        for wrong in [&b"GET / HTTP/1.1\r\n"[..], b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nhost x\r\n\r\n"] {
            assert!(translated(wrong).is_none(), "{}", String::from_utf8_lossy(wrong));
        }
    }

    #[test]
    fn an_empty_part_does_not_end_a_body() {
        let mut buffer = Vec::new();
        write_chunk(b"", &mut buffer);
        write_chunk(b"hello, you are welcome", &mut buffer);
        assert_eq!(buffer, b"16\r\nhello, you are welcome\r\n");
    }
}

//! An HTTP request as text.

use std::{fmt::Write as _, net::SocketAddr};

use crate::{Answer, HttpConnection};

/// A request with a definite length. What must be malformed goes through [`HttpConnection::send`] as raw bytes.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// Makes a request of any method; the target is a path with its query, escaped already.
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    /// Makes a GET request.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// Makes a POST request that publishes a body under a topic.
    pub fn publish(topic: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", &format!("/topics/{topic}/events")).header("content-type", content_type).body(body)
    }

    /// Makes a POST request that publishes a batch.
    pub fn publish_batch(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", "/events").header("content-type", content_type).body(body)
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it on a new connection, reads the answer, and closes the connection in order.
    pub async fn send(&self, address: SocketAddr) -> Answer {
        let mut connection = HttpConnection::open(address).await;
        let answer = connection.request(self).await;
        connection.close().await;
        answer
    }

    /// Returns the path with its query.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// Returns the bytes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !self.headers.iter().any(|(name, _)| name == "host") {
            head.push_str("host: localhost\r\n");
        }
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if !self.body.is_empty() || self.method == "POST" {
            let _ = write!(head, "content-length: {}\r\n", self.body.len());
        }
        [head.as_bytes(), b"\r\n", &self.body].concat()
    }
}

/// Escapes a text for a path segment or a query value (RFC 3986, section 2.1).
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if events::is_token_byte(byte) || matches!(byte, b',' | b'*') {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

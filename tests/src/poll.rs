//! A poll of a mailbox.

use crate::{Answer, Gateway, HttpConnection, Request, request::escape};

/// A poll, to be sent in one of three ways: [`Poll::send`], [`Poll::send_on`], [`Poll::hold`].
#[derive(Debug, Clone)]
pub struct Poll {
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
}

impl Poll {
    /// Polls the mailbox of a client.
    pub fn of(client: &str) -> Self {
        let path = format!("/clients/{}/events", escape(client));
        Self { path, query: Vec::new(), headers: Vec::new() }
    }

    /// Names the topics, comma-separated and not escaped.
    pub fn topics(self, topics: &str) -> Self {
        self.query("topics", topics)
    }

    /// Confirms up to this token.
    pub fn last_seen(self, token: &str) -> Self {
        self.query("last_seen", token)
    }

    /// Waits at most this many seconds.
    pub fn wait(self, seconds: u32) -> Self {
        self.query("wait", &seconds.to_string())
    }

    /// Sets any query parameter; the same name again replaces it.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.retain(|(other, _)| other != name);
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Returns the request.
    pub fn request(&self) -> Request {
        let query: Vec<_> = self.query.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
        let target = if query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, query.join("&")) };
        self.headers.iter().fold(Request::get(&target), |request, (name, value)| request.header(name, value))
    }

    /// Polls on a new connection, as `curl` does, and returns the answer.
    pub async fn send(&self, gateway: &Gateway) -> Answer {
        self.request().send(gateway.address()).await
    }

    /// Polls on a connection that stays open, as a browser does.
    pub async fn send_on(&self, connection: &mut HttpConnection) -> Answer {
        connection.request(&self.request()).await
    }

    /// Sends the request and returns at once with its connection, on which the answer will come.
    pub async fn hold(&self, gateway: &Gateway) -> HttpConnection {
        let mut connection = HttpConnection::open(gateway.address()).await;
        connection.send(&self.request().bytes()).await;
        connection
    }
}

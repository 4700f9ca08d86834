//! Keep-alive connections to one gateway: as many as there are requests at once, used again and again.
//!
//! HTTP/1.1 without pipelining: a connection carries one request at a time. One that the gateway has closed meanwhile
//! is replaced unseen; one that breaks under a request is not, because the request may have been read.

use std::{cell::RefCell, error::Error, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    HeaderMap, Request, StatusCode,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::Instant,
};

use super::{
    tls::{Tls, TlsError},
    url::GatewayUrl,
};

/// How long an unused connection is kept: well below the 20 s after which a gateway closes it, so that its end and our
/// next request rarely meet.
const MAX_IDLE: Duration = Duration::from_secs(10);

/// The most that is read of an answer's body. A gateway's are far smaller.
const MAX_BODY: usize = 64 << 10;

/// A request with an event in it.
pub(super) type EventRequest = Request<Full<Bytes>>;

/// A whole answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    /// No connection: the request was not sent.
    #[error("{0}")]
    NotSent(String),
    /// No connection, and the next try will not be better; the request was not sent.
    #[error("{0}")]
    Untrusted(String),
    /// The connection broke: the request may have been read.
    #[error("{0}")]
    Broken(String),
    /// What came is not HTTP.
    #[error("what answers there does not speak HTTP/1.1 ({0}); if it has TLS, the URL begins with https://")]
    NotHttp(String),
}

/// See the module.
pub(super) struct Connections {
    url: GatewayUrl,
    tls: Option<Tls>,
    /// The one used last is the last.
    idle: RefCell<Vec<Idle>>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

type Connection = SendRequest<Full<Bytes>>;

impl Connections {
    /// Opens a first connection, so that a gateway is known to be there.
    pub(super) async fn open(url: &GatewayUrl, tls: Option<&Tls>) -> Result<Self, ExchangeError> {
        let connections = Self { url: url.clone(), tls: tls.cloned(), idle: RefCell::default() };
        let first = connections.connect().await?;
        connections.keep(first);
        Ok(connections)
    }

    /// Sends a request and reads the whole answer. Dropping the future closes the connection that it is on.
    pub(super) async fn exchange(&self, mut request: EventRequest) -> Result<Answer, ExchangeError> {
        loop {
            let (mut connection, is_used) = match self.idle().await {
                Some(connection) => (connection, true),
                None => (self.connect().await?, false),
            };
            match connection.try_send_request(request).await {
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    let body = self.read(body, connection).await?;
                    return Ok(Answer { status: head.status, headers: head.headers, body });
                }
                Err(mut failed) => match failed.take_message() {
                    // It was closed while it was idle, and nothing was written on it.
                    Some(unsent) if is_used => request = unsent,
                    Some(_) => return Err(ExchangeError::NotSent(root_cause(failed.error()))),
                    None => return Err(failed.error().into()),
                },
            }
        }
    }

    /// Reads a body to its end; only then can its connection be used again.
    async fn read(&self, body: Incoming, connection: Connection) -> Result<Bytes, ExchangeError> {
        match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => {
                self.keep(connection);
                Ok(body.to_bytes())
            }
            // The status has said enough; a body that is too long, or cut off, costs its connection.
            Err(_) => Ok(Bytes::new()),
        }
    }

    /// Returns a connection that is still open.
    async fn idle(&self) -> Option<Connection> {
        loop {
            let Idle { mut connection, since } = self.idle.borrow_mut().pop()?;
            if since.elapsed() < MAX_IDLE && connection.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    fn keep(&self, connection: Connection) {
        self.idle.borrow_mut().push(Idle { connection, since: Instant::now() });
    }

    async fn connect(&self) -> Result<Connection, ExchangeError> {
        let failed = |error: &(dyn Error + 'static)| ExchangeError::NotSent(root_cause(error));
        let stream = TcpStream::connect(self.url.address()).await.map_err(|error| failed(&error))?;
        // A small event must not wait for the one before (Nagle's algorithm). Fails only on a dead socket.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else { return begin(stream).await };
        match tls.connect(stream).await {
            Ok(stream) => begin(stream).await,
            Err(TlsError::Refused(reason)) => Err(ExchangeError::Untrusted(reason)),
            Err(TlsError::Broken(error)) => Err(failed(&error)),
        }
    }
}

async fn begin(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Connection, ExchangeError> {
    let begun = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = begun.map_err(|error| ExchangeError::NotSent(root_cause(&error)))?;
    // Ends when `sender` is dropped or the gateway hangs up; a task that waits for an answer is told.
    tokio::spawn(connection);
    Ok(sender)
}

impl From<&hyper::Error> for ExchangeError {
    fn from(error: &hyper::Error) -> Self {
        let reason = root_cause(error);
        if error.is_parse() { Self::NotHttp(reason) } else { Self::Broken(reason) }
    }
}

/// Returns the innermost reason: "connection refused" says more than "client error".
fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

//! One HTTP/2 connection, without TLS as a proxy holds it to a gateway, or with TLS as a browser does.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::AbortHandle,
};

/// For how much of an answer that is not read the protocol makes room by default (RFC 9113, section 6.9.2).
const DEFAULT_WINDOW: u32 = 65_535;

/// An open connection that carries any number of requests at once. Dropping it closes it.
#[derive(Debug)]
pub struct Http2Connection {
    requests: http2::SendRequest<Full<Bytes>>,
    task: AbortHandle,
}

impl Http2Connection {
    /// Connects, with prior knowledge (RFC 9113, section 3.3).
    pub async fn open(address: SocketAddr) -> Self {
        Self::with_window(address, DEFAULT_WINDOW).await
    }

    /// Connects as a client that makes room for so many bytes of an answer that is not read.
    pub async fn with_window(address: SocketAddr, bytes: u32) -> Self {
        let stream = TcpStream::connect(address).await.expect("the gateway listens");
        let (requests, connection) = handshake(stream, bytes).await.expect("the gateway speaks HTTP/2");
        let task = tokio::spawn(connection).abort_handle();
        Self { requests, task }
    }

    /// Speaks over what is connected already.
    pub(crate) async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (requests, connection) = handshake(stream, DEFAULT_WINDOW).await.expect("the gateway speaks HTTP/2");
        let task = tokio::spawn(connection).abort_handle();
        Self { requests, task }
    }

    /// Tells whether the gateway has ended the connection.
    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Sends a request and waits for the head of its answer. Dropping the call takes the request back (`RST_STREAM`).
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response<Incoming> {
        self.send_to("localhost", method, path, headers, body).await
    }

    /// Sends a request that names this host.
    pub async fn send_to(
        &self,
        authority: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response<Incoming> {
        let uri = format!("http://{authority}{path}");
        let request = headers
            .iter()
            .fold(Request::builder().method(method).uri(uri), |request, (name, value)| request.header(*name, *value));
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).expect("it is a request");
        self.requests.clone().send_request(request).await.expect("the gateway should answer")
    }

    /// Connects, unless nothing listens there.
    pub async fn try_open(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        let (requests, connection) = handshake(stream, DEFAULT_WINDOW).await.ok()?;
        let task = tokio::spawn(connection).abort_handle();
        Some(Self { requests, task })
    }

    /// Sends a GET request and waits for the head of its answer, unless the connection ends. Dropping the call takes
    /// the request back, and dropping the answer before its end does so with the rest of it.
    pub async fn try_get(&self, path: &str) -> Option<Response<Incoming>> {
        let request = Request::get(format!("http://localhost{path}")).body(Full::default()).expect("it is a request");
        self.requests.clone().send_request(request).await.ok()
    }

    /// Gets a whole text: its status and its body.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.send("GET", path, &[], "").await;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.expect("the body is whole").to_bytes();
        (status, String::from_utf8(body.into()).expect("it is text"))
    }
}

type Shaken<S> = (http2::SendRequest<Full<Bytes>>, http2::Connection<TokioIo<S>, Full<Bytes>, TokioExecutor>);

async fn handshake<S>(stream: S, window: u32) -> hyper::Result<Shaken<S>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut client = http2::Builder::new(TokioExecutor::new());
    client.initial_stream_window_size(window).handshake(TokioIo::new(stream)).await
}

impl Drop for Http2Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}
